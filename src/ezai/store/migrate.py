"""Brings a database to the schema of this program: `python -m ezai.store.migrate FILE`.

`database.prepare` runs this in a process of its own, where the schema is behind. Two processes that do it at once wait
for one another, by a lock file and then by SQLite's own lock; the whole of it is one transaction, so a killed
migration has changed nothing.
"""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path

from ezai.errors import SetupError
from ezai.store.database import SCHEMA, check_not_newer, is_empty, make_file, schema_revision
from ezai.store.lock_file import held_alone

_WAIT_MS = 60_000


def upgrade(path: Path) -> None:
    """Make the database, or bring it up to date. Raises `SetupError`."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with held_alone(path):
            revision = schema_revision(path)
            check_not_newer(path, revision)
            if is_empty(path):
                make_file(path)
            if revision != SCHEMA:
                _migrate(path)
    except (OSError, sqlite3.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise SetupError(f"{path}: the database cannot be made or brought up to date: {reason}.") from None


def _migrate(path: Path) -> None:
    from alembic import command
    from alembic.config import Config

    from ezai.store.engine import writing

    config = Config()
    config.set_main_option("script_location", "ezai.store:migrations")
    with writing(path, busy_timeout_ms=_WAIT_MS) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, SCHEMA)


def main(arguments: list[str]) -> int:
    try:
        upgrade(Path(arguments[0]))
    except SetupError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
