"""Virtual keys; the record of use: requests and their attempts."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

INT64 = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _keys()
    _requests()
    _attempts()


def _keys() -> None:
    op.create_table(
        "virtual_key",
        sa.Column("public_id", sa.Text, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("pepper_id", sa.Text, nullable=False),
        sa.Column("last4", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("admin", sa.Integer, nullable=False),
        sa.Column("models", sa.Text, nullable=False),
        sa.Column("budget_nanousd", INT64),
        sa.Column("budget_period", sa.Text),
        sa.Column("requests_per_minute", INT64),
        sa.Column("tokens_per_minute", INT64),
        sa.Column("concurrent_requests", INT64),
        sa.Column("created_at_ms", INT64, nullable=False),
        sa.Column("expires_at_ms", INT64),
        sa.Column("revoked_at_ms", INT64),
        sa.PrimaryKeyConstraint("public_id", name="virtual_key_key"),
        sa.CheckConstraint("admin IN (0, 1)", name=op.f("virtual_key_admin_is_flag")),
        sa.UniqueConstraint("digest", name="virtual_key_digest_unique"),
        sqlite_strict=True,
    )
    key_change = op.create_table(
        "key_change",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("number", INT64, nullable=False),
        sa.PrimaryKeyConstraint("id", name="key_change_key"),
        sa.CheckConstraint("id = 1", name=op.f("key_change_has_one_row")),
        sqlite_strict=True,
    )
    op.bulk_insert(key_change, [{"id": 1, "number": 0}])


def _requests() -> None:
    op.create_table(
        "request",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("key_id", sa.Text),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("dialect", sa.Text, nullable=False),
        sa.Column("requested_model", sa.Text, nullable=False),
        sa.Column("route", sa.Text, nullable=False),
        sa.Column("streamed", sa.Integer, nullable=False),
        sa.Column("admitted_at_ms", INT64, nullable=False),
        sa.Column("ended_at_ms", INT64),
        sa.Column("cause", sa.Text),
        sa.PrimaryKeyConstraint("id", name="request_key"),
        sqlite_strict=True,
    )
    op.create_index("request_admitted", "request", ["admitted_at_ms"])


def _attempts() -> None:
    op.create_table(
        "attempt",
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("n", sa.Integer, nullable=False),
        sa.Column("upstream", sa.Text, nullable=False),
        sa.Column("upstream_model", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("started_at_ms", INT64, nullable=False),
        sa.Column("first_event_ms", INT64),
        sa.Column("duration_ms", INT64),
        sa.Column("input_tokens", INT64),
        sa.Column("cache_read_input_tokens", INT64),
        sa.Column("cache_creation_input_tokens", INT64),
        sa.Column("cache_creation_1h_input_tokens", INT64),
        sa.Column("output_tokens", INT64),
        sa.Column("thinking_tokens", INT64),
        sa.Column("usage_source", sa.Text),
        sa.Column("cause", sa.Text),
        sa.Column("stop_reason", sa.Text),
        sa.Column("upstream_request_id", sa.Text),
        sa.Column("input_picousd", INT64),
        sa.Column("output_picousd", INT64),
        sa.Column("cache_read_picousd", INT64),
        sa.Column("cache_write_picousd", INT64),
        sa.Column("cache_write_1h_picousd", INT64),
        sa.Column("cost_nanousd", INT64),
        sa.PrimaryKeyConstraint("request_id", "n", name="attempt_key"),
        sa.ForeignKeyConstraint(["request_id"], ["request.id"], name="attempt_request_id_refers"),
        sqlite_strict=True,
    )
