"""The journal: records are safe at once, in the database soon, and there once, whatever ends the process."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from ezai.errors import Overloaded, SetupError
from ezai.store.journal import FILED_TOGETHER, Journal, recover
from ezai.store.journal_file import JournalFile
from ezai.store.ledger import SqliteLedger
from ezai.store.opening import open_store
from ezai.store.records import IntentRecord, Record, SettlementRecord
from ezai.store.writer import Writer
from tests.pipeline.fakes import FakeClock
from tests.store.records import (
    EPOCH_S,
    copy_as_killed,
    intent,
    journaling,
    journals,
    new_database,
    rows,
    run,
    settlement,
)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return new_database(tmp_path / "data")


def begun(number: int) -> IntentRecord:
    """The first attempt of a request of that number begins."""
    name = f"req_{number:04}"
    return IntentRecord((name, 1, "up", "model", 5), (name, None, "", "anthropic", "model", "*", 1, 5))


def ended(number: int) -> SettlementRecord:
    """It ends, and the request with it."""
    name = f"req_{number:04}"
    return SettlementRecord((*[None] * 9, "finished", *[None] * 8, name, 1), (9, "finished", name))


def filed(database: Path) -> list[int]:
    """The numbers of the requests that the database has."""
    return [int(row["id"][4:]) for row in rows(database, "SELECT id FROM request ORDER BY id")]


def states(database: Path) -> list[str]:
    return [row["state"] for row in rows(database, "SELECT state FROM attempt ORDER BY request_id")]


async def is_filed(journal: Journal) -> None:
    """Return when nothing is being filed."""
    while journal._filing is not None:
        await journal._filing


@contextmanager
def held(database: Path) -> Iterator[None]:
    """Another process writes into the database, and does not finish."""
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def test_a_record_is_filed_at_the_next_tick(database: Path) -> None:
    async def scenario() -> None:
        async with journaling(database) as journal:
            journal.append(begun(1), bounded=True)
            assert filed(database) == []
            journal.check(0)
            await is_filed(journal)
            assert filed(database) == [1]
            journal.append(ended(1), bounded=False)
            journal.check(0)
            await is_filed(journal)
            assert states(database) == ["settled"]

    run(scenario())


def test_many_are_filed_without_a_tick(database: Path) -> None:
    async def scenario() -> None:
        async with journaling(database) as journal:
            for number in range(FILED_TOGETHER - 1):
                journal.append(begun(number), bounded=True)
            await asyncio.sleep(0)
            assert journal._filing is None
            journal.append(begun(FILED_TOGETHER), bounded=True)
            await is_filed(journal)
            assert len(filed(database)) == FILED_TOGETHER

    run(scenario())


def test_what_comes_while_others_are_filed_is_filed_after_them(database: Path) -> None:
    async def scenario() -> None:
        async with journaling(database) as journal:
            for number in range(5):
                journal.append(begun(number), bounded=True)
                journal.check(0)
                await asyncio.sleep(0)
            await is_filed(journal)
            assert filed(database) == [0]
            assert await journal.flush()
            assert filed(database) == [0, 1, 2, 3, 4]

    run(scenario())


def test_its_files_are_their_owners_alone_and_empty_once_filed(database: Path) -> None:
    async def scenario() -> None:
        async with journaling(database) as journal:
            assert len(journals(database)) == 2
            journal.append(begun(1), bounded=True)
            assert sum(file.stat().st_size for file in journals(database)) > 0
            assert await journal.flush()
            for file in journals(database):
                assert (file.stat().st_size, stat.S_IMODE(file.stat().st_mode)) == (0, 0o600)

    run(scenario())
    assert journals(database) == []


# What fails.


def test_records_wait_for_a_database_that_another_process_holds(
    database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with journaling(database, busy_timeout_ms=0) as journal:
            with held(database):
                for number in range(3):
                    journal.append(begun(number), bounded=True)
                    assert not await journal.flush()
            assert filed(database) == []
            assert await journal.flush()
            assert filed(database) == [0, 1, 2]

    run(scenario())
    told = [record.getMessage() for record in caplog.records if record.name == "ezai.store"]
    assert [message.split(":")[0] for message in told] == [
        "records of use wait in their journal",
        "records of use are filed again",
    ]


def test_too_many_that_wait_are_refused_and_ends_are_not(database: Path) -> None:
    async def scenario() -> None:
        async with journaling(database, max_waiting=2) as journal:
            for number in (1, 2):
                journal.append(begun(number), bounded=True)
            with pytest.raises(Overloaded, match="too many records wait for the disk"):
                journal.append(begun(3), bounded=True)
            journal.append(ended(1), bounded=False)
            assert await journal.flush()
            journal.append(begun(4), bounded=True)

    run(scenario())
    assert (filed(database), states(database)) == ([1, 2, 4], ["settled", "intended", "intended"])


def test_one_that_cannot_be_filed_takes_no_other_along(database: Path, caplog: pytest.LogCaptureFixture) -> None:
    nobodys = IntentRecord(("req_none", 2, "up", "model", 5), None)

    async def scenario() -> None:
        async with journaling(database) as journal:
            for record in (begun(1), nobodys, begun(2)):
                journal.append(record, bounded=True)
            assert await journal.flush()

    run(scenario())
    assert filed(database) == [1, 2]
    assert rows(database, "SELECT 1 FROM attempt WHERE request_id = 'req_none'") == []
    assert [record.__dict__["fields"] for record in caplog.records if "cannot be filed" in record.getMessage()] == [
        {"request_id": "req_none"}
    ]


def test_a_full_disk_refuses_and_keeps_what_was_taken(database: Path) -> None:
    """A limit on the size of files is met by real writes, the last of which is cut short, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    async def scenario() -> list[int]:
        taken: list[int] = []
        async with journaling(database) as journal:
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
            try:
                for number in range(100):
                    journal.append(begun(number), bounded=True)
                    taken.append(number)
            except Overloaded as refused:
                assert refused.error_code == "record_unavailable"
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)
            left = copy_as_killed(database, database.parent / "killed")
            await asyncio.to_thread(recover, left)
            assert filed(left) == taken
            journal.append(begun(100), bounded=True)
        return [*taken, 100]

    taken = run(scenario())
    assert 5 < len(taken) < 100
    assert filed(database) == taken


def test_where_no_journal_can_be_kept_the_gateway_does_not_start(tmp_path: Path) -> None:
    async def scenario() -> None:
        journal = Journal(tmp_path / "nowhere" / "ezai.db", Writer(tmp_path / "ezai.db"))
        with pytest.raises(SetupError, match="no journal can be kept"):
            await journal.start()

    run(scenario())


# What a process leaves.


def leave(database: Path, *records: Record) -> Path:
    """A database as a process leaves it that is killed after these."""

    async def scenario() -> Path:
        async with journaling(database) as journal:
            for record in records:
                journal.append(record, bounded=False)
            return copy_as_killed(database, database.parent / "killed")

    return run(scenario())


def test_what_a_killed_process_left_is_filed_once(database: Path) -> None:
    left = leave(database, begun(1), begun(2), ended(1))
    assert filed(left) == []
    assert recover(left) == 3
    assert (filed(left), states(left)) == ([1, 2], ["settled", "intended"])
    assert journals(left) == []
    assert recover(left) == 0


def test_what_was_filed_before_the_kill_is_not_filed_again(database: Path) -> None:
    """Killed between the commit and the clearing of its file."""

    async def scenario() -> Path:
        async with journaling(database) as journal:
            journal.append(begun(1), bounded=True)
            journal.append(ended(1), bounded=False)
            full = copy_as_killed(database, database.parent / "before")
            assert await journal.flush()
            left = copy_as_killed(database, database.parent / "killed")
        for file in journals(full):
            shutil.copy(file, left.parent)
        return left

    left = run(scenario())
    before = rows(left, "SELECT * FROM attempt"), rows(left, "SELECT * FROM request")
    assert recover(left) == 2
    assert (rows(left, "SELECT * FROM attempt"), rows(left, "SELECT * FROM request")) == before


def test_an_end_is_found_in_another_file_than_its_beginning(database: Path) -> None:
    async def scenario() -> Path:
        async with journaling(database, busy_timeout_ms=0) as journal:
            with held(database):
                journal.append(begun(1), bounded=True)
                assert not await journal.flush()
                journal.append(ended(1), bounded=False)
                assert [file.stat().st_size > 0 for file in journals(database)] == [True, True]
                return copy_as_killed(database, database.parent / "killed")

    left = run(scenario())
    recover(left)
    assert states(left) == ["settled"]


def test_half_a_record_counts_for_nothing(database: Path, caplog: pytest.LogCaptureFixture) -> None:
    left = leave(database, begun(1))
    (file,) = [file for file in journals(left) if file.stat().st_size]
    whole = file.read_bytes()
    file.write_bytes(whole + whole.replace(b"0001", b"0002")[:-9])
    assert recover(left) == 1
    assert filed(left) == [1]
    assert "cut short" in caplog.text


def test_records_of_another_version_stay_where_they_are(database: Path, caplog: pytest.LogCaptureFixture) -> None:
    left = leave(database, begun(1))
    (file,) = [file for file in journals(left) if file.stat().st_size]
    later = file.read_bytes().replace(b"intent.1", b"intent.9")
    file.write_bytes(later)
    assert recover(left) == 0
    assert file.read_bytes() == later
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_what_a_living_process_holds_is_left_to_it(database: Path) -> None:
    async def scenario() -> None:
        async with journaling(database) as journal:
            journal.append(begun(1), bounded=True)
            assert await asyncio.to_thread(recover, database) == 0
            assert len(journals(database)) == 2
            assert await journal.flush()

    run(scenario())
    assert filed(database) == [1]


def test_a_file_that_was_taken_before_it_was_locked_is_made_anew(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process looks between the making of a file and its lock."""
    opened = os.open

    def open_and_lose(path: Path, flags: int, mode: int = 0o777) -> int:
        descriptor = opened(path, flags, mode)
        if flags & os.O_CREAT:
            monkeypatch.undo()
            recover(database)
        return descriptor

    monkeypatch.setattr(os, "open", open_and_lose)
    file = JournalFile(database)
    assert [file.path] == journals(database)
    file.remove()


def test_a_database_that_does_not_take_them_keeps_the_gateway_from_starting(database: Path) -> None:
    left = leave(database, begun(1))
    with closing(sqlite3.connect(left)) as connection:
        connection.execute("DROP TABLE attempt")
    with pytest.raises(SetupError, match="its journal cannot be filed"):
        recover(left)
    assert len(journals(left)) == 2


def test_what_stays_at_the_end_is_filed_by_the_next_start(database: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def first() -> None:
        async with journaling(database, busy_timeout_ms=0) as journal:
            with held(database):
                journal.append(begun(1), bounded=True)
                await journal.aclose()

    async def second() -> None:
        store = await open_store(database, database.parent, FakeClock(), {})
        assert filed(database) == [1]
        await store.aclose()

    run(first())
    assert filed(database) == []
    assert "1 records of use stay in their journal" in caplog.text
    run(second())
    assert journals(database) == []


def test_an_open_store_files_at_its_clocks_ticks(database: Path) -> None:
    async def scenario() -> None:
        clock = FakeClock()
        store = await open_store(database, database.parent, clock, {})
        await store.ledger.intend(intent())
        clock.advance(1)
        await is_filed(store.journal)
        assert [row["state"] for row in rows(database, "SELECT state FROM attempt")] == ["intended"]
        await store.ledger.settle(settlement(intent()))
        await store.aclose()
        assert [row["state"] for row in rows(database, "SELECT state FROM attempt")] == ["settled"]

    run(scenario())


def test_the_ledger_waits_for_nothing(database: Path) -> None:
    """So no client can leave in the middle of a record."""

    async def scenario() -> None:
        async with journaling(database) as journal:
            ledger = SqliteLedger(journal, lambda: EPOCH_S)
            for work in (ledger.intend(intent()), ledger.settle(settlement(intent()))):
                with pytest.raises(StopIteration):
                    work.send(None)

    run(scenario())
    assert [row["state"] for row in rows(database, "SELECT state FROM attempt")] == ["settled"]
