"""Conformance item 35, the answer's side: stop sequences that are enforced here."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezai.translate.anthropic_openai.stops import StopSequences
from ezai.translate.terms import Thinking
from tests.properties.strategies import cut_text
from tests.translate.chat_stream import DONE, Said, blocks, call, chunk, delta, message, translated, usage_chunk

FIVE = ("END", "\n\nHuman:", "STOP", "###", "é")


def test_item_35_the_text_ends_before_the_sequence() -> None:
    told = message(chunk("Hello EN"), chunk("D and more"), chunk(finish="stop"), DONE, stop_sequences=FIVE)
    assert told["content"] == [{"type": "text", "text": "Hello "}]
    assert (told["stop_reason"], told["stop_sequence"]) == ("stop_sequence", "END")


def test_item_35_the_message_ends_at_once() -> None:
    said = Said(stop_sequences=FIVE)
    assert said.says(chunk("a #")) == ["message_start", "+0 text", "a "]
    assert said.says(chunk("##")) == ["-0", "stop_sequence", "message_stop"]
    assert said.stream.cut_short, "the upstream goes on"
    assert said.says(chunk("b"), delta(finish="stop"), DONE) == []
    assert said.ends() == []


def test_item_35_nothing_of_a_sequence_is_leaked() -> None:
    said = Said(stop_sequences=FIVE)
    for piece in "xS", "T", "O", "P":
        said.says(chunk(piece))
    assert b"S" not in b"".join(event.wire() for event in said.events if event.kind == "content_block_delta")


def test_item_35_what_was_no_sequence_after_all_goes_out() -> None:
    said = Said(stop_sequences=FIVE)
    assert said.says(chunk("a\n\nHum")) == ["message_start", "+0 text", "a"]
    assert said.says(chunk("bug")) == ["\n\nHumbug"]


def test_item_35_what_is_held_goes_out_at_the_end() -> None:
    told = message(chunk("the EN"), chunk(finish="stop"), DONE, stop_sequences=FIVE)
    assert (told["content"][0]["text"], told["stop_reason"]) == ("the EN", "end_turn")


def test_item_35_what_is_held_goes_out_before_a_call_and_before_thinking() -> None:
    pieces = [chunk("EN"), call(id="a", name="f", arguments="{}"), chunk("D")]
    assert [block.get("text") for block in blocks(*pieces, stop_sequences=FIVE)] == ["EN", None, "D"]
    pieces = [chunk("EN"), delta(reasoning="hm"), chunk("D")]
    shown = blocks(*pieces, stop_sequences=FIVE, thinking=Thinking.SHOWN)
    assert [block.get("text") for block in shown] == ["EN", None, "D"]


def test_item_35_dropped_thinking_does_not_hide_a_sequence() -> None:
    told = message(chunk("EN"), delta(reasoning="hm"), chunk("D"), DONE, stop_sequences=FIVE)
    assert told["stop_sequence"] == "END"


def test_item_35_thinking_may_say_what_it_likes() -> None:
    shown: dict[str, Any] = {"thinking": Thinking.SHOWN, "stop_sequences": FIVE}
    told = message(delta(reasoning="the END"), chunk("<think>"), chunk("Hi"), chunk(finish="stop"), DONE, **shown)
    assert told["content"][0]["thinking"] == "the END"


def test_item_35_the_rest_of_a_delta_is_dropped() -> None:
    piece = delta(content="a END", refusal="no", tool_calls=[{"id": "a", "function": {"name": "f"}}], finish="stop")
    told = message(piece, stop_sequences=FIVE)
    assert (told["content"], told["stop_reason"]) == ([{"type": "text", "text": "a "}], "stop_sequence")


def test_item_35_a_sequence_at_the_very_end_keeps_the_upstreams_usage() -> None:
    said = Said(stop_sequences=("a", "ab"))
    said.says(chunk("xa"))
    assert said.says(delta(finish="stop")) == ["-0"]
    assert not said.stream.cut_short
    assert said.says(usage_chunk(7, 8), DONE) == ["stop_sequence", "message_stop"]
    assert said.stream.usage.output_tokens == 8


def test_item_35_usage_so_far_is_told() -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 7}
    events = translated(
        chunk("a", usage=usage | {"completion_tokens": 3}), chunk("END", usage=usage), stop_sequences=FIVE
    )
    assert events[-2].payload["usage"]["output_tokens"] == 7


@pytest.mark.parametrize(
    ("stops", "text", "before", "matched"),
    [
        (["b", "ab"], "xaby", "x", "ab"),
        (["a", "ab"], "xaby", "x", "ab"),
        (["a", "ab"], "xac", "x", "a"),
        (["bc", "abcd"], "abcx", "a", "bc"),
        (["bc", "abcd"], "abcd", "", "abcd"),
        (["aab"], "aaab", "a", "aab"),
        (["]", "^", "-"], "x^", "x", "^"),
        (["x"], "", "", None),
        ([], "x", "x", None),
        (["", "y"], "xy", "x", "y"),
    ],
)
def test_the_earliest_and_then_the_longest(stops: list[str], text: str, before: str, matched: str | None) -> None:
    for size in range(1, len(text) + 1):
        held = StopSequences(stops)
        out = "".join(held.feed(text[at : at + size]) for at in range(0, len(text), size) if held.matched is None)
        out += held.end() if held.matched is None else ""
        assert (out, held.matched) == (before, matched)


@given(st.data())
def test_any_pieces_give_the_same(data: st.DataObject) -> None:
    stops = data.draw(st.lists(st.text("ab", min_size=1, max_size=6), min_size=1, max_size=12))
    text = data.draw(st.text("abc", max_size=20))
    places = [(text.find(stop), -len(stop), stop) for stop in stops if stop in text]
    expected = (text[: min(places)[0]], min(places)[2]) if places else (text, None)
    held = StopSequences(stops)
    out = ""
    for piece in data.draw(cut_text(text)):
        if held.matched is None:
            out += held.feed(piece)
    if held.matched is None:
        out += held.end()
    assert (out, held.matched) == expected
