"""The tables, as SQLAlchemy knows them. schema.sql makes them, or the migrations do; a test holds the three together.

Times are milliseconds since 1970 in UTC, money is integer nano-USD, prices are integer pico-USD per token. A key that
was made is never deleted: what it used refers to it.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
)

INT64 = BigInteger().with_variant(Integer(), "sqlite")
"""SQLite's integers have 64 bits, and its strict tables know them by this one name."""

# Constraints have names, so that a later migration can speak of them.
metadata = MetaData(
    naming_convention={
        "ck": "%(table_name)s_%(constraint_name)s",
        "fk": "%(table_name)s_%(column_0_name)s_refers",
        "pk": "%(table_name)s_key",
        "uq": "%(table_name)s_%(column_0_name)s_unique",
    }
)

virtual_key = Table(
    "virtual_key",
    metadata,
    Column("public_id", Text, primary_key=True),
    Column("digest", LargeBinary, nullable=False, unique=True, comment="HMAC-SHA-256 of the key under the pepper"),
    Column("pepper_id", Text, nullable=False, comment="which pepper: keys of another root secret are not accepted"),
    Column("last4", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("account", Text, nullable=False, comment="empty: none"),
    Column("admin", Integer, nullable=False),
    Column("models", Text, nullable=False, comment="globs, separated by commas; empty: every model"),
    Column("budget_nanousd", INT64),
    Column("budget_period", Text),
    Column("requests_per_minute", INT64),
    Column("tokens_per_minute", INT64),
    Column("concurrent_requests", INT64),
    Column("created_at_ms", INT64, nullable=False),
    Column("expires_at_ms", INT64),
    Column("revoked_at_ms", INT64),
    CheckConstraint("admin IN (0, 1)", name="admin_is_flag"),
    sqlite_strict=True,
)

key_change = Table(
    "key_change",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("number", INT64, nullable=False, comment="goes up with every change of virtual_key, for who caches it"),
    CheckConstraint("id = 1", name="has_one_row"),
    sqlite_strict=True,
)

request = Table(
    "request",
    metadata,
    Column("id", Text, primary_key=True, comment="what the client was told as request-id"),
    Column("key_id", Text, comment="public id; null: an open gateway"),
    Column("account", Text, nullable=False),
    Column("dialect", Text, nullable=False, comment="that the client spoke"),
    Column("requested_model", Text, nullable=False),
    Column("route", Text, nullable=False),
    Column("streamed", Integer, nullable=False),
    Column("admitted_at_ms", INT64, nullable=False),
    Column("ended_at_ms", INT64, comment="null: not ended yet"),
    Column("cause", Text, comment="of its end, as the client was told"),
    sqlite_strict=True,
)

Index("request_admitted", request.c.admitted_at_ms)

attempt = Table(
    "attempt",
    metadata,
    Column("request_id", Text, ForeignKey("request.id"), nullable=False),
    Column("n", Integer, nullable=False, comment="counts from 1 within the request"),
    Column("upstream", Text, nullable=False),
    Column("upstream_model", Text, nullable=False),
    Column("state", Text, nullable=False, comment="intended | settled"),
    Column("started_at_ms", INT64, nullable=False),
    # All below is null until the attempt is settled.
    Column("first_event_ms", INT64),
    Column("duration_ms", INT64),
    Column("input_tokens", INT64),
    Column("cache_read_input_tokens", INT64),
    Column("cache_creation_input_tokens", INT64),
    Column("cache_creation_1h_input_tokens", INT64, comment="the part of cache_creation_input_tokens for an hour"),
    Column("output_tokens", INT64),
    Column("thinking_tokens", INT64, comment="the part of output_tokens that was thinking"),
    Column("usage_source", Text),
    Column("cause", Text),
    Column("stop_reason", Text),
    Column("upstream_request_id", Text),
    # The price that was applied, so that every cost can be worked out again; null, all six, where none is known.
    Column("input_picousd", INT64),
    Column("output_picousd", INT64),
    Column("cache_read_picousd", INT64),
    Column("cache_write_picousd", INT64),
    Column("cache_write_1h_picousd", INT64),
    Column("cost_nanousd", INT64),
    PrimaryKeyConstraint("request_id", "n"),
    sqlite_strict=True,
)
