"""A raw server that answers each request by playing a script: bytes, a hold, an end of file, a reset.

It knows of HTTP only where a request ends. Everything that happens to it can be waited for with `until`, so that
no test sleeps.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from enum import Enum, auto
from typing import cast


class Step(Enum):
    HOLD = auto()
    """Wait until `Peer.go`."""
    EOF = auto()
    """Send what is unsent, then close."""
    RESET = auto()
    """Close with a TCP reset, and throw away what is unsent."""


HOLD, EOF, RESET = Step.HOLD, Step.EOF, Step.RESET
Script = Sequence[bytes | Step]

OK: Script = [b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"]
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


class Peer(asyncio.Protocol):
    """The server's end of one connection."""

    def __init__(self, server: ScriptedServer) -> None:
        self._server = server
        self._received = b""
        self._steps: deque[bytes | Step] = deque()
        self._holding = False
        self._draining = False
        self.requests = 0
        self.saw_eof = False
        self.lost = False
        self.writing_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._server.peers.append(self)
        if self._server.hangs_up:
            self.transport.abort()
        self._server.changed()

    def data_received(self, data: bytes) -> None:
        if self._draining:
            return
        self._received += data
        while (end := self._end_of_request()) is not None:
            self._server.requests.append(self._received[:end])
            self._received = self._received[end:]
            self.requests += 1
            self.play(self._server.next_script())
        self._server.changed()

    def _end_of_request(self) -> int | None:
        head, empty_line, _ = self._received.partition(b"\r\n\r\n")
        if not empty_line:
            return None
        if self._server.ignores_bodies:
            self.transport.pause_reading()  # until `drain`
            return len(self._received)
        length = re.search(rb"\r\ncontent-length: (\d+)", head)
        end = len(head) + 4 + (int(length[1]) if length else 0)
        return end if len(self._received) >= end else None

    def play(self, script: Script) -> None:
        self._steps.extend(script)
        while self._steps and not self._holding:
            step = self._steps.popleft()
            if isinstance(step, bytes):
                self.transport.write(step)
            elif step is HOLD:
                self._holding = True
            elif step is EOF:
                self.transport.close()
            else:
                self.reset()

    def go(self) -> None:
        """Play what stands behind the hold."""
        self._holding = False
        self.play([])

    def drain(self) -> None:
        """Read on, which is how a closed connection is noticed, and throw away what comes."""
        self._draining = True
        self.transport.resume_reading()

    def reset(self) -> None:
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def pause_writing(self) -> None:
        self.writing_paused = True
        self._server.changed()

    def resume_writing(self) -> None:
        self.writing_paused = False
        self._server.changed()

    def eof_received(self) -> None:
        self.saw_eof = True
        self._server.changed()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._server.changed()


class ScriptedServer:
    """Plays one script a request, in the order in which requests come in; `OK` when the scripts have run out."""

    def __init__(self, scripts: Sequence[Script], *, ignores_bodies: bool) -> None:
        self._scripts = deque(scripts)
        self._change: asyncio.Future[None] | None = None
        self.ignores_bodies = ignores_bodies
        self.hangs_up = False
        self.peers: list[Peer] = []
        self.requests: list[bytes] = []
        self.listener: asyncio.Server | None = None

    @property
    def open_count(self) -> int:
        return sum(not peer.lost for peer in self.peers)

    @property
    def url(self) -> str:
        assert self.listener is not None
        return f"http://127.0.0.1:{self.listener.sockets[0].getsockname()[1]}"

    def next_script(self) -> Script:
        return self._scripts.popleft() if self._scripts else OK

    def forget_scripts(self) -> None:
        """Answer `OK` from now on."""
        self._scripts.clear()

    def stop_listening(self) -> None:
        assert self.listener is not None
        self.listener.close()

    def changed(self) -> None:
        if self._change is not None and not self._change.done():
            self._change.set_result(None)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return when `condition` holds; it is looked at whenever something happened to the server."""
        while not condition():
            self._change = asyncio.get_running_loop().create_future()
            await self._change


@asynccontextmanager
async def scripted_server(*scripts: Script, ignores_bodies: bool = False) -> AsyncIterator[ScriptedServer]:
    server = ScriptedServer(scripts, ignores_bodies=ignores_bodies)
    loop = asyncio.get_running_loop()
    server.listener = await loop.create_server(lambda: Peer(server), "127.0.0.1", 0)
    try:
        yield server
    finally:
        server.stop_listening()
        for peer in server.peers:
            peer.transport.abort()
        await server.until(lambda: server.open_count == 0)
        await server.listener.wait_closed()


class Deaf:
    """A listener that completes no handshake: its queue of connections is full (Linux drops the SYN)."""

    def __enter__(self) -> str:
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(0)
        self._fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(self._listener.getsockname())
            self._fillers.append(filler)
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __exit__(self, *exc_info: object) -> None:
        for sock in (*self._fillers, self._listener):
            sock.close()


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until `condition` holds, for what only the client's side knows."""
    while not condition():  # noqa: ASYNC110  # nothing tells of it
        await asyncio.sleep(0)
