"""Requests and events of the two dialects, as cheaply as can be read: only what a load has to know."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from ezai.lab.load.plan import LoadPlan, WireName
from ezai.protocol.sse import parse_frame

_encode = msgspec.json.Encoder().encode


class Told(NamedTuple):
    """What one event, or a whole unary answer, says. `error` is the type of an error."""

    text: str = ""
    is_end: bool = False
    error: str = ""
    output_tokens: int | None = None
    is_event: bool = True
    """False for a comment."""
    is_malformed: bool = False


_NOTHING = Told()
_COMMENT = Told(is_event=False)
_END = Told(is_end=True)
_MALFORMED = Told(is_malformed=True)


class _Delta(msgspec.Struct):
    text: str = ""


class _Error(msgspec.Struct):
    type: str | None = None


class _Usage(msgspec.Struct):
    output_tokens: int | None = None
    completion_tokens: int | None = None


class _Block(msgspec.Struct):
    delta: _Delta


class _End(msgspec.Struct):
    usage: _Usage | None = None


class _Failure(msgspec.Struct):
    error: _Error | None = None


class _Content(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Content | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: _Error | None = None


_block = msgspec.json.Decoder(_Block).decode
_end = msgspec.json.Decoder(_End).decode
_failure = msgspec.json.Decoder(_Failure).decode
_chunk = msgspec.json.Decoder(_Chunk).decode


def _read_messages_event(frame: bytes) -> Told:
    name, data = parse_frame(frame)
    if data is None:
        return _COMMENT
    if name == b"content_block_delta":
        return Told(_block(data).delta.text)
    if name == b"message_stop":
        return _END
    if name == b"message_delta":
        usage = _end(data).usage
        return Told(output_tokens=usage.output_tokens if usage else None)
    if name == b"error":
        error = _failure(data).error
        return Told(error=(error.type if error else None) or "unknown")
    return _NOTHING


def _read_chunk(frame: bytes) -> Told:
    _, data = parse_frame(frame)
    if data is None:
        return _COMMENT
    if data.startswith(b"[DONE]"):
        return _END
    chunk = _chunk(data)
    if chunk.error is not None:
        return Told(error=chunk.error.type or "unknown")
    text = chunk.choices[0].delta.content if chunk.choices and chunk.choices[0].delta else None
    return Told(text or "", output_tokens=chunk.usage.completion_tokens if chunk.usage else None)


_EVENTS: dict[WireName, Callable[[bytes], Told]] = {"anthropic": _read_messages_event, "openai": _read_chunk}


def read_event(wire: WireName) -> Callable[[bytes], Told]:
    """What reads a frame of this dialect; what cannot be read is told as malformed."""
    read = _EVENTS[wire]

    def told(frame: bytes) -> Told:
        try:
            return read(frame)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return _MALFORMED

    return told


def read_answer(wire: WireName, body: bytes) -> Told:
    """What a unary answer says."""
    try:
        answer: Any = msgspec.json.decode(body)
        if wire == "anthropic":
            text = "".join(block.get("text") or "" for block in answer["content"])
            return Told(text, is_end=True, output_tokens=answer["usage"]["output_tokens"])
        text = answer["choices"][0]["message"]["content"] or ""
        return Told(text, is_end=True, output_tokens=answer["usage"]["completion_tokens"])
    except (msgspec.DecodeError, LookupError, TypeError, AttributeError):
        return _MALFORMED


class RequestForm:
    """The bytes of a plan's requests; made once, but for the name of the stream."""

    def __init__(self, plan: LoadPlan) -> None:
        body: dict[str, Any] = {"model": plan.model, "max_tokens": plan.max_tokens, "stream": plan.is_streamed}
        if plan.wire == "openai" and plan.is_streamed:
            body["stream_options"] = {"include_usage": True}
        body["messages"] = [{"role": "user", "content": "[stream \0] Say numbers."}]
        self._before, _, self._behind = _encode(body).partition(b"\\u0000")
        self._size_bytes = len(self._before) + len(self._behind)
        lines = [
            f"POST {plan.target} HTTP/1.1",
            f"host: {plan.host}:{plan.port}",
            "content-type: application/json",
            "user-agent: ezai-bench",
            *(f"{name}: {value}" for name, value in _headers(plan)),
        ]
        self._head = ("\r\n".join(lines) + "\r\ncontent-length: ").encode("latin-1")

    def request(self, name: str) -> bytes:
        """The whole request of the stream of this name."""
        size_bytes = self._size_bytes + len(name)
        return b"%b%d\r\n\r\n%b%b%b" % (self._head, size_bytes, self._before, name.encode(), self._behind)


def _headers(plan: LoadPlan) -> list[tuple[str, str]]:
    fields = [*plan.headers]
    if plan.wire == "anthropic":
        fields.append(("anthropic-version", "2023-06-01"))
    if plan.credential:
        name, scheme = ("x-api-key", "") if plan.wire == "anthropic" else ("authorization", "Bearer ")
        fields.append((name, scheme + plan.credential))
    return fields
