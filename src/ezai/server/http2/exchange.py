"""One stream of a connection as ASGI has it: a request and its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, MutableMapping
from typing import Any, Protocol

from ezai.ports import Headers
from ezai.server.exchange import READER_STALLED
from ezai.server.http2.frames import Code
from ezai.server.http2.sending import StreamState

Message = Mapping[str, Any]
App = Callable[[Any, Any, Any], Coroutine[Any, Any, None]]

_WITHOUT_BODY = frozenset({204, 304})


class Line(Protocol):
    """What a stream needs of its connection. What is closed already takes it and does nothing."""

    queue_bytes: int

    def answer(self, stream: StreamState, status: int, fields: Headers, *, last: bool = False) -> None:
        """Send a head. Raises `ValueError` when it cannot be sent."""
        ...

    def send(self, stream: StreamState, data: bytes, *, last: bool) -> None:
        """Send a piece of a body, at once or when there is room."""
        ...

    def consumed(self, stream: StreamState, size: int) -> None:
        """Let the client send more of its body."""
        ...

    def cut(self, stream: StreamState, code: Code) -> None:
        """End a stream."""
        ...


class StreamExchange:
    """`await run(app)`: returns when the answer is out, or the stream lost. Told by the connection what comes in."""

    def __init__(
        self,
        line: Line,
        stream: StreamState,
        scope: MutableMapping[str, Any],
        *,
        expects_continue: bool,
    ) -> None:
        self.stream = stream
        self.is_answering = False
        self._line = line
        self._scope = scope
        self._expects_continue = expects_continue
        self._body = bytearray()
        self._is_whole = stream.is_asked
        self._is_complete = False
        self._is_lost = False
        self._news = asyncio.Event()
        self._moved = asyncio.Event()
        if self._is_whole:
            self._news.set()

    async def run(self, app: App) -> None:
        """Let the application answer. What it leaves unfinished looks so: the stream is reset."""
        try:
            await app(self._scope, self.receive, self.send)
        except Exception:  # noqa: BLE001  # the application has logged it
            return
        finally:
            if not (self._is_complete or self._is_lost):
                self._line.cut(self.stream, Code.INTERNAL_ERROR)
        await self._room(0)

    # Told by the connection.

    def take(self, data: bytes, *, is_last: bool) -> None:
        """A piece of the request's body is there."""
        self._body += data
        self._is_whole = is_last
        self._news.set()

    def lose(self, *, stalled: bool = False) -> None:
        """The stream is closed: the client has left, or was cut off for taking nothing."""
        if stalled:
            self._scope["state"][READER_STALLED] = True
        self._is_lost = True
        self._news.set()
        self._moved.set()

    def move(self) -> None:
        """Something of what was pending is out."""
        self._moved.set()

    # ASGI.

    async def receive(self) -> Message:
        if self._expects_continue:
            self._expects_continue = False
            if not (self._is_lost or self.is_answering or self._is_whole):
                self._line.answer(self.stream, 100, ())
        if not (self._is_lost or self._is_complete):
            await self._news.wait()
            self._news.clear()
        if self._is_lost or self._is_complete:
            return {"type": "http.disconnect"}
        body = bytes(self._body)
        self._body.clear()
        self._line.consumed(self.stream, len(body))
        return {"type": "http.request", "body": body, "more_body": not self._is_whole}

    async def send(self, message: Message) -> None:
        """Returns when there is room for more, or the stream is lost."""
        if self._is_lost:
            return
        if message["type"] == "http.response.start":
            self._start(message["status"], message.get("headers", ()))
            return
        data, more = message.get("body", b""), message.get("more_body", False)
        if not self.stream.is_answered and (data or not more):
            self._line.send(self.stream, data, last=not more)
        if not more:
            self._is_complete = True
            self._news.set()
        await self._room(self._line.queue_bytes)

    def _start(self, status: int, fields: Headers) -> None:
        self.is_answering = True
        last = status in _WITHOUT_BODY or self._scope["method"] == "HEAD"
        self._line.answer(self.stream, status, fields, last=last)

    async def _room(self, most_bytes: int) -> None:
        """Return when no more than this is pending."""
        while len(self.stream.pending) > most_bytes and not self._is_lost:
            self._moved.clear()
            await self._moved.wait()
