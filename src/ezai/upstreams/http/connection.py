"""One connection to an upstream, which may be carrying one exchange.

The asyncio protocol: it hands what comes to its exchange, and knows when it may be used again.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Final, Protocol, cast

from ezai.upstreams.http.exchange import HttpExchange
from ezai.upstreams.http.response import ResponseReader

ONE_WRITE_BYTES: Final = 64 * 1024
"""Up to this size head and body are joined, so that they leave in one segment where they fit in one."""
RECEIVE_BUFFER_BYTES: Final = 64 * 1024
"""In the kernel; no read is much larger. What an upstream says faster than its reader reads waits there, and not here:
the system's own default grows to megabytes for each. Over 200 ms of way it still lets 1,500 events a second through."""
SLICE_BYTES: Final = 256 * 1024
"""How much of a bigger body is written in one step of the loop. TLS takes 3 ms for a MiB, and a transport copies what
the kernel does not take at once: so neither is done for the whole of it."""


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
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)

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
