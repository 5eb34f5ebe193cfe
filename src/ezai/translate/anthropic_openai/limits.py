"""What the hosted API refuses of a request, and an upstream of another dialect would take in some other sense."""

from __future__ import annotations

from ezai.errors import InvalidRequest
from ezai.protocol.anthropic.conversation import Conversation


def check_limits(conversation: Conversation, max_tokens: int, *, interleaves: bool) -> None:
    """Raise `InvalidRequest` that names the field. `interleaves`: the client thinks between calls, so that its budget
    may be larger than one answer.
    """
    for number, stop in enumerate(conversation.stop_sequences or ()):
        if not stop.strip():
            raise InvalidRequest(f"stop_sequences.{number}: must contain something other than whitespace")
    thinking = conversation.thinking
    if thinking is None or thinking.type != "enabled" or interleaves or not max_tokens:
        return
    if (thinking.budget_tokens or 0) >= max_tokens:
        raise InvalidRequest(
            f"thinking.budget_tokens: must be less than max_tokens, which is {max_tokens}, got {thinking.budget_tokens}"
        )
