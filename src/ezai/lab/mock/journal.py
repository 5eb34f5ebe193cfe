"""What was accepted and what was produced: for tests as objects that can be waited on, for everybody else as JSON.

Credentials are kept as short digests alone, so that a journal can be searched for one and found clean, and still be
matched: `credential_digest(key)` is what stands in the place of the key.
"""

from __future__ import annotations

import asyncio
import hashlib
import queue
import re
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ezai.errors import SetupError
from ezai.lab.mock.asked import Headers

KEPT_RECORDS = 100_000
"""Older ones are forgotten, so that a mock may run for days."""

_CREDENTIAL = re.compile(r"authorization|cookie|(^|[-_])(key|token|secret|password)$", re.IGNORECASE)
_KEY = re.compile(r"\bsk-[A-Za-z0-9_-]{8,}")
"""A key of a known form, in whichever header or path it stands."""
_SCHEME = re.compile(r"^(Bearer|Basic) +", re.IGNORECASE)
_QUERY_CREDENTIAL = re.compile(r"([?&][^=&]*(?:key|token|secret|password)=)([^&]*)", re.IGNORECASE)

_encode = msgspec.json.Encoder().encode


class Ended(StrEnum):
    """How an answer, or a connection, ended."""

    OPEN = "open"
    WHOLE = "whole"
    CUT = "cut"
    """We closed it (FIN)."""
    RESET = "reset"
    """We reset it."""
    PEER_CLOSED = "peer closed"
    PEER_RESET = "peer reset"
    STOPPED = "stopped"
    """The mock was stopped."""
    BAD_REQUEST = "bad request"
    """What came is not HTTP."""
    TLS_FAILED = "tls failed"


@dataclass(slots=True)
class RequestRecord:
    """One accepted request and its answer, as far as it is now."""

    number: int
    id: str
    connection: int
    started_s: float
    """Since the mock started; so are all times here. The clock is monotonic."""
    method: str
    path: str
    headers: list[tuple[str, str]]
    body_bytes: int
    body_digest: str
    """The first 16 hexadecimal digits of its SHA-256."""
    model: str = ""
    behaviour: str = ""
    not_applied: list[str] = field(default_factory=list)
    """Faults of the behaviour whose place has not come, or which `times` or `chance` left out; once the answer has
    ended, those that never happened."""
    status: int = 0
    events: int = 0
    """Whole events written."""
    tokens: int = 0
    """Tokens of output written."""
    written_bytes: int = 0
    """Head and framing counted."""
    input_tokens: int = 0
    usage: dict[str, Any] | None = None
    """The last usage that was stated, as it was stated."""
    blocked: int = 0
    """How often writing had to wait for the peer to read."""
    is_holding: bool = False
    """Whether it stalls until it is released."""
    ended: Ended = Ended.OPEN
    ended_s: float | None = None
    body: bytes = field(default=b"", repr=False)
    """The body itself, where the mock was told to keep it; never in the JSON."""

    def header(self, name: str) -> str | None:
        """The first header of this lower-case name, a credential as its digest."""
        return next((value for given, value in self.headers if given == name), None)


@dataclass(slots=True)
class ConnectionRecord:
    """One accepted connection."""

    number: int
    accepted_s: float
    accept: str
    requests: int = 0
    """Requests accepted on it."""
    raced: int = 0
    """Requests that came just as it was closed, and were not accepted."""
    saw_eof: bool = False
    """Whether the peer has closed its side."""
    ended: Ended = Ended.OPEN
    ended_s: float | None = None


Record = TypeVar("Record", RequestRecord, ConnectionRecord)


def credential_digest(credential: str) -> str:
    """What the journal shows in the place of a credential."""
    return "sha256:" + hashlib.sha256(credential.encode("latin-1", "replace")).hexdigest()[:12]


class Journal:
    """Everything since the mock started, or since `clear`."""

    def __init__(self, writer: JournalWriter | None = None) -> None:
        self.requests: deque[RequestRecord] = deque(maxlen=KEPT_RECORDS)
        self.connections: deque[ConnectionRecord] = deque(maxlen=KEPT_RECORDS)
        self.open_connections = 0
        self.open_requests = 0
        self._writer = writer
        self._waiters: list[asyncio.Future[None]] = []

    # Looking and waiting.

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return when `condition` holds. It is looked at whenever anything happened to the mock."""
        while not condition():
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter

    async def accepted(self, count: int = 1) -> RequestRecord:
        """The record of that many accepted requests' last, once it is there."""
        await self.until(lambda: len(self.requests) >= count)
        return self.requests[count - 1]

    async def ended(self, count: int = 1) -> RequestRecord:
        """The same, once its answer has ended."""
        record = await self.accepted(count)
        await self.until(lambda: record.ended is not Ended.OPEN)
        return record

    async def quiet(self) -> None:
        """Return when no answer runs and no connection is open."""
        await self.until(lambda: not self.open_requests and not self.open_connections)

    def clear(self) -> None:
        """Forget what has ended."""
        self.requests = _running(self.requests)
        self.connections = _running(self.connections)

    def as_json(self) -> bytes:
        """Connections and requests, oldest first."""
        return _encode(
            {
                "connections": [_shown(record) for record in self.connections],
                "requests": [_shown(record) for record in self.requests],
            }
        )

    # Keeping it.

    def changed(self) -> None:
        """Something happened: those who wait look again."""
        if self._waiters:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def connected(self, record: ConnectionRecord) -> None:
        """A connection was accepted."""
        self.connections.append(record)
        self.open_connections += 1
        self.changed()

    def disconnected(self, record: ConnectionRecord, ended: Ended, now_s: float) -> None:
        """A connection is gone. Idempotent; the first word on how it ended stands."""
        if record.ended_s is not None:
            return
        if record.ended is Ended.OPEN:
            record.ended = ended
        record.ended_s = now_s
        self.open_connections -= 1
        self._write("connection", record)
        self.changed()

    def asked(self, record: RequestRecord) -> None:
        """A request was accepted."""
        self.requests.append(record)
        self.open_requests += 1
        self.changed()

    def answered(self, record: RequestRecord, ended: Ended, now_s: float) -> None:
        """An answer has ended, one way or another."""
        record.ended, record.ended_s, record.is_holding = ended, now_s, False
        self.open_requests -= 1
        self._write("request", record)
        self.changed()

    def _write(self, kind: str, record: RequestRecord | ConnectionRecord) -> None:
        if self._writer is not None:
            self._writer.write(_encode({"kind": kind, **_shown(record)}))


class JournalWriter:
    """Appends lines to a file, in a thread of its own: a slow disk must not slow down a stream."""

    def __init__(self, path: Path) -> None:
        """Raises `SetupError` for a file that cannot be written."""
        try:
            self._file = path.open("ab")
        except OSError as error:
            raise SetupError(
                f"The journal {path} cannot be written ({error.strerror}); choose another --journal."
            ) from None
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="mock-journal", daemon=True)
        self._thread.start()

    def write(self, line: bytes) -> None:
        """Append one line soon."""
        self._lines.put(line)

    def close(self) -> None:
        """Return when everything is in the file. Blocks."""
        self._lines.put(None)
        self._thread.join()
        self._file.close()

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            self._file.write(line + b"\n")
            if self._lines.empty():
                self._file.flush()


def _running(records: deque[Record]) -> deque[Record]:
    return deque((record for record in records if record.ended is Ended.OPEN), maxlen=KEPT_RECORDS)


def redacted(headers: Headers) -> list[tuple[str, str]]:
    """Headers as they may be kept: credentials as digests, whichever header holds them."""
    return [_redacted(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]


def redacted_target(target: str) -> str:
    """A request target as it may be kept."""
    return _without_keys(_QUERY_CREDENTIAL.sub(lambda found: found[1] + credential_digest(found[2]), target))


def body_digest(body: bytes) -> str:
    """What tells two bodies apart."""
    return hashlib.sha256(body).hexdigest()[:16]


def _redacted(name: str, value: str) -> tuple[str, str]:
    if not _holds_credential(name):
        return name, _without_keys(value)
    scheme = _SCHEME.match(value)
    said = scheme[0] if scheme else ""
    return name, said + credential_digest(value[len(said) :])


@lru_cache(maxsize=1024)
def _holds_credential(name: str) -> bool:
    return _CREDENTIAL.search(name) is not None


def _without_keys(text: str) -> str:
    return _KEY.sub(lambda found: credential_digest(found[0]), text) if "sk-" in text else text


def _shown(record: RequestRecord | ConnectionRecord) -> dict[str, Any]:
    return {item.name: getattr(record, item.name) for item in fields(record) if item.name != "body"}
