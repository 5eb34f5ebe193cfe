"""One answer as it comes: what has been said, how it ended, what it used, how fast it was.

Tokens are counted while they come and corrected by what the gateway reports, so that an answer that was stopped,
whose report never came, has a count all the same; it is marked with "~" as long as it is our own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from ezai.cli.chat.gateway import Price
from ezai.errors import UpstreamError
from ezai.protocol.anthropic import events
from ezai.protocol.anthropic.events import MessagesEvent, usage_report
from ezai.protocol.usage import Usage

CHARACTERS_PER_TOKEN = 5
"""Of English text, at the most; where an upstream sends several tokens in a piece, pieces are no count."""

RATE_AFTER_S = 0.1
"""Less than that is one burst, which has no rate."""

Kind = Literal["text", "thinking", "tool", "input"]

_PARTIAL = {
    "max_tokens": "the answer reached its limit of tokens",
    "model_context_window_exceeded": "the model's context is full",
    "refusal": "the model declined to go on",
    "pause_turn": "the model paused",
}


class Piece(NamedTuple):
    """What one event added: text, thinking, a tool's name, or a bit of the JSON that the tool is called with."""

    kind: Kind
    text: str


@dataclass
class Answer:
    """Filled by `take`, event by event. Times are of this end of the line, in seconds of `now`."""

    price: Price | None = None
    now: Callable[[], float] = time.monotonic
    text: str = ""
    usage: Usage = field(default_factory=Usage)
    stop_reason: str | None = None
    is_whole: bool = False
    ended_by: str = ""
    """Why it is partial, where it was not the model that ended it."""
    first_at: float | None = None
    last_at: float = 0.0
    _pieces: int = 0
    _characters: int = 0
    _reported: bool = False

    def __post_init__(self) -> None:
        self.asked_at = self.now()

    def take(self, event: MessagesEvent) -> Piece | None:
        """Take one event in; what it adds to be shown. Raises `UpstreamError` with the words of an error event."""
        fields = event.fields
        if fields.error is not None:
            raise UpstreamError(fields.error.message)
        if fields.message is not None:
            self.usage = self.usage.updated(usage_report(fields.message.usage))
        elif event.kind == events.MESSAGE_DELTA:
            self._take_end(event)
        elif event.kind == events.MESSAGE_STOP:
            self.is_whole = True
        elif event.kind == events.BLOCK_START:
            return self._begun(event)
        elif event.kind == events.BLOCK_DELTA:
            return self._added(event)
        return None

    def _take_end(self, event: MessagesEvent) -> None:
        delta = event.fields.delta
        self.stop_reason = delta.stop_reason if delta and delta.stop_reason else self.stop_reason
        if report := usage_report(event.fields.usage):
            self.usage = self.usage.updated(report)
            self._reported = self._reported or report.output_tokens is not None

    def _begun(self, event: MessagesEvent) -> Piece | None:
        block = event.fields.content_block
        if block is None or not block.type.endswith("tool_use"):
            return None
        return self._seen(Piece("tool", str(event.payload["content_block"].get("name", "a tool"))))

    def _added(self, event: MessagesEvent) -> Piece | None:
        delta = event.fields.delta
        if delta is None:
            return None
        if isinstance(delta.text, str) and delta.text:
            self.text += delta.text
            return self._seen(Piece("text", delta.text))
        if isinstance(delta.thinking, str) and delta.thinking:
            return self._seen(Piece("thinking", delta.thinking))
        if isinstance(delta.partial_json, str) and delta.partial_json:
            return self._seen(Piece("input", delta.partial_json))
        return None

    def _seen(self, piece: Piece) -> Piece:
        self.last_at = self.now()
        if self.first_at is None:
            self.first_at = self.last_at
        self._pieces += 1
        self._characters += len(piece.text)
        return piece

    # What is told of it.

    @property
    def output_tokens(self) -> int:
        """What the gateway reported, else what was counted here."""
        if self._reported:
            return self.usage.output_tokens
        return max(self._pieces, self._characters // CHARACTERS_PER_TOKEN)

    @property
    def mark(self) -> str:
        """Why this is not the whole answer; empty when it is."""
        return self.ended_by or _PARTIAL.get(self.stop_reason or "", "")

    def status(self) -> str:
        """One line: tokens, time to first token, rate, cost. While nothing has come, how long it has been asked for."""
        if self.first_at is None:
            return "nothing was said" if self.is_whole else f"waiting for {self.now() - self.asked_at:.1f} s"
        about = "" if self._reported else "~"
        parts = [f"{self.usage.prompt_tokens} tokens in", f"{about}{self.output_tokens} out"]
        parts.append(f"first token after {(self.first_at - self.asked_at) * 1000:.0f} ms")
        seconds = self.last_at - self.first_at
        if seconds >= RATE_AFTER_S and self.output_tokens > 1:
            parts.append(f"{(self.output_tokens - 1) / seconds:.0f} tokens/s")
        if self.price is not None:
            millionths = self.usage.prompt_tokens * self.price.input + self.output_tokens * self.price.output
            parts.append(f"{about}${millionths / 1_000_000:.4f}" if millionths else "$0")
        return " · ".join(parts)
