"""Conformance item 60, refusals, and how a chat completion's end is told.

What other gateways got wrong here, by their issue: usage zero in `message_start` (litellm#31069) or missing
(portkey#257), cache tokens counted twice (bifrost#3451), a cut stream told as a whole one (portkey#1797).
"""

from __future__ import annotations

from typing import Any

import pytest

from ezai.errors import UpstreamMalformed, UpstreamRefused, UpstreamTruncated
from ezai.protocol.end import UsageSource
from tests.translate.chat_stream import (
    DONE,
    Said,
    blocks,
    call,
    chunk,
    delta,
    message,
    told,
    translated,
    usage_chunk,
)

REFUSAL = {"type": "refusal", "category": None, "explanation": None}


# Refusals.


def test_a_refusal_is_text_and_a_stop_reason() -> None:
    answer = message(delta(refusal="I will"), delta(refusal=" not."), delta(finish="stop"), DONE)
    assert answer["content"] == [{"type": "text", "text": "I will not."}]
    assert answer["stop_reason"] == "refusal"
    assert answer["stop_details"] == REFUSAL | {"explanation": "I will not."}


def test_filtered_content_is_a_refusal() -> None:
    answer = message(chunk("So"), delta(finish="content_filter"), DONE)
    assert (answer["content"][0]["text"], answer["stop_reason"], answer["stop_details"]) == ("So", "refusal", REFUSAL)


def test_filtered_content_inside_a_call_leaves_what_there_was() -> None:
    answer = message(call(id="a", name="f", arguments='{"x":1,"y'), delta(finish="content_filter"), DONE)
    assert (answer["content"][0]["input"], answer["stop_reason"]) == ({"x": 1}, "refusal")


def test_no_other_end_has_details() -> None:
    assert message(chunk("a"), delta(finish="stop"), DONE)["stop_details"] is None


# Ends.


def test_an_empty_finish_reason_is_none() -> None:
    with pytest.raises(UpstreamTruncated):
        translated(delta(content="a", finish=""))


def test_the_end_is_told_before_it_is_closed() -> None:
    said = Said()
    seen = []
    for piece in (chunk("a"), delta(finish="stop")):
        said.says(piece)
        seen.append(said.stream.told_end)
    assert seen == [False, True]
    assert said.ends() == ["end_turn", "message_stop"]


def test_nothing_is_passed_on_where_only_the_cache_was_to_be_warmed() -> None:
    pieces = [chunk("a"), delta(reasoning="b"), delta(refusal="no"), call(id="a", name="f", arguments="oops")]
    events = translated(*pieces, delta(finish="length"), DONE, max_tokens=0, stop_sequences=("a",))
    assert told(events) == ["message_start", "refusal", "message_stop"]


# Usage.

TOLD = {"prompt_tokens": 5, "completion_tokens": 7}
PARTLY = {"prompt_tokens": 5, "completion_tokens": 1}
ZERO = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
LAST = delta(finish="stop")


@pytest.mark.parametrize(
    "pieces",
    [
        [chunk("a"), LAST, usage_chunk(5, 7), DONE],
        [chunk("a"), chunk(finish="stop", usage=TOLD), DONE],
        [chunk("a", usage=PARTLY), chunk(finish="stop", usage=TOLD), DONE],
        [chunk("a", usage=ZERO), chunk("b", usage=ZERO), chunk(finish="stop", usage=ZERO), usage_chunk(5, 7), DONE],
        [chunk("a", usage=None), LAST, b'data: {"usage":{"prompt_tokens":5,"completion_tokens":7}}\n\n', DONE],
    ],
    ids=["own chunk", "finish chunk", "every chunk", "zeros before", "choices absent"],
)
def test_item_60_usage_wherever_it_stands(pieces: list[bytes]) -> None:
    said = Said(prompt_tokens=100)
    said.says(*pieces)
    usage = said.events[-2].payload["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (5, 7)
    assert said.stream.usage_source is UsageSource.UPSTREAM
    assert said.events[0].payload["message"]["usage"]["input_tokens"] > 0


def test_item_60_without_usage_it_is_counted() -> None:
    said = Said(prompt_tokens=100)
    assert said.stream.usage.prompt_tokens == 0, "nothing has been used yet"
    said.says(chunk("a"), chunk("b"), call(id="a", name="f", arguments="{}"), LAST, DONE)
    assert said.events[0].payload["message"]["usage"]["input_tokens"] == 100
    usage = said.events[-2].payload["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (100, 3)
    assert said.stream.usage_source is UsageSource.ESTIMATED


def test_item_60_zeros_alone_are_no_usage() -> None:
    said = Said(prompt_tokens=100)
    said.says(chunk("a", usage=ZERO), chunk(finish="stop", usage=ZERO), DONE)
    assert (said.stream.usage.input_tokens, said.stream.usage.output_tokens) == (100, 1)
    assert said.stream.usage_source is UsageSource.ESTIMATED


def test_item_60_an_answer_of_nothing_has_no_tokens() -> None:
    said = Said()
    said.says(LAST, usage_chunk(5, 0), DONE)
    assert said.stream.usage_source is UsageSource.UPSTREAM
    assert said.stream.usage.output_tokens == 0


def test_item_60_pieces_longer_than_a_token_are_several() -> None:
    said = Said()
    said.says(chunk("x" * 32), chunk("x" * 400), LAST, DONE)
    assert said.stream.usage.output_tokens == 1 + 100


def test_item_60_the_prompt_as_llama_cpp_tells_it() -> None:
    said = Said(prompt_tokens=100)
    said.says(chunk(prompt_progress={"total": 38, "cache": 30}))
    usage = said.events[0].payload["message"]["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"]) == (8, 30)
    assert said.stream.usage_source is UsageSource.PARTIAL_UPSTREAM


# Calls that are the text.

ONE: dict[str, Any] = {"called_in_text": ("f",)}
TWO: dict[str, Any] = {"called_in_text": ("f", "g")}


def test_a_call_in_the_text_of_the_one_tool() -> None:
    said = Said(**ONE)
    assert said.says(chunk(' {"pa')) == ["message_start", "+0 " + MADE + " f", '{"pa']
    assert said.says(chunk('th":"x"')) == ['th":"x"']
    assert said.says(chunk("}\n")) == ["}", "-0"]
    assert said.says(chunk(" "), LAST, DONE) == ["tool_use", "message_stop"]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_a_call_in_the_text_of_one_of_several(size: int) -> None:
    text = ' { "name" :\n"g", "input": {"a": "}", "b": [{}]} } '
    pieces = [chunk(text[at : at + size]) for at in range(0, len(text), size)]
    (block,) = blocks(*pieces, LAST, **TWO)
    assert (block["name"], block["input"]) == ("g", {"a": "}", "b": [{}]})
    parts = told(translated(*pieces, LAST, DONE, **TWO))[2:-3]
    assert "".join(parts) == '{"a": "}", "b": [{}]}'


def test_a_call_in_the_text_opens_when_its_name_is_known() -> None:
    said = Said(**TWO)
    assert said.says(chunk('{"name":"g","inp')) == ["message_start"]
    assert said.says(chunk('ut":')) == ["+0 " + MADE + " g"]
    assert said.says(chunk('{"a":1')) == ['{"a":1']
    assert said.says(chunk("}}")) == ["}", "-0"]


def test_names_of_calls_in_the_text_are_mapped_back() -> None:
    assert blocks(chunk("{}"), LAST, **ONE, tool_names={"f": "long"})[0]["name"] == "long"


def test_thinking_before_a_call_in_the_text() -> None:
    assert [block["type"] for block in blocks(delta(reasoning="hm"), chunk("{}"), LAST, **ONE)] == ["tool_use"]


def test_max_tokens_inside_a_call_in_the_text() -> None:
    answer = message(chunk('{"name":"g","input":{"a":1,"b":"x'), delta(finish="length"), DONE, **TWO)
    assert (answer["content"][0]["input"], answer["stop_reason"]) == ({"a": 1}, "max_tokens")
    answer = message(chunk('{"name":"g'), delta(finish="length"), DONE, **TWO)
    assert (answer["content"], answer["stop_reason"]) == ([], "max_tokens")


def test_no_text_is_no_call() -> None:
    assert message(LAST, DONE, **ONE)["stop_reason"] == "end_turn"


@pytest.mark.parametrize("text", ["Sure: {}", "{}x", "{} {}", "[]", "{}}", "x", "{a", '{"a":', '{"a":1'])
def test_text_that_is_no_input(text: str) -> None:
    with pytest.raises(UpstreamMalformed):
        translated(chunk(text), LAST, DONE, **ONE)


@pytest.mark.parametrize(
    "text",
    ["Sure: {}", "{}", '{"a":1}', '{"input":{},"name":"g"}', '{"name":"g"', '{"name":"x","input":{}}',
     '{"name":"g","input":[]}', '{"name":"g","input":{}}x', '{"name":"g","input":{}},',
     '{"name":"g","input":{},"x":1}', '{"name":"\\x","input":{}}', '{"name":"g","input":{', "{" + " " * 5000],
)  # fmt: skip
def test_text_that_is_no_call(text: str) -> None:
    with pytest.raises(UpstreamMalformed):
        translated(chunk(text), LAST, DONE, **TWO)


def test_stop_sequences_are_not_looked_for_in_a_call() -> None:
    assert blocks(chunk('{"a":"END"}'), LAST, **ONE, stop_sequences=("END",))[0]["input"] == {"a": "END"}


MADE = told(translated(chunk("{}"), LAST, DONE, **ONE))[1].split()[1]


@pytest.mark.parametrize("reason", ["abort", "error"])
def test_an_answer_that_the_upstream_gave_up_is_no_end(reason: str) -> None:
    with pytest.raises(UpstreamTruncated):
        translated(chunk("Hi"), chunk(finish=reason), DONE)


def test_a_stream_of_nothing_is_no_answer() -> None:
    with pytest.raises(UpstreamTruncated):
        translated(DONE)


def test_an_error_that_is_the_chunk_itself_is_told() -> None:
    error = b'data: {"object":"error","message":"boom","type":"BadRequestError","code":400}\n\n'
    with pytest.raises(UpstreamRefused, match="boom"):
        translated(chunk("Hi"), error, DONE)


UNREAD = b'data: {"error":{"code":500,"message":"The model produced output that does not match the expected peg-native'
UNREAD += b' format","type":"server_error"}}\n\n'


def test_an_answer_whose_end_llama_cpp_could_not_read_ends_there() -> None:
    answer = message(chunk("All of it."), UNREAD, DONE, may_end_unread=True)
    assert (answer["content"], answer["stop_reason"]) == ([{"type": "text", "text": "All of it."}], "end_turn")
    answer = message(chunk("I look."), call(id="a", name="f", arguments="{}"), UNREAD, may_end_unread=True)
    assert answer["stop_reason"] == "tool_use"


@pytest.mark.parametrize(
    ("pieces", "forgives"),
    [
        ([chunk("Hi")], False),
        ([], True),
        ([chunk("")], True),
        ([chunk("Hi"), call(id="a", name="f", arguments="{")], True),
    ],
)
def test_elsewhere_it_is_an_error(pieces: list[bytes], forgives: bool) -> None:
    with pytest.raises((UpstreamRefused, UpstreamMalformed)):
        translated(*pieces, UNREAD, DONE, may_end_unread=forgives)
    with pytest.raises(UpstreamRefused):
        translated(*pieces, b'data: {"error":{"message":"boom"}}\n\n', may_end_unread=True)


def test_a_message_in_the_place_of_a_delta_is_one() -> None:
    whole = b'data: {"choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}]}\n\n'
    assert message(whole, DONE)["content"] == [{"type": "text", "text": "Hi"}]
