"""What the hosted API refuses of a request, and an upstream of another dialect would take in some other sense."""

from __future__ import annotations

from ezai.errors import InvalidRequest
from ezai.protocol.anthropic.conversation import Conversation

_MOST_STOP_CHARS = 65_536
"""They are looked for in every piece of the answer."""


def check_limits(conversation: Conversation, max_tokens: int, *, interleaves: bool) -> None:
    """Raise `InvalidRequest` that names the field. `interleaves`: the client thinks between calls, so that its budget
    may be larger than one answer.
    """
    stops = conversation.stop_sequences or ()
    for number, stop in enumerate(stops):
        if not stop.strip():
            raise InvalidRequest(f"stop_sequences.{number}: must contain something other than whitespace")
    if (chars := sum(map(len, stops))) > _MOST_STOP_CHARS:
        raise InvalidRequest(f"stop_sequences: at most {_MOST_STOP_CHARS} characters in all, got {chars}")
    thinking = conversation.thinking
    if thinking is None or thinking.type != "enabled" or interleaves or not max_tokens:
        return
    if (thinking.budget_tokens or 0) >= max_tokens:
        raise InvalidRequest(
            f"thinking.budget_tokens: must be less than max_tokens, which is {max_tokens}, got {thinking.budget_tokens}"
        )
