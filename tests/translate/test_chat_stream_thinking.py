"""Conformance items 55-58: reasoning of a chat completion as thinking blocks.

What other gateways got wrong here, by their issue: the first text after thinking lost, or thinking in a text block
(litellm#30765, litellm#33224), thinking in many small blocks (claude-code-router#1793), a signature on the wrong delta
(bifrost#5638), DeepSeek's and OpenRouter's fields lost (bifrost#5887, bifrost#2210, llama.cpp#18542, sglang#26795),
`message_start` held back until the thinking was over (litellm#39431).
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezai.protocol.anthropic import events as made
from ezai.translate.signatures import is_ours, sign, verified_field
from ezai.translate.terms import Thinking
from tests.pipeline.fakes import DONE
from tests.translate.chat_stream import Said, blocks, call, chunk, delta, message, told, translated, usage_chunk

SHOWN: dict[str, Any] = {"thinking": Thinking.SHOWN, "signing_key": b"key"}
OMITTED: dict[str, Any] = {"thinking": Thinking.OMITTED, "signing_key": b"key"}
HM = {"type": "thinking", "thinking": "hm"}
HI = {"type": "text", "text": "Hi"}
STOP = delta(finish="stop")
ENCRYPTED = {"type": "reasoning.encrypted", "data": "eA=="}


def details(*parts: dict[str, Any]) -> bytes:
    return delta(reasoning_details=list(parts))


# The golden vector of the reference, 7.5.


def test_the_golden_vector() -> None:
    events = translated(
        delta(role="assistant", content=""),
        delta(reasoning="hm"),
        delta(content="Hi"),
        call(index=0, id="call_1", type="function", name="f", arguments=""),
        call(index=0, arguments='{"a":1}'),
        delta(finish="tool_calls"),
        b'data: {"choices":[],"usage":{"prompt_tokens":50,"completion_tokens":9,"prompt_tokens_details":'
        b'{"cached_tokens":40},"completion_tokens_details":{"reasoning_tokens":2}}}\n\n',
        DONE,
        **SHOWN,
    )
    assert told(events) == [
        "message_start",
        "+0 thinking", "hm", "signature", "-0",
        "+1 text", "Hi", "-1",
        "+2 call_1 f", '{"a":1}', "-2",
        "tool_use", "message_stop",
    ]  # fmt: skip
    usage = events[-2].payload["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]) == (
        10,
        40,
        0,
    )
    assert (usage["output_tokens"], usage["output_tokens_details"]) == (9, {"thinking_tokens": 2})


# What is shown of it.


def test_item_55_a_thinking_block() -> None:
    said = Said(**SHOWN)
    assert said.says(delta(role="assistant", content="")) == ["message_start"]
    assert said.says(delta(reasoning="Hm")) == ["+0 thinking", "Hm"]
    assert said.says(delta(reasoning=", so")) == [", so"]
    assert said.says(chunk("Hi")) == ["signature", "-0", "+1 text", "Hi"]
    start = said.events[1].payload["content_block"]
    assert start == {"type": "thinking", "thinking": "", "signature": ""}
    signature = said.events[4].payload["delta"]["signature"]
    assert verified_field(b"key", "Hm, so", signature) == "reasoning"


def test_item_55_one_signature_for_each_block() -> None:
    events = translated(delta(reasoning="a"), chunk("b"), delta(reasoning="c"), chunk("d"), STOP, DONE, **SHOWN)
    assert told(events)[1:-2] == [
        "+0 thinking", "a", "signature", "-0", "+1 text", "b", "-1",
        "+2 thinking", "c", "signature", "-2", "+3 text", "d", "-3",
    ]  # fmt: skip
    signatures = [event.payload["delta"]["signature"] for event in events if "signature" in told([event])]
    assert [verified_field(b"key", text, signature) for text, signature in zip("ac", signatures, strict=True)] == [
        "reasoning",
        "reasoning",
    ]


def test_item_55_thinking_and_nothing_else() -> None:
    events = translated(delta(reasoning="hm"), delta(finish="length"), DONE, **SHOWN)
    assert told(events)[1:] == ["+0 thinking", "hm", "signature", "-0", "max_tokens", "message_stop"]


def test_item_55_thinking_before_a_call() -> None:
    pieces = [delta(reasoning="hm"), call(id="a", name="f", arguments="{}")]
    assert blocks(*pieces, **SHOWN) == [HM, {"type": "tool_use", "id": "a", "name": "f", "input": {}}]


def test_thinking_inside_a_call_waits_for_its_end() -> None:
    said = Said(**SHOWN)
    said.says(call(index=0, id="a", name="f", arguments="{"))
    assert said.says(delta(reasoning="hm")) == []
    assert said.says(call(index=0, arguments="}")) == ["}", "-0", "+1 thinking", "hm"]


def test_item_56_omitted_thinking_is_a_block_without_text() -> None:
    said = Said(**OMITTED)
    assert said.says(delta(reasoning="secret")) == ["message_start", "+0 thinking"]
    said._state.process(made.thinking_delta(0, ""))  # a keep-alive, as the pipeline makes it
    assert said.says(delta(reasoning=" thought")) == []
    assert said.says(chunk("Hi")) == ["signature", "-0", "+1 text", "Hi"]
    signature = said.events[2].payload["delta"]["signature"]
    assert verified_field(b"key", "", signature) == "reasoning"
    assert b"secret" not in b"".join(event.wire() for event in said.events)


@pytest.mark.parametrize(
    "thought",
    [[delta(reasoning="hm")], [delta(reasoning_content="hm")], [details({"type": "reasoning.text", "text": "hm"})],
     [chunk("<think>hm</think>")]],
)  # fmt: skip
def test_item_57_no_thinking_that_was_not_asked_for(thought: list[bytes]) -> None:
    pieces = [*thought, chunk("Hi"), STOP, DONE]
    assert blocks(*pieces) == [HI]
    usage = message(*pieces)["usage"]
    assert (usage["output_tokens"], usage["output_tokens_details"]["thinking_tokens"]) == (2, 1), "it is counted"


def test_item_57_dropped_thinking_does_not_part_the_text() -> None:
    assert blocks(chunk("H"), delta(reasoning="hm"), chunk("i")) == [HI]


def test_thinking_tokens_are_counted_until_they_are_told() -> None:
    usage = message(delta(reasoning="a"), delta(reasoning="b"), chunk("c"), STOP, usage_chunk(5, 30), DONE)["usage"]
    assert (usage["output_tokens"], usage["output_tokens_details"]["thinking_tokens"]) == (30, 2)


# Where it stands.


@pytest.mark.parametrize(
    ("piece", "field"),
    [
        (delta(reasoning_content="hm"), "reasoning_content"),
        (delta(reasoning="hm"), "reasoning"),
        (details({"type": "reasoning.text", "text": "hm", "format": "x", "index": 0}), "reasoning_details"),
        (details({"type": "reasoning.summary", "summary": "hm"}), "reasoning_details"),
        (details(ENCRYPTED, {"type": "reasoning.text", "text": "hm"}), "reasoning_details"),
        (chunk("<think>hm</think>"), "think"),
    ],
)  # fmt: skip
def test_item_58_all_fields_of_reasoning(piece: bytes, field: str) -> None:
    assert blocks(piece, chunk("Hi"), **SHOWN) == [HM, HI]
    block = message(piece, chunk("Hi"), DONE, **SHOWN)["content"][0]
    assert verified_field(b"key", "hm", block["signature"]) == field


def test_item_58_encrypted_reasoning_is_none() -> None:
    assert blocks(details(ENCRYPTED), chunk("Hi"), **SHOWN) == [HI]


@pytest.mark.parametrize(
    "fields",
    [
        {"reasoning_content": "hm", "reasoning": "hm"},
        {"reasoning": "hm", "reasoning_details": [{"type": "reasoning.text", "text": "hm"}]},
        {"reasoning_content": "", "reasoning": None, "reasoning_details": [{"type": "reasoning.text", "text": "hm"}]},
        {"reasoning_content": "hm", "reasoning": "hm", "reasoning_details": [{"summary": "hm"}]},
    ],
)  # fmt: skip
def test_item_58_two_fields_with_the_same_text(fields: dict[str, Any]) -> None:
    assert blocks(delta(**fields), chunk("Hi"), **SHOWN) == [HM, HI]


def test_item_58_a_field_and_tags_with_the_same_text() -> None:
    # llama.cpp with --reasoning-format deepseek-legacy.
    assert blocks(delta(reasoning_content="hm"), chunk("<think>hm</think>Hi"), **SHOWN) == [HM, HI]


@pytest.mark.parametrize("size", range(1, 12))
def test_item_58_tags_in_pieces(size: int) -> None:
    whole = "\n<think>\nhm < </thinx </think>\n\nHi <think>x</think>"
    pieces = [chunk(whole[at : at + size]) for at in range(0, len(whole), size)]
    expected = [{"type": "thinking", "thinking": "\nhm < </thinx "}, {"type": "text", "text": "Hi <think>x</think>"}]
    assert blocks(*pieces, **SHOWN) == expected
    assert blocks(*pieces) == expected[1:]


def test_item_58_text_between_tags_is_told_as_it_comes() -> None:
    said = Said(**SHOWN)
    assert said.says(chunk("<think>one ")) == ["message_start", "+0 thinking", "one "]
    assert said.says(chunk("two </th")) == ["two "]
    assert said.says(chunk("ree")) == ["</three"]


@pytest.mark.parametrize("text", ["<", "<th", "a <think>b</think>", "<thinking>x", " <", "</think>x", "<thin</think>"])
def test_item_58_what_is_no_tag_is_text(text: str) -> None:
    for cut in range(1, len(text) + 1):
        assert blocks(chunk(text[:cut]), chunk(text[cut:]), **SHOWN) == [{"type": "text", "text": text}]


def test_item_58_a_tag_that_is_never_closed() -> None:
    assert blocks(chunk("<think>hm</th"), **SHOWN) == [{"type": "thinking", "thinking": "hm</th"}]
    pieces = [chunk("<think>hm"), call(id="a", name="f", arguments="{}"), chunk("Hi")]
    assert [block["type"] for block in blocks(*pieces, **SHOWN)] == ["thinking", "tool_use", "text"]


@pytest.mark.parametrize("piece", [chunk("<think>\n\n</think>\n\nHi"), chunk("<think></think>Hi")])
def test_item_58_empty_thinking_is_no_block(piece: bytes) -> None:
    # Qwen writes empty tags when it is told not to think.
    assert blocks(piece, **SHOWN) == [HI]


# Signatures.


@given(st.binary(), st.text(), st.sampled_from(["reasoning_content", "reasoning", "reasoning_details", "think"]))
def test_a_signature_tells_the_field(key: bytes, text: str, field: str) -> None:
    signature = sign(key, text, field)
    assert is_ours(signature)
    assert verified_field(key, text, signature) == field
    assert verified_field(key, text + "x", signature) is None
    assert verified_field(key + b"x", text, signature) is None
    assert verified_field(key, text, signature[:-1]) is None


@pytest.mark.parametrize(
    "signature", ["", "ezai1.", "ezai1.c", "ezai1.c.", "ezai1.x.abc", "EqQBCg==", "c.abc", "ezai1.c.é"]
)
def test_what_is_no_signature_of_ours(signature: str) -> None:
    assert verified_field(b"key", "hm", signature) is None
    assert is_ours(signature) is signature.startswith("ezai1.")


def test_a_signature_is_of_one_field() -> None:
    made_for = sign(b"key", "hm", "reasoning")
    assert verified_field(b"key", "hm", made_for.replace(".r.", ".c.")) is None
