"""The HTTP/1.1 client of one upstream."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from ezai.errors import UpstreamTimeout, UpstreamUnreachable
from ezai.upstreams.http.connection import Connection, Unanswered
from ezai.upstreams.http.pool import IDLE_LIMIT, KEEP_ALIVE_S, Pool
from ezai.upstreams.http.request import RequestWriter
from ezai.upstreams.http.response import HEADER_LIMIT_BYTES

if TYPE_CHECKING:
    from ezai.ports import Clock, Headers, Timeouts, UpstreamRequest
    from ezai.upstreams.http.connection import HttpExchange

LINGER_S: Final = 1.0
"""How long a released exchange may take to end; see `Exchange.release`."""


class HttpClient:
    """Opens exchanges with one base URL over a pool of its own. Belongs to one event loop.

    `headers` (the credential among them) go with every request and stand above the request's own of the same
    name. Raises `ValueError` for a base URL or a header that cannot be sent.

    A task that opens an exchange owns it and must `aclose` it; `HttpClient.aclose` ends all that is left.
    """

    def __init__(
        self,
        base_url: str,
        clock: Clock,
        *,
        headers: Headers = (),
        keep_alive_s: float = KEEP_ALIVE_S,
        idle_limit: int = IDLE_LIMIT,
        header_limit_bytes: int = HEADER_LIMIT_BYTES,
        linger_s: float = LINGER_S,
    ) -> None:
        self._writer = RequestWriter(base_url, headers)
        self._header_limit_bytes = header_limit_bytes
        self._linger_s = linger_s
        self._pool = Pool(clock, keep_alive_s=keep_alive_s, idle_limit=idle_limit)
        self._dials: set[asyncio.Timeout] = set()
        self._dial_ended = asyncio.Event()
        self._closed = False

    @property
    def open_count(self) -> int:
        """Connections whose socket is open: in use, idle and lingering ones."""
        return self._pool.open_count

    @property
    def idle_count(self) -> int:
        """Connections that wait for a request."""
        return self._pool.idle_count

    async def open(self, request: UpstreamRequest, timeouts: Timeouts) -> HttpExchange:
        """See `ezai.ports.Upstream.open`; also raises `ValueError` for a request that cannot be sent.

        A request that met the peer's close of an idle connection (`Unanswered`) is sent once more, on a fresh
        connection; there an answer that does not begin is `UpstreamTruncated`.
        """
        head = self._writer.head(request)
        idle = self._pool.take()
        if idle is not None:
            try:
                return await idle.perform(request.method, head, request.body)
            except Unanswered:
                if self._closed:
                    raise
        fresh = await self._connect(timeouts.connect)
        return await fresh.perform(request.method, head, request.body)

    async def _connect(self, limit_s: float) -> Connection:
        """Return a connection on which a request may be written at once.

        All that comes before the first byte of a request belongs here, under the one limit: the name, the
        addresses, TCP. No task is made, so that cancelling this cancels all of it.
        """
        if self._closed:
            raise RuntimeError("the client is closed")
        try:
            async with asyncio.timeout(limit_s) as dial:
                self._dials.add(dial)
                try:
                    _, connection = await asyncio.get_running_loop().create_connection(
                        self._new_connection, self._writer.host, self._writer.port
                    )
                except (OSError, UnicodeError) as error:  # refused, unreachable, no such name, not a name
                    raise UpstreamUnreachable("The upstream could not be reached.") from error
                finally:
                    self._dials.discard(dial)
                    self._dial_ended.set()
        except TimeoutError:
            if self._closed:
                raise UpstreamUnreachable("The gateway is closing its connections.") from None
            raise UpstreamTimeout("connect", limit_s) from None
        if connection.closing:
            raise UpstreamUnreachable("The upstream closed the connection before it was asked.")
        # Not sooner, in connection_made: uvloop calls no connection_lost for a dial that is cancelled after it.
        self._pool.add(connection)
        return connection

    def _new_connection(self) -> Connection:
        return Connection(self._pool, header_limit_bytes=self._header_limit_bytes, linger_s=self._linger_s)

    async def aclose(self) -> None:
        """Break off what is running, close what is idle, and return when every socket is closed. Idempotent.

        Exchanges that were running raise `UpstreamTruncated` to whoever reads them, and an `open` that was
        still connecting raises `UpstreamUnreachable`.
        """
        self._closed = True
        for dial in self._dials:
            if not dial.expired():
                dial.reschedule(0)
        while self._dials:
            self._dial_ended.clear()
            await self._dial_ended.wait()
        await self._pool.aclose()
