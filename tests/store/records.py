"""What the tests of the store have in common: databases of the present schema, and records to write into them."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, closing
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from msgspec import structs

from ezai.policy.pricing import Price
from ezai.ports import AttemptIntent, AttemptSettlement
from ezai.protocol.end import Cause, End, UsageSource
from ezai.protocol.usage import Usage
from ezai.store.database import BUSY_TIMEOUT_MS, make
from ezai.store.writer import MAX_QUEUED, Writer

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
    for file in path.parent.glob(f"{path.name}*"):
        if not file.name.endswith("-shm"):  # shared memory: the next process makes it anew
            shutil.copy(file, directory)
    return directory / path.name


@asynccontextmanager
async def writing(
    path: Path, *, busy_timeout_ms: int = BUSY_TIMEOUT_MS, max_queued: int = MAX_QUEUED
) -> AsyncIterator[Writer]:
    writer = Writer(path, busy_timeout_ms=busy_timeout_ms, max_queued=max_queued)
    await writer.start()
    try:
        yield writer
    finally:
        await writer.aclose()


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
