"""How an ending is told: one `End` for the client, the ledger and the log. And what a silence is filled with."""

from __future__ import annotations

from ezai.errors import RequestError
from ezai.pipeline.relay import Events, Relay
from ezai.protocol.anthropic import events
from ezai.protocol.end import Cause, End, UsageSource
from ezai.protocol.event import COMMENT
from ezai.protocol.usage import Usage

PING = events.ping().wire()
QUIET = frozenset({COMMENT, events.PING})
"""Kinds of events that bring nothing of the answer."""


def whole(relay: Relay) -> End:
    """The upstream told its end."""
    return End(
        Cause.FINISHED,
        relay.translator.usage,
        relay.translator.usage_source,
        stop_reason=relay.state.stop_reason,
    )


def broken(cause: RequestError | Cause, relay: Relay | None) -> End:
    """Something ended it before: an error that the client is told, or the client's own leaving."""
    usage, source = (relay.translator.usage, relay.translator.usage_source) if relay else (Usage(), UsageSource.NONE)
    if isinstance(cause, RequestError):
        return End(cause.error_code, usage, source, error=cause)
    return End(cause, usage, source)


def keep_alive_frame(relay: Relay | None) -> bytes:
    """What keeps a silent stream alive: an empty delta inside a block that takes one, else a ping.

    Claude Code's watchdog counts content, not pings; an empty delta is legal and changes nothing. A signed thinking
    block takes no delta after its signature.
    """
    if relay is None or not relay.state.block_type or relay.state.signed:
        return PING
    index = relay.state.block_index
    match relay.state.block_type:
        case "text":
            return events.text_delta(index, "").wire()
        case "tool_use":
            return events.input_json_delta(index, "").wire()
        case "thinking":
            return events.thinking_delta(index, "").wire()
        case _:
            return PING


def is_silence(batch: Events, relay: Relay) -> bool:
    """Whether these events are as good as none to a reader who counts content: comments and pings of the upstream,
    inside a block that takes an empty delta.
    """
    return all(event.kind in QUIET for event in batch) and keep_alive_frame(relay) is not PING
