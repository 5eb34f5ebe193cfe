"""A plain client: it sends a request and keeps what comes, piece by piece, as bytes."""

from __future__ import annotations

import asyncio
import ssl
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import msgspec

from ezai.lab.mock import Mock
from ezai.protocol.sse import SseDecoder, parse_frame

PATHS = {"anthropic": "/v1/messages", "openai": "/v1/chat/completions"}
KEY = "sk-canary-0123456789abcdef"


class Plain(asyncio.Protocol):
    """The client's end of one connection. Whatever happens can be waited for with `until`."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.ended = ""
        """Empty while it is open, then "eof" or "reset"."""
        self._change: asyncio.Future[None] | None = None

    # What came.

    @property
    def raw(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def head(self) -> bytes:
        return self.raw.partition(b"\r\n\r\n")[0]

    @property
    def body(self) -> bytes:
        """As it came, framing and all."""
        return self.raw.partition(b"\r\n\r\n")[2]

    @property
    def status(self) -> int:
        return int(self.head.split(b" ", 2)[1])

    @property
    def headers(self) -> dict[str, str]:
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}

    @property
    def content(self) -> bytes:
        """The body without its framing; of broken chunks, what is whole."""
        if "transfer-encoding" not in self.headers:
            return self.body
        return b"".join(data for _, data in self.chunks())

    def chunks(self) -> list[tuple[int, bytes]]:
        """The whole chunks before the last one: what they say they hold, and what they hold."""
        found: list[tuple[int, bytes]] = []
        body, place = self.body, 0
        while place < len(body) and not body.startswith(b"0\r\n", place):
            start = body.index(b"\r\n", place) + 2
            size = int(body[place : start - 2], 16)
            place = start + size + 2
            if place > len(body):
                break
            found.append((size, body[start : start + size]))
        return found

    def frames(self) -> list[bytes]:
        return SseDecoder(limit_bytes=2**30).feed(self.content)

    def events(self) -> list[tuple[str, Any]]:
        """Each event's name and decoded data; `...` stands for what is not JSON."""
        found = []
        for frame in self.frames():
            name, data = parse_frame(frame)
            if data is not None:
                found.append((name.decode(), _decoded(data)))
        return found

    def names(self) -> list[str]:
        return [name for name, _ in self.events()]

    def json(self) -> Any:
        return msgspec.json.decode(self.content)

    # Acting and waiting.

    def send(self, data: bytes) -> None:
        self.transport.write(data)

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._change = asyncio.get_running_loop().create_future()
            await self._change

    async def until_ended(self) -> None:
        await self.until(lambda: bool(self.ended))

    def _changed(self) -> None:
        if self._change is not None and not self._change.done():
            self._change.set_result(None)

    # Called by the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.pieces.append(data)
        self._changed()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = "reset" if isinstance(exc, ConnectionError) else "eof"
        self._changed()


def request(
    behaviour: str | None = None,
    *,
    wire: str = "anthropic",
    path: str | None = None,
    headers: dict[str, str] | None = None,
    keeps: bool = False,
    method: str = "POST",
    **fields: Any,
) -> bytes:
    """The bytes of a request with these fields changed; `...` leaves one out. The behaviour goes as a header."""
    given = {
        "model": "test",
        "max_tokens": 100_000_000,
        "stream": True,
        "messages": [{"role": "user", "content": "Hi"}],
        **({"stream_options": {"include_usage": True}} if wire == "openai" else {}),
        **fields,
    }
    body = msgspec.json.encode({name: value for name, value in given.items() if value is not ...})
    fields_sent = {"host": "mock", "content-type": "application/json", "content-length": str(len(body))}
    fields_sent |= {"x-api-key": KEY} if wire == "anthropic" else {"authorization": f"Bearer {KEY}"}
    fields_sent |= {} if keeps else {"connection": "close"}
    fields_sent |= {} if behaviour is None else {"x-mock": behaviour}
    fields_sent |= headers or {}
    lines = [f"{method} {path or PATHS[wire]} HTTP/1.1", *(f"{name}: {value}" for name, value in fields_sent.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def connected(mock: Mock, tls: ssl.SSLContext | None = None, name: str | None = None) -> Plain:
    """An open connection. The caller closes its transport."""
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(
        Plain, "127.0.0.1", mock.port, ssl=tls, server_hostname=(name or "localhost") if tls else None
    )
    return client


@asynccontextmanager
async def asking(mock: Mock, behaviour: str | None = None, **given: Any) -> AsyncIterator[Plain]:
    """A client that has sent a request; it has hung up at the end."""
    client = await connected(mock)
    client.send(request(behaviour, **given))
    try:
        yield client
    finally:
        client.transport.abort()
        await client.until_ended()


async def asked(mock: Mock, behaviour: str | None = None, **given: Any) -> Plain:
    """What came of a request until the mock closed the connection."""
    async with asking(mock, behaviour, **given) as client:
        await client.until_ended()
    return client


def unzipped(data: bytes) -> bytes:
    """gzip, also where its end is missing."""
    return zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(data)


def _decoded(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return data if data == b"[DONE]" else ...
