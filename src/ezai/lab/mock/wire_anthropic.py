"""Well-behaved answers in the Messages dialect, and what a fault needs to know of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ezai.lab.mock import wire
from ezai.lab.mock.asked import Asked, Refused
from ezai.lab.mock.reply import Frame
from ezai.lab.mock.wire import Headers, encode
from ezai.protocol.sse import parse_frame

_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_KINDS = (
    "message_start",
    "content_block_start",
    "ping",
    "content_block_delta",
    "content_block_stop",
    "message_delta",
    "message_stop",
)
_CREATED_AT = "2026-11-01T00:00:00Z"


class AnthropicWire:
    """`POST /v1/messages`. The kinds of its events are their names."""

    name = "anthropic"
    kinds: tuple[str, ...] = _KINDS

    def events(self, asked: Asked) -> Iterator[Frame]:
        """The events of a well-behaved stream."""
        if asked.behaviour.recording:
            return wire.recorded(asked.behaviour.recording, _kind_of)
        return _stream(asked)

    def whole(self, asked: Asked) -> dict[str, Any]:
        """A well-behaved unary answer: what an accumulator makes of the stream."""
        message = _blank(asked)
        content: list[dict[str, Any]] = message["content"]
        if asked.behaviour.thinking:
            thought = "".join(wire.thinking_pieces(asked))
            content.append({"type": "thinking", "thinking": thought, "signature": _signature(asked)})
        if wire.token_count(asked):
            content.append({"type": "text", "text": "".join(wire.text_pieces(asked)), "citations": None})
        for call in range(asked.behaviour.tools):
            arguments = wire.decode(wire.tool_arguments(asked, call))
            content.append({**_tool_block(asked, call), "input": arguments})
        message["stop_reason"] = _stop_reason(asked)
        message["usage"] = _whole_usage(asked)
        return message

    def models(self, names: list[str]) -> dict[str, Any]:
        """The list of models, on one page."""
        models = [self.model(name) for name in names]
        return {"data": models, "has_more": False, "first_id": names[0], "last_id": names[-1]}

    def model(self, name: str) -> dict[str, Any]:
        """One model of the list."""
        return {"type": "model", "id": name, "display_name": f"Mock {name}", "created_at": _CREATED_AT}

    def check(self, asked: Asked) -> None:
        """Raises `Refused` for a request that no server of this dialect would take."""
        if not asked.body.model:
            raise Refused("model: Field required")
        if not asked.body.messages:
            raise Refused("messages: at least one message is required")
        if asked.body.max_tokens is None and not asked.request.path.endswith("/count_tokens"):
            raise Refused("max_tokens: Field required")

    def headers(self, request_id: str) -> Headers:
        """What stands on every answer."""
        return [
            (b"request-id", request_id.encode()),
            (b"anthropic-organization-id", b"00000000-0000-4000-8000-000000000000"),
            (b"anthropic-ratelimit-requests-limit", b"1000"),
            (b"anthropic-ratelimit-requests-remaining", b"999"),
        ]

    def error_body(self, kind: str, message: str, request_id: str) -> bytes:
        """The body of an error answer."""
        return encode({"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id})

    def error_type(self, status: int) -> str:
        """The type of an error that fits a status."""
        return _ERROR_TYPES.get(status, "invalid_request_error" if 400 <= status < 500 else "api_error")

    def error_event(self, kind: str, message: str, request_id: str) -> Frame:
        """An error inside a stream."""
        return Frame(b"event: error\ndata: %b\n\n" % self.error_body(kind, message, request_id), "error")

    def is_text(self, frame: Frame) -> bool:
        """Whether an event carries a token of text."""
        return frame.kind == "content_block_delta" and b'"text_delta"' in frame.data

    def text_event(self, asked: Asked, text: str) -> Frame:
        """One more piece of the text block."""
        return _delta(_text_index(asked), {"type": "text_delta", "text": text})

    def unknown_event(self, asked: Asked) -> Frame:
        """An event of a name that no client knows."""
        return _event("mock_unknown", {"note": "no client knows this event", "request": asked.number})

    def unknown_delta(self, asked: Asked) -> Frame:
        """A delta of a kind that no client knows."""
        return _delta(_text_index(asked), {"type": "mock_delta", "mock": asked.number})


def _stream(asked: Asked) -> Iterator[Frame]:
    behaviour = asked.behaviour
    start = _blank(asked)
    start["usage"] = _usage(asked, 1)
    yield _event("message_start", {"message": start}, usage=start["usage"])
    pings = behaviour.pings
    for index, block in enumerate(_blocks(asked)):
        yield next(block)
        for _ in range(pings):
            yield _event("ping", {})
        pings = 0
        yield from block
        yield _event("content_block_stop", {"index": index})
    usage = _whole_usage(asked)
    delta = {"stop_reason": _stop_reason(asked), "stop_sequence": None, "stop_details": None, "container": None}
    yield _event("message_delta", {"delta": delta, "usage": usage}, usage=usage)
    yield _event("message_stop", {})


def _blocks(asked: Asked) -> Iterator[Iterator[Frame]]:
    """Every block from its start to its last delta."""
    behaviour = asked.behaviour
    index = 0
    if behaviour.thinking:
        yield _thinking(asked, index)
        index += 1
    if behaviour.endless or wire.token_count(asked):
        yield _text(asked, index)
        index += 1
    for call in range(behaviour.tools):
        yield _tool(asked, call, index + call)


def _thinking(asked: Asked, index: int) -> Iterator[Frame]:
    yield _start(index, {"type": "thinking", "thinking": "", "signature": ""})
    for piece in wire.thinking_pieces(asked):
        yield _delta(index, {"type": "thinking_delta", "thinking": piece}, tokens=1)
    yield _delta(index, {"type": "signature_delta", "signature": _signature(asked)})


def _text(asked: Asked, index: int) -> Iterator[Frame]:
    yield _start(index, {"type": "text", "text": ""})
    head = (
        b"event: content_block_delta\n"
        b'data: {"type":"content_block_delta","index":%d,"delta":{"type":"text_delta","text":' % index
    )
    for piece in wire.text_pieces(asked):  # hot: one per token
        yield Frame(b"%b%b}}\n\n" % (head, encode(piece)), "content_block_delta", 1)


def _tool(asked: Asked, call: int, index: int) -> Iterator[Frame]:
    yield _start(index, {**_tool_block(asked, call), "input": {}})
    yield _delta(index, {"type": "input_json_delta", "partial_json": ""})
    for piece in wire.fragments(wire.tool_arguments(asked, call), asked):
        yield _delta(index, {"type": "input_json_delta", "partial_json": piece}, tokens=1)


def _event(kind: str, members: dict[str, Any], *, tokens: int = 0, usage: dict[str, Any] | None = None) -> Frame:
    data = encode({"type": kind, **members})
    return Frame(b"event: %b\ndata: %b\n\n" % (kind.encode(), data), kind, tokens, usage)


def _start(index: int, block: dict[str, Any]) -> Frame:
    return _event("content_block_start", {"index": index, "content_block": block})


def _delta(index: int, delta: dict[str, Any], tokens: int = 0) -> Frame:
    return _event("content_block_delta", {"index": index, "delta": delta}, tokens=tokens)


def _blank(asked: Asked) -> dict[str, Any]:
    return {
        "id": f"msg_mock_{asked.number}",
        "type": "message",
        "role": "assistant",
        "model": asked.body.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "stop_details": None,
        "container": None,
        "usage": {},
    }


def _usage(asked: Asked, output_tokens: int, thinking_tokens: int = 0) -> dict[str, Any]:
    return {
        "input_tokens": asked.input_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": asked.behaviour.cached_tokens,
        "output_tokens": output_tokens,
        "output_tokens_details": {"thinking_tokens": thinking_tokens},
        "server_tool_use": None,
    }


def _whole_usage(asked: Asked) -> dict[str, Any]:
    return _usage(asked, wire.output_tokens(asked.behaviour, asked), asked.behaviour.thinking)


def _stop_reason(asked: Asked) -> str:
    if asked.behaviour.stop_reason:
        return asked.behaviour.stop_reason
    if wire.is_cut_by_limit(asked):
        return "max_tokens"
    return "tool_use" if asked.behaviour.tools else "end_turn"


def _tool_block(asked: Asked, call: int) -> dict[str, Any]:
    return {"type": "tool_use", "id": f"toolu_mock_{asked.number}_{call}", "name": asked.tool_name}


def _text_index(asked: Asked) -> int:
    return 1 if asked.behaviour.thinking else 0


def _signature(asked: Asked) -> str:
    return f"mock-signature-{asked.number}"


def _kind_of(frame: Frame) -> str:
    return parse_frame(frame.data)[0].decode("utf-8", "replace") or "unnamed"


ANTHROPIC = AnthropicWire()
