"""Well-behaved answers in the Chat Completions dialect, and what a fault needs to know of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ezai.lab.mock import wire
from ezai.lab.mock.asked import Asked, Refused
from ezai.lab.mock.behaviour import UsageOn
from ezai.lab.mock.reply import Frame
from ezai.lab.mock.wire import Headers, encode

ROLE, REASONING, CONTENT, TOOL, FINISH, USAGE, DONE = "role", "reasoning", "content", "tool", "finish", "usage", "done"
"""The kinds of its chunks, by what they hold."""

_ERROR_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
_CREATED_S = 1793491200


class OpenAIWire:
    """`POST /v1/chat/completions`."""

    name = "openai"
    kinds: tuple[str, ...] = (ROLE, REASONING, CONTENT, TOOL, FINISH, USAGE, DONE)

    def events(self, asked: Asked) -> Iterator[Frame]:
        """The chunks of a well-behaved stream."""
        if asked.behaviour.recording:
            return wire.recorded(asked.behaviour.recording, _kind_of)
        return _stream(asked)

    def whole(self, asked: Asked) -> dict[str, Any]:
        """A well-behaved unary answer."""
        behaviour = asked.behaviour
        text = "".join(wire.text_pieces(asked))
        message: dict[str, Any] = {"role": "assistant", "content": text or None, "refusal": None}
        if behaviour.thinking:
            message[behaviour.reasoning_field] = "".join(wire.thinking_pieces(asked))
        if behaviour.tools:
            calls = [
                {**_call(asked, call), "function": {"name": asked.tool_name, "arguments": _arguments(asked, call)}}
                for call in range(behaviour.tools)
            ]
            message["tool_calls"] = calls
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish_reason(asked)}
        return {**_frame_fields(asked, "chat.completion"), "choices": [choice], "usage": _usage(asked)}

    def models(self, names: list[str]) -> dict[str, Any]:
        """The list of models."""
        return {"object": "list", "data": [self.model(name) for name in names]}

    def model(self, name: str) -> dict[str, Any]:
        """One model of the list."""
        return {"id": name, "object": "model", "created": _CREATED_S, "owned_by": "mock"}

    def check(self, asked: Asked) -> None:
        """Raises `Refused` for a request that no server of this dialect would take."""
        if not asked.body.model:
            raise Refused("you must provide a model parameter")
        if not asked.body.messages:
            raise Refused("you must provide a messages parameter")

    def headers(self, request_id: str) -> Headers:
        """What stands on every answer."""
        return [(b"x-request-id", request_id.encode()), (b"openai-processing-ms", b"1")]

    def error_body(self, kind: str, message: str, request_id: str) -> bytes:  # the other dialect has it
        """The body of an error answer."""
        return encode({"error": {"message": message, "type": kind, "param": None, "code": None}})

    def error_type(self, status: int) -> str:
        """The type of an error that fits a status."""
        return _ERROR_TYPES.get(status, "invalid_request_error" if 400 <= status < 500 else "server_error")

    def error_event(self, kind: str, message: str, request_id: str) -> Frame:
        """An error inside a stream."""
        return Frame(b"data: %b\n\n" % self.error_body(kind, message, request_id), "error")

    def is_text(self, frame: Frame) -> bool:
        """Whether a chunk carries a token of text."""
        return frame.kind == CONTENT

    def text_event(self, asked: Asked, text: str) -> Frame:
        """One more piece of text."""
        return _chunk(asked, CONTENT, {"content": text})

    def unknown_event(self, asked: Asked) -> Frame:
        """An event of a name that no client knows."""
        return Frame(b"event: mock_unknown\ndata: %b\n\n" % encode({"note": "unknown", "request": asked.number}), "")

    def unknown_delta(self, asked: Asked) -> Frame:
        """A delta of a field that no client knows."""
        return _chunk(asked, CONTENT, {"mock": asked.number})


def _stream(asked: Asked) -> Iterator[Frame]:
    behaviour = asked.behaviour
    counted = _is_counted(asked)
    every = _usage(asked) if counted and behaviour.usage_on is UsageOn.EVERY else None
    yield _chunk(asked, ROLE, {"role": "assistant", "content": ""}, usage=every)
    for piece in wire.thinking_pieces(asked):
        yield _chunk(asked, REASONING, {behaviour.reasoning_field: piece}, tokens=1, usage=every)
    yield from _text(asked, every)
    for call in range(behaviour.tools):
        yield from _tool(asked, call, every)
    on_finish = _usage(asked) if counted and behaviour.usage_on is not UsageOn.OWN else None
    yield _chunk(asked, FINISH, {}, finish_reason=_finish_reason(asked), usage=on_finish)
    if counted and behaviour.usage_on is UsageOn.OWN:
        usage = _usage(asked)
        fields = {**_frame_fields(asked, "chat.completion.chunk"), "choices": [], "usage": usage}
        yield Frame(b"data: %b\n\n" % encode(fields), USAGE, 0, usage)
    yield Frame(b"data: [DONE]\n\n", DONE)


def _text(asked: Asked, usage: dict[str, Any] | None) -> Iterator[Frame]:
    template = _chunk(asked, CONTENT, {"content": "\0"}, usage=usage).data
    head, _, rest = template.partition(encode("\0"))
    for piece in wire.text_pieces(asked):  # hot: one per token
        yield Frame(b"%b%b%b" % (head, encode(piece), rest), CONTENT, 1, usage)


def _tool(asked: Asked, call: int, usage: dict[str, Any] | None) -> Iterator[Frame]:
    opened = {**_call(asked, call), "index": call, "function": {"name": asked.tool_name, "arguments": ""}}
    yield _chunk(asked, TOOL, {"tool_calls": [opened]}, usage=usage)
    for piece in wire.fragments(_arguments(asked, call), asked):
        more = {"index": call, "function": {"arguments": piece}}
        yield _chunk(asked, TOOL, {"tool_calls": [more]}, tokens=1, usage=usage)


def _chunk(
    asked: Asked,
    kind: str,
    delta: dict[str, Any],
    *,
    finish_reason: str | None = None,
    tokens: int = 0,
    usage: dict[str, Any] | None = None,
) -> Frame:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    fields = {**_frame_fields(asked, "chat.completion.chunk"), "choices": [choice]}
    if _is_counted(asked):
        fields["usage"] = usage
    return Frame(b"data: %b\n\n" % encode(fields), kind, tokens, usage)


def _frame_fields(asked: Asked, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-mock-{asked.number}",
        "object": kind,
        "created": _CREATED_S,
        "model": asked.body.model,
        "system_fingerprint": "fp_mock",
    }


def _is_counted(asked: Asked) -> bool:
    return asked.body.stream_options is not None and asked.body.stream_options.include_usage


def _usage(asked: Asked) -> dict[str, Any]:
    behaviour = asked.behaviour
    prompt = asked.input_tokens + behaviour.cached_tokens
    completion = wire.output_tokens(behaviour, asked)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": behaviour.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": behaviour.thinking},
    }


def _finish_reason(asked: Asked) -> str:
    if asked.behaviour.stop_reason:
        return asked.behaviour.stop_reason
    if wire.is_cut_by_limit(asked):
        return "length"
    return "tool_calls" if asked.behaviour.tools else "stop"


def _call(asked: Asked, call: int) -> dict[str, Any]:
    return {"id": f"call_mock_{asked.number}_{call}", "type": "function"}


def _arguments(asked: Asked, call: int) -> str:
    return wire.tool_arguments(asked, call)


def _kind_of(frame: Frame) -> str:
    """What a recorded chunk is, by what it holds."""
    value = wire.payload(frame)
    if value is None:
        return DONE if b"[DONE]" in frame.data else "unnamed"
    if not (choices := value.get("choices")):
        return USAGE if value.get("usage") else "unnamed"
    if choices[0].get("finish_reason"):
        return FINISH
    delta = choices[0].get("delta") or {}
    names = {"tool_calls": TOOL, "reasoning_content": REASONING, "reasoning": REASONING}
    return next((kind for name, kind in names.items() if delta.get(name)), CONTENT if delta.get("content") else ROLE)


OPENAI = OpenAIWire()
