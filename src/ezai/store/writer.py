"""The one thread that holds the database, for a process that serves.

Whatever is queued when the thread is free is committed in one transaction (group commit). The event loop only queues
and awaits; it is woken once per commit.

    event loop       write(job): queue, await ─┐                          ┌─ every future of the batch is set
    writer thread              take all ─ BEGIN ─ job, job, job ─ COMMIT ─┘
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from ezai.errors import Overloaded, SetupError
from ezai.store.database import BUSY_TIMEOUT_MS, connect
from ezai.store.handover import HandOver

T = TypeVar("T")
Job = Callable[[sqlite3.Cursor], T]
"""Runs in the writer thread. One that writes begins and ends no transaction, and may be run again from its start
when another job of its batch failed, so it changes nothing but the database."""

_MAX_BATCH = 256


class Writer:
    """Runs jobs on the database, in the order they are given in. Made and used on one event loop."""

    def __init__(self, path: Path, *, busy_timeout_ms: int = BUSY_TIMEOUT_MS) -> None:
        self._path = path
        self._busy_timeout_ms = busy_timeout_ms
        self._queue: SimpleQueue[_Entry[Any] | None] = SimpleQueue()
        self._hand_over = HandOver()
        self._closed = True
        self._thread: threading.Thread | None = None

    async def start(self) -> None:
        """Open the database. Raises `SetupError`."""
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = loop.create_future()
        self._ended: asyncio.Future[None] = loop.create_future()
        # A daemon: should the process end without `aclose`, nothing waits for it, and SQLite forgets the open batch.
        self._thread = threading.Thread(target=self._run, args=(loop, opened), name="ezai-writer", daemon=True)
        self._thread.start()
        try:
            await asyncio.shield(opened)
        except sqlite3.Error as error:
            raise SetupError(f"{self._path}: the database cannot be opened: {error}.") from None
        except BaseException:
            self._queue.put(None)
            raise
        self._closed = False

    async def write(self, job: Job[T], *, hurried: bool = True) -> T:
        """Run the job in a transaction, and return what it returned once that is committed.

        The job is queued before this waits: cancelling the wait neither stops nor loses it. Raises `Overloaded` where
        the database cannot take it now (locked, full, failing, closed); then nothing was written. Whatever else the
        job raised comes out of here. For one that is `hurried` a loop that is never idle gives way (`HandOver`).
        """
        return await self._submit(_Entry(job, asyncio.get_running_loop(), writes=True, hurried=hurried))

    async def read(self, job: Job[T]) -> T:
        """The same for a job that only reads: it takes no lock, and sees every write that was queued before it."""
        return await self._submit(_Entry(job, asyncio.get_running_loop(), writes=False))

    async def aclose(self) -> None:
        """Take no more jobs, finish those that were given in, and close the database. Idempotent."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        if self._thread is not None:
            await asyncio.shield(self._ended)  # the thread's last act

    # On the event loop.

    def _submit(self, entry: _Entry[T]) -> asyncio.Future[T]:
        if self._closed:
            raise refusal("its database is closed")
        self._queue.put(entry)
        if entry.hurried:
            self._hand_over.given(entry.future.get_loop())
        return entry.future

    def _announce(self, batch: Sequence[_Entry[Any]]) -> None:
        self._hand_over.seen()
        for entry in batch:
            if entry.future.done():
                continue  # whoever waited was cancelled
            if entry.error is None:
                entry.future.set_result(entry.result)
            else:
                entry.future.set_exception(entry.error)

    # In the thread.

    def _run(self, loop: asyncio.AbstractEventLoop, opened: asyncio.Future[None]) -> None:
        try:
            with closing(connect(self._path, busy_timeout_ms=self._busy_timeout_ms)) as connection:
                cursor = connection.cursor()
                cursor.execute("PRAGMA journal_mode = WAL")  # as it was made; a restored copy may have lost it
                _tell(loop, _succeed, opened)
                while batch := self._take():
                    _run_batch(cursor, batch)
                    self._hand_over.finished(sum(entry.hurried for entry in batch))
                    _tell(loop, self._announce, batch)
        except sqlite3.Error as error:
            _tell(loop, _fail, opened, error)
        finally:
            _tell(loop, _succeed, self._ended)

    def _take(self) -> list[_Entry[Any]]:
        """Whatever is queued, as soon as anything is; nothing when the end was asked for."""
        queue = self._queue
        first = queue.get()
        if first is None:
            return []
        batch = [first]
        for _ in range(min(queue.qsize(), _MAX_BATCH - 1)):  # this thread alone takes, so they are there
            entry = queue.get()
            if entry is None:
                queue.put(None)  # the last one: the next look finds it
                break
            batch.append(entry)
        return batch


class _Entry(Generic[T]):
    """One job on its way, and what became of it."""

    __slots__ = ("error", "future", "hurried", "job", "result", "writes")

    def __init__(self, job: Job[T], loop: asyncio.AbstractEventLoop, *, writes: bool, hurried: bool = True) -> None:
        self.job = job
        self.writes = writes
        self.hurried = hurried
        self.future: asyncio.Future[T] = loop.create_future()
        self.result: T | None = None
        self.error: Exception | None = None


def _run_batch(cursor: sqlite3.Cursor, batch: list[_Entry[Any]]) -> None:
    """Run the jobs in order: each run of writes in one transaction, reads outside of any."""
    writes: list[_Entry[Any]] = []
    for entry in batch:
        if entry.writes:
            writes.append(entry)
            continue
        if writes:
            _commit(cursor, writes)
            writes = []
        _read(cursor, entry)
    if writes:
        _commit(cursor, writes)


def _read(cursor: sqlite3.Cursor, entry: _Entry[Any]) -> None:
    try:
        entry.result = entry.job(cursor)
    except Exception as error:  # noqa: BLE001  # it belongs to whoever waits for this job
        entry.error = _read_error(error)


def _commit(cursor: sqlite3.Cursor, entries: Sequence[_Entry[Any]]) -> None:
    """Run the jobs in one transaction; where one of them fails for a reason of its own, each in one of its own."""
    try:
        cursor.execute("BEGIN IMMEDIATE")
        for entry in entries:
            entry.result = entry.job(cursor)
        cursor.execute("COMMIT")
    except Exception as error:  # noqa: BLE001  # it belongs to whoever waits for these jobs
        _roll_back(cursor)
        if is_storage_trouble(error) or len(entries) == 1:
            for entry in entries:
                entry.error = _read_error(error)
            return
        for entry in entries:
            _commit(cursor, [entry])


def _roll_back(cursor: sqlite3.Cursor) -> None:
    with suppress(sqlite3.Error):  # SQLite may have rolled back by itself
        if cursor.connection.in_transaction:
            cursor.execute("ROLLBACK")


# What SQLite says.


def is_storage_trouble(error: Exception) -> bool:
    """Whether it concerns the database, not one job: then the others need not be tried one by one."""
    return isinstance(error, sqlite3.OperationalError) or type(error) is sqlite3.DatabaseError


def _read_error(error: Exception) -> Exception:
    if not is_storage_trouble(error):
        return error
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    told = refusal(_TROUBLES.get(code, "its database fails"))
    told.__cause__ = error  # for the log; the client is told the sentence alone
    return told


_TROUBLES = {
    sqlite3.SQLITE_BUSY: "another process holds its database",
    sqlite3.SQLITE_LOCKED: "another process holds its database",
    sqlite3.SQLITE_FULL: "the disk of its database is full",
    sqlite3.SQLITE_READONLY: "its database may not be written",
    sqlite3.SQLITE_CANTOPEN: "its database cannot be opened",
    sqlite3.SQLITE_IOERR: "the disk of its database fails",
    sqlite3.SQLITE_CORRUPT: "its database is damaged",
    sqlite3.SQLITE_NOTADB: "its database is damaged",
}


def refusal(reason: str) -> Overloaded:
    """What a request is told whose use cannot be recorded, or whose key cannot be looked up."""
    return Overloaded(
        f"The gateway cannot keep its record of use now: {reason}.", error_code="record_unavailable", retry_after_s=1
    )


# Across the threads.


def _tell(loop: asyncio.AbstractEventLoop, callback: Callable[..., None], *arguments: Any) -> None:
    with suppress(RuntimeError):  # the loop is closed: nobody is left to be told
        loop.call_soon_threadsafe(callback, *arguments)


def _succeed(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _fail(future: asyncio.Future[None], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
