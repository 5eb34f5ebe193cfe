"""Where the database is, in which shape, and how a connection to it is opened.

Nothing here imports SQLAlchemy or Alembic (40 MiB, half a second): a database whose schema is right is opened, and a
new one made, with what Python brings. One whose schema is behind is brought up to date in a process of its own, which
takes what it imported along when it ends.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from ezai.errors import ConfigurationError, SetupError
from ezai.store.lock_file import held_alone

SCHEMA = "0001"
"""The revision of the schema that this program reads and writes. Revisions are numbers of four digits."""

BUSY_TIMEOUT_MS = 5000
"""How long a connection waits for another process that writes."""

_UPGRADE_TIMEOUT_S = 3600
_SCHEMA_SQL = Path(__file__).with_name("schema.sql")


def sqlite_path(url: str, data_dir: Path) -> Path:
    """The file that `[store] url` names; a relative one is in the data directory. Raises `ConfigurationError`."""
    scheme, separator, rest = url.partition(":///")
    if scheme == "sqlite" and separator and rest and "?" not in rest:
        return data_dir / rest
    raise ConfigurationError(
        "[store]", "url", f"{url!r} names no SQLite file", "Write sqlite:///FILE; PostgreSQL is not offered yet."
    )


def prepare(path: Path) -> None:
    """Bring the database to the schema of this program; makes it where there is none. Blocks.

    Processes that do this at once wait for one another. Raises `SetupError` for a database of a newer program, and
    for a file that is no database or cannot be used.
    """
    revision = schema_revision(path)
    if revision == SCHEMA:
        return
    check_not_newer(path, revision)
    if is_empty(path):
        make(path)
    else:
        _upgrade_elsewhere(path)


def is_empty(path: Path) -> bool:
    """Whether there is no file, or one of no length."""
    try:
        return path.stat().st_size == 0
    except OSError:
        return True


def make(path: Path) -> None:
    """Make the database as the migrations would, unless another process just did. Raises `SetupError`."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with held_alone(path):
            if not is_empty(path):
                return
            make_file(path)
            with closing(connect(path)) as connection:
                connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA_SQL.read_text('utf-8')} COMMIT;")
    except (OSError, sqlite3.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise SetupError(f"{path}: the database cannot be made: {reason}.") from None


def make_file(path: Path) -> None:
    """An empty file that is its owner's alone; SQLite gives its journals the same mode. In WAL from the start."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    with closing(connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")


def _upgrade_elsewhere(path: Path) -> None:
    command = [sys.executable, "-m", "ezai.store.migrate", str(path)]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_UPGRADE_TIMEOUT_S, check=False
    )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or [f"the process ended with status {done.returncode}"]
        raise SetupError(said[-1])


def schema_revision(path: Path) -> str | None:
    """The revision that the database is in; None where there is none, or nothing in it yet. Raises `SetupError`."""
    if is_empty(path):
        return None
    try:
        with closing(connect(path)) as connection:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error as error:
        if "no such table" in str(error):
            return None
        raise SetupError(f"{path}: the database cannot be opened: {error}.") from None
    return str(row[0]) if row else None


def has_any_key(path: Path) -> bool:
    """Whether any key was ever made, revoked ones too. Raises `SetupError`."""
    try:
        with closing(connect(path)) as connection:
            return bool(connection.execute("SELECT EXISTS (SELECT 1 FROM virtual_key)").fetchone()[0])
    except sqlite3.Error as error:
        raise SetupError(f"{path}: the database cannot be read: {error}.") from None


def check_not_newer(path: Path, revision: str | None) -> None:
    """Raise `SetupError` for a revision that this program does not know yet."""
    if revision is not None and revision > SCHEMA:
        raise SetupError(
            f"{path}: a newer EzAI wrote this database (schema {revision}, this one knows {SCHEMA}): "
            "update EzAI, or name another database under [store] url."
        )


def connect(path: Path, *, busy_timeout_ms: int = BUSY_TIMEOUT_MS) -> sqlite3.Connection:
    """A connection that begins no transaction by itself. The file has to be there. Raises `sqlite3.Error`.

    WAL is a property of the file and was set when it was made. With `synchronous` NORMAL a commit survives the end of
    the process, however it ends; the last ones before a loss of power may be lost, the database never.
    """
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=busy_timeout_ms / 1000, isolation_level=None
    )
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection
