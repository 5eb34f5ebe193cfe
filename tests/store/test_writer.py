"""The writer thread: group commit, cancelling, refusals, the end."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from ezai.errors import Overloaded, SetupError
from ezai.store.writer import Writer
from tests.store.records import new_database, rows, run, writing


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = new_database(tmp_path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE kept (value INTEGER PRIMARY KEY, text TEXT NOT NULL DEFAULT '')")
    return path


def keep(value: int, cursor: sqlite3.Cursor) -> int:
    cursor.execute("INSERT INTO kept (value) VALUES (?)", (value,))
    return value


def keeping(value: int) -> Callable[[sqlite3.Cursor], int]:
    return partial(keep, value)


def kept(path: Path) -> list[int]:
    return [row["value"] for row in rows(path, "SELECT value FROM kept ORDER BY value")]


class Held:
    """The thread, held up by a job until `release`; whatever is given in meanwhile is one batch."""

    def __init__(self, writer: Writer) -> None:
        self._free = threading.Event()
        self._began = asyncio.Event()
        loop = asyncio.get_running_loop()

        def hold(cursor: sqlite3.Cursor) -> None:
            loop.call_soon_threadsafe(self._began.set)
            self._free.wait()

        self._task = loop.create_task(writer.read(hold))

    async def began(self) -> None:
        await self._began.wait()

    async def release(self) -> None:
        self._free.set()
        await self._task


async def given(*tasks: asyncio.Task[int]) -> None:
    """Return when the tasks have given their jobs in."""
    await asyncio.sleep(0)


def test_a_write_that_was_awaited_is_there_for_others(database: Path) -> None:
    async def scenario() -> None:
        async with writing(database) as writer:
            assert await writer.write(keeping(7)) == 7
            assert kept(database) == [7]

    run(scenario())


def test_whatever_waits_is_committed_at_once_and_in_order(database: Path) -> None:
    async def scenario() -> None:
        async with writing(database) as writer, asyncio.TaskGroup() as group:
            statements: list[str] = []
            await writer.read(lambda cursor: cursor.connection.set_trace_callback(statements.append))
            held = Held(writer)
            await held.began()
            tasks = [group.create_task(writer.write(keeping(value))) for value in range(20)]
            await given(*tasks)
            await held.release()
            assert [await task for task in tasks] == list(range(20))
            assert statements[0] == "BEGIN IMMEDIATE"
            assert statements[-1] == "COMMIT"
            assert [statement.split("(")[-1] for statement in statements[1:-1]] == [f"{n})" for n in range(20)]

    run(scenario())


def test_a_read_sees_the_writes_before_it_and_takes_no_lock(database: Path) -> None:
    async def scenario() -> None:
        async with writing(database) as writer, asyncio.TaskGroup() as group:
            held = Held(writer)
            await held.began()
            before = group.create_task(writer.write(keeping(1)))
            reading = group.create_task(writer.read(in_transaction_and_count))
            after = group.create_task(writer.write(keeping(2)))
            await given(before, after)
            await held.release()
            assert await reading == (False, 1)

    def in_transaction_and_count(cursor: sqlite3.Cursor) -> tuple[bool, int]:
        return cursor.connection.in_transaction, cursor.execute("SELECT count(*) FROM kept").fetchone()[0]

    run(scenario())


def test_a_cancelled_wait_neither_stops_nor_loses_its_write(database: Path) -> None:
    async def scenario() -> None:
        async with writing(database) as writer:
            held = Held(writer)
            await held.began()
            tasks = [asyncio.get_running_loop().create_task(writer.write(keeping(value))) for value in range(3)]
            await given(*tasks)
            tasks[1].cancel()
            with pytest.raises(asyncio.CancelledError):
                await tasks[1]
            await held.release()
            assert (await tasks[0], await tasks[2]) == (0, 2)
        assert kept(database) == [0, 1, 2]

    run(scenario())


def test_one_that_fails_takes_no_other_along(database: Path) -> None:
    async def scenario() -> None:
        async with writing(database) as writer:
            await writer.write(keeping(1))
            held = Held(writer)
            await held.began()
            writes = asyncio.gather(*(writer.write(keeping(n)) for n in (0, 1, 2)), return_exceptions=True)
            await given()
            await held.release()
            first, second, third = await writes
            assert (first, third) == (0, 2)
            assert isinstance(second, sqlite3.IntegrityError)
        assert kept(database) == [0, 1, 2]

    run(scenario())


def test_a_job_that_raises_has_written_nothing(database: Path) -> None:
    def half(cursor: sqlite3.Cursor) -> None:
        keep(1, cursor)
        raise ZeroDivisionError

    async def scenario() -> None:
        async with writing(database) as writer:
            with pytest.raises(ZeroDivisionError):
                await writer.write(half)
            with pytest.raises(ZeroDivisionError):
                await writer.read(lambda cursor: 1 // 0)
            await writer.write(keeping(2))
        assert kept(database) == [2]

    run(scenario())


# What the database refuses.


def test_a_full_disk_is_told_and_what_was_written_stays(database: Path) -> None:
    def large(cursor: sqlite3.Cursor) -> None:
        cursor.execute("INSERT INTO kept (text) VALUES (?)", ("x" * 1_000_000,))

    async def scenario() -> None:
        async with writing(database) as writer:
            await writer.write(keeping(1))
            await writer.read(lambda cursor: cursor.execute("PRAGMA max_page_count = 1").fetchone())
            with pytest.raises(Overloaded, match="the disk of its database is full"):
                await writer.write(large)
            await writer.read(lambda cursor: cursor.execute("PRAGMA max_page_count = 100000").fetchone())
            await writer.write(keeping(2))
        assert kept(database) == [1, 2]

    run(scenario())


def test_a_database_that_another_process_holds_is_told(database: Path) -> None:
    async def scenario() -> None:
        async with writing(database, busy_timeout_ms=0) as writer:
            with closing(sqlite3.connect(database, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                told = await asyncio.gather(*(writer.write(keeping(n)) for n in range(3)), return_exceptions=True)
                assert [str(error) for error in told] == [
                    "The gateway cannot keep its record of use now: another process holds its database."
                ] * 3
                assert await writer.read(lambda cursor: cursor.execute("SELECT 5").fetchone()) == (5,)
                other.execute("COMMIT")
            await writer.write(keeping(4))
        assert kept(database) == [4]

    run(scenario())


def test_a_database_that_may_not_be_written_is_told(database: Path) -> None:
    async def scenario() -> None:
        async with writing(database) as writer:
            await writer.read(lambda cursor: cursor.execute("PRAGMA query_only = ON").fetchone())
            with pytest.raises(Overloaded, match="may not be written"):
                await writer.write(keeping(1))

    run(scenario())


def test_a_refusal_tells_the_client_no_path(database: Path) -> None:
    async def scenario() -> str:
        async with writing(database) as writer:
            with pytest.raises(Overloaded) as refused:
                await writer.write(lambda cursor: cursor.execute("SELECT * FROM nowhere"))
            return refused.value.message

    message = run(scenario())
    assert "nowhere" not in message
    assert str(database) not in message


@pytest.mark.parametrize("content", [None, b"no database at all, but long enough to be looked at" * 100])
def test_what_cannot_be_opened_keeps_the_gateway_from_starting(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "ezai.db"
    if content is not None:
        path.write_bytes(content)

    async def scenario() -> None:
        writer = Writer(path)
        with pytest.raises(SetupError, match="the database cannot be opened"):
            await writer.start()
        await writer.aclose()

    run(scenario())
    assert path.exists() == (content is not None), "nothing is made"


# The end.


def test_closing_writes_what_was_given_in_and_refuses_what_comes_later(database: Path) -> None:
    async def scenario() -> None:
        async with writing(database) as writer:
            held = Held(writer)
            await held.began()
            tasks = [asyncio.get_running_loop().create_task(writer.write(keeping(n))) for n in range(300)]
            await given(*tasks)
            closing_ = asyncio.get_running_loop().create_task(writer.aclose())
            await asyncio.sleep(0)
            with pytest.raises(Overloaded, match="its database is closed"):
                await writer.write(keeping(1000))
            await held.release()
            assert [await task for task in tasks] == list(range(300))
            await closing_
            await writer.aclose()
        assert kept(database) == list(range(300))

    run(scenario())


def test_before_the_start_nothing_is_taken(database: Path) -> None:
    async def scenario() -> None:
        writer = Writer(database)
        with pytest.raises(Overloaded):
            await writer.write(keeping(1))
        await writer.aclose()

    run(scenario())


def test_a_loop_that_is_gone_loses_no_write(database: Path) -> None:
    free = threading.Event()

    async def scenario() -> Writer:
        writer = Writer(database)
        await writer.start()
        began = asyncio.Event()
        loop = asyncio.get_running_loop()

        def late(cursor: sqlite3.Cursor) -> None:
            loop.call_soon_threadsafe(began.set)
            free.wait()
            keep(1, cursor)

        task = loop.create_task(writer.write(late))
        await began.wait()
        closing_ = loop.create_task(writer.aclose())
        await asyncio.sleep(0)
        for waiting in (task, closing_):
            waiting.cancel()
        return writer

    writer = run(scenario())
    free.set()
    assert writer._thread is not None
    writer._thread.join()
    assert kept(database) == [1]
