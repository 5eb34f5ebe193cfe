"""Accepting and stopping: what uvicorn's own server does, less its signals, its polling and its exit rules.

uvicorn's `Server` waits for streams without telling them, then cancels them without awaiting; the gateway ends its
streams itself first, so here stopping is: accept no more, let what still flushes go, cut the rest.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import TYPE_CHECKING, Protocol, cast

from uvicorn.config import Config
from uvicorn.server import ServerState

from ezai.server.body import Receive
from ezai.server.edge import HEAD_RECEIPT_S, KEEP_ALIVE_S, EdgeProtocol, EdgeSettings
from ezai.server.exchange import Scope, Send
from ezai.server.tls_server import TlsServer

if TYPE_CHECKING:
    import ssl

App = Callable[[Scope, Receive, Send], Awaitable[None]]

BACKLOG = 2048
FLUSH_S = 1.0
MIN_REFUSED = 16
"""How many connections over their limit there may be at least, and half of the limit: these get an answer."""


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
        self._server: asyncio.Server | TlsServer | None = None
        self._linger_s: int | None = None
        self._all_gone = asyncio.Event()
        self._date_second = 0

    async def start(self, listening: socket.socket) -> None:
        """Accept connections on a bound socket."""
        loop = asyncio.get_running_loop()
        logging.getLogger("uvicorn.error").propagate = True
        self.check(0)
        self._clock.watch(self)
        if self.edge.tls is None:
            self._server = await loop.create_server(self._newcomer, sock=listening, backlog=BACKLOG)
        else:
            self._server = TlsServer(listening, self._protocol, self._tls, self._is_overrun, HEAD_RECEIPT_S)
            self._server.start(BACKLOG)

    def retire(self, linger_s: int) -> None:
        """Accept no more connections, and end those that are open with their next answer.

        A client that asks on an open connection is answered, and told that it was the last time; one that has asked
        nothing for `linger_s` seconds is hung up on.
        """
        if self._server is None or self._linger_s is not None:
            return
        self._linger_s = linger_s
        self._server.close()
        for connection in self._connections():
            connection.retire(linger_s)

    async def wait_gone(self) -> None:
        """Return when no connection is open, a tick later at most; only after `retire`."""
        await self._all_gone.wait()

    async def stop(self) -> None:
        """Close the listening socket and every connection; returns when all of them are gone."""
        self._clock.unwatch(self)
        if self._server is None:
            return
        self._server.close()
        if isinstance(self._server, TlsServer):
            self._server.abort()
        for connection in self._connections():
            connection.shutdown()
        await self._gone(FLUSH_S)
        for connection in self._connections():
            if connection.transport is not None:
                connection.transport.abort()
        await self._gone(FLUSH_S)

    def check(self, now: float) -> None:
        """The clock's tick: the date header of all answers, and the receipt of requests that are on their way."""
        for connection in self._connections():
            connection.check(now)
        if isinstance(self._server, TlsServer):
            self._server.resume()
        if self._linger_s is not None and not self._state.connections and not self._handshakes():
            self._all_gone.set()
        second = int(self._clock.epoch())
        if second != self._date_second:
            self._date_second = second
            self._state.default_headers = [(b"date", formatdate(second, usegmt=True).encode())]

    def _connections(self) -> tuple[Connection, ...]:
        return cast("tuple[Connection, ...]", tuple(self._state.connections))

    def _handshakes(self) -> set[asyncio.Task[None]]:
        return self._server.handshakes if isinstance(self._server, TlsServer) else set()

    def _is_overrun(self) -> bool:
        """Whether there is no room even for telling a newcomer so.

        Those over `connection_limit` are told 529. That takes a descriptor each, and descriptors are for upstreams too.
        """
        limit = self.edge.connection_limit
        return len(self._state.connections) + len(self._handshakes()) >= limit + max(limit // 2, MIN_REFUSED)

    def _tls(self) -> ssl.SSLContext:
        """With the certificate of now, which may have been renewed since the start."""
        assert self.edge.tls is not None, "[server] stays as it is"
        return self.edge.tls

    def _newcomer(self) -> asyncio.Protocol:
        return HangUp() if self._is_overrun() else self._protocol()

    def _protocol(self) -> EdgeProtocol:
        connection = EdgeProtocol(self.edge, config=self._config, server_state=self._state, app_state={})
        if self._linger_s is not None:  # it was accepted at the last moment
            connection.retire(self._linger_s)
        return connection

    async def _gone(self, timeout_s: float) -> None:
        """Wait until the answers that run are written and their tasks are done, for a bounded time."""
        tasks = set(self._state.tasks) | self._handshakes()
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_s)


class HangUp(asyncio.Protocol):
    """Of a connection for which there is no room."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).abort()
