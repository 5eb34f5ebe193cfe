"""Making a connection, up to the moment when a request may be written.

    name -> addresses -> TCP -> (proxy: CONNECT) -> (TLS) -> `Dialed`

Whatever goes wrong on this way is `UpstreamUnreachable`, since nothing of a request was sent; `Overloaded` where this
process may open no more files. How long it may take
is the caller's to say, by cancelling it: that closes whatever was opened, and leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from ezai.errors import Overloaded, UpstreamMalformed, UpstreamUnreachable
from ezai.upstreams.http.addresses import STAGGER_S, Address, first_to_connect, resolve
from ezai.upstreams.http.proxy import refusal
from ezai.upstreams.http.response import HEADER_LIMIT_BYTES, ResponseReader
from ezai.upstreams.http.tls import Trust, handshake_failed, server_name

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from ezai.upstreams.http.proxy import Proxy

    Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]

_CLOSED: Final = "The upstream closed the connection before it was asked."
_NO_ANSWER: Final = "The proxy closed the connection without an answer."


class Dialed(NamedTuple):
    """A connection that carries nothing yet: what is written to and read from, and the TCP beneath it.

    The two are one where there is no TLS. Whoever takes it over sets its own protocol before anything is awaited.
    """

    transport: asyncio.Transport
    wire: asyncio.Transport


class Dialer:
    """Connects to one host, by TLS if there is a `trust`, through a proxy if there is one."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        trust: Trust | None = None,
        proxy: Proxy | None = None,
        header_limit_bytes: int = HEADER_LIMIT_BYTES,
        resolve: Resolve = resolve,
        stagger_s: float = STAGGER_S,
    ) -> None:
        self._host = host
        self._port = port
        self._trust = trust
        self._server_name = server_name(host) if trust is not None else None
        self._proxy = proxy
        self._header_limit_bytes = header_limit_bytes
        self._resolve = resolve
        self._stagger_s = stagger_s

    @property
    def proxied(self) -> bool:
        """Whether a proxy stands on the way."""
        return self._proxy is not None

    async def dial(self, limit_s: float) -> Dialed:
        """Return a connection; raises `UpstreamUnreachable`.

        `limit_s` is what the caller grants all of it, so that the loop's own limit on a handshake is no shorter.
        """
        line = await self._reach()
        try:
            if self._proxy is not None:
                await self._open_tunnel(line, self._proxy)
            transport = line.wire if self._trust is None else await self._secure(line, self._trust, limit_s)
            if transport.is_closing() or line.wire.is_closing():
                raise UpstreamUnreachable(_CLOSED)
        except BaseException:
            line.abort()
            raise
        return Dialed(transport, line.wire)

    async def _reach(self) -> Line:
        """Connect to the proxy, or to the host itself."""
        who = "upstream" if self._proxy is None else "proxy"
        host, port = (self._host, self._port) if self._proxy is None else (self._proxy.host, self._proxy.port)
        try:
            addresses = await self._resolve(host, port)
            return await first_to_connect(addresses, _connect, stagger_s=self._stagger_s)
        except (socket.gaierror, UnicodeError) as error:
            raise UpstreamUnreachable(f"The {who}'s name could not be resolved.") from error
        except OSError as error:
            if error.errno in {errno.EMFILE, errno.ENFILE}:  # it says nothing of the upstream
                raise Overloaded("The gateway has as many files open as it may; try again.", retry_after_s=1) from error
            raise UpstreamUnreachable(f"The {who} could not be reached.") from error

    async def _open_tunnel(self, line: Line, proxy: Proxy) -> None:
        status = await line.ask(proxy.connect_head(self._host, self._port), self._header_limit_bytes)
        if not 200 <= status <= 299:
            raise refusal(status)
        if line.wire.is_closing():
            raise UpstreamUnreachable("The proxy answered more than it was asked.")

    async def _secure(self, line: Line, trust: Trust, limit_s: float) -> asyncio.Transport:
        """Shake hands. Nothing is written over TLS before the certificate was found good."""
        context = await trust.context()
        if line.wire.is_closing():
            raise UpstreamUnreachable(_CLOSED)
        try:
            transport = await asyncio.get_running_loop().start_tls(
                line.wire, line, context, server_hostname=self._server_name, ssl_handshake_timeout=limit_s
            )
        except OSError as error:
            raise handshake_failed(error) from error
        assert transport is not None
        return transport


async def _connect(address: Address) -> Line:
    _, line = await asyncio.get_running_loop().create_connection(Line, *address)
    return line


class Line(asyncio.Protocol):
    """What listens at a connection until a request may be written: to nobody but a proxy that was asked.

    An end of file, or a byte that was not asked for, closes it; its transports tell.
    """

    wire: asyncio.Transport

    def __init__(self) -> None:
        self._reader: ResponseReader | None = None
        self._answer: asyncio.Future[int] | None = None

    def abort(self) -> None:
        """Close at once."""
        self.wire.abort()

    async def ask(self, head: bytes, header_limit_bytes: int) -> int:
        """Ask a proxy for a tunnel and return the status of its answer, of which nothing but the head is read."""
        if self.wire.is_closing():
            raise UpstreamUnreachable(_NO_ANSWER)
        # "HEAD", so that no body is expected: what follows the head is the tunnel.
        self._reader = ResponseReader("HEAD", header_limit_bytes=header_limit_bytes)
        self._answer = asyncio.get_running_loop().create_future()
        self.wire.write(head)
        try:
            return await self._answer
        finally:
            self._reader.close()
            self._reader = self._answer = None

    # Called by the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.wire = cast("asyncio.Transport", transport)  # it is none by its type under uvloop

    def data_received(self, data: bytes) -> None:
        if self._reader is None or self._answer is None or self._answer.done():
            self.wire.abort()
            return
        try:
            for line in data.splitlines(keepends=True):  # the reader is blind to what stands behind a head in a piece
                if self._reader.head_complete:
                    self.wire.abort()
                    break
                self._reader.feed(line)
        except UpstreamMalformed:
            self._fail("The proxy's answer is not valid HTTP.")
            return
        if self._reader.head_complete:
            self._answer.set_result(self._reader.status)

    def eof_received(self) -> None:
        self._fail(_NO_ANSWER)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(_NO_ANSWER)

    def _fail(self, message: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(UpstreamUnreachable(message))
