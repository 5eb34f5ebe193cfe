"""The way from any earlier schema to the present one, by Alembic. Imported by `ezai.store.migrate` alone.

env.py       runs the versions on the connection, and in the transaction, of its caller
versions/    one file per revision, numbered: m0001_..., m0002_...

A new revision is a new file in `versions` with the next number, the same change in `schema.py` and `schema.sql`, and
the number as `SCHEMA` in `database.py`; tests hold all of them together. A revision that was released is never
edited. There is no way back: who needs the older program restores the file that was copied before.
"""
