"""The connections to one origin: which are open, which of them are idle, and for how long.

No method but `aclose` waits, so a decision and what follows from it happen in one step.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ezai.ports import Clock
    from ezai.upstreams.http.connection import Connection

KEEP_ALIVE_S: Final = 60.0
IDLE_LIMIT: Final = 256
KEEP_ALIVE_MARGIN_S: Final = 1.0
"""How long before the time that the peer named we close: a request must not meet the peer's close. Node.js
takes 1 s too (`agentKeepAliveTimeoutBuffer`)."""


class Pool:
    """Implements `ConnectionOwner` for connections to one origin, and `Watcher` for the sweep.

    Idle connections are taken newest first, so that after a burst the surplus is left alone and expires.
    There is no limit on connections in use: concurrency is limited where requests are admitted.
    """

    def __init__(self, clock: Clock, *, keep_alive_s: float = KEEP_ALIVE_S, idle_limit: int = IDLE_LIMIT) -> None:
        self._clock = clock
        self._keep_alive_s = keep_alive_s
        self._idle_limit = idle_limit
        self._open: set[Connection] = set()
        # Idle connections by the time of their return, oldest first, and when each expires.
        self._idle: dict[Connection, float] = {}
        self._next_expiry = math.inf
        self._closed = False
        self._all_lost = asyncio.Event()
        clock.watch(self)

    @property
    def open_count(self) -> int:
        """Connections whose socket is open: in use, idle and lingering ones."""
        return len(self._open)

    @property
    def idle_count(self) -> int:
        return len(self._idle)

    def add(self, connection: Connection) -> None:
        """Count a connection as open until it is lost. It is in use; it comes to rest here later."""
        self._open.add(connection)

    def take(self) -> Connection | None:
        """Take the connection that was idle for the shortest time out of the pool; None if there is none."""
        now = self._clock.now()
        while self._idle:
            connection, expires = self._idle.popitem()
            if now < expires:
                return connection
            connection.abort()
        return None

    def check(self, now: float) -> None:
        """Close what expired; called once a tick by the clock, and cheap when nothing has."""
        if now < self._next_expiry:
            return
        for connection in [idle for idle, expires in self._idle.items() if expires <= now]:
            connection.abort()
        self._next_expiry = min(self._idle.values(), default=math.inf)

    async def aclose(self) -> None:
        """Close all connections, also those in use, and return when every socket is closed. Idempotent."""
        self._closed = True
        self._clock.unwatch(self)
        for connection in list(self._open):
            connection.abort()
        while self._open:
            self._all_lost.clear()
            await self._all_lost.wait()

    # Told by the connections.

    def connection_idle(self, connection: Connection, keep_alive_hint_s: int | None) -> None:
        """Keep the connection, or close it: it, or the oldest idle one where they are too many."""
        idle_s = self._keep_alive_s
        if keep_alive_hint_s is not None:
            idle_s = min(idle_s, keep_alive_hint_s - KEEP_ALIVE_MARGIN_S)
        if idle_s <= 0 or self._closed:
            connection.abort()
            return
        expires = self._clock.now() + idle_s
        self._idle[connection] = expires
        self._next_expiry = min(self._next_expiry, expires)
        if len(self._idle) > self._idle_limit:
            next(iter(self._idle)).abort()

    def connection_closing(self, connection: Connection) -> None:
        self._idle.pop(connection, None)

    def connection_lost(self, connection: Connection) -> None:
        self._idle.pop(connection, None)
        self._open.discard(connection)
        if not self._open:
            self._all_lost.set()
