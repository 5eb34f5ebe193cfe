"""The store of a process that serves: opened once, before anything is served, and closed last."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ezai.errors import SetupError
from ezai.ports import Clock
from ezai.store.database import prepare
from ezai.store.journal import Journal, recover
from ezai.store.keys import KeyDigests, SqliteKeys
from ezai.store.ledger import SqliteLedger
from ezai.store.root_secret import load_root_secret
from ezai.store.writer import Writer

logger = logging.getLogger("ezai.store")

_FILING_TIMEOUT_MS = 250
"""How long a filing waits for another process that writes. Its records are safe, so it tries again later."""


@dataclass(frozen=True, slots=True)
class Store:
    """The ports that the database stands behind. `keys` are up to date while the clock ticks."""

    keys: SqliteKeys
    ledger: SqliteLedger
    journal: Journal
    writer: Writer
    clock: Clock
    signing_key: bytes = field(repr=False)
    """For the thinking of models that sign none: derived from the root secret that the keys hang on."""

    async def aclose(self) -> None:
        """File what was recorded, and let go of the database. Idempotent; nothing may be recorded afterwards.

        Records that the database does not take stay in the journal, for the next start.
        """
        self.clock.unwatch(self.keys)
        self.clock.unwatch(self.journal)
        try:
            await self.keys.aclose()
            await self.journal.aclose()
        finally:
            await self.writer.aclose()


async def open_store(path: Path, data_dir: Path, clock: Clock, environ: Mapping[str, str]) -> Store:
    """Open the database at `path`, with the root secret of `data_dir`; each is made where there is none.

    Brings the schema up to date first, and files what processes that have ended left. Raises `SetupError`.
    """
    root = await asyncio.to_thread(load_root_secret, data_dir, environ.get("EZAI_ROOT_KEY"))
    await asyncio.to_thread(prepare, path)
    await asyncio.to_thread(_recover, path)
    writer = Writer(path, busy_timeout_ms=_FILING_TIMEOUT_MS)
    await writer.start()
    try:
        keys = SqliteKeys(writer, KeyDigests(root), clock, environ.get("EZAI_ADMIN_KEY"))
        await keys.load()
        journal = Journal(path, writer)
        await journal.start()
    except BaseException:
        await writer.aclose()
        raise
    clock.watch(keys)
    clock.watch(journal)
    ledger = SqliteLedger(journal, clock.epoch)
    return Store(keys, ledger, journal, writer, clock, root.derive("signatures of thinking"))


def _recover(path: Path) -> None:
    """A gateway serves all the same where the database takes nothing now: the records wait for another start."""
    try:
        recover(path)
    except SetupError as error:
        logger.error("%s", error)
