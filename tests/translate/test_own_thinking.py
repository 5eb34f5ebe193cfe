"""Conformance item 32 before an Anthropic upstream: what a gateway signed is gone, all else is the same bytes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ezai.protocol.anthropic.requests import read_request
from ezai.translate.anthropic_anthropic import AnthropicToAnthropic
from ezai.translate.signatures import sign

USER = {"role": "user", "content": "Hi"}
THEIRS = {"type": "thinking", "thinking": "t", "signature": "EuYBfromAnthropic"}
OURS = {"type": "thinking", "thinking": "t", "signature": sign(b"k", "t", "reasoning")}
CALL = {"type": "tool_use", "id": "c", "name": "f", "input": {"n": 1.50}}
RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": '"ezai1.'}]}


def sent(*messages: dict[str, Any], **fields: Any) -> tuple[bytes, bytes]:
    """The client's body and the upstream's."""
    body = msgspec.json.encode({"model": "m", "max_tokens": 9, "messages": list(messages), **fields})
    return body, AnthropicToAnthropic("m").request(read_request(body)).body


def turn(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def test_item_32_what_we_signed_is_taken_out_and_nothing_else() -> None:
    _, upstreams = sent(USER, turn(OURS, THEIRS, CALL), RESULT, system="s")
    expected, _ = sent(USER, turn(THEIRS, CALL), RESULT, system="s")
    assert upstreams == expected


def test_item_32_a_turn_of_nothing_else_is_left_out() -> None:
    assert sent(USER, turn(OURS), USER)[1] == sent(USER, USER)[0]


@pytest.mark.parametrize(
    "messages",
    [
        [USER, turn(THEIRS, CALL), RESULT],
        [{"role": "user", "content": f"what is {OURS['signature']}?"}],
        [USER, turn({"type": "text", "text": '"ezai1.'}), USER],
        [{"role": "user", "content": [{**OURS, "type": "sonata"}]}],
    ],
)
def test_what_only_looks_like_it_stays(messages: list[dict[str, Any]]) -> None:
    clients, upstreams = sent(*messages)
    assert upstreams == clients


@pytest.mark.parametrize(
    ("thinking", "messages", "left"),
    [
        ({"type": "enabled", "budget_tokens": 2000}, [USER, turn(OURS, CALL), RESULT], {"type": "disabled"}),
        ({"type": "adaptive"}, [USER, turn(OURS, CALL), RESULT], {"type": "adaptive"}),
        (
            {"type": "enabled", "budget_tokens": 2000},
            [USER, turn(OURS, CALL), RESULT, turn(THEIRS, CALL), RESULT],
            {"type": "enabled", "budget_tokens": 2000},
        ),
        (None, [USER, turn(OURS, CALL), RESULT], None),
    ],
)
def test_a_turn_without_its_thinking_is_answered_without(thinking: Any, messages: Any, left: Any) -> None:
    _, upstreams = sent(*messages, thinking=thinking)
    assert msgspec.json.decode(upstreams)["thinking"] == left


def test_a_body_that_is_no_conversation_is_for_the_upstream_to_judge() -> None:
    clients, upstreams = sent({"role": "assistant", "content": [{"type": "thinking", "signature": ["ezai1."]}]})
    assert upstreams == clients
