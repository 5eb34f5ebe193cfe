"""Binding, accepting, stopping: what uvicorn's own server does, less its signals, its polling and its exit rules.

uvicorn's `Server` waits for streams without telling them, then cancels them without awaiting; the gateway ends its
streams itself first, so here stopping is: accept no more, let what still flushes go, cut the rest.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from email.utils import formatdate

from uvicorn.config import Config
from uvicorn.server import ServerState

from ezai.errors import SetupError
from ezai.server.dataplane import DataPlane
from ezai.server.edge import EdgeProtocol, EdgeSettings

KEEP_ALIVE_S = 75
BACKLOG = 2048
FLUSH_S = 1.0


class Listener:
    """The listening side of one process. `start`, then `stop`."""

    def __init__(self, app: DataPlane, edge: EdgeSettings) -> None:
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
        self._edge = edge
        self._clock = edge.clock
        self._server: asyncio.Server | None = None
        self._date_second = 0

    async def start(self, listening: socket.socket) -> None:
        """Accept connections on a bound socket."""
        loop = asyncio.get_running_loop()
        logging.getLogger("uvicorn.error").propagate = True
        self.check(0)
        self._clock.watch(self)
        self._server = await loop.create_server(self._protocol, sock=listening, backlog=BACKLOG)

    async def stop(self) -> None:
        """Close the listening socket and every connection; returns when all of them are gone."""
        self._clock.unwatch(self)
        if self._server is None:
            return
        self._server.close()
        for connection in tuple(self._state.connections):
            connection.shutdown()
        await self._gone(FLUSH_S)
        for connection in tuple(self._state.connections):
            if connection.transport is not None:
                connection.transport.abort()
        await self._gone(FLUSH_S)

    def check(self, now: float) -> None:
        """The clock's tick: the date header of all answers, and the receipt of requests that are on their way."""
        for connection in tuple(self._state.connections):
            if isinstance(connection, EdgeProtocol):
                connection.check(now)
        second = int(self._clock.epoch())
        if second != self._date_second:
            self._date_second = second
            self._state.default_headers = [(b"date", formatdate(second, usegmt=True).encode())]

    def _protocol(self) -> EdgeProtocol:
        return EdgeProtocol(self._edge, config=self._config, server_state=self._state, app_state={})

    async def _gone(self, timeout_s: float) -> None:
        """Wait until the answers that run are written and their tasks are done, for a bounded time."""
        tasks = set(self._state.tasks)
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_s)


def bind(host: str, port: int) -> socket.socket:
    """A listening socket's bound half. Raises `SetupError` that says what to do."""
    try:
        if not host:
            raise UnicodeError("it is empty")
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except OSError as error:
        raise SetupError(f"The address {host!r} is not known ({error.strerror}); choose another --host.") from None
    except UnicodeError:
        raise SetupError(f"{host!r} is no name of a host; choose another --host.") from None
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        listening.close()
        raise SetupError(
            f"{host}:{port} cannot be listened on ({error.strerror}); stop what uses it, or choose another --port."
        ) from None
    listening.setblocking(False)
    return listening
