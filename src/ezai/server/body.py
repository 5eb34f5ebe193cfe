"""Receiving a request body: counted as it comes, before and after decoding."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ezai.errors import InvalidRequest, RequestTooLarge
from ezai.ports import Headers

Receive = Callable[[], Awaitable[Mapping[str, Any]]]

_STEP_BYTES = 256 * 1024
"""Decoded at a time, with a look at the event loop in between: a bomb of a few bytes must not hold others up."""
_WINDOWS = {b"gzip": zlib.MAX_WBITS | 16, b"x-gzip": zlib.MAX_WBITS | 16, b"deflate": zlib.MAX_WBITS}


class ClientLeft(Exception):  # no failure of anybody's
    """The client hung up before its request was whole: there is nobody to answer."""


async def read_body(receive: Receive, headers: Headers, limit_bytes: int) -> bytes:
    """The whole body, decoded.

    Raises `RequestTooLarge` as soon as it is, whatever its head declared; `InvalidRequest` for a coding that is not
    understood or not valid; `ClientLeft` when it never becomes whole.
    """
    fields = dict(headers)
    declared = fields.get(b"content-length", b"")
    if declared.isdigit() and int(declared) > limit_bytes:
        raise _too_large(limit_bytes)
    coding = fields.get(b"content-encoding", b"identity").strip().lower()
    if coding in {b"identity", b""}:
        return await _collect(receive, limit_bytes)
    if coding not in _WINDOWS:
        raise InvalidRequest(
            "content-encoding: only gzip and deflate are understood, one of them once",
            error_code="request_body_encoding_unsupported",
        )
    return await _decode(await _collect(receive, limit_bytes), _WINDOWS[coding], limit_bytes)


async def _collect(receive: Receive, limit_bytes: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        part = message.get("body", b"")
        size += len(part)
        if size > limit_bytes:
            raise _too_large(limit_bytes)
        parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


async def _decode(coded: bytes, window_bits: int, limit_bytes: int) -> bytes:
    """One layer of one member, decoded in steps; anything behind its end makes it invalid."""
    decoder = zlib.decompressobj(window_bits)
    parts: list[bytes] = []
    size = 0
    rest = coded
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
