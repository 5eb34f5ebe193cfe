"""The legal orders of a Messages stream, as one table.

`TRANSITIONS` is the whole truth: the state machine runs on it and the diagram in docs/protocol.md is drawn from it
(`diagram`). A known event that the table does not have at that place breaks an accumulator of an SDK (measured per
defect in the reference, "What breaks the accumulators") and is an `IllegalStream`; `ping`, comments and unknown kinds
may stand anywhere and change nothing.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from ezai.errors import IllegalStream
from ezai.protocol.anthropic import events
from ezai.protocol.anthropic.events import MessagesEvent


class Place(StrEnum):
    """Where in its life a stream is."""

    BEFORE = "before the message"
    BETWEEN = "between blocks"
    INSIDE = "inside a block"
    ENDING = "after message_delta"
    ENDED = "after message_stop"
    FAILED = "after error"


TRANSITIONS: dict[Place, dict[str, Place]] = {
    Place.BEFORE: {
        events.MESSAGE_START: Place.BETWEEN,
        events.ERROR: Place.FAILED,
    },
    Place.BETWEEN: {
        events.BLOCK_START: Place.INSIDE,
        events.MESSAGE_DELTA: Place.ENDING,
        events.ERROR: Place.FAILED,
    },
    Place.INSIDE: {
        events.BLOCK_DELTA: Place.INSIDE,
        events.BLOCK_STOP: Place.BETWEEN,
        events.ERROR: Place.FAILED,
    },
    Place.ENDING: {
        events.MESSAGE_DELTA: Place.ENDING,
        events.MESSAGE_STOP: Place.ENDED,
        events.ERROR: Place.FAILED,
    },
    Place.ENDED: {},
    Place.FAILED: {},
}

INSIDE = Place.INSIDE  # looked up for every event, which is slow on an enum
TERMINAL = frozenset({Place.ENDED, Place.FAILED})

_ORDERED = frozenset(kind for row in TRANSITIONS.values() for kind in row)
_DELTA_FIELD = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "input_json_delta": "partial_json",
    "signature_delta": "signature",
}
_START_FIELD = {"text": "text", "thinking": "thinking"}


class StreamState:
    """The state of one stream: legal so far, and where in it the stream is.

    Give it each event before it is sent. Block indexes run 0, 1, 2, ... with one block open at a time.
    """

    __slots__ = ("block_index", "block_type", "over", "place", "signed", "stop_reason")

    def __init__(self) -> None:
        self.place = Place.BEFORE
        self.over = False
        """Whether nothing may follow."""
        self.block_index = -1
        """Index of the open block, or of the last one; -1 before the first."""
        self.block_type = ""
        """Type of the open block; empty between blocks."""
        self.signed = False
        """Whether the open block has got its signature: nothing may follow that."""
        self.stop_reason: str | None = None

    def process(self, event: MessagesEvent) -> None:
        """Take one more event into account.

        Raises `IllegalStream` for a known event out of order or of a shape that breaks an SDK, after which the state
        is what it was.
        """
        kind = event.kind
        if kind == events.BLOCK_DELTA and self.place is INSIDE:  # hot: nearly every event
            self._block_delta(event)
            return
        if kind not in _ORDERED:
            return
        place = TRANSITIONS[self.place].get(kind)
        if place is None:
            raise IllegalStream(f"The upstream sent {kind} {self.place}.")
        if check := _CHECKS.get(kind):
            check(self, event)
        self.place = place
        self.over = place in TERMINAL

    def _message_start(self, event: MessagesEvent) -> None:
        if event.fields.message is None:
            raise IllegalStream("The upstream sent message_start without a message.")

    def _block_start(self, event: MessagesEvent) -> None:
        block = event.fields.content_block
        if block is None:
            raise IllegalStream("The upstream sent content_block_start without a content_block.")
        if event.fields.index != self.block_index + 1:
            raise IllegalStream(
                f"The upstream opened content block {event.fields.index} where {self.block_index + 1} was due."
            )
        required = _START_FIELD.get(block.type)
        if required and getattr(block, required) is msgspec.UNSET:
            raise IllegalStream(f"The upstream opened a {block.type} block without its {required} field.")
        self.block_index += 1
        self.block_type = block.type
        self.signed = False

    def _block_delta(self, event: MessagesEvent) -> None:
        # `MessagesTap.feed_plain` repeats these rules for the deltas that change nothing of the state.
        fields = event.fields
        if fields.index != self.block_index:
            raise IllegalStream(
                f"The upstream sent a delta of content block {fields.index} while {self.block_index} was open."
            )
        delta = fields.delta
        if delta is None:
            raise IllegalStream("The upstream sent content_block_delta without a delta.")
        required = _DELTA_FIELD.get(delta.type)
        if required and getattr(delta, required) is msgspec.UNSET:
            raise IllegalStream(f"The upstream sent a {delta.type} without its {required} field.")
        if delta.type == "signature_delta":
            self.signed = True

    def _block_stop(self, event: MessagesEvent) -> None:
        if event.fields.index != self.block_index:
            raise IllegalStream(
                f"The upstream closed content block {event.fields.index} while {self.block_index} was open."
            )
        self.block_type = ""

    def _message_delta(self, event: MessagesEvent) -> None:
        fields = event.fields
        if fields.delta is None or not bytes(fields.usage).startswith(b"{"):
            raise IllegalStream("The upstream sent message_delta without delta or usage.")
        self.stop_reason = fields.delta.stop_reason or self.stop_reason


_CHECKS = {
    events.MESSAGE_START: StreamState._message_start,
    events.BLOCK_START: StreamState._block_start,
    events.BLOCK_STOP: StreamState._block_stop,
    events.MESSAGE_DELTA: StreamState._message_delta,
}


def diagram() -> str:
    """The table as a Mermaid state diagram, as it stands in docs/protocol.md."""
    lines = ["stateDiagram-v2", f"    [*] --> {Place.BEFORE.name}"]
    lines += [f"    {place.name}: {place.value}" for place in Place]
    lines += [
        f"    {place.name} --> {after.name}: {kind}"
        for place, row in TRANSITIONS.items()
        for kind, after in row.items()
    ]
    lines += [f"    {place.name} --> [*]" for place in Place if place in TERMINAL]
    return "\n".join(lines)
