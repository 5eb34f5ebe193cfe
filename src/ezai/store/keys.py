"""Who may call: the port `KeyStore`, over the table of virtual keys and the one key that the environment names.

A request asks no database. The keys are held in memory as their digests, and read again when another process changed
the database: every tick of the clock the writer thread looks at SQLite's own counter of such changes, so a key that
the command line made or revoked counts within a second.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from ezai.errors import ConfigurationError
from ezai.policy.keys import Credentials, KeyLimits, VirtualKey
from ezai.ports import Clock
from ezai.store.root_secret import RootSecret
from ezai.store.writer import Writer

logger = logging.getLogger("ezai.store")

ADMIN_ID = "admin"
"""The public id of the environment's key; those of the table are longer."""
CHECK_INTERVAL_S = 0.2


class KeyDigests:
    """Keys as the database has them: HMAC-SHA-256 under a pepper that it does not have.

    A fast digest is right here: with 256 random bits in each key there is nothing to try out. `id` tells one pepper
    from another and says nothing else of it.
    """

    def __init__(self, root: RootSecret) -> None:
        self._pepper = root.derive("pepper of virtual keys")
        self.id = root.derive("name of the pepper").hex()[:8]

    def digest(self, key: bytes) -> bytes:
        return hmac.digest(self._pepper, key, "sha256")


class SqliteKeys:
    """The port `KeyStore`, and a watcher of the clock. Knows no key before `load` has returned."""

    def __init__(self, writer: Writer, digests: KeyDigests, clock: Clock, admin_key: str | None) -> None:
        self._writer = writer
        self._digests = digests
        self._clock = clock
        self._admin = None if not admin_key else digests.digest(_as_sent(admin_key))
        self._known = _Known()
        self._next_check = 0.0
        self._reading: asyncio.Task[None] | None = None
        self._behind = False

    async def load(self) -> None:
        """Read the keys, if they changed. Raises `Overloaded` where the database cannot be read."""
        read = await self._writer.read(partial(_read_changed, self._known, self._digests.id))
        if read is not None:
            self._take(read)

    async def find(self, credentials: Credentials) -> Sequence[VirtualKey]:
        """The distinct keys that the credentials stand for: neither revoked nor expired."""
        found: dict[str, VirtualKey] = {}
        for secret in credentials.secrets:
            key = self._find_one(secret)
            if key is not None:
                found[key.public_id] = key
        return tuple(found.values())

    def has_keys(self) -> bool:
        """Whether any key was ever made: revoking the last one does not open the gateway to everybody."""
        return self._admin is not None or self._known.count > 0

    def check(self, now: float) -> None:
        """Look for changes, once a tick. One look at a time: a database that is slow is not asked more often."""
        if now < self._next_check or (self._reading is not None and not self._reading.done()):
            return
        self._next_check = now + CHECK_INTERVAL_S
        self._reading = asyncio.get_running_loop().create_task(self._refresh())

    async def aclose(self) -> None:
        """Look for changes no more."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})

    def _find_one(self, secret: str) -> VirtualKey | None:
        try:
            digest = self._digests.digest(secret.encode("latin-1"))  # the bytes of the header
        except UnicodeEncodeError:
            return None  # it came in no header
        if self._admin is not None and hmac.compare_digest(digest, self._admin):
            return VirtualKey(ADMIN_ID, admin=True)
        held = self._known.by_digest.get(digest)
        if held is None or not hmac.compare_digest(digest, held.digest):
            return None
        if held.expires_at_ms is not None and self._clock.epoch() * 1000 >= held.expires_at_ms:
            return None
        return held.key

    async def _refresh(self) -> None:
        """A look that fails leaves the keys as they are known, and is told once."""
        try:
            await self.load()
        except Exception as error:  # noqa: BLE001  # the next tick looks again
            if not self._behind:
                logger.warning("changes of the keys cannot be seen: %s", error)
            self._behind = True
        else:
            self._behind = False

    def _take(self, read: _Known) -> None:
        if read.foreign and read.foreign != self._known.foreign:
            logger.warning(
                "keys that were made under another root secret are not accepted",
                extra={"fields": {"keys": read.foreign}},
            )
        self._known = read


@dataclass(frozen=True, slots=True)
class _Held:
    digest: bytes
    key: VirtualKey
    expires_at_ms: int | None


@dataclass(frozen=True, slots=True)
class _Known:
    """What was read at one moment. `data_version` is SQLite's counter, `change` that of the keys."""

    data_version: int = -1
    change: int = -1
    count: int = 0
    """Of all keys, with those that are accepted no more."""
    foreign: int = 0
    """Of the keys made under another root secret."""
    by_digest: Mapping[bytes, _Held] = field(default_factory=dict)


def _as_sent(admin_key: str) -> bytes:
    """The environment's key as a header brings it. Raises `ConfigurationError` for one that no header can."""
    key = os.fsencode(admin_key).strip()
    if not key or any(byte < 0x20 or byte == 0x7F for byte in key):
        raise ConfigurationError(
            "environment", "EZAI_ADMIN_KEY", "is no value that a header can hold", "Set it to one line of text."
        )
    return key


# In the writer thread.

_READ_KEYS = """
SELECT digest, public_id, account, admin, models, expires_at_ms,
    requests_per_minute, tokens_per_minute, concurrent_requests
FROM virtual_key
WHERE pepper_id = ? AND revoked_at_ms IS NULL
"""


def _read_changed(known: _Known, pepper_id: str, cursor: sqlite3.Cursor) -> _Known | None:
    """The keys as they are now; None where nothing changed.

    `data_version` moves when another connection commits anything, so with several workers it moves all the time;
    `key_change` moves with the keys alone. Each is read before what it guards: a change in between is seen next time.
    """
    (data_version,) = cursor.execute("PRAGMA data_version").fetchone()
    if data_version == known.data_version:
        return None
    (change,) = cursor.execute("SELECT number FROM key_change").fetchone()
    if change == known.change:
        return _Known(data_version, change, known.count, known.foreign, known.by_digest)
    (count, foreign) = cursor.execute(
        "SELECT count(*), coalesce(sum(pepper_id <> ?), 0) FROM virtual_key", (pepper_id,)
    ).fetchone()
    held = (_held(row) for row in cursor.execute(_READ_KEYS, (pepper_id,)))
    return _Known(data_version, change, count, foreign, {item.digest: item for item in held})


def _held(row: tuple[bytes, str, str, int, str, int | None, int | None, int | None, int | None]) -> _Held:
    digest, public_id, account, admin, models, expires_at_ms, *limits = row
    globs = tuple(models.split(",")) if models else ()
    return _Held(digest, VirtualKey(public_id, account, bool(admin), globs, KeyLimits(*limits)), expires_at_ms)
