"""Records on their way into the database.

A record is safe once it is in a file (`ezai.store.journal_file`), which costs a few microseconds on the event loop; a
commit costs a hundred times that when it comes alone, between the events of streams, and changes threads twice. So
records are appended one by one, and filed in the database together: at the clock's tick, or as soon as enough wait.

    event loop       append ─ append ─ append ┐ files change places     ┌ the file is cleared
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
from ezai.store.journal_file import JournalFile, left_behind
from ezai.store.records import Record, filing_order
from ezai.store.writer import Writer, refusal

logger = logging.getLogger("ezai.store")

MAX_WAITING = 8192
"""Records that may wait for the database; each holds about a kilobyte. More means that it is long out of reach."""
FILED_TOGETHER = 128
"""So many are not kept waiting for the tick: filing them takes a few milliseconds of the writer's thread."""


class Journal:
    """Takes records in order, and files them. Used on one event loop, on which the clock calls `check`."""

    def __init__(self, database: Path, writer: Writer, *, max_waiting: int = MAX_WAITING) -> None:
        self._database = database
        self._writer = writer
        self._max_waiting = max_waiting
        self._file: JournalFile
        self._other_file: JournalFile
        self._arrived: list[Record] = []
        self._batch: list[Record] = []  # in the other file
        self._filing: asyncio.Task[None] | None = None
        self._closed = True
        self._in_trouble = False

    async def start(self) -> None:
        """Make the files. Raises `SetupError`."""
        try:
            self._file = await asyncio.to_thread(JournalFile, self._database)
            self._other_file = await asyncio.to_thread(JournalFile, self._database)
        except OSError as error:
            raise SetupError(f"{self._database}: no journal can be kept beside it: {error.strerror}.") from None
        self._closed = False

    def append(self, record: Record, *, bounded: bool) -> None:
        """Keep the record, safely, before this returns.

        Raises `Overloaded` where that cannot be done or, when `bounded`, too many wait for the database; then nothing
        was recorded.
        """
        if self._closed:
            raise refusal("its database is closed")
        if bounded and len(self._arrived) + len(self._batch) >= self._max_waiting:
            raise refusal("too many records wait for the disk")
        try:
            self._file.append(record)
        except OSError as error:
            raise refusal(_trouble(error)) from error
        self._arrived.append(record)
        if len(self._arrived) >= FILED_TOGETHER and self._filing is None:
            self._begin_filing()

    def check(self, _now: float) -> None:
        """The clock's tick."""
        if self._filing is None and (self._arrived or self._batch):
            self._begin_filing()

    async def flush(self) -> bool:
        """Return when nothing waits that was appended before, or the database failed; whether it took everything."""
        if self._filing is not None:
            await asyncio.shield(self._filing)
        while self._arrived or self._batch:
            self._begin_filing()
            assert self._filing is not None
            await asyncio.shield(self._filing)
            if self._batch:
                return False
        return True

    async def aclose(self) -> None:
        """Take no more records, and file those that wait. What the database does not take stays in the files."""
        if self._closed:
            return
        self._closed = True
        if await self.flush():
            await asyncio.to_thread(self._file.remove)
            await asyncio.to_thread(self._other_file.remove)
            return
        waiting = len(self._arrived) + len(self._batch)
        logger.error("%d records of use stay in their journal: the next start files them", waiting)
        self._file.close()
        self._other_file.close()

    # Filing.

    def _begin_filing(self) -> None:
        self._filing = asyncio.get_running_loop().create_task(self._file_batch())

    async def _file_batch(self) -> None:
        """File what waits, or again what the database did not take the last time."""
        try:
            if not self._batch:
                self._batch, self._arrived = self._arrived, []
                self._file, self._other_file = self._other_file, self._file
            await self._file_all(self._batch)
            self._other_file.clear()
            self._batch = []
            self._tell_trouble(None)
        except (Overloaded, OSError) as error:
            self._tell_trouble(error)
        finally:
            self._filing = None

    async def _file_all(self, batch: Sequence[Record]) -> None:
        try:
            missed = await self._writer.write(partial(_file_each, batch), bounded=False)
        except Overloaded:
            raise
        except Exception:  # noqa: BLE001  # one of them is at fault; the others need not suffer for it
            missed = [record for record in batch if not await self._file_alone(record)]
        for record in missed:
            fields = {"request_id": record.request_id}
            logger.warning("a record of use was there before, or its attempt not open", extra={"fields": fields})

    async def _file_alone(self, record: Record) -> bool:
        try:
            return await self._writer.write(record.file, bounded=False)
        except Overloaded:
            raise
        except Exception as error:
            fields = {"request_id": record.request_id}
            logger.error("a record of use cannot be filed", exc_info=error, extra={"fields": fields})
            return True

    def _tell_trouble(self, error: Exception | None) -> None:
        """Log where the database begins to fail, and where it is back."""
        if error is not None and not self._in_trouble:
            logger.error("records of use wait in their journal: %s", error)
        elif error is None and self._in_trouble:
            logger.warning("records of use are filed again")
        self._in_trouble = error is not None


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
        raise SetupError(f"{database}: its journal cannot be filed: {error}.") from None


def _file_each(batch: Sequence[Record], cursor: sqlite3.Cursor) -> list[Record]:
    """The records that changed nothing."""
    return [record for record in batch if not record.file(cursor)]


def _recover_each(records: Sequence[Record], cursor: sqlite3.Cursor) -> None:
    for record in records:
        try:
            record.file(cursor)
        except (sqlite3.IntegrityError, OverflowError) as error:
            logger.error(
                "a record of use cannot be filed: %s", error, extra={"fields": {"request_id": record.request_id}}
            )


def _trouble(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk of its database is full"
    return "the disk of its database fails"
