"""What is as good as silence to a reader, and what a silence is filled with."""

from __future__ import annotations

from collections.abc import Sequence

from ezai.protocol.anthropic import events
from ezai.protocol.anthropic.events import MessagesEvent
from ezai.protocol.anthropic.order import StreamState
from ezai.protocol.event import COMMENT

PING = events.ping().wire()
QUIET = frozenset({COMMENT, events.PING})
"""Kinds of events that bring nothing of the answer."""


def keep_alive_frame(state: StreamState) -> bytes:
    """What keeps a silent stream alive: an empty delta inside a block that takes one, else a ping.

    Claude Code's watchdog counts content, not pings; an empty delta is legal and changes nothing. A signed thinking
    block takes no delta after its signature.
    """
    if not state.block_type or state.signed:
        return PING
    match state.block_type:
        case "text":
            return events.text_delta(state.block_index, "").wire()
        case "tool_use":
            return events.input_json_delta(state.block_index, "").wire()
        case "thinking":
            return events.thinking_delta(state.block_index, "").wire()
        case _:
            return PING


def is_silence(batch: Sequence[MessagesEvent], state: StreamState) -> bool:
    """Whether these events are as good as none to a reader who counts content: comments and pings of the upstream,
    inside a block that takes an empty delta.
    """
    return all(event.kind in QUIET for event in batch) and keep_alive_frame(state) is not PING
