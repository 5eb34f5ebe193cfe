"""The connections of one process, and stopping: what uvicorn's own server does, less its signals and its exit rules.

uvicorn's `Server` waits for streams without telling them, then cancels them without awaiting; the gateway ends its
streams itself first, so here stopping is: accept no more, let what still flushes go, cut the rest.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Collection
from email.utils import formatdate
from typing import TYPE_CHECKING, Protocol, cast

from uvicorn.config import Config
from uvicorn.server import ServerState

from ezai.server.acceptor import Acceptor, Place
from ezai.server.body import Receive
from ezai.server.edge import EdgeProtocol
from ezai.server.edge_settings import HEAD_RECEIPT_S, KEEP_ALIVE_S, EdgeSettings
from ezai.server.exchange import Scope, Send

if TYPE_CHECKING:
    import ssl

App = Callable[[Scope, Receive, Send], Awaitable[None]]

BACKLOG = 2048
FLUSH_S = 1.0


class Connection(Protocol):
    """What a connection is for its listener, whichever HTTP it speaks."""

    transport: asyncio.Transport | None

    def check(self, now: float) -> None:
        """The clock's tick."""
        ...

    def retire(self, linger_s: int) -> None:
        """End with the next answer, or after so long without a request."""
        ...

    def shutdown(self) -> None:
        """Take no more requests, and close once what runs is over."""
        ...


class Listener:
    """The listening side of one process. `start`, then `stop`, with `retire` between them where there is time."""

    def __init__(self, app: App, edge: EdgeSettings) -> None:
        self._config = Config(
            app,
            interface="asgi3",
            http=EdgeProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level=logging.WARNING,  # with none of its own its logger makes a line of each connection, for nobody
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
        )
        self._config.load()
        self._state = ServerState()
        self.edge = edge
        """What the next connection is held to; those that are open keep what they began with."""
        self._clock = edge.clock
        self._acceptor: Acceptor | None = None
        self._linger_s: int | None = None
        self._all_gone = asyncio.Event()
        self._date_second = 0

    async def start(self, listening: socket.socket) -> None:
        """Accept connections on a bound socket."""
        logging.getLogger("uvicorn.error").propagate = True
        self.check(0)
        self._clock.watch(self)
        self._acceptor = Acceptor(listening, self._made, self._opened, self._limit, self._tls, HEAD_RECEIPT_S)
        self._acceptor.start(BACKLOG)

    def retire(self, linger_s: int) -> None:
        """Accept no more connections, and end those that are open with their next answer.

        A client that asks on an open connection is answered, and told that it was the last time; one that has asked
        nothing for `linger_s` seconds is hung up on.
        """
        if self._acceptor is None or self._linger_s is not None:
            return
        self._linger_s = linger_s
        self._acceptor.close()
        for connection in self._connections():
            connection.retire(linger_s)

    async def wait_gone(self) -> None:
        """Return when no connection is open, a tick later at most; only after `retire`."""
        await self._all_gone.wait()

    async def stop(self) -> None:
        """Close the listening socket and every connection; returns when all of them are gone."""
        self._clock.unwatch(self)
        if self._acceptor is None:
            return
        self._acceptor.close()
        self._acceptor.abort()
        for connection in self._connections():
            connection.shutdown()
        await self._gone(self._acceptor.opening)
        for connection in self._connections():
            if connection.transport is not None:
                connection.transport.abort()
        await self._gone()

    def check(self, now: float) -> None:
        """The clock's tick: the date header of all answers, and the receipt of requests that are on their way."""
        for connection in self._connections():
            connection.check(now)
        if self._acceptor is not None:
            self._acceptor.check()
            if self._linger_s is not None and not self._acceptor.taken:
                self._all_gone.set()
        second = int(self._clock.epoch())
        if second != self._date_second:
            self._date_second = second
            self._state.default_headers = [(b"date", formatdate(second, usegmt=True).encode())]

    def _connections(self) -> tuple[Connection, ...]:
        return cast("tuple[Connection, ...]", tuple(self._state.connections))

    def _limit(self) -> int:
        return self.edge.connection_limit

    def _tls(self) -> ssl.SSLContext | None:
        """With the certificate of now, which may have been renewed since the start."""
        return self.edge.tls

    def _made(self, place: Place) -> EdgeProtocol:
        return EdgeProtocol(self.edge, place, config=self._config, server_state=self._state, app_state={})

    def _opened(self, protocol: asyncio.BaseProtocol) -> None:
        if self._linger_s is not None:  # it was accepted at the last moment
            cast("Connection", protocol).retire(self._linger_s)

    async def _gone(self, opening: Collection[asyncio.Task[None]] = ()) -> None:
        """Wait until the answers that run are written and their tasks are done, for a bounded time."""
        tasks = {*self._state.tasks, *opening}
        if tasks:
            await asyncio.wait(tasks, timeout=FLUSH_S)
