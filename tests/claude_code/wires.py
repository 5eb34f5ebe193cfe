"""What a scripted upstream says, on each wire, to Claude Code behind the gateway. All of it is written by hand."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import msgspec

from tests.pipeline.fakes import DONE, chunk, usage_chunk

MODEL = "claude-test"
CALL_ID = "call_0123456789"
THOUGHT = "The file will tell."


class Wire(ABC):
    """One dialect of an upstream."""

    kind: str
    """As `kind` in the configuration."""

    @abstractmethod
    def base_url(self, url: str) -> str:
        """As `base_url` in the configuration, of a server at `url`."""

    @abstractmethod
    def says(self, text: str) -> bytes:
        """The stream of an answer in words."""

    @abstractmethod
    def calls(self, tool: str, **arguments: str) -> bytes:
        """The stream of an answer that thinks, says a word, and calls a tool."""


class _Anthropic(Wire):
    kind = "anthropic"

    def base_url(self, url: str) -> str:
        return url

    def says(self, text: str) -> bytes:
        return self._stream("end_turn", self._block(0, {"type": "text", "text": ""}, text_delta=text))

    def calls(self, tool: str, **arguments: str) -> bytes:
        called = {"type": "tool_use", "id": CALL_ID, "name": tool, "input": {}}
        return self._stream(
            "tool_use",
            self._block(
                0,
                {"type": "thinking", "thinking": "", "signature": ""},
                thinking_delta=THOUGHT,
                signature_delta="signed-upstream",
            ),
            self._block(1, {"type": "text", "text": ""}, text_delta="Looking."),
            self._block(2, called, input_json_delta=msgspec.json.encode(arguments).decode()),
        )

    def _stream(self, stop_reason: str, *blocks: bytes) -> bytes:
        message: dict[str, Any] = {
            "id": "msg_scripted",
            "type": "message",
            "role": "assistant",
            "model": MODEL,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 40, "output_tokens": 1},
        }
        return (
            event("message_start", message=message)
            + b"".join(blocks)
            + event(
                "message_delta",
                delta={"stop_reason": stop_reason, "stop_sequence": None},
                usage={"input_tokens": 40, "output_tokens": 7},
            )
            + event("message_stop")
        )

    def _block(self, index: int, start: dict[str, Any], **deltas: str) -> bytes:
        said = [
            event("content_block_delta", index=index, delta={"type": kind, _MEMBERS[kind]: value})
            for kind, value in deltas.items()
        ]
        return (
            event("content_block_start", index=index, content_block=start)
            + b"".join(said)
            + event("content_block_stop", index=index)
        )


_MEMBERS = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "signature",
    "input_json_delta": "partial_json",
}


class _OpenAI(Wire):
    kind = "openai"

    def base_url(self, url: str) -> str:
        return f"{url}/v1"

    def says(self, text: str) -> bytes:
        return chunk("") + chunk(text) + chunk(finish="stop") + usage_chunk(40, 7) + DONE

    def calls(self, tool: str, **arguments: str) -> bytes:
        written = msgspec.json.encode(arguments).decode()
        head, tail = written[:9], written[9:]
        opened = {"index": 0, "id": CALL_ID, "type": "function", "function": {"name": tool, "arguments": ""}}
        return (
            self._delta(role="assistant", content="")
            + self._delta(reasoning_content=THOUGHT)
            + self._delta(content="Looking.")
            + self._delta(tool_calls=[opened])
            + b"".join(
                self._delta(tool_calls=[{"index": 0, "function": {"arguments": piece}}]) for piece in (head, tail)
            )
            + chunk(finish="tool_calls")
            + usage_chunk(40, 7)
            + DONE
        )

    def _delta(self, **delta: object) -> bytes:
        return chunk(choices=[{"index": 0, "delta": delta, "finish_reason": None}])


def event(kind: str, **members: object) -> bytes:
    """One event of the Messages API."""
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), msgspec.json.encode({"type": kind, **members}))


ANTHROPIC: Wire = _Anthropic()
OPENAI: Wire = _OpenAI()
