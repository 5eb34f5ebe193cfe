"""What the model is asked where the answer's length, or the order of requests, matters."""

from __future__ import annotations

from collections.abc import Mapping

from tests.sdk.wire import RawClient


def endless(model: str, max_tokens: int, *, stream: bool) -> Mapping[str, object]:
    """A request whose answer would go on for thousands of tokens: `max_tokens` ends it, or somebody."""
    return {
        "model": model,
        "max_tokens": max_tokens,
        "stream": stream,
        "temperature": 0,
        "messages": [{"role": "user", "content": "Write the numbers from 1 to 5000, separated by commas."}],
    }


def pass_through(url: str) -> None:
    """Go to the model's process and back, without a slot: what was sent to the gateway before has been taken up."""
    body = {"model": "claude-passing", "messages": [{"role": "user", "content": "Say hi."}]}
    with RawClient(url, "/v1/messages/count_tokens", body) as passing:
        assert passing.read_to_end().status == 200
