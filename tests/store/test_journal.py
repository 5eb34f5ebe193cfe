"""The journal: records are safe at once, in the database soon, and there once, whatever ends the process."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import logging
import os
import resource
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import get_args

import pytest

from ezai.errors import Overloaded, SetupError
from ezai.store import journal_file, records
from ezai.store.journal import FILED_TOGETHER, Journal, recover
from ezai.store.journal_file import JournalFiles
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
    return IntentRecord(name, (name, 1, "up", "model", 5), (name, None, "", "anthropic", "model", "*", 1, 5))


def ended(number: int) -> SettlementRecord:
    """It ends, and the request with it."""
    name = f"req_{number:04}"
    nothing = (None,) * 8
    attempt = (*nothing, "none", "finished", None, None, *nothing[:6], name, 1)
    return SettlementRecord(name, attempt, (9, "finished", name))


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
                assert (file.stat().st_size, stat.S_IMODE(file.stat().st_mode)) == (0, 0o600), "as the database"

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
            for _ in range(7):  # passed over, after three failures
                journal.check(0)
            assert journal._filing is None
            journal.check(0)
            await is_filed(journal)
            assert filed(database) == [0]
            assert await journal.flush()
            assert filed(database) == [0, 1, 2]

    run(scenario())
    told = [record.getMessage() for record in caplog.records if record.name == "ezai.store"]
    assert [message.split(":")[0] for message in told] == [
        "records of use wait in their journal",
        "records of use are filed again",
    ]


def test_a_database_that_fails_is_asked_ever_more_rarely(database: Path) -> None:
    async def scenario() -> None:
        async with journaling(database, busy_timeout_ms=0) as journal:
            with held(database):
                tried = []
                for tick in range(120):
                    for number in range(3):
                        journal.append(begun(3 * tick + number), bounded=True)
                    journal.check(0)
                    if journal._filing is not None:
                        tried.append(tick)
                        await is_filed(journal)
            assert tried == [0, 2, 6, 14, 30, 51, 72, 93, 114]

    run(scenario())
    assert len(filed(database)) == 360


def test_a_file_that_cannot_be_cleared_holds_up_no_end(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in the database is filed once, and what came later waits in the files."""

    def fail(_: JournalFiles) -> None:
        raise OSError(errno.EIO, "Input/output error")

    async def scenario() -> None:
        async with journaling(database) as journal:
            monkeypatch.setattr(JournalFiles, "clear_other", fail)
            journal.append(begun(1), bounded=True)
            await journal.flush()
            journal.append(begun(2), bounded=True)
            assert not await journal.flush()
            assert filed(database) == [1]

    run(scenario())
    assert len(journals(database)) == 2
    assert recover(database) == 2
    assert filed(database) == [1, 2]


def test_a_tick_beside_a_flush_begins_no_second_filing(database: Path) -> None:
    async def scenario() -> None:
        async with journaling(database) as journal:

            def follow(_: object) -> None:
                journal.append(begun(2), bounded=True)
                journal.check(0)

            journal.append(begun(1), bounded=True)
            journal.check(0)
            flushing = asyncio.get_running_loop().create_task(journal.flush())
            await asyncio.sleep(0)
            first = journal._filing
            assert first is not None
            first.add_done_callback(follow)
            assert await flushing
            await is_filed(journal)
            assert filed(database) == [1, 2]

    run(scenario())


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
    nobodys = IntentRecord("req_none", ("req_none", 2, "up", "model", 5), None)

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


def leave_both(database: Path) -> Path:
    """The same with the beginning in one file and the end in the other."""

    async def scenario() -> Path:
        async with journaling(database, busy_timeout_ms=0) as journal:
            with held(database):
                journal.append(begun(1), bounded=True)
                assert not await journal.flush()
                journal.append(ended(1), bounded=False)
                assert [file.stat().st_size > 0 for file in journals(database)] == [True, True]
                return copy_as_killed(database, database.parent / "killed")

    return run(scenario())


def test_an_end_is_found_in_another_file_than_its_beginning(database: Path) -> None:
    left = leave_both(database)
    recover(left)
    assert states(left) == ["settled"]


def test_a_pair_whose_owner_ends_in_the_middle_of_a_look_is_left_whole(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first file is held when it is looked at, and nobody's when its second one is."""
    left = leave_both(database)
    owner = os.open(journals(left)[0], os.O_RDWR)
    fcntl.flock(owner, fcntl.LOCK_EX)
    take = journal_file._take

    def take_late(first: Path) -> int | None:
        taken = take(first)
        os.close(owner)
        return taken

    monkeypatch.setattr(journal_file, "_take", take_late)
    assert recover(left) == 0
    monkeypatch.undo()
    assert recover(left) == 2
    assert states(left) == ["settled"]


def test_a_name_with_marks_of_a_pattern_is_found_and_no_other_file_is(tmp_path: Path) -> None:
    database = new_database(tmp_path / "data").rename(tmp_path / "data" / "ezai[1]*.db")
    left = leave(database, begun(1))
    kept = [left.with_name(f"{left.name}.records-{name}") for name in ("0123abcd.a.bak", "notes.a", "0123abcd.c")]
    for file in kept:
        file.write_text("an operator's")
    assert recover(left) == 1
    assert all(file.exists() for file in kept)


def test_half_a_record_counts_for_nothing(database: Path, caplog: pytest.LogCaptureFixture) -> None:
    left = leave(database, begun(1))
    (file,) = [file for file in journals(left) if file.stat().st_size]
    whole = file.read_bytes()
    file.write_bytes(whole + whole.replace(b"0001", b"0002")[:-9])
    assert recover(left) == 1
    assert filed(left) == [1]
    assert "an incomplete record is left out" in caplog.text


def test_records_of_another_version_stay_and_their_pair_with_them(
    database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    left = leave_both(database)
    before = {file: file.read_bytes().replace(b"intent.1", b"intent.9") for file in journals(left)}
    assert sorted(b"intent.9" in content for content in before.values()) == [False, True]
    for file, content in before.items():
        file.write_bytes(content)
    assert recover(left) == 0
    assert {file: file.read_bytes() for file in journals(left)} == before
    assert [record.levelno for record in caplog.records if record.name == "ezai.store"][-1] == logging.ERROR


def test_a_tag_stands_for_its_columns() -> None:
    """Change one of these, and the tag of the record; and let the former tag be read as it was."""
    shapes = {
        "intent.1": (records.IntentRecord, records.INSERT_ATTEMPT, records.INSERT_REQUEST),
        "settlement.1": (records.SettlementRecord, records.SETTLE_ATTEMPT, records.END_REQUEST),
    }
    of_now = {tag: sha256("".join(statements).encode()).hexdigest()[:12] for tag, (_, *statements) in shapes.items()}
    assert {tag: kind.__struct_config__.tag for tag, (kind, *_) in shapes.items()} == {tag: tag for tag in shapes}
    assert of_now == {"intent.1": "8b6e10e91a31", "settlement.1": "3a90cc554d21"}
    for row, statement in (
        (records.AttemptRow, records.INSERT_ATTEMPT),
        (records.RequestRow, records.INSERT_REQUEST),
        (records.AttemptEnd, records.SETTLE_ATTEMPT),
        (records.RequestEnd, records.END_REQUEST),
    ):
        assert len(get_args(row)) == statement.count("?")


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
    files = JournalFiles(database)
    assert len(journals(database)) == 2
    files.append(begun(1))
    files.close(remove=False)
    assert recover(database) == 1
    assert journals(database) == []


def test_a_pair_that_cannot_be_made_leaves_nothing(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open

    def open_the_first(path: Path, flags: int, mode: int = 0o777) -> int:
        if str(path).endswith(".b"):
            raise OSError(errno.EMFILE, "Too many open files")
        return opened(path, flags, mode)

    before = set(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(os, "open", open_the_first)
    with pytest.raises(OSError, match="Too many"):
        JournalFiles(database)
    monkeypatch.undo()
    assert journals(database) == []
    assert set(os.listdir("/proc/self/fd")) == before


def test_a_record_that_no_table_takes_keeps_nobody_from_starting(
    database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    left = leave(database, begun(1), begun(2))
    with closing(sqlite3.connect(left)) as connection:
        connection.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON request WHEN NEW.id = 'req_0001'"
            " BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    assert recover(left) == 2
    assert filed(left) == [2]
    assert "cannot be filed: no" in caplog.text


def test_a_database_that_takes_nothing_now_keeps_the_gateway_from_nothing(
    database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    left = leave(database, begun(1))
    with closing(sqlite3.connect(left)) as connection:
        connection.execute("ALTER TABLE attempt RENAME TO elsewhere")

    async def scenario() -> None:
        store = await open_store(left, left.parent, FakeClock(), {})
        await store.aclose()

    run(scenario())
    assert "is not filed: no such table" in caplog.text
    assert len(journals(left)) == 2
    with closing(sqlite3.connect(left)) as connection:
        connection.execute("ALTER TABLE elsewhere RENAME TO attempt")
    assert recover(left) == 1


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
    assert "records of use stay in their journal (1)" in caplog.text
    run(second())
    assert journals(database) == []


def test_an_open_store_files_at_its_clocks_ticks(database: Path) -> None:
    async def scenario() -> None:
        clock = FakeClock()
        store = await open_store(database, database.parent, clock, {})
        await store.ledger.intend(intent())
        assert store.ledger.waiting == 1
        clock.advance(1)
        await is_filed(store.journal)
        assert store.ledger.waiting == 0
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
