"""What the tests of the store have in common: databases of the present schema, and records to write into them."""

from __future__ import annotations

import asyncio
import glob
import shutil
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, closing, suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from msgspec import structs

from ezai.policy.pricing import Price
from ezai.ports import AttemptIntent, AttemptSettlement
from ezai.protocol.end import Cause, End, UsageSource
from ezai.protocol.usage import Usage
from ezai.store.database import BUSY_TIMEOUT_MS, make
from ezai.store.journal import MAX_WAITING, Journal
from ezai.store.ledger import SqliteLedger
from ezai.store.writer import Writer

T = TypeVar("T")

EPOCH_S = 1_800_000_000.25
PRICE = Price(3_000_000, 15_000_000, 300_000, 3_750_000, 6_000_000)
USAGE = Usage(input_tokens=1200, cache_read_input_tokens=800, output_tokens=340, thinking_tokens=40)


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


@cache
def _template() -> bytes:
    """An empty database of the present schema."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "ezai.db"
        make(path)
        return path.read_bytes()


def new_database(directory: Path) -> Path:
    """A database of the present schema in that directory, as `ezai.db`."""
    directory.mkdir(exist_ok=True)
    path = directory / "ezai.db"
    path.write_bytes(_template())
    path.chmod(0o600)
    return path


def copy_as_killed(path: Path, directory: Path) -> Path:
    """What a process that is killed at this moment leaves; nobody may be writing."""
    directory.mkdir()
    for file in path.parent.glob(f"{glob.escape(path.name)}*"):
        if not file.name.endswith("-shm"):  # shared memory: the next process makes it anew
            shutil.copy(file, directory)
    return directory / path.name


@asynccontextmanager
async def writing(path: Path, *, busy_timeout_ms: int = BUSY_TIMEOUT_MS) -> AsyncIterator[Writer]:
    writer = Writer(path, busy_timeout_ms=busy_timeout_ms)
    await writer.start()
    try:
        yield writer
    finally:
        await writer.aclose()


@asynccontextmanager
async def journaling(
    path: Path, *, busy_timeout_ms: int = BUSY_TIMEOUT_MS, max_waiting: int = MAX_WAITING
) -> AsyncIterator[Journal]:
    """A journal that no clock ticks for; what it was given is in the database afterwards, where that takes it."""
    async with writing(path, busy_timeout_ms=busy_timeout_ms) as writer:
        journal = Journal(path, writer, max_waiting=max_waiting)
        await journal.start()
        try:
            yield journal
        finally:
            await journal.aclose()


@asynccontextmanager
async def recording(path: Path) -> AsyncIterator[SqliteLedger]:
    """A ledger whose records are in the database afterwards."""
    async with journaling(path) as journal:
        yield SqliteLedger(journal, lambda: EPOCH_S)


def journals(path: Path) -> list[Path]:
    """The files of the journals that are kept beside a database."""
    return sorted(path.parent.glob(f"{glob.escape(path.name)}.records-*"))


def is_all_filed(path: Path) -> bool:
    """Whether no record waits in a journal, of whichever process."""
    with suppress(FileNotFoundError):  # its process has just ended
        return not any(file.stat().st_size for file in journals(path))
    return False


def rows(path: Path, query: str, *values: object) -> list[dict[str, Any]]:
    """What another connection sees."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(query, values)]


def intent(request_id: str = "req_1", number: int = 1, **fields: Any) -> AttemptIntent:
    plain = AttemptIntent(
        request_id, number, "ab12cd34", "claude-x", "main", "claude-x-1", True, "acme", "anthropic", "claude-*"
    )
    return structs.replace(plain, **fields)


def settlement(
    of: AttemptIntent, *, final: bool = True, cause: str = Cause.FINISHED, **fields: Any
) -> AttemptSettlement:
    end = End(cause, USAGE, UsageSource.UPSTREAM, "end_turn")
    return structs.replace(
        AttemptSettlement(of, end, cause if final else None, 0.12, 3.3, "req_upstream", PRICE, 8_940_000), **fields
    )
