"""Accepting where TLS is spoken: an `asyncio.Server` that knows of its handshakes.

`create_server(ssl=...)` tells nobody of a connection before its handshake is over: thousands that say nothing would
hold their descriptors unseen.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable

HangsUp = Callable[[], bool]


class TlsServer:
    """Accepts connections on a listening socket, which it owns, and agrees with each on TLS.

    `made` makes the protocol of a connection whose TLS stands, `context` is asked for each anew. One that comes while
    `hangs_up` says so is closed.
    """

    def __init__(
        self,
        listening: socket.socket,
        made: Callable[[], asyncio.Protocol],
        context: Callable[[], ssl.SSLContext],
        hangs_up: HangsUp,
        timeout_s: float,
    ) -> None:
        self.handshakes: set[asyncio.Task[None]] = set()
        """Those under way."""
        self._listening = listening
        self._made = made
        self._context = context
        self._hangs_up = hangs_up
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._is_accepting = False

    def start(self, backlog: int) -> None:
        """Listen, and accept."""
        self._listening.setblocking(False)
        self._listening.listen(backlog)
        self.resume()

    def resume(self) -> None:
        """Accept again, where a lack of descriptors had it stop."""
        if not self._is_accepting and self._listening.fileno() >= 0:
            self._is_accepting = True
            self._loop.add_reader(self._listening.fileno(), self._accept)

    def close(self) -> None:
        """Accept no more. Handshakes go on."""
        self._pause()
        self._listening.close()

    def abort(self) -> None:
        """Hang up on those that are not agreed yet."""
        for handshake in self.handshakes:
            handshake.cancel()

    def _pause(self) -> None:
        if self._is_accepting:
            self._is_accepting = False
            self._loop.remove_reader(self._listening.fileno())

    def _accept(self) -> None:
        """Take whoever is in the queue."""
        while True:
            try:
                connection, _ = self._listening.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError:  # out of descriptors, or of memory: whoever comes waits in the queue
                self._pause()
                return
            if self._hangs_up():
                connection.close()
                continue
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            handshake = self._loop.create_task(self._agree(connection))
            self.handshakes.add(handshake)
            handshake.add_done_callback(self.handshakes.discard)

    async def _agree(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(
                self._made, connection, ssl=self._context(), ssl_handshake_timeout=self._timeout_s
            )
        except OSError:  # no TLS, none that both speak, the client has left, or its time is over
            return
