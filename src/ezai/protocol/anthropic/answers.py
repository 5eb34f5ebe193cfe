"""What goes back as a whole: the message, with every key the SDKs know, and the one error shape."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import msgspec

from ezai.errors import RequestError, UpstreamMalformed, UpstreamRefused
from ezai.protocol.anthropic.events import usage_report
from ezai.protocol.end import UsageSource
from ezai.protocol.sse import encode_frame
from ezai.protocol.usage import Usage, is_count

_encode = msgspec.json.Encoder().encode
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_NULL = msgspec.Raw(b"null")


def blank_message(message_id: str, model: str, usage: Usage) -> dict[str, Any]:
    """A message before its first block, as `message_start` carries it; every key is there, unknown ones as null."""
    return {
        "id": message_id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "stop_details": None,
        "container": None,
        "diagnostics": None,
        "usage": start_usage(usage),
    }


def start_usage(usage: Usage) -> dict[str, Any]:
    """Usage as `message_start` and a whole message show it."""
    return {
        "input_tokens": usage.input_tokens,
        "cache_creation_input_tokens": usage.cache_creation_input_tokens,
        "cache_read_input_tokens": usage.cache_read_input_tokens,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"thinking_tokens": usage.thinking_tokens},
        "server_tool_use": None,
        "service_tier": "standard",
        "inference_geo": None,
        "speed": None,
    }


def final_usage(usage: Usage) -> dict[str, Any]:
    """Usage as `message_delta` shows it: totals that overwrite what `message_start` said."""
    return {
        "input_tokens": usage.input_tokens,
        "cache_creation_input_tokens": usage.cache_creation_input_tokens,
        "cache_read_input_tokens": usage.cache_read_input_tokens,
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"thinking_tokens": usage.thinking_tokens},
        "server_tool_use": None,
    }


class _Answer(msgspec.Struct, frozen=True):
    type: Literal["message"]
    usage: msgspec.Raw
    stop_reason: str | None = None


class ReadAnswer(NamedTuple):
    """What is read of a whole message. `usage_source` is `NONE` where its usage holds no count of the output."""

    usage: Usage
    usage_source: UsageSource
    stop_reason: str | None


def read_answer(body: bytes) -> ReadAnswer:
    """Usage and stop reason of a whole message. Raises `UpstreamMalformed` for a body that is none, or not UTF-8."""
    try:
        if not body.isascii():
            body.decode()
        answer = msgspec.json.decode(body, type=_Answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise UpstreamMalformed("The upstream answered with a body that is no message.") from None
    report = usage_report(answer.usage)
    told = report is not None and is_count(report.output_tokens)
    source = UsageSource.UPSTREAM if told else UsageSource.NONE
    return ReadAnswer(Usage().updated(report), source, answer.stop_reason)


def error_body(error: RequestError, request_id: str) -> bytes:
    """The JSON of an error answer; `request_id` equals the `request-id` header."""
    if isinstance(error, UpstreamRefused) and error.body is not None:
        own = _own_words(error.body, error.error_code, request_id)
        if own is not None:
            return own
    return _encode(_error_value(error, request_id))


def error_frame(error: RequestError, request_id: str) -> bytes:
    """The one `event: error` that ends a broken stream."""
    return encode_frame(b"error", _encode(_error_value(error, request_id)))


def _error_value(error: RequestError, request_id: str) -> dict[str, Any]:
    return {
        "type": "error",
        "error": {
            "type": error.error_type,
            "message": error.message,
            "details": {"error_code": error.error_code},
        },
        "request_id": request_id,
    }


def _own_words(body: bytes, code: str, request_id: str) -> bytes | None:
    """An upstream's own error body with our request id in the place of its own, and our code where it tells none.

    Every other value stays as it is. None where the body is no JSON that may be passed on.
    """
    try:
        members = _members(body)
        error = _members(members["error"])
        details = error.get("details", _NULL)
        if bytes(details)[:1] in b"n{":  # null, or an object; of whatever else it may be, nothing is known
            told = _members(details) if details != _NULL else {}
            told.setdefault("error_code", msgspec.Raw(_encode(code)))
            error["details"] = msgspec.Raw(_encode(told))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # what was passed over when it was first read
        return None
    members["error"] = msgspec.Raw(_encode(error))
    members["request_id"] = msgspec.Raw(_encode(request_id))
    return _encode(members)
