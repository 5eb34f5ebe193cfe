"""A client that speaks HTTP/2 frame by frame: as it should, or in any other way.

It knows of the protocol what its own side needs, and shares nothing with the gateway but the library for HPACK.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

import hpack
import msgspec

from tests.canary import CLIENT_KEY
from tests.conformance.gateway import request as good_request

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = 0, 1, 2, 3, 4
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 5, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS, PADDED, WITH_PRIORITY = 1, 1, 4, 8, 32
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = 0, 1, 2, 3
STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL = 5, 6, 7, 8
COMPRESSION_ERROR, ENHANCE_YOUR_CALM = 9, 11
MAX_STREAMS, INITIAL_WINDOW, MAX_FRAME, MAX_HEADER_LIST = 3, 4, 5, 6
WIDE = (1 << 31) - 1

Fields = list[tuple[bytes, bytes]]
SHOWN = (b"authorization", f"Bearer {CLIENT_KEY}".encode())
"""On every request, whether or not the gateway wants a key."""


class Frame(NamedTuple):
    """One frame as it came."""

    kind: int
    flags: int
    stream: int
    payload: bytes


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def settings(**values: int) -> bytes:
    names = {"streams": MAX_STREAMS, "window": INITIAL_WINDOW, "frame": MAX_FRAME, "headers": MAX_HEADER_LIST}
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", names[name], value) for name, value in values.items()))


def window_update(stream: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", increment))


def rst(stream: int, code: int = CANCEL) -> bytes:
    return frame(RST_STREAM, 0, stream, struct.pack(">I", code))


def frames_of(wire: bytes) -> tuple[list[Frame], bytes]:
    """The whole frames, and what is left."""
    found, at = [], 0
    while len(wire) - at >= 9:
        size = int.from_bytes(wire[at : at + 3], "big")
        if len(wire) - at < 9 + size:
            break
        (stream,) = struct.unpack_from(">I", wire, at + 5)
        found.append(Frame(wire[at + 3], wire[at + 4], stream, wire[at + 9 : at + 9 + size]))
        at += 9 + size
    return found, wire[at:]


def good_head(method: str = "POST", path: str = "/v1/messages", *more: tuple[bytes, bytes]) -> Fields:
    pseudo = [(b":method", method.encode()), (b":scheme", b"http"), (b":authority", b"localhost")]
    return [*pseudo, (b":path", path.encode()), SHOWN, (b"content-type", b"application/json"), *more]


@dataclass
class Received:
    """What came on one stream."""

    status: int = 0
    informational: list[int] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    pieces: int = 0
    is_over: bool = False
    reset: int | None = None

    @property
    def is_closed(self) -> bool:
        return self.is_over or self.reset is not None

    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The body of an error answer, which must be in our shape."""
        value: dict[str, Any] = self.json()
        assert set(value) == {"type", "error", "request_id"}
        assert self.fields["request-id"] == value["request_id"]
        assert self.fields["content-length"] == str(len(self.body))
        error: dict[str, Any] = value["error"]
        return error


class Http2Client(asyncio.Protocol):
    """One connection. `opens_windows`: it lets the gateway send on as it takes what comes."""

    def __init__(self, *, opens_windows: bool = True) -> None:
        self.opens_windows = opens_windows
        self.acknowledges = True
        self.encoder = hpack.Encoder()
        self.streams: dict[int, Received] = {}
        self.frames: list[Frame] = []
        self.goaway: tuple[int, int] | None = None
        """Last stream and code."""
        self.is_over = False
        self._decoder = hpack.Decoder()
        self._rest = b""
        self._next = 1
        self._held: bytearray | None = None
        self._can_write = asyncio.Event()
        self._can_write.set()
        self._news: asyncio.Future[None] | None = None

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        came, self._rest = frames_of(self._rest + data)
        for one in came:
            self._take(one)
        self._tell()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_over = True
        self._can_write.set()
        self._tell()

    def pause_writing(self) -> None:
        self._can_write.clear()

    def resume_writing(self) -> None:
        self._can_write.set()

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def _take(self, one: Frame) -> None:
        self.frames.append(one)
        assert len(one.payload) <= 16_384, "a frame is larger than was allowed"
        if one.kind == SETTINGS and not one.flags & ACK and self.acknowledges:
            self.send(frame(SETTINGS, ACK))
        elif one.kind == GOAWAY:
            self.goaway = cast("tuple[int, int]", struct.unpack(">II", one.payload[:8]))
        elif one.stream:
            self._take_stream(one, self.streams.setdefault(one.stream, Received()))

    def _take_stream(self, one: Frame, received: Received) -> None:
        if one.kind == RST_STREAM:
            (received.reset,) = struct.unpack(">I", one.payload)
            return
        if one.kind == HEADERS:
            assert not received.is_closed
            self._take_head(one, received)
        elif one.kind == DATA:
            assert received.status, "a body came before its head"
            assert not received.is_closed, "a body came after its end"
            received.body += one.payload
            received.pieces += 1
            if self.opens_windows and one.payload:
                self.send(window_update(0, len(one.payload)) + window_update(one.stream, len(one.payload)))
        received.is_over = received.is_over or bool(one.kind in {DATA, HEADERS} and one.flags & END_STREAM)

    def _take_head(self, one: Frame, received: Received) -> None:
        assert one.flags & END_HEADERS
        (_, status), *fields = self._decoder.decode(one.payload, raw=True)
        if status.startswith(b"1"):
            received.informational.append(int(status))
            return
        assert not received.status, "a head came twice"
        received.status = int(status)
        received.fields = {name.decode(): value.decode() for name, value in fields}
        assert len(received.fields) == len(fields), "a header came twice"

    # Speaking.

    def send(self, data: bytes) -> None:
        if self._held is not None:
            self._held += data
        elif not self.transport.is_closing():
            self.transport.write(data)

    @contextmanager
    def held(self) -> Iterator[bytearray]:
        """What is sent meanwhile, which is not sent."""
        self._held = bytearray()
        yield self._held
        self._held = None

    async def sent(self, data: bytes) -> None:
        """Send, and return when the kernel has taken nearly all of it."""
        self.send(data)
        await self._can_write.wait()

    def greet(self, **values: int) -> None:
        self.send(PREFACE + settings(**values))

    def head(self, fields: Iterable[tuple[bytes, bytes]], *, end: bool = False, stream: int | None = None) -> int:
        """Send a head; the number of its stream."""
        number, block = self.numbered(stream), self.encoder.encode(fields)
        self.send(frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), number, block))
        return number

    def data(self, stream: int, data: bytes, *, end: bool = False) -> None:
        parts = [data[at : at + 16_384] for at in range(0, len(data), 16_384)] or [b""]
        for place, part in enumerate(parts):
            last = end and place == len(parts) - 1
            self.send(frame(DATA, END_STREAM if last else 0, stream, part))

    def numbered(self, stream: int | None = None) -> int:
        """The number of the next stream, or that one."""
        number = stream or self._next
        self._next = max(self._next, number + 2)
        return number

    def get(self, path: str, method: str = "GET") -> int:
        return self.head(good_head(method, path), end=True)

    def post(self, path: str = "/v1/messages", *more: tuple[bytes, bytes], **members: Any) -> int:
        """Send a good request with these fields and members; the number of its stream."""
        stream = self.head(good_head("POST", path, *more))
        self.data(stream, msgspec.json.encode(good_request(**members)), end=True)
        return stream

    # Reading.

    async def until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            assert not self.is_over, f"the gateway hung up; GOAWAY: {self.goaway}"
            self._news = asyncio.get_running_loop().create_future()
            await self._news

    async def answer(self, stream: int) -> Received:
        """The whole answer. One that is reset before its end fails."""
        await self.until(lambda: stream in self.streams and self.streams[stream].is_closed)
        received = self.streams[stream]
        assert received.is_over, f"the stream was reset with {received.reset}"
        return received

    async def is_reset(self, stream: int) -> int:
        """The code with which the gateway resets the stream."""
        await self.until(lambda: stream in self.streams and self.streams[stream].reset is not None)
        code = self.streams[stream].reset
        assert code is not None
        return code

    async def said(self, stream: int, text: bytes) -> None:
        """Return once this stands in the body of the stream's answer."""
        await self.until(lambda: stream in self.streams and text in self.streams[stream].body)

    async def hung_up(self) -> tuple[int, int] | None:
        """Return once the gateway has ended the connection: last stream and code of its GOAWAY."""
        while not self.is_over:
            self._news = asyncio.get_running_loop().create_future()
            await self._news
        return self.goaway

    def received_bytes(self, stream: int) -> int:
        """Of the body of a stream's answer, so far."""
        return len(self.streams[stream].body) if stream in self.streams else 0

    def allowed_bytes(self, stream: int) -> int:
        """By how much the gateway has opened the window of a stream, or of the connection."""
        opened = [one for one in self.frames if (one.kind, one.stream) == (WINDOW_UPDATE, stream)]
        return sum(int.from_bytes(one.payload, "big") for one in opened)

    async def round_trip(self) -> None:
        """Return once the gateway has answered to all that was sent so far, and what it said before has come."""
        mark = struct.pack(">Q", len(self.frames))
        self.send(frame(PING, 0, 0, mark))
        await self.until(lambda: any(one.kind == PING and one.payload == mark for one in self.frames))

    # Leaving.

    def close(self) -> None:
        self.transport.close()

    def half_close(self) -> None:
        self.transport.write_eof()

    def reset(self) -> None:
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


LEAVES: dict[str, Callable[[Http2Client], None]] = {
    "close": Http2Client.close,
    "half-close": Http2Client.half_close,
    "reset": Http2Client.reset,
}
"""The ways in which a client leaves with all of its streams."""


@asynccontextmanager
async def http2_client(
    url: str, *, greets: bool = True, opens_windows: bool = True, **values: int
) -> AsyncIterator[Http2Client]:
    """A client of what listens there, greeted with these settings, and gone at the end of the block."""
    address = urlsplit(url)
    assert address.hostname is not None
    assert address.port is not None
    _, client = await asyncio.get_running_loop().create_connection(
        lambda: Http2Client(opens_windows=opens_windows), address.hostname, address.port
    )
    if greets:
        client.greet(**values)
        await client.until(lambda: bool(client.frames))
    try:
        yield client
    finally:
        client.transport.abort()
