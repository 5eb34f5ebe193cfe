"""A client of the gateway that sends any bytes, reads as far as it likes, and leaves in every way there is."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec

from tests.canary import CLIENT_KEY, WATCH


@dataclass(frozen=True)
class Answer:
    """One HTTP answer, whole by its framing."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The body of an error answer, which must be in our shape."""
        value: dict[str, Any] = self.json()
        assert set(value) == {"type", "error", "request_id"}
        assert self.headers["request-id"] == value["request_id"]
        return value


class RawClient(asyncio.Protocol):
    """One connection. It knows no more of HTTP than where an answer ends."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._watched = WATCH.stream("an answer to a client")
        self._over = False
        self._can_write = asyncio.Event()
        self._can_write.set()
        self._news: asyncio.Future[None] | None = None

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        self._watched(data)
        self._tell()

    def eof_received(self) -> bool:
        self._over = True
        self._tell()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._over = True
        self._can_write.set()
        self._tell()

    def pause_writing(self) -> None:
        self._can_write.clear()

    def resume_writing(self) -> None:
        self._can_write.set()

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    # Speaking.

    def send(self, data: bytes) -> None:
        self.transport.write(data)

    async def sent(self, data: bytes) -> None:
        """Send, and return when the kernel has taken nearly all of it."""
        self.transport.write(data)
        await self._can_write.wait()

    # Reading.

    @property
    def is_hung_up(self) -> bool:
        """Whether the gateway is known to have ended the connection."""
        return self._over or self.transport.is_closing()

    @property
    def has_news(self) -> bool:
        """Whether something came that is not read yet."""
        return bool(self._received)

    async def until(self, end: bytes) -> bytes:
        """What comes up to and with `end`."""
        while end not in self._received:
            await self._more()
        return self._take(self._received.index(end) + len(end))

    async def exactly(self, size: int) -> bytes:
        while len(self._received) < size:
            await self._more()
        return self._take(size)

    async def rest(self) -> bytes:
        """Everything until the gateway hangs up, kindly or not."""
        while not self._over:
            await self._more()
        return self._take(len(self._received))

    async def answer(self, *, to_head: bool = False) -> Answer:
        """The next answer. One that is cut inside its framing fails."""
        status, headers = await self.head()
        body = b"" if to_head else await self._body(headers)
        return Answer(status, headers, body)

    async def head(self) -> tuple[int, dict[str, str]]:
        """Status and header fields of the next answer; none may come twice."""
        first, *lines = (await self.until(b"\r\n\r\n")).decode("latin-1").rstrip().split("\r\n")
        status = re.match(r"HTTP/1\.1 (\d{3})", first)
        assert status, first
        fields = [line.partition(": ") for line in lines]
        headers = {name.lower(): value for name, _, value in fields}
        assert len(headers) == len(fields), "a header came twice"
        return int(status[1]), headers

    async def chunk(self) -> bytes:
        """One chunk of a chunked body; empty: the last one, and with it the end of the answer."""
        size = int(await self.until(b"\r\n"), 16)
        data = await self.exactly(size + 2)
        assert data.endswith(b"\r\n")
        return data[:-2]

    async def rest_of_answer(self) -> bytes:
        """What is left of a chunked body, to its end; from between two chunks, or from inside one."""
        return await self.until(b"\r\n0\r\n\r\n")

    async def rest_or_cut(self) -> bytes:
        """The same of one that may be cut: then what there is of it."""
        end = b"\r\n0\r\n\r\n"
        while end not in self._received and not self._over:
            await self._more()
        return self._take(self._received.index(end) + len(end) if end in self._received else len(self._received))

    async def head_or_cut(self) -> bytes:
        """The head of the next answer, which stays; of one that is cut, what there is."""
        while b"\r\n\r\n" not in self._received and not self._over:
            await self._more()
        return bytes(self._received)

    async def _body(self, headers: dict[str, str]) -> bytes:
        if "content-length" in headers:
            return await self.exactly(int(headers["content-length"]))
        assert headers["transfer-encoding"] == "chunked"
        body = bytearray()
        while part := await self.chunk():
            body += part
        return bytes(body)

    async def _more(self) -> None:
        assert not self._over, f"the gateway hung up after {bytes(self._received)!r}"
        self._news = asyncio.get_running_loop().create_future()
        await self._news

    def _take(self, size: int) -> bytes:
        taken = bytes(self._received[:size])
        del self._received[:size]
        return taken

    # Leaving.

    def close(self) -> None:
        """Send a FIN, and listen no more."""
        self.transport.close()

    def half_close(self) -> None:
        """Send a FIN, and go on listening."""
        self.transport.write_eof()

    def reset(self) -> None:
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def stop_reading(self) -> None:
        self.transport.pause_reading()

    def read_again(self) -> None:
        self.transport.resume_reading()


ALWAYS = ("content-type: application/json", f"authorization: Bearer {CLIENT_KEY}")
"""On every request, whether or not the gateway wants a key."""

LEAVES: dict[str, Callable[[RawClient], None]] = {
    "close": RawClient.close,
    "half-close": RawClient.half_close,
    "reset": RawClient.reset,
}
"""The ways in which a client leaves."""


@asynccontextmanager
async def raw_client(url: str, *, receive_buffer_bytes: int = 0) -> AsyncIterator[RawClient]:
    """A client of what listens at that URL, gone at the end of the block.

    With a small buffer (0: the system's) it is soon felt that it does not read.
    """
    address = urlsplit(url)
    assert address.hostname is not None
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    try:
        sock.setblocking(False)
        if receive_buffer_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        await loop.sock_connect(sock, (address.hostname, address.port or 80))
        _, client = await loop.create_connection(RawClient, sock=sock)
    except BaseException:
        sock.close()
        raise
    try:
        yield client
    finally:
        client.transport.abort()


def head(*fields: str, method: str = "POST", path: str = "/v1/messages", host: bool = True) -> bytes:
    """A request's head with these fields."""
    lines = [f"{method} {path} HTTP/1.1", *(["host: 127.0.0.1"] if host else []), *ALWAYS]
    return ("\r\n".join([*lines, *fields]) + "\r\n\r\n").encode("latin-1")


def request(*fields: str, **members: Any) -> bytes:
    """A whole request of the Messages API, with these header fields and members of its body."""
    good = {"model": "claude-test", "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]}
    body = msgspec.json.encode({**good, **members})
    return head(f"content-length: {len(body)}", *fields) + body
