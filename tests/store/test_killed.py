"""SIGKILL at any moment: the database is whole, and whatever was awaited is in it once the journal was found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ezai.store.journal import recover
from tests.store.records import journals, new_database, rows


@pytest.mark.parametrize("settled_before", [1, 50, 400])
def test_a_killed_process_loses_no_settlement_that_was_awaited(tmp_path: Path, settled_before: int) -> None:
    database = new_database(tmp_path)
    command = [sys.executable, "-m", "tests.store.writing_process", str(database)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        awaited = [process.stdout.readline() for _ in range(settled_before)]
        process.kill()
        awaited += process.stdout.read().splitlines(keepends=True)
    told = {line.strip().decode() for line in awaited if line.endswith(b"\n")}
    assert len(told) >= settled_before
    recover(database)
    assert not journals(database)
    assert rows(database, "PRAGMA integrity_check") == [{"integrity_check": "ok"}]
    assert rows(database, "PRAGMA foreign_key_check") == []
    settled = rows(
        database,
        "SELECT id FROM request JOIN attempt ON request_id = id WHERE state = 'settled' AND ended_at_ms IS NOT NULL",
    )
    assert told <= {row["id"] for row in settled}
