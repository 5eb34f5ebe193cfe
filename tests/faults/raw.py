"""A client that sends any bytes and reads what comes back."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import msgspec


@dataclass
class Answer:
    """One HTTP answer, as far as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        """The body of an error answer, which must be in our shape."""
        value: dict[str, Any] = msgspec.json.decode(self.body)
        assert set(value) == {"type", "error", "request_id"}
        assert self.headers["request-id"] == value["request_id"]
        return value


class RawClient:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def rest(self) -> bytes:
        """Everything until the gateway closes the connection; a reset counts as the end."""
        out = bytearray()
        try:
            while read := await self.reader.read(65536):
                out += read
        except ConnectionError:
            pass
        return bytes(out)

    async def answer(self) -> Answer:
        """One answer with a content-length, or all until the close."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:-2])}
        status = re.match(r"HTTP/1\.1 (\d{3})", lines[0])
        assert status, lines[0]
        length = fields.get("content-length")
        body = await (self.reader.readexactly(int(length)) if length is not None else self.rest())
        return Answer(int(status[1]), fields, body)

    def reset(self) -> None:
        """Close with a TCP reset."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@asynccontextmanager
async def raw_client(url: str) -> AsyncIterator[RawClient]:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        yield RawClient(reader, writer)
    finally:
        writer.transport.abort()


def head(*fields: str, method: str = "POST", path: str = "/v1/messages", host: bool = True) -> bytes:
    """A request's head with these fields."""
    lines = [f"{method} {path} HTTP/1.1", *(["host: 127.0.0.1"] if host else []), "content-type: application/json"]
    return ("\r\n".join([*lines, *fields]) + "\r\n\r\n").encode("latin-1")


def request(**fields: Any) -> bytes:
    """A whole request of the Messages API."""
    good = {"model": "claude-test", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]}
    body = msgspec.json.encode({**good, **fields})
    return head(f"content-length: {len(body)}") + body
