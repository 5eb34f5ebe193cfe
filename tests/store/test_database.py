"""The database file: its place, its mode, its schema, and who may bring that up to date."""

from __future__ import annotations

import os
import re
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from ezai.config import StoreConfig
from ezai.errors import ConfigurationError, SetupError
from ezai.store.database import SCHEMA, connect, make, make_file, prepare, schema_revision, sqlite_path
from ezai.store.engine import reading
from ezai.store.migrate import upgrade
from ezai.store.schema import metadata
from tests.store.records import new_database, rows


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def tables(path: Path) -> dict[str, str]:
    """What SQLite was told to make, without the marks that only who wrote it sees."""
    found = rows(path, "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name <> 'alembic_version'")
    return {row["name"]: re.sub(r"\s+", " ", row["sql"]).strip() for row in found}


# Where it is.


@pytest.mark.parametrize(
    ("url", "path"),
    [
        (StoreConfig().url, "/data/ezai.db"),
        ("sqlite:///sub/x.db", "/data/sub/x.db"),
        ("sqlite:////srv/x.db", "/srv/x.db"),
    ],
)
def test_urls_of_files(url: str, path: str) -> None:
    assert sqlite_path(url, Path("/data")) == Path(path)


@pytest.mark.parametrize("url", ["", "ezai.db", "sqlite://", "sqlite:///", "postgresql://h/d", "sqlite:///x?mode=ro"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"\[store\]: url: .* names no SQLite file"):
        sqlite_path(url, Path("/data"))


# How it is made.


def test_it_is_made_where_there_is_none(tmp_path: Path) -> None:
    path = tmp_path / "data" / "ezai.db"
    before = os.umask(0)
    try:
        prepare(path)
    finally:
        os.umask(before)
    assert schema_revision(path) == SCHEMA
    assert mode_of(path) == 0o600
    assert mode_of(path.parent) == 0o700
    with closing(connect(path)) as connection:
        connection.execute("UPDATE key_change SET number = 1")
        for file in path.parent.iterdir():
            assert mode_of(file) == 0o600, file
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (1,)
        assert connection.execute("PRAGMA foreign_keys").fetchone() == (1,)
        assert connection.execute("PRAGMA busy_timeout").fetchone() == (5000,)


def test_a_path_may_hold_any_character(tmp_path: Path) -> None:
    path = tmp_path / "a b%20c?d#e'f" / "x%.db"
    prepare(path)
    assert schema_revision(path) == SCHEMA
    assert [file.name for file in path.parent.iterdir() if "db" not in file.name] == []


def test_preparing_again_changes_nothing(tmp_path: Path) -> None:
    path = new_database(tmp_path)
    with closing(connect(path)) as connection:
        connection.execute("UPDATE key_change SET number = 5")
    prepare(path)
    upgrade(path)
    assert rows(path, "SELECT number FROM key_change") == [{"number": 5}]


@pytest.mark.parametrize("way", ["prepare", "upgrade"])
def test_processes_that_start_at_once_make_it_once(tmp_path: Path, way: str) -> None:
    path = tmp_path / "data" / "ezai.db"
    module = {"prepare": "database", "upgrade": "migrate"}[way]
    program = f"import sys; from pathlib import Path; from ezai.store.{module} import {way}; {way}(Path(sys.argv[1]))"
    command = [sys.executable, "-W", "error", "-c", program, str(path)]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    assert [(process.communicate()[1], process.returncode) for process in processes] == [("", 0)] * 4
    assert schema_revision(path) == SCHEMA
    assert rows(path, "SELECT number FROM key_change") == [{"number": 0}]


def test_a_process_that_was_killed_while_it_made_it_leaves_a_file_that_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "ezai.db"
    make_file(path)
    assert path.stat().st_size > 0
    prepare(path)
    assert schema_revision(path) == SCHEMA


def test_a_migration_waits_for_another_program_and_tells_when_that_takes_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ezai.db"
    make_file(path)
    monkeypatch.setattr("ezai.store.migrate._WAIT_MS", 0)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(SetupError, match="locked"):
            upgrade(path)
    upgrade(path)
    assert schema_revision(path) == SCHEMA


def test_a_migration_that_fails_has_changed_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ezai.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE attempt (old)")  # in the way of the last table that is made
    with pytest.raises(SetupError, match="table attempt already exists"):
        prepare(path)
    assert [row["name"] for row in rows(path, "SELECT name FROM sqlite_master")] == ["attempt"]


def test_a_newer_schema_is_refused_in_one_sentence(tmp_path: Path) -> None:
    path = new_database(tmp_path)
    with closing(connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0999'")
    for refuse in (prepare, upgrade):
        with pytest.raises(SetupError, match=r"a newer EzAI wrote this database \(schema 0999") as refused:
            refuse(path)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", [b"no database" * 1000, b"SQLite format 3\0" + b"\xff" * 4000])
def test_what_is_no_database_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ezai.db"
    path.write_bytes(content)
    with pytest.raises(SetupError, match="cannot be opened"):
        prepare(path)
    assert path.read_bytes() == content


def test_a_place_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for make_it in (prepare, upgrade):
        with pytest.raises(SetupError, match="cannot be made.*: (Not a directory|File exists)"):
            make_it(tmp_path / "file" / "ezai.db")


def test_a_vanished_database_is_not_made_anew_by_connecting(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError):
        connect(tmp_path / "ezai.db")
    assert list(tmp_path.iterdir()) == []


def test_what_the_database_refuses_a_command_is_told(tmp_path: Path) -> None:
    path = new_database(tmp_path)
    with pytest.raises(SetupError, match="the database refused: no such table: nowhere"), reading(path) as connection:
        connection.exec_driver_sql("SELECT * FROM nowhere")


# Migrations, tables and programs agree.


def test_a_new_database_the_migrations_and_sqlalchemy_have_the_same_tables(tmp_path: Path) -> None:
    new, migrated, by_sqlalchemy = (tmp_path / name for name in ("new.db", "migrated.db", "sqlalchemy.db"))
    make(new)
    upgrade(migrated)
    engine = create_engine(f"sqlite:///{by_sqlalchemy}")
    metadata.create_all(engine)
    engine.dispose()
    assert tables(new) == tables(migrated) == tables(by_sqlalchemy)
    for table in ("alembic_version", "key_change"):
        assert rows(new, f"SELECT * FROM {table}") == rows(migrated, f"SELECT * FROM {table}") != []


def test_alembic_finds_nothing_to_migrate(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{new_database(tmp_path)}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_the_program_is_at_the_last_revision() -> None:
    config = Config()
    config.set_main_option("script_location", "ezai.store:migrations")
    script = ScriptDirectory.from_config(config)
    assert script.get_heads() == [SCHEMA]
    revisions = [revision.revision for revision in script.walk_revisions()]
    assert revisions == [f"{number:04}" for number in range(len(revisions), 0, -1)]
    for revision in script.walk_revisions():
        assert Path(revision.path).name.startswith(f"m{revision.revision}_")


def test_a_new_or_present_database_is_opened_without_sqlalchemy_or_alembic(tmp_path: Path) -> None:
    program = """
import asyncio, sys
from pathlib import Path
from ezai.store.opening import open_store
from ezai.system import SystemClock

async def main(directory):
    store = await open_store(directory / "ezai.db", directory, SystemClock(), {})
    await store.aclose()

asyncio.run(main(Path(sys.argv[1])))
print(sorted({"sqlalchemy", "alembic", "genai_prices", "pydantic"} & set(sys.modules)))
"""
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", program, str(tmp_path)], check=True, capture_output=True, text=True
        )
        assert done.stdout == "[]\n"
