"""Receiving a request body: its bytes counted as it comes, before and after decoding, and its values where it is large.

A body is refused as soon as it is known to be too much, so nothing of a bomb is ever decoded as JSON.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ezai.errors import InvalidRequest, RequestTooLarge
from ezai.ports import Headers
from ezai.protocol.anthropic.requests import LARGE_BYTES
from ezai.protocol.json_count import JsonValueCount

Receive = Callable[[], Awaitable[Mapping[str, Any]]]

MAX_VALUES = 1_000_000
"""Of a large body: ten for each message of the longest conversation, and some 200 MiB once they are decoded."""

_STEP_BYTES = 256 * 1024
"""Decoded at a time, with a look at the event loop in between: a bomb of a few bytes must not hold others up."""
_WINDOWS = {b"gzip": zlib.MAX_WBITS | 16, b"x-gzip": zlib.MAX_WBITS | 16, b"deflate": zlib.MAX_WBITS}


class ClientLeft(Exception):  # no failure of anybody's
    """The client hung up before its request was whole: there is nobody to answer."""


async def read_body(receive: Receive, headers: Headers, limit_bytes: int) -> bytes:
    """The whole body, decoded.

    Raises `RequestTooLarge` as soon as it is, in bytes or in JSON values, whatever its head declared;
    `InvalidRequest` for a coding that is not understood or not valid; `ClientLeft` when it never becomes whole.
    """
    fields = dict(headers)
    declared = fields.get(b"content-length", b"")
    if declared.isdigit() and int(declared) > limit_bytes:
        raise _too_large(limit_bytes)
    coding = fields.get(b"content-encoding", b"identity").strip().lower()
    if coding in {b"identity", b""}:
        return await _collect(receive, limit_bytes, guarded=True)
    if coding not in _WINDOWS:
        raise InvalidRequest(
            "content-encoding: only gzip and deflate are understood, one of them once",
            error_code="request_body_encoding_unsupported",
        )
    return await _decode(await _collect(receive, limit_bytes, guarded=False), _WINDOWS[coding], limit_bytes)


class _Guard:
    """Counts the values of a body that has turned out to be large; raises `RequestTooLarge` at too many."""

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._size = 0
        self._count = JsonValueCount()

    async def look_at(self, part: bytes) -> None:
        self._size += len(part)
        self._held.append(part)
        if self._size <= LARGE_BYTES:
            return
        held, self._held = self._held, []
        for one in held:
            self._count.feed(one)
            if self._count.values > MAX_VALUES:
                raise RequestTooLarge(
                    f"The request body holds more than {MAX_VALUES} JSON values.",
                    error_code="request_body_too_many_values",
                )
            if len(held) > 1:
                await asyncio.sleep(0)


async def _collect(receive: Receive, limit_bytes: int, *, guarded: bool) -> bytes:
    guard: _Guard | None = None
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > limit_bytes:
            raise _too_large(limit_bytes)
        more = message.get("more_body", False)
        if not more and not parts and size <= LARGE_BYTES:
            return part  # as nearly every body comes
        if guarded:
            guard = guard or _Guard()
            await guard.look_at(part)
        parts.append(part)
        if not more:
            return parts[0] if len(parts) == 1 else b"".join(parts)


async def _decode(coded: bytes, window_bits: int, limit_bytes: int) -> bytes:
    """One layer of one member, decoded in steps; anything behind its end makes it invalid."""
    decoder = zlib.decompressobj(window_bits)
    parts: list[bytes] = []
    size = 0
    rest = coded
    guard = _Guard()
    try:
        while not decoder.eof:
            part = decoder.decompress(rest, _STEP_BYTES)
            rest = decoder.unconsumed_tail
            size += len(part)
            if size > limit_bytes:
                raise RequestTooLarge(
                    f"The request body is larger than {limit_bytes} bytes after decoding.",
                    error_code="request_body_too_large_after_decoding",
                )
            if not part and not rest:
                raise zlib.error("incomplete")
            await guard.look_at(part)
            parts.append(part)
            await asyncio.sleep(0)
    except zlib.error:
        raise _invalid() from None
    if decoder.unused_data:
        raise _invalid()
    return b"".join(parts)


def _too_large(limit_bytes: int) -> RequestTooLarge:
    return RequestTooLarge(f"The request body is larger than {limit_bytes} bytes.")


def _invalid() -> InvalidRequest:
    return InvalidRequest("content-encoding: the body is not what it says", error_code="request_body_encoding_invalid")
