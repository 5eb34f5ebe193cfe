"""What Alembic runs: the versions, on the connection and in the transaction that `ezai.store.migrate` opened."""

from alembic import context

from ezai.store.schema import metadata

# SQLite changes a table by making it anew (render_as_batch), and can take back a changed schema like any other change.
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
context.run_migrations()
