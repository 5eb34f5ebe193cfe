"""Frames of HTTP/2 and their bytes (RFC 9113 sections 4 and 6); and what is wrong enough to end a connection."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import Final, NamedTuple

HEAD_BYTES: Final = 9
MAX_PAYLOAD: Final = 16_384
"""The largest that either side may send unasked (section 4.2), and the largest that is taken here."""
MAX_WINDOW: Final = 2**31 - 1
DEFAULT_WINDOW: Final = 65_535

DATA: Final = 0x0
HEADERS: Final = 0x1
PRIORITY: Final = 0x2
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
PUSH_PROMISE: Final = 0x5
PING: Final = 0x6
GOAWAY: Final = 0x7
WINDOW_UPDATE: Final = 0x8
CONTINUATION: Final = 0x9

ACK: Final = 0x1
END_STREAM: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
WITH_PRIORITY: Final = 0x20

_HEAD = struct.Struct(">HBBBI")  # the length is of three bytes
_SETTING = struct.Struct(">HI")
_WORD = struct.Struct(">I")
_WITHOUT_RESERVED_BIT = 0x7FFF_FFFF


class Code(IntEnum):
    """Why a stream or a connection ends (section 7); those that are used here."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    ENHANCE_YOUR_CALM = 0xB


class Setting(IntEnum):
    """What each side tells of itself (section 6.5.2); those that are used here."""

    ENABLE_PUSH = 0x2
    MAX_CONCURRENT_STREAMS = 0x3
    INITIAL_WINDOW_SIZE = 0x4
    MAX_FRAME_SIZE = 0x5
    MAX_HEADER_LIST_SIZE = 0x6


class ConnectionFault(Exception):  # no error of the tree: nobody is answered, the client's library is told
    """The client broke the protocol, or asks for too much: the connection ends, and with it all of its streams."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Frame(NamedTuple):
    """One frame, whole."""

    kind: int
    flags: int
    stream_id: int
    payload: bytes

    def unpadded(self) -> bytes:
        """The payload of DATA or HEADERS without its padding. Raises `ConnectionFault`."""
        if not self.flags & PADDED:
            return self.payload
        if not self.payload or self.payload[0] >= len(self.payload):
            raise ConnectionFault(Code.PROTOCOL_ERROR, "A frame's padding is longer than the frame.")
        return self.payload[1 : len(self.payload) - self.payload[0]]


class FrameReader:
    """Cuts bytes into frames, wherever they were cut before."""

    def __init__(self) -> None:
        self._rest = b""

    @property
    def has_begun_head(self) -> bool:
        """Whether a frame has begun that is not one of a body."""
        return bool(self._rest) and (len(self._rest) < 4 or self._rest[3] != DATA)

    def read(self, data: bytes) -> Iterator[Frame]:
        """Every frame that is whole by now; the rest waits. Raises `ConnectionFault` for one that is too long.

        Nothing else may be read before the iteration is over.
        """
        buffer = self._rest + data if self._rest else data
        self._rest = b""
        at, size = 0, len(buffer)
        while size - at >= HEAD_BYTES:
            high, low, kind, flags, stream_id = _HEAD.unpack_from(buffer, at)
            end = at + HEAD_BYTES + (high << 8) + low
            if end - at > HEAD_BYTES + MAX_PAYLOAD:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"A frame is larger than {MAX_PAYLOAD} bytes.")
            if end > size:
                break
            payload = buffer[at + HEAD_BYTES : end]
            at = end
            yield Frame(kind, flags, stream_id & _WITHOUT_RESERVED_BIT, payload)
        self._rest = buffer[at:]


# Writing.


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """The bytes of a frame; the payload must not be larger than the other side takes."""
    size = len(payload)
    return _HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream_id) + payload


def settings(values: Iterable[tuple[int, int]]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(name, value) for name, value in values))


def window_update(stream_id: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream_id, _WORD.pack(increment))


def reset(stream_id: int, code: Code) -> bytes:
    return frame(RST_STREAM, 0, stream_id, _WORD.pack(code))


def goaway(last_stream_id: int, code: Code, message: str) -> bytes:
    return frame(GOAWAY, 0, 0, _WORD.pack(last_stream_id) + _WORD.pack(code) + message.encode())


def header_block(stream_id: int, block: bytes, flags: int) -> bytes:
    """HEADERS, and CONTINUATION where the block is larger than one frame may be."""
    if len(block) <= MAX_PAYLOAD:
        return frame(HEADERS, flags | END_HEADERS, stream_id, block)
    parts = [block[at : at + MAX_PAYLOAD] for at in range(0, len(block), MAX_PAYLOAD)]
    first, *middle, last = parts
    return b"".join(
        [
            frame(HEADERS, flags, stream_id, first),
            *(frame(CONTINUATION, 0, stream_id, part) for part in middle),
            frame(CONTINUATION, END_HEADERS, stream_id, last),
        ]
    )


# Reading payloads.


def read_word(payload: bytes, at: int = 0) -> int:
    """A number of 31 bits: an increment, a stream."""
    word: int = _WORD.unpack_from(payload, at)[0]
    return word & _WITHOUT_RESERVED_BIT


def read_settings(payload: bytes) -> Iterator[tuple[int, int]]:
    """Names and values. Raises `ConnectionFault` for a payload of another length than theirs."""
    if len(payload) % _SETTING.size:
        raise ConnectionFault(Code.FRAME_SIZE_ERROR, "SETTINGS hold half a setting.")
    return _SETTING.iter_unpack(payload)
