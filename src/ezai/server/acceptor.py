"""Accepting: never more connections than there are places for.

`create_server` takes whoever comes, and with TLS it tells nobody of a connection before its handshake is over. Here
each has a place from the moment it is accepted. Once all are taken newcomers wait in the kernel's queue, which belongs
to every process that listens on the socket: the first that has a place again takes them.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from functools import partial

AT_ONCE = 32
"""How many are accepted before the event loop, and another worker, has its turn."""


class Place:
    """That of one connection."""

    __slots__ = ("_acceptor", "_is_left")

    def __init__(self, acceptor: Acceptor) -> None:
        self._acceptor = acceptor
        self._is_left = False

    @property
    def is_wanted(self) -> bool:
        """Whether others wait for one: its owner should not keep it longer than it must."""
        return self._acceptor.is_short

    def leave(self) -> None:
        """Give it up, for good."""
        if not self._is_left:
            self._is_left = True
            self._acceptor.left()


class Acceptor:
    """Accepts connections on a listening socket, which it owns.

    `made` makes the protocol of a connection, which leaves its place when it is lost; `opened` is told of it once it
    is connected, TLS and all. `limit` (how many places there are) and `context` (TLS, or None) are asked for each.
    """

    def __init__(
        self,
        listening: socket.socket,
        made: Callable[[Place], asyncio.Protocol],
        opened: Callable[[asyncio.BaseProtocol], None],
        limit: Callable[[], int],
        context: Callable[[], ssl.SSLContext | None],
        handshake_s: float,
    ) -> None:
        self.opening: set[asyncio.Task[None]] = set()
        """Those that are accepted, but not connected yet."""
        self.taken = 0
        """How many places are."""
        self.is_short = False
        """Whether somebody waits whom there is no place for, or no descriptor; known a tick or two later if not."""
        self._listening = listening
        self._made = made
        self._opened = opened
        self._limit = limit
        self._context = context
        self._handshake_s = handshake_s
        self._loop = asyncio.get_running_loop()
        self._is_accepting = False

    def start(self, backlog: int) -> None:
        """Listen, and accept."""
        self._listening.setblocking(False)
        self._listening.listen(backlog)
        self._resume()

    def check(self) -> None:
        """The clock's tick: look anew whether anybody waits, and whether there are descriptors again."""
        if self._is_accepting:
            self.is_short = False
        self._resume()

    def left(self) -> None:
        """Called by a place: whoever waits may have it."""
        self.taken -= 1
        self._resume()

    def close(self) -> None:
        """Accept no more. Handshakes go on."""
        self._pause()
        self._listening.close()

    def abort(self) -> None:
        """Hang up on those that are not connected yet."""
        for opening in self.opening:
            opening.cancel()

    def _resume(self) -> None:
        if not self._is_accepting and self._listening.fileno() >= 0:
            self._is_accepting = True
            self._loop.add_reader(self._listening.fileno(), self._accept)

    def _pause(self) -> None:
        if self._is_accepting:
            self._is_accepting = False
            self._loop.remove_reader(self._listening.fileno())

    def _accept(self) -> None:
        """Take whoever is in the queue, as far as there are places. Called again while somebody is."""
        room = self._limit() - self.taken
        if room <= 0:
            self._wait()
        for _ in range(min(room, AT_ONCE)):
            try:
                connection, _ = self._listening.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError:  # out of descriptors, or of memory: whoever comes waits in the queue
                self._wait()
                return
            self._take(connection)

    def _wait(self) -> None:
        self.is_short = True
        self._pause()

    def _take(self, connection: socket.socket) -> None:
        self.taken += 1
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opening = self._loop.create_task(self._open(connection, Place(self)))
        self.opening.add(opening)
        opening.add_done_callback(self.opening.discard)

    async def _open(self, connection: socket.socket, place: Place) -> None:
        made, tls = partial(self._made, place), self._context()
        try:
            transport, _ = await self._loop.connect_accepted_socket(
                made, connection, ssl=tls, ssl_handshake_timeout=self._handshake_s if tls else None
            )
        except OSError:  # no TLS, none that both speak, the client has left, or its time is over
            place.leave()
        else:
            self._opened(transport.get_protocol())
