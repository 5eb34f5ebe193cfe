"""Error bodies of the Chat Completions dialect, as leniently as servers write them.

The object stands under `error`, or by itself (older vLLM), or in a list (Gemini); in its place stand a sentence, or
what a validation found (FastAPI, Mistral).
"""

from __future__ import annotations

from typing import Any

import msgspec

_MAX_SAID_BYTES = 1000


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


_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def read_error(body: bytes) -> ErrorObject | None:
    """The error that a body, or a chunk, is; None where it is none (an HTML page, nothing at all)."""
    try:
        value = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, dict):
        return None
    if value.get("error"):
        return as_object(value["error"])
    message = value.get("message")
    is_said = isinstance(message, str) or value.get("object") == "error"  # else it may be an answer
    said = (message if is_said else None) or value.get("detail")
    return as_object(value | {"message": said}) if said else None


def as_object(said: Any) -> ErrorObject:
    """What stands in the place of an error object, as one: of each member as much as can be read."""
    if isinstance(said, ErrorObject):
        return said
    if not isinstance(said, dict):
        return ErrorObject(message=_sentence(said))
    return ErrorObject(
        message=_sentence(said.get("message")),
        type=_of(said.get("type"), str),
        code=_of(said.get("code"), str, int),
        n_prompt_tokens=_of(said.get("n_prompt_tokens"), int),
        n_ctx=_of(said.get("n_ctx"), int),
    )


def _sentence(said: Any) -> str:
    if not said or isinstance(said, str):
        return said or ""
    return _encode(said)[:_MAX_SAID_BYTES].decode(errors="ignore")


def _of(value: Any, *kinds: type) -> Any:
    return value if type(value) in kinds else None
