"""Keys and the record of use at rest.

What serves:
opening.py       the store of a process that serves, opened and closed
writer.py        the one thread that holds the database: group commit
handover.py      the event loop gives way to that thread at full load
ledger.py        the record of use: the port Ledger
journal.py       records on their way into the database, and those that a killed process left
journal_file.py  the files that they are safe in
records.py       one record: a line of the journal, and what it does to the tables
keys.py          virtual keys in memory, as fresh as the clock's tick: the port KeyStore
limits.py        what keys may do at once and in a while: the port Limits
prices.py        what models cost, by the file and by the price library
root_secret.py   the root secret and what is derived from it

What commands use, with SQLAlchemy:
engine.py        transactions
key_records.py   keys made, listed, revoked
usage_report.py  the record of use, added up

The database itself:
database.py      where it is, in which schema, how a connection is opened
schema.sql       the tables, as a new database is made with them
schema.py        the tables, as SQLAlchemy knows them
migrate.py       from any earlier schema to this one, with the versions in migrations/
migrations/      each step, for Alembic
lock_file.py     one process at a time
"""
