"""Statuses, redirects, headers, bodies that are no stream, content encodings."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator

from ezai.lab.mock.asked import Asked
from ezai.lab.mock.reply import BODY, Frame, Framing, Items, KeepAlive, Reply, numbered
from ezai.lab.mock.wire import JSON_TYPE, encode

HTML = (
    b"<!DOCTYPE html>\n<html><head><title>Mock</title></head>\n"
    b"<body><h1>This is a page</h1><p>Not an answer.</p></body></html>\n"
)
_BOMB_BLOCK_BYTES = 2**20
_GZIP_HEAD = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
_ECHOED = (b"authorization", b"x-api-key", b"api-key", b"cookie")


def status(reply: Reply, code: int, asked: Asked) -> None:
    """An error answer in the wire's own shape, with `error_type`, `error_message` and `retry_after`."""
    behaviour = asked.behaviour
    kind = behaviour.error_type or asked.wire.error_type(code)
    message = behaviour.error_message or f"The mock answers {code}."
    reply.status = code
    _whole(reply, JSON_TYPE, asked.wire.error_body(kind, message, asked.request_id))
    if behaviour.retry_after:
        reply.headers.append((b"retry-after", behaviour.retry_after.encode()))


def redirect(reply: Reply, url: str, _asked: Asked) -> None:
    """302 to another place."""
    reply.status = 302
    _whole(reply, b"text/plain", b"Moved.\n")
    reply.headers.append((b"location", url.encode()))


def body(reply: Reply, kind: str, asked: Asked) -> None:
    """Another body than the one due, under the status that is."""
    content_type, data = _BODIES[kind](asked)
    _whole(reply, content_type, data)


def content_type(reply: Reply, value: str, _asked: Asked) -> None:
    """Another content type over the same body."""
    _set(reply, b"content-type", value.encode())


def extra_headers(reply: Reply, text: str, _asked: Asked) -> None:
    """More headers, as "name: value", joined by |."""
    for line in text.split("|"):
        name, _, value = line.partition(":")
        reply.headers.append((name.strip().encode(), value.strip().encode()))


def header_bytes(reply: Reply, size_bytes: int, _asked: Asked) -> None:
    """One header of this size."""
    reply.headers.append((b"x-mock-large", b"a" * size_bytes))


def header_count(reply: Reply, count: int, _asked: Asked) -> None:
    """So many headers."""
    reply.headers += [(b"x-mock-%d" % number, b"a") for number in range(count)]


def header_echo(reply: Reply, _on: bool, asked: Asked) -> None:
    """The client's own credentials, back in headers."""
    sent = [(name, value) for name, value in asked.request.headers if name in _ECHOED]
    reply.headers += [(b"x-echo-%b" % name, value) for name, value in sent]
    reply.headers += [(b"set-cookie", b"key=%b" % value) for _, value in sent]


def header_raw(reply: Reply, kind: str, _asked: Asked) -> None:
    """A header that HTTP forbids."""
    reply.headers.append(_RAW_HEADERS[kind])


def keep_alive(reply: Reply, kind: KeepAlive, _asked: Asked) -> None:
    """What becomes of the connection after this answer."""
    reply.keep_alive = kind


def content_encoding(reply: Reply, text: str, _asked: Asked) -> None:
    """Encodings that nobody asked for, joined by +. gzip is done, others are only claimed."""
    names = text.split("+")
    reply.headers.append((b"content-encoding", ", ".join(names).encode()))
    for name in names:
        if name == "gzip":
            reply.body_stages.append(_gzipped)


def gzip_bomb(reply: Reply, size_bytes: int, _asked: Asked) -> None:
    """A body of a thousandth of this size, whose comment lines have this size when they are decoded."""
    reply.headers.append((b"content-encoding", b"gzip"))
    reply.source = numbered(_bomb(size_bytes))


def _whole(reply: Reply, kind: bytes, data: bytes) -> None:
    _set(reply, b"content-type", kind)
    reply.framing = Framing.LENGTH
    reply.source = numbered([Frame(data, BODY)])


def _set(reply: Reply, name: bytes, value: bytes) -> None:
    reply.headers = [header for header in reply.headers if header[0] != name]
    reply.headers.append((name, value))


_BODIES: dict[str, Callable[[Asked], tuple[bytes, bytes]]] = {
    "html": lambda _asked: (b"text/html; charset=utf-8", HTML),
    "json": lambda asked: (JSON_TYPE, encode(asked.wire.whole(asked))),
    "error": lambda asked: (JSON_TYPE, _error(asked)),
    "text": lambda _asked: (b"text/plain", b"upstream connect error or disconnect/reset before headers"),
    "empty": lambda _asked: (b"text/event-stream", b""),
}
BODY_KINDS = tuple(_BODIES)

_RAW_HEADERS = {
    "cr": (b"x-mock-raw", b"a\rx-mock-injected: 1"),
    "lf": (b"x-mock-raw", b"a\nx-mock-injected: 1"),
    "nul": (b"x-mock-raw", b"a\0b"),
    "space": (b"x-mock-raw ", b"a"),
    "fold": (b"x-mock-raw", b"a\r\n b"),
    "no_colon": (b"x-mock-raw\r\nx-mock-more", b"a"),
    "latin1": (b"x-mock-raw", b"\xe9\xff"),
}
RAW_HEADER_KINDS = tuple(_RAW_HEADERS)


def _error(asked: Asked) -> bytes:
    kind = asked.behaviour.error_type or "api_error"
    return asked.wire.error_body(kind, asked.behaviour.error_message or "An error under status 200.", asked.request_id)


def _gzipped(items: Items) -> Items:
    """Every event compressed and flushed, so that each can be decoded when it comes."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    for item in items:
        if isinstance(item, Frame):
            data = compressor.compress(item.data) + compressor.flush(zlib.Z_SYNC_FLUSH)
            yield item.with_data(data)
        else:
            yield item
    end = Frame(compressor.flush(), "gzip")
    end.whole = False
    yield end


def _bomb(size_bytes: int) -> Iterator[Frame]:
    """One block is compressed once and then repeated: whoever sends a bomb must not have to make it."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = b":" + b" " * (_BOMB_BLOCK_BYTES - 2) + b"\n"
    packed = compressor.compress(block) + compressor.flush(zlib.Z_FULL_FLUSH)
    checksum = 0
    yield _bomb_frame(_GZIP_HEAD)
    for _ in range(size_bytes // _BOMB_BLOCK_BYTES):
        checksum = zlib.crc32(block, checksum)
        yield _bomb_frame(packed)
    rest = b"\n" * (size_bytes % _BOMB_BLOCK_BYTES)
    checksum = zlib.crc32(rest, checksum)
    end = struct.pack("<II", checksum, size_bytes % 2**32)
    yield _bomb_frame(compressor.compress(rest) + compressor.flush() + end)


def _bomb_frame(data: bytes) -> Frame:
    frame = Frame(data, "bomb")
    frame.whole = False
    return frame
