"""One HTTP request and its answer, over ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from ezai.errors import RequestError, RequestTooLarge
from ezai.pipeline.client import Head
from ezai.pipeline.relay import Push
from ezai.pipeline.stream import JSON
from ezai.ports import Headers
from ezai.protocol.anthropic.answers import error_body
from ezai.protocol.end import Cause
from ezai.server.body import Receive, read_body
from ezai.server.direct_line import DIRECT_LINE, DirectLine

Scope = Mapping[str, Any]
Send = Callable[[dict[str, Any]], Awaitable[None]]

OVER_CAPACITY, READER_STALLED = "ezai.over_capacity", "ezai.reader_stalled"
"""What HTTP/2 says in the scope's state: of a request above its limit, and of a stream that it cut."""
REFUSED = "ezai.refused"
"""What HTTP/1.1 says there of a request that it has answered by itself, since the rest of it was no good."""
WITHOUT_BODY = frozenset({204, 304})
_CLOSE: Headers = ((b"connection", b"close"),)

_encode = msgspec.json.Encoder().encode


class Exchange:
    """The request as it came and the way to answer it once. Also the `Client` of the pipeline's driver."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.raw_path: bytes = scope["raw_path"]
        self._state: Mapping[str, Any] = scope["state"]
        self._line: DirectLine | None = self._state.get(DIRECT_LINE)
        self._watching: asyncio.Task[None] | None = None
        self._in_pieces = False
        self._wants_body = False
        self.over_capacity: bool = self._state.get(OVER_CAPACITY, False)
        self.query: bytes = scope["query_string"]
        self.headers: Headers = scope["headers"]
        self.request_id = request_id
        self.key_id: str | None = None
        self.model: str | None = None
        """What is known so far of who asks for what; it may be logged."""
        self.answering = False
        self.cors: Headers = ()
        """What lets a web page of another origin read the answer."""
        self._receive = receive
        self._send = send

    @property
    def is_refused(self) -> bool:
        """Whether it has an answer from below, of which whoever watches was told."""
        return REFUSED in self._state

    def header(self, name: bytes) -> str | None:
        """The first value of a header, by its lower-case name."""
        for key, value in self.headers:
            if key == name:
                return value.decode("latin-1")
        return None

    async def body(self, limit_bytes: int) -> bytes:
        """The whole request body; see `read_body`."""
        self._wants_body = True
        return await read_body(self._receive, self.headers, limit_bytes)

    # Answering as a whole.

    async def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole answer. One of 204 or 304 has no body, and tells no length of the one that the client has."""
        length = [] if status in WITHOUT_BODY else [(b"content-length", str(len(body)).encode())]
        await self._start(status, [*headers, *length])
        await self._send({"type": "http.response.body", "body": body})

    async def answer_json(self, value: object, status: int = 200) -> None:
        """Send a value as JSON."""
        await self.answer(status, JSON, _encode(value))

    async def answer_error(self, error: RequestError, *extra: tuple[bytes, bytes]) -> None:
        """Send an error, with its retry advice. Where the rest of the request is not to be waited for, HTTP/1.1 is told
        that the connection ends; HTTP/2 has no such field.
        """
        ends = _CLOSE if self._line is not None and self._leaves_rest(error) else ()
        fields = [*JSON, *error.headers(), *extra, *ends]
        await self.answer(error.http_status, fields, error_body(error, self.request_id))

    def _leaves_rest(self, error: RequestError) -> bool:
        """A body that is too large, or that a client holds back which was not told to go on: it may never send it."""
        return isinstance(error, RequestTooLarge) or (not self._wants_body and self.header(b"expect") is not None)

    # Answering as the pipeline does: `ezai.pipeline.client.Client`.

    async def start(self, head: Head) -> None:
        self._in_pieces = head.in_pieces
        await self._start(head.status, head.headers, alone=head.alone)

    async def send(self, batch: bytes) -> None:
        await self._send({"type": "http.response.body", "body": batch, "more_body": True})

    async def finish(self, last: bytes) -> None:
        await self._send({"type": "http.response.body", "body": last})

    @property
    def push(self) -> Push | None:
        return self._line.push if self._line is not None and self._in_pieces else None

    def watch(self, left: Callable[[Cause], None]) -> None:
        if self._line is not None:
            self._line.watch(left)
        else:
            self._watching = asyncio.get_running_loop().create_task(self._wait_left(left))

    async def unwatch(self) -> None:
        if self._line is not None:
            self._line.unwatch()
        elif self._watching is not None:
            self._watching.cancel()
            await asyncio.wait({self._watching})

    async def _wait_left(self, left: Callable[[Cause], None]) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        left(Cause.READER_STALLED if self._state.get(READER_STALLED) else Cause.CLIENT_LEFT)

    async def _start(self, status: int, headers: Headers, *, alone: bool = False) -> None:
        self.answering = True
        if self._line is not None and not alone and self.method != "HEAD" and status not in WITHOUT_BODY:
            self._line.hold_head()
        head = [*headers, *self.cors, (b"request-id", self.request_id.encode())]
        await self._send({"type": "http.response.start", "status": status, "headers": head})
