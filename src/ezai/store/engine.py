"""The way of the commands to the database: SQLAlchemy Core, one transaction at a time.

What serves requests does not come by here (`writer.py`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from ezai.errors import SetupError
from ezai.store.database import BUSY_TIMEOUT_MS, connect


@contextmanager
def reading(path: Path) -> Iterator[Connection]:
    """A transaction that sees one state of the database. Raises `SetupError` for what SQLite refuses in it."""
    with _transaction(path, "BEGIN", BUSY_TIMEOUT_MS) as connection:
        yield connection


@contextmanager
def writing(path: Path, *, busy_timeout_ms: int = BUSY_TIMEOUT_MS) -> Iterator[Connection]:
    """A transaction that may write, committed at the end of the block. No other process writes meanwhile.

    Raises `SetupError` for what SQLite refuses in it; then nothing was written.
    """
    with _transaction(path, "BEGIN IMMEDIATE", busy_timeout_ms) as connection:
        yield connection


@contextmanager
def _transaction(path: Path, begin: str, busy_timeout_ms: int) -> Iterator[Connection]:
    def creator() -> sqlite3.Connection:
        return connect(path, busy_timeout_ms=busy_timeout_ms)

    engine = create_engine("sqlite://", creator=creator, poolclass=NullPool)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)  # the driver begins nothing by itself

    try:
        with engine.begin() as connection:
            yield connection
    except DBAPIError as error:
        raise SetupError(f"{path}: the database refused: {error.orig}.") from error
    finally:
        engine.dispose()
