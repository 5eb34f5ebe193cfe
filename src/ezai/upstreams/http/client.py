"""The HTTP/1.1 client of one upstream."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ezai.errors import UpstreamTimeout, UpstreamUnreachable
from ezai.upstreams.http.addresses import resolve
from ezai.upstreams.http.connection import Connection
from ezai.upstreams.http.dial import Dialer
from ezai.upstreams.http.exchange import Unanswered
from ezai.upstreams.http.pool import IDLE_LIMIT, KEEP_ALIVE_S, Pool
from ezai.upstreams.http.proxy import ENV, NONE, find_proxy
from ezai.upstreams.http.request import RequestWriter
from ezai.upstreams.http.response import HEADER_LIMIT_BYTES
from ezai.upstreams.http.tls import Trust

if TYPE_CHECKING:
    from pathlib import Path

    from ezai.ports import Clock, Headers, Timeouts, UpstreamRequest
    from ezai.upstreams.http.dial import Dialed, Resolve
    from ezai.upstreams.http.exchange import HttpExchange

LINGER_S: Final = 1.0
"""How long a released exchange may take to end; see `Exchange.release`."""
REPLAY_WITHIN_S: Final = 1.0
"""How soon after its request a reused connection must break for the request to be sent again. Who lost the race
against the peer's close knows it after one round trip; an upstream that is gone after working for longer may have
billed, and is asked once."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client keeps, and for how long."""

    keep_alive_s: float = KEEP_ALIVE_S
    idle_limit: int = IDLE_LIMIT
    header_limit_bytes: int = HEADER_LIMIT_BYTES
    linger_s: float = LINGER_S


@dataclass(frozen=True, slots=True)
class Egress:
    """How connections leave for an upstream: whom they trust there, and through which proxy.

    `ca_file` names PEM certificates of authorities that are trusted beside the system's (`Trust`). `proxy` is "none",
    "env" or a URL (`find_proxy`).
    """

    ca_file: str | Path = ""
    proxy: str = ENV


DIRECT: Final = Egress(proxy=NONE)


class HttpClient:
    """Opens exchanges with one base URL over a pool of its own. Belongs to one event loop.

    `headers` (the credential among them) go with every request and stand above the request's own of the same
    name. The environment's proxies and the `ca_file` of `egress` are read here and now.

    Raises `ValueError` for what of these cannot be used, in words that show no value.

    A task that opens an exchange owns it and must `aclose` it; `HttpClient.aclose` ends all that is left.
    """

    def __init__(
        self,
        base_url: str,
        clock: Clock,
        *,
        headers: Headers = (),
        egress: Egress = DIRECT,
        limits: Limits = Limits(),
        resolve: Resolve = resolve,
    ) -> None:
        self._writer = RequestWriter(base_url, headers)
        self._dialer = _dialer(self._writer, egress, limits, resolve)
        self._clock = clock
        self._limits = limits
        self._pool = Pool(clock, keep_alive_s=limits.keep_alive_s, idle_limit=limits.idle_limit)
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

        A request that met the peer's close of an idle connection (`Unanswered`, and soon) is sent once more, on a
        fresh connection; there an answer that does not begin is `UpstreamTruncated`.
        """
        head = self._writer.head(request)
        idle = self._pool.take()
        if idle is not None:
            asked_at = self._clock.now()
            try:
                return await idle.perform(request.method, head, request.body)
            except Unanswered:
                if self._closed or self._clock.now() - asked_at > REPLAY_WITHIN_S:
                    raise
        fresh = await self._connect(timeouts.connect)
        return await fresh.perform(request.method, head, request.body)

    async def _connect(self, limit_s: float) -> Connection:
        """Return a connection on which a request may be written at once.

        All that comes before the first byte of a request is under the one limit: the name, the addresses, the
        proxy, TLS. No task outlives this, so that cancelling it cancels all of it.
        """
        if self._closed:
            raise RuntimeError("the client is closed")
        try:
            async with asyncio.timeout(limit_s) as dial:
                self._dials.add(dial)
                try:
                    dialed = await self._dialer.dial(limit_s)
                finally:
                    self._dials.discard(dial)
                    self._dial_ended.set()
        except TimeoutError:
            if self._closed:
                raise UpstreamUnreachable("The gateway is closing its connections.") from None
            raise UpstreamTimeout("connect", limit_s, proxied=self._dialer.proxied) from None
        return self._adopt(dialed)

    def _adopt(self, dialed: Dialed) -> Connection:
        limits = self._limits
        connection = Connection(self._pool, header_limit_bytes=limits.header_limit_bytes, linger_s=limits.linger_s)
        dialed.transport.set_protocol(connection)
        connection.connection_made(dialed.transport, dialed.wire)
        self._pool.add(connection)
        return connection

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


def _dialer(origin: RequestWriter, egress: Egress, limits: Limits, resolve: Resolve) -> Dialer:
    if egress.ca_file and not origin.secure:
        raise ValueError("ca_file is for a base URL that begins with https://")
    return Dialer(
        origin.host,
        origin.port,
        trust=Trust(egress.ca_file) if origin.secure else None,
        proxy=find_proxy(egress.proxy, secure=origin.secure, host=origin.host, port=origin.port),
        header_limit_bytes=limits.header_limit_bytes,
        resolve=resolve,
    )
