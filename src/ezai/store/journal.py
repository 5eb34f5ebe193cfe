"""Records on their way into the database.

A record is safe once it is in a file (`ezai.store.journal_file`), which costs a few microseconds on the event loop; a
commit costs a hundred times that when it comes alone, between the events of streams, and changes threads twice. So
records are appended one by one, and filed in the database together: at the clock's tick, or as soon as enough wait.

    event loop       append ─ append ─ append ┐ files change places     ┌ its file is cleared
    writer thread                             └ BEGIN ─ all ─ COMMIT ────┘

What a process leaves in its files is filed by the next one that opens the store (`recover`).
"""

from __future__ import annotations

import asyncio
import errno
import logging
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from ezai.errors import Overloaded, SetupError
from ezai.store.database import connect
from ezai.store.journal_file import JournalFiles, left_behind
from ezai.store.records import Record, filing_order
from ezai.store.writer import Writer, is_storage_trouble, refusal

logger = logging.getLogger("ezai.store")

MAX_WAITING = 8192
"""Records that may wait for the database; each holds about a kilobyte. More means that it is long out of reach."""
FILED_TOGETHER = 128
"""So many are not kept waiting for the tick: filing them takes a few milliseconds of the writer's thread."""
_HURRIED_ABOVE = 1024
"""So many wait at full load alone: then the event loop gives way to the writer's thread."""
_MOST_TICKS_PASSED_OVER = 20
"""After failures: five seconds."""


class Journal:
    """Takes records in order, and files them. Used on one event loop, on which the clock calls `check`."""

    def __init__(self, database: Path, writer: Writer, *, max_waiting: int = MAX_WAITING) -> None:
        self._database = database
        self._writer = writer
        self._max_waiting = max_waiting
        self._files: JournalFiles
        self._arrived: list[Record] = []
        self._batch: list[Record] = []  # in the other file, until they are in the database
        self._is_cleared = True  # the other file
        self._filing: asyncio.Task[None] | None = None
        self._closed = True
        self._in_trouble = False
        self._passes_over = self._passed_over = 0  # ticks

    async def start(self) -> None:
        """Make the files. Raises `SetupError`."""
        try:
            self._files = await asyncio.to_thread(JournalFiles, self._database)
        except OSError as error:
            raise SetupError(f"{self._database}: no journal can be kept beside it: {error.strerror}.") from None
        self._closed = False

    @property
    def waiting(self) -> int:
        """Records that are safe, and not in the database yet."""
        return len(self._arrived) + len(self._batch)

    def append(self, record: Record, *, bounded: bool) -> None:
        """Keep the record, safely, before this returns.

        Raises `Overloaded` where that cannot be done or, when `bounded`, too many wait for the database; then nothing
        was recorded.
        """
        if self._closed:
            raise refusal("its database is closed")
        if bounded and self.waiting >= self._max_waiting:
            raise refusal("too many records wait for the disk")
        try:
            self._files.append(record)
        except OSError as error:
            raise refusal(_trouble(error)) from error
        self._arrived.append(record)
        if len(self._arrived) >= FILED_TOGETHER and not self._in_trouble:
            self._begin_filing()

    def check(self, _now: float) -> None:
        """The clock's tick. After a failure some of them are passed over, and more after each."""
        if self._passed_over < self._passes_over:
            self._passed_over += 1
        elif self.waiting or not self._is_cleared:
            self._begin_filing()

    async def flush(self) -> bool:
        """File what waits, until nothing does or the database fails; whether it took everything."""
        if self._filing is None and not self.waiting:
            return True
        while True:
            await asyncio.shield(self._begin_filing())
            if self._in_trouble or not self.waiting:
                return not self.waiting

    async def aclose(self) -> None:
        """Take no more records, and file those that wait. What the database does not take stays in the files."""
        if self._closed:
            return
        self._closed = True
        is_filed = False
        try:
            is_filed = await self.flush()
        finally:
            if not is_filed:
                logger.error("records of use stay in their journal (%d): the next start files them", self.waiting)
            close = partial(self._files.close, remove=is_filed)
            await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, close))

    # Filing.

    def _begin_filing(self) -> asyncio.Task[None]:
        """One at a time."""
        if self._filing is None:
            self._filing = asyncio.get_running_loop().create_task(self._file_batch())
        return self._filing

    async def _file_batch(self) -> None:
        """File what waits, or again what the database did not take the last time, and clear its file."""
        try:
            if not self._batch and self._is_cleared:
                self._batch, self._arrived = self._arrived, []
                self._files.change_places()
                self._is_cleared = False
            await self._file_all(self._batch)
            self._batch = []
            await self._writer.read(lambda _: self._files.clear_other())  # in its thread: it may wait for the disk
            self._is_cleared = True
            self._tell_trouble(None)
        except (Overloaded, OSError) as error:
            self._tell_trouble(error)
        finally:
            self._filing = None

    async def _file_all(self, batch: Sequence[Record]) -> None:
        if not batch:
            return
        try:
            job = partial(_file_each, batch)
            missed = await self._writer.write(job, hurried=self.waiting > _HURRIED_ABOVE)
        except Overloaded:
            raise
        except Exception:  # noqa: BLE001  # one of them is at fault; the others need not suffer for it
            missed = [record for record in batch if not await self._file_alone(record)]
        for record in missed:
            fields = {"request_id": record.request_id}
            logger.warning("a record of use was there before, or its attempt not open", extra={"fields": fields})

    async def _file_alone(self, record: Record) -> bool:
        """Whether there is nothing to be said of it any more."""
        try:
            return await self._writer.write(record.file, hurried=False)
        except Overloaded:
            raise
        except Exception as error:  # noqa: BLE001  # it is told, and the others go on
            _tell_unfiled(record, error)
            return True

    def _tell_trouble(self, error: Exception | None) -> None:
        """Log where the database begins to fail, and where it is back; wait for longer after each failure."""
        if error is not None and not self._in_trouble:
            logger.error("records of use wait in their journal: %s", error)
        elif error is None and self._in_trouble:
            logger.warning("records of use are filed again")
        self._in_trouble = error is not None
        self._passed_over = 0
        self._passes_over = min(2 * self._passes_over + 1, _MOST_TICKS_PASSED_OVER) if error is not None else 0


def recover(database: Path) -> int:
    """File what processes that have ended left in their journals. Returns how many records that were; blocks.

    Raises `SetupError` where the database does not take them; then they are left where they are.
    """
    try:
        with left_behind(database) as records:
            if records:
                with closing(connect(database)) as connection:
                    connection.execute("BEGIN IMMEDIATE")
                    _recover_each(sorted(records, key=filing_order), connection.cursor())
                    connection.execute("COMMIT")
            return len(records)
    except (OSError, sqlite3.Error) as error:
        raise SetupError(f"{database}: what ended processes left in its journals is not filed: {error}.") from None


def _file_each(batch: Sequence[Record], cursor: sqlite3.Cursor) -> list[Record]:
    """The records that changed nothing."""
    return [record for record in batch if not record.file(cursor)]


def _recover_each(records: Sequence[Record], cursor: sqlite3.Cursor) -> None:
    for record in records:
        try:
            record.file(cursor)
        except Exception as error:
            if is_storage_trouble(error):
                raise
            _tell_unfiled(record, error)


def _tell_unfiled(record: Record, error: Exception) -> None:
    fields = {"request_id": record.request_id}
    logger.error("a record of use cannot be filed: %s", error, extra={"fields": fields})


def _trouble(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk of its database is full"
    return "the disk of its database fails"
