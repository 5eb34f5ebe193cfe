"""Chat Completions streams said piece by piece, and what becomes of them."""

from __future__ import annotations

from typing import Any

import msgspec

from ezai.protocol.anthropic.events import MessagesEvent
from ezai.protocol.anthropic.fold import fold
from ezai.protocol.anthropic.order import StreamState
from ezai.protocol.sse import SseDecoder
from ezai.translate.anthropic_openai.stream import MessagesFromChat
from ezai.translate.terms import AnswerTerms
from tests.pipeline.fakes import DONE, chunk, usage_chunk

__all__ = ["DONE", "Said", "blocks", "call", "chunk", "delta", "message", "told", "translated", "usage_chunk"]


class Said:
    """A stream translator that is spoken to; each event is checked by the table of orders as it comes."""

    def __init__(self, max_tokens: int = 9, **terms: Any) -> None:
        self.stream = MessagesFromChat("msg_1", "m", AnswerTerms(max_tokens=max_tokens, **terms))
        self.events: list[MessagesEvent] = []
        self._decoder = SseDecoder()
        self._state = StreamState()

    def says(self, *pieces: bytes) -> list[str]:
        """What comes at once of it, as `told` shows it."""
        out: list[MessagesEvent] = []
        for piece in pieces:
            for frame in self._decoder.feed(piece):
                out += self.stream.feed(self.stream.read(frame))
        return self._checked(out)

    def ends(self) -> list[str]:
        return self._checked(list(self.stream.close()))

    def _checked(self, events: list[MessagesEvent]) -> list[str]:
        for event in events:
            self._state.process(event)
        self.events += events
        return told(events)


def translated(*pieces: bytes, max_tokens: int = 9, **terms: Any) -> list[MessagesEvent]:
    """The events of a whole stream."""
    said = Said(max_tokens, **terms)
    said.says(*pieces)
    said.ends()
    assert said._state.over
    assert fold(said.events)["usage"]["output_tokens"] == said.stream.usage.output_tokens
    return said.events


def message(*pieces: bytes, max_tokens: int = 9, **terms: Any) -> dict[str, Any]:
    return fold(translated(*pieces, max_tokens=max_tokens, **terms))


def blocks(*pieces: bytes, **terms: Any) -> list[dict[str, Any]]:
    """The content of a stream of these pieces, which needs no end; signatures are left out."""
    ended = pieces if pieces[-1] == DONE else (*pieces, DONE)
    content = message(*ended, **terms)["content"]
    return [{name: value for name, value in block.items() if name != "signature"} for block in content]


def told(events: list[MessagesEvent]) -> list[str]:
    """The events in short: "+0 text", "Hi", "-0", ...; message_delta as its stop reason."""
    return [_told(event.payload) for event in events]


def _told(payload: dict[str, Any]) -> str:
    match payload:
        case {
            "type": "content_block_start",
            "index": index,
            "content_block": {"type": "tool_use", "id": tool, "name": name},
        }:
            return f"+{index} {tool} {name}"
        case {"type": "content_block_start", "index": index, "content_block": {"type": kind}}:
            return f"+{index} {kind}"
        case {"type": "content_block_stop", "index": index}:
            return f"-{index}"
        case {"delta": {"type": "signature_delta"}}:
            return "signature"
        case {"delta": {"type": kind} as fields}:
            part: str = fields[
                {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}[kind]
            ]
            return part
        case {"delta": {"stop_reason": str(reason)}}:
            return reason
    return str(payload["type"])


def delta(*, finish: str | None = None, **fields: Any) -> bytes:
    """A chunk with any delta."""
    return (
        b"data: " + msgspec.json.encode({"choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}) + b"\n\n"
    )


def call(*fragments: dict[str, Any], **fragment: Any) -> bytes:
    """A chunk with fragments of tool calls; `name` and `arguments` stand in `function`."""
    return delta(tool_calls=[_fragment(**fields) for fields in fragments or (fragment,)])


def _fragment(**fields: Any) -> dict[str, Any]:
    function = {name: fields.pop(name) for name in ("name", "arguments") if name in fields}
    return fields | ({"function": function} if function else {})
