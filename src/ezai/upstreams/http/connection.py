"""One connection to an upstream, and the one exchange that it may be carrying.

    Connection     the asyncio protocol: hands what comes to its exchange, and knows when it may be used again
    HttpExchange   what the caller holds: waits for the head, gives out the body, ends the exchange

The path of one event is what this project counts its microseconds on: `data_received`, the parser (body bytes
go into a list without leaving C), one future set, and the reader takes all that came as one bytes object.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING, Final, Protocol, cast

from ezai.errors import UpstreamMalformed, UpstreamTruncated
from ezai.upstreams.http.response import ResponseReader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ezai.ports import Headers

HIGH_WATER_BYTES: Final = 64 * 1024
"""With this much waiting for the reader, the socket is no longer read. The reader takes all of it at once, so
there is no low-water mark: reading goes on when it has. At most one read of the transport stands above."""
LINGER_BYTES: Final = 64 * 1024
"""What is read and thrown away after `release`; to read more would cost more than a new connection."""
ONE_WRITE_BYTES: Final = 64 * 1024
"""Up to this size head and body are joined, so that they leave in one segment where they fit in one."""
SLICE_BYTES: Final = 256 * 1024
"""How much of a bigger body is written in one step of the loop. TLS takes 3 ms for a MiB, and a transport copies what
the kernel does not take at once: so neither is done for the whole of it."""


class Unanswered(UpstreamTruncated):
    """The connection broke before the first byte of an answer.

    On a connection that was idle before, this is what losing the race against the peer's close looks like
    (RFC 9112 section 9.3.1), and the request is sent again on a fresh one.
    """


class ConnectionOwner(Protocol):
    """Whoever keeps the connections; told of the steps in a connection's life, in this order."""

    def connection_idle(self, connection: Connection, keep_alive_hint_s: int | None) -> None:
        """Its exchange is over and it may carry another; the peer keeps it for the hint, if it gave one."""

    def connection_closing(self, connection: Connection) -> None:
        """It must not be used any more."""

    def connection_lost(self, connection: Connection) -> None:
        """Its socket is closed. May come without `connection_closing` before it."""


class Connection(asyncio.Protocol):
    """A connection and at most one exchange. The peer's end of file or a byte out of turn closes it at once."""

    __slots__ = (
        "_exchange",
        "_header_limit_bytes",
        "_linger_s",
        "_loop",
        "_owner",
        "_transport",
        "_unwritten",
        "_wire",
        "_writing_paused",
        "closing",
    )

    _transport: asyncio.Transport
    _wire: asyncio.Transport

    def __init__(self, owner: ConnectionOwner, *, header_limit_bytes: int, linger_s: float) -> None:
        self._owner = owner
        self._header_limit_bytes = header_limit_bytes
        self._linger_s = linger_s
        self._loop = asyncio.get_running_loop()
        self._exchange: HttpExchange | None = None
        self._unwritten: memoryview | None = None
        self._writing_paused = False
        self.closing = False

    # Carrying an exchange.

    async def perform(self, method: str, head: bytes, body: bytes) -> HttpExchange:
        """Send a request and return its exchange when the head of the answer is here.

        The answer may come, and be complete, before the whole body is sent. Raises `Unanswered`,
        `UpstreamTruncated` and `UpstreamMalformed`. If this raises anything, a cancellation too, the connection
        is closed.
        """
        assert self._exchange is None
        assert not self.closing
        reader = ResponseReader(method, header_limit_bytes=self._header_limit_bytes)
        self._exchange = exchange = HttpExchange(self, reader, self._loop, self._linger_s)
        if len(body) <= ONE_WRITE_BYTES:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            self._unwritten = memoryview(body)
            self._write_slice()
        try:
            await exchange.wait_for_head()
        except BaseException:
            self.abort()
            raise
        return exchange

    def _write_slice(self) -> None:
        if self._unwritten is None or self._writing_paused:
            return
        self._transport.write(self._unwritten[:SLICE_BYTES])
        self._unwritten = self._unwritten[SLICE_BYTES:] or None
        if self._unwritten is not None and not self._writing_paused:
            self._loop.call_soon(self._write_slice)

    def settle(self, reader: ResponseReader) -> None:
        """Take note that the exchange is over and its framing complete: the connection is idle, or closes."""
        self._exchange = None
        reader.close()
        if self.closing:
            return
        if reader.reusable and self._is_all_sent():
            self._owner.connection_idle(self, reader.keep_alive_hint_s)
        else:
            self.abort()

    def abort(self) -> None:
        """Close at once, whatever was not sent yet: the peer sees it now. Idempotent."""
        if not self.closing:
            self.closing = True
            self._unwritten = None
            self._owner.connection_closing(self)
            self._transport.abort()

    # The wire is paused and not the TLS upon it: that would read on, buffer 256 KiB more, and under uvloop throw
    # them away if the peer closed meanwhile.

    def pause_reading(self) -> None:
        self._wire.pause_reading()

    def resume_reading(self) -> None:
        if not self.closing:
            self._wire.resume_reading()

    def _is_all_sent(self) -> bool:
        """Whether the kernel has the whole request. TLS counts as sent what it has handed to the wire."""
        written = self._unwritten is None
        return written and self._transport.get_write_buffer_size() == 0 == self._wire.get_write_buffer_size()

    # Called by the transport.

    def connection_made(self, transport: asyncio.BaseTransport, wire: asyncio.Transport | None = None) -> None:
        """`wire` is the TCP beneath the transport, where that is TLS."""
        self._transport = cast("asyncio.Transport", transport)  # it is none by its type under uvloop
        self._wire = self._transport if wire is None else wire
        # TCP_NODELAY is set by both loops. Keep-alive probes find a peer that is gone without a word.
        if (sock := transport.get_extra_info("socket")) is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def pause_writing(self) -> None:
        self._writing_paused = True

    def resume_writing(self) -> None:
        self._writing_paused = False
        self._write_slice()

    def data_received(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            self.abort()  # nobody asked
        else:
            exchange.received(data)

    def eof_received(self) -> None:
        if self._exchange is not None and _is_told_by_peer(self._transport):
            self._exchange.received_eof()
        self.abort()  # nothing is half-closed here, and an unsent body would keep the transport from closing

    def connection_lost(self, exc: Exception | None) -> None:
        self.closing = True
        self._unwritten = None
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.lost()
        self._owner.connection_lost(self)


def _is_told_by_peer(transport: asyncio.Transport) -> bool:
    """Whether an end of file is the peer's own word.

    Over TLS that is a close_notify; without it anybody on the way may have cut the stream (RFC 9112 section 9.8).
    uvloop tells of no other end, asyncio does.
    """
    tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    if tls is None:
        return True
    try:
        return tls.read(1) == b""
    except ssl.SSLError as error:
        return isinstance(error, ssl.SSLZeroReturnError)


class HttpExchange:
    """Implements `ezai.ports.Exchange`; it is its own iterator over the chunks.

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
        "_waiter",
    )

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
        self._waiter: asyncio.Future[None] | None = None
        self._error: UpstreamMalformed | UpstreamTruncated | None = None
        self._over = False

    # Reading the answer.

    @property
    def status(self) -> int:
        return self._reader.status

    @property
    def headers(self) -> Headers:
        return self._reader.headers

    async def wait_for_head(self) -> None:
        """Return once `status` and `headers` are known; raises what kept them from coming."""
        while not self._reader.head_complete:
            if self._error is not None:
                raise self._error
            await self._change()

    def chunks(self) -> AsyncIterator[bytes]:
        """See the port. Each chunk is all that arrived since the one before."""
        return self

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        parts = self._parts
        while not parts:
            if self._over:
                raise RuntimeError("the exchange was released or closed")
            if self._reader.complete:
                raise StopAsyncIteration
            if self._error is not None:
                raise self._error
            await self._change()
        chunk = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self._buffered_bytes = 0
        if self._paused:
            self._resume()
        return chunk

    def _change(self) -> asyncio.Future[None]:
        """Return what is done when something changed. It carries no bytes: cancelling it loses none."""
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
        self._parts.clear()
        if self._paused:
            self._resume()
        if self._reader.complete:
            self._connection.settle(self._reader)
        elif not self._connection.closing:
            self._linger_timer = self._loop.call_later(self._linger_s, self._connection.abort)

    async def aclose(self) -> None:
        """See the port. Never waits, so it is safe in a task that is being cancelled."""
        if self._over:
            return
        self._over = True
        self._parts.clear()
        if self._reader.complete:
            if self._paused:
                self._resume()
            self._connection.settle(self._reader)
        else:
            self._connection.abort()

    # Called by the connection.

    def received(self, data: bytes) -> None:
        """Take what the transport read."""
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
        if reader.complete and not reader.reusable:
            self._connection.abort()  # whatever comes now, the answer is here

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

    def _resume(self) -> None:
        self._paused = False
        self._connection.resume_reading()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
