"""A raw server that answers each request by playing a script: bytes, a hold, an end of file, a reset.

It knows of HTTP only where a request ends. Everything that happens to it can be waited for with `until`, so that
no test sleeps.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
import struct
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from enum import Enum, auto
from typing import Any, Literal, cast

from tests import canary


class Step(Enum):
    HOLD = auto()
    """Wait until `Peer.go`."""
    EOF = auto()
    """Send what is unsent, then close."""
    RESET = auto()
    """Close with a TCP reset, and throw away what is unsent."""
    CUT = auto()
    """End the stream of TCP without a word of TLS, as anybody on the way could."""
    TUNNEL = auto()
    """As a proxy does: connect to the server behind, say 200, and pass on what comes from either side."""


HOLD, EOF, RESET, CUT, TUNNEL = Step.HOLD, Step.EOF, Step.RESET, Step.CUT, Step.TUNNEL
Script = Sequence[bytes | Step]

OK: Script = [b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"]
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
TUNNEL_STANDS = b"HTTP/1.1 200 Connection established\r\n\r\n"
NAME = "upstream.test"
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)")

Hears = Literal["requests", "heads", "anything"]
"""What a server takes for a request: whole ones; heads alone, and then reads no more; or whatever comes."""


class Peer(asyncio.Protocol):
    """The server's end of one connection."""

    def __init__(self, server: ScriptedServer) -> None:
        self._server = server
        self.received = bytearray()
        self.onward: asyncio.Transport | None = None
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
        if self.onward is not None:
            self.onward.write(data)
            return
        self.received += data
        while self.received and (end := self._end_of_request()) is not None:
            self._server.requests.append(bytes(self.received[:end]))
            canary.WATCH.raw_upstream_request(self._server.requests[-1])
            del self.received[:end]
            self.requests += 1
            self.play(self._server.next_script())
        self._server.changed()

    def _end_of_request(self) -> int | None:
        if self._server.hears == "anything":
            return len(self.received)
        head = self.received.find(b"\r\n\r\n")
        if head < 0:
            return None
        if self._server.hears == "heads":
            self.transport.pause_reading()  # until `drain`
            return len(self.received)
        length = _LENGTH.search(self.received, 0, head)
        end = head + 4 + (int(length[1]) if length else 0)
        return end if len(self.received) >= end else None

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
            elif step is CUT:
                self.cut()
            elif step is TUNNEL:
                self._server.dig(self)
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

    def cut(self) -> None:
        with socket.socket(fileno=os.dup(self.transport.get_extra_info("socket").fileno())) as sock:
            sock.shutdown(socket.SHUT_WR)

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
        if self.onward is not None:
            self.onward.abort()
        self._server.changed()


class Onward(asyncio.Protocol):
    """What a proxy's peer has on the other side of its tunnel."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    def data_received(self, data: bytes) -> None:
        if not self._peer.transport.is_closing():
            self._peer.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._peer.transport.close()


class ScriptedServer:
    """Plays one script a request, in the order in which requests come in; when they have run out, `otherwise` says."""

    def __init__(self, scripts: Sequence[Script], hears: Hears) -> None:
        self._scripts = deque(scripts)
        self.otherwise: Callable[[], Script] = lambda: OK
        self._change: asyncio.Future[None] | None = None
        self._tunnels: list[asyncio.Task[None]] = []
        self.hears = hears
        self.hangs_up = False
        self.behind: ScriptedServer | None = None
        self.secure = False
        self.peers: list[Peer] = []
        self.requests: list[bytes] = []
        self.listener: asyncio.Server | None = None
        self.address = ("", 0)

    @property
    def open_count(self) -> int:
        return sum(not peer.lost for peer in self.peers)

    @property
    def url(self) -> str:
        """By its address; over TLS by a name, for which `here` is the resolver."""
        host, port = self.address
        return f"https://{NAME}:{port}" if self.secure else f"http://{host}:{port}"

    async def here(self, host: str, port: int) -> list[tuple[str, int]]:
        """A resolver that knows one address."""
        return [self.address]

    def next_script(self) -> Script:
        return self._scripts.popleft() if self._scripts else self.otherwise()

    def forget_scripts(self) -> None:
        """Answer every request in the same way from now on."""
        self._scripts.clear()

    def dig(self, peer: Peer) -> None:
        self._tunnels.append(asyncio.get_running_loop().create_task(self._dig(peer)))

    async def _dig(self, peer: Peer) -> None:
        assert self.behind is not None
        loop = asyncio.get_running_loop()
        onward, _ = await loop.create_connection(lambda: Onward(peer), *self.behind.address)
        if peer.lost:
            onward.abort()
            return
        peer.onward = onward
        if not peer.transport.is_closing():
            peer.transport.write(TUNNEL_STANDS)

    async def stop(self) -> None:
        self.stop_listening()
        await asyncio.gather(*self._tunnels)
        for peer in self.peers:
            if not peer.lost:
                peer.transport.abort()
        await self.until(lambda: self.open_count == 0)
        await until(lambda: not _handshakes())
        assert self.listener is not None
        await self.listener.wait_closed()

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
async def scripted_server(
    *scripts: Script,
    hears: Hears = "requests",
    tls: ssl.SSLContext | None = None,
    host: str = "127.0.0.1",
) -> AsyncIterator[ScriptedServer]:
    server = ScriptedServer(scripts, hears)
    server.secure = tls is not None
    loop = asyncio.get_running_loop()
    server.listener = await loop.create_server(lambda: Peer(server), host, 0, ssl=tls)
    server.address = server.listener.sockets[0].getsockname()[:2]
    try:
        yield server
    finally:
        await server.stop()


@asynccontextmanager
async def scripted_proxy(behind: ScriptedServer, *scripts: Script) -> AsyncIterator[ScriptedServer]:
    """A proxy whose every tunnel leads to the one server `behind` it, whatever it was asked for."""
    async with scripted_server(*scripts) as proxy:
        proxy.behind = behind
        proxy.otherwise = lambda: [TUNNEL]
        yield proxy


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


def _handshakes() -> list[asyncio.Task[Any]]:
    """What asyncio's own servers have under way, of which no protocol is told."""
    return [task for task in asyncio.all_tasks() if "_accept_connection" in str(task.get_coro())]


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until `condition` holds, for what only the client's side knows."""
    while not condition():  # noqa: ASYNC110  # nothing tells of it
        await asyncio.sleep(0)
