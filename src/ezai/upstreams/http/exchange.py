"""What the caller of an upstream holds: it waits for the head, gives out the body, ends the exchange.

The path of one event is what this project counts its microseconds on: the connection's `data_received`, the parser
(body bytes go into a list without leaving C), and the sink that the reader pours into takes all that came as one bytes
object.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from httptools import HttpParserError

from ezai.errors import UpstreamMalformed, UpstreamTruncated
from ezai.upstreams.http.response import ResponseReader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from ezai.ports import Headers
    from ezai.upstreams.http.connection import Connection

HIGH_WATER_BYTES: Final = 64 * 1024
"""With this much waiting for the reader, the socket is no longer read. The reader takes all of it at once, so
there is no low-water mark: reading goes on when it has. At most one read of the transport stands above."""
LINGER_BYTES: Final = 64 * 1024
"""What is read and thrown away after `release`; to read more would cost more than a new connection."""


class Unanswered(UpstreamTruncated):
    """The connection broke before the first byte of an answer.

    On a connection that was idle before, this is what losing the race against the peer's close looks like
    (RFC 9112 section 9.3.1), and the request is sent again on a fresh one.
    """


class HttpExchange:
    """Implements `ezai.ports.Exchange`, from `wait_for_head` on; it is its own iterator over the chunks.

    One task reads at a time. What arrived before a failure is handed out before the failure is raised.
    """

    __slots__ = (
        "_buffered_bytes",
        "_connection",
        "_error",
        "_linger_left_bytes",
        "_linger_s",
        "_linger_timer",
        "_loop",
        "_over",
        "_parts",
        "_paused",
        "_reader",
        "_sink",
        "_waiter",
        "headers",
        "status",
    )

    status: int
    headers: Headers

    def __init__(
        self,
        connection: Connection,
        reader: ResponseReader,
        loop: asyncio.AbstractEventLoop,
        linger_s: float,
    ) -> None:
        self._connection = connection
        self._reader = reader
        self._parts = reader.parts
        self._loop = loop
        self._linger_s = linger_s
        self._linger_left_bytes = LINGER_BYTES
        self._linger_timer: asyncio.TimerHandle | None = None
        self._buffered_bytes = 0
        self._paused = False
        self._waiter: asyncio.Future[bool] | None = None
        self._sink: Callable[[bytes], bool] | None = None
        self._error: UpstreamMalformed | UpstreamTruncated | None = None
        self._over = False

    # Reading the answer.

    async def wait_for_head(self) -> None:
        """Return once `status` and `headers` are known; raises what kept them from coming."""
        while not self._reader.head_complete:
            if self._error is not None:
                raise self._error
            await self._change()
        self.status, self.headers = self._reader.status, self._reader.headers

    def chunks(self) -> AsyncIterator[bytes]:
        """See the port. Each chunk is all that arrived since the one before."""
        return self

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while not self._parts:
            if self._ended():
                raise StopAsyncIteration
            self._read_on()
            await self._change()
        return self._take()

    async def pour(self, sink: Callable[[bytes], bool]) -> bool:
        """See the port."""
        while True:
            while self._parts:
                if not sink(self._take()):
                    return True
            if self._ended():
                return False
            self._read_on()
            self._sink = sink
            try:
                if await self._change():
                    return True
            finally:
                self._sink = None

    def hold(self) -> None:
        """See the port."""
        if not self._paused and not self._over and not self._reader.complete:
            self._pause()

    def _ended(self) -> bool:
        """Whether nothing follows what was taken; raises what kept the rest from coming."""
        if self._over:
            raise RuntimeError("the exchange was released or closed")
        if self._error is not None and not self._reader.complete:
            raise self._error
        return self._reader.complete

    def _take(self) -> bytes:
        parts = self._parts
        chunk = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self._buffered_bytes = 0
        self._read_on()
        return chunk

    def _change(self) -> asyncio.Future[bool]:
        """Return what is done when something changed: True for a sink that has had enough.

        It carries no bytes: cancelling it loses none.
        """
        if self._waiter is not None and not self._waiter.done():
            raise RuntimeError("two tasks read one exchange")
        self._waiter = self._loop.create_future()
        return self._waiter

    # Ending the exchange.

    def release(self) -> None:
        """See the port. An incomplete answer is read on and thrown away, for a short while (`_discard`)."""
        if self._over:
            return
        self._over = True
        self._sink = None
        self._parts.clear()
        self._read_on()
        if self._reader.complete:
            self._connection.settle(self._reader)
        elif not self._connection.closing:
            self._linger_timer = self._loop.call_later(self._linger_s, self._connection.abort)

    async def aclose(self) -> None:
        """See the port. Never waits, so it is safe in a task that is being cancelled."""
        if self._over:
            return
        self._over = True
        self._sink = None
        self._parts.clear()
        if self._reader.complete:
            self._read_on()
            self._connection.settle(self._reader)
        else:
            self._connection.abort()

    # Called by the connection.

    def received(self, data: bytes) -> None:
        """Take what the transport read."""
        sink, waiter, reader, parts = self._sink, self._waiter, self._reader, self._parts
        if sink is None or waiter is None or waiter.done():
            self._receive(data)
            return
        # Somebody pours: so the head is complete, the answer is not, and the exchange is not over. This is what
        # `feed` and `_receive` do then, in one piece, because it runs for every event of every stream.
        try:
            try:
                reader.parse(data)
            except HttpParserError as error:
                reader.stopped(error)
            if not parts:
                if reader.parsed(len(data)):
                    waiter.set_result(False)
                    self._let_go()
                return
        except UpstreamMalformed as error:
            self._fail(error)
            return
        reader.overhead_bytes = 0
        chunk = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        try:
            goes_on = sink(chunk)
        except Exception as error:  # noqa: BLE001  it belongs to whoever pours, not to the transport
            waiter.set_exception(error)
        else:
            if not goes_on or reader.complete:
                waiter.set_result(not goes_on)
        if reader.complete:
            self._let_go()

    def _receive(self, data: bytes) -> None:
        """While nobody pours."""
        reader = self._reader
        try:
            anything_new = reader.feed(data)
        except UpstreamMalformed as error:
            self._fail(error)
            return
        if self._over:
            self._discard(len(data))
            return
        if anything_new:
            if self._parts:
                self._buffered_bytes += len(data)
                if self._buffered_bytes >= HIGH_WATER_BYTES and not self._paused:
                    self._pause()
            self._wake()
        if reader.complete:
            self._let_go()

    def _let_go(self) -> None:
        """The answer is here, whatever comes now: a connection that can carry no other is closed."""
        if not self._reader.reusable:
            self._connection.abort()

    def received_eof(self) -> None:
        """Take the peer's clean end of file."""
        if self._reader.feed_eof():
            self._wake()
        else:
            self._fail(self._truncated())

    def lost(self) -> None:
        """Take note that the connection is gone, for whatever reason."""
        if not self._reader.complete and self._error is None:
            self._error = self._truncated()
        if self._linger_timer is not None:
            self._linger_timer.cancel()
        self._reader.close()
        self._wake()

    def _fail(self, error: UpstreamMalformed | UpstreamTruncated) -> None:
        self._error = error
        self._wake()
        self._connection.abort()

    def _truncated(self) -> UpstreamTruncated:
        if not self._reader.begun:
            return Unanswered("The upstream closed the connection without an answer.")
        return UpstreamTruncated("The upstream closed the connection before its answer was complete.")

    def _discard(self, size: int) -> None:
        """After `release`: throw away what came, until the framing ends or enough was thrown away."""
        self._parts.clear()
        if self._reader.complete:
            if self._linger_timer is not None:
                self._linger_timer.cancel()
            self._connection.settle(self._reader)
            return
        self._linger_left_bytes -= size
        if self._linger_left_bytes < 0:
            self._connection.abort()

    def _pause(self) -> None:
        self._paused = True
        self._connection.pause_reading()

    def _read_on(self) -> None:
        if self._paused:
            self._paused = False
            self._connection.resume_reading()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(False)
