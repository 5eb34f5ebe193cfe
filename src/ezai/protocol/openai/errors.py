"""Error bodies of the Chat Completions dialect, as leniently as servers write them."""

from __future__ import annotations

import msgspec


class ErrorObject(msgspec.Struct, frozen=True):
    """`error` of an answer. `code` is a string at the vendor, an HTTP status at llama.cpp and vLLM."""

    message: str = ""
    type: str | None = None
    code: str | int | None = None
    n_prompt_tokens: int | None = None  # llama.cpp, of exceed_context_size_error
    n_ctx: int | None = None


def tells_unread_answer(error: ErrorObject) -> bool:
    """Whether it is llama.cpp's word that an answer, which is whole, ends in what its parser did not expect."""
    return error.message.startswith("The model produced output that does not match the expected ")


class _Body(msgspec.Struct, frozen=True):
    error: ErrorObject | str | None = None
    message: str | None = None  # older vLLM: the object itself
    detail: str | None = None  # FastAPI's own errors


_decode = msgspec.json.Decoder(_Body).decode


def as_object(error: ErrorObject | str | None) -> ErrorObject:
    """Some servers put a bare sentence where the object belongs."""
    return ErrorObject(message=error) if isinstance(error, str) else error or ErrorObject()


def read_error(body: bytes) -> ErrorObject | None:
    """The error of a JSON body; None where the body is not one (an HTML page, nothing at all)."""
    try:
        decoded = _decode(body)
    except (msgspec.DecodeError, RecursionError):
        return None
    if decoded.error is not None:
        return as_object(decoded.error)
    message = decoded.message or decoded.detail
    return ErrorObject(message=message) if message else None
