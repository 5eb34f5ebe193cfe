"""Text of a chat completion that comes as parts, or cut between the halves of a character."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezai.errors import UpstreamMalformed
from ezai.translate.terms import Thinking
from tests.properties.strategies import cut
from tests.translate.chat_stream import DONE, Said, blocks, call, chunk, delta, message, told, translated, usage_chunk

SHOWN: dict[str, Any] = {"thinking": Thinking.SHOWN, "signing_key": b"key"}
STOP = delta(finish="stop")


# Content as a list of parts, as Mistral sends it.


def part(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def thought(*texts: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": [part(text) for text in texts]}


def test_parts_of_content_are_its_text() -> None:
    said = Said()
    assert said.says(delta(content=[part("He"), part("llo")])) == ["message_start", "+0 text", "He", "llo"]
    assert said.says(delta(content=" you"), delta(content=[])) == [" you"]
    assert said.says(delta(content=[{"type": "reference", "reference_ids": [1]}, {"type": "text"}])) == []
    assert said.says(STOP, DONE) == ["-0", "end_turn", "message_stop"]


def test_parts_that_think_are_thinking() -> None:
    pieces = [delta(content=[thought("h", "m")]), delta(content=[thought(" so"), part("Hi")]), delta(content="!")]
    assert blocks(*pieces, **SHOWN) == [{"type": "thinking", "thinking": "hm so"}, {"type": "text", "text": "Hi!"}]
    assert blocks(*pieces) == [{"type": "text", "text": "Hi!"}]
    assert blocks(delta(content=[{"type": "thinking", "thinking": "hm"}]), **SHOWN)[0]["thinking"] == "hm"


def test_thinking_in_a_part_and_in_a_field_is_told_once() -> None:
    both = delta(reasoning_content="hm", content=[thought("hm"), part("Hi")])
    assert blocks(both, **SHOWN) == [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Hi"}]


def test_thinking_in_parts_is_counted_and_signed() -> None:
    events = translated(delta(content=[thought("hm")]), delta(content=[part("Hi")]), STOP, DONE, **SHOWN)
    assert told(events)[1:5] == ["+0 thinking", "hm", "signature", "-0"]
    assert events[-2].payload["usage"]["output_tokens_details"] == {"thinking_tokens": 1}


@pytest.mark.parametrize("content", [5, {"text": "x"}, ["x"], [{"text": 1}], [{"thinking": [1]}]])
def test_other_content_is_no_chunk(content: object) -> None:
    with pytest.raises(UpstreamMalformed):
        translated(delta(content=content), STOP, DONE)


# Halves of characters.


def wire(fields: str) -> bytes:
    """A chunk of this delta, the escapes as they stand."""
    return f'data: {{"choices":[{{"index":0,"delta":{fields}}}]}}\n\n'.encode()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (r'{"content":"a\ud83d"}', r'{"content":"\ude00b"}'),
        (r'{"content":"a\uD83D"}', r'{"content":"\uDE00b"}'),
        (r'{"content":[{"type":"text","text":"a\ud83d"}]}', r'{"content":[{"type":"text","text":"\ude00b"}]}'),
        (r'{"refusal":"a\ud83d"}', r'{"refusal":"\ude00b"}'),
    ],
)
def test_text_that_was_cut_in_a_character(first: str, second: str) -> None:
    assert blocks(wire(first), wire(second), STOP) == [{"type": "text", "text": "a😀b"}]
    between = [wire("{}"), usage_chunk(1, 1), b": alive\n\n", wire(r'{"content":""}')]
    assert blocks(wire(first), *between, wire(second), STOP) == [{"type": "text", "text": "a😀b"}]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (r'{"reasoning":"a\ud83d"}', r'{"reasoning":"\ude00b"}'),
        (r'{"reasoning_content":"a\ud83d"}', r'{"reasoning_content":"\ude00b"}'),
        (r'{"reasoning_details":[{"text":"a\ud83d"}]}', r'{"reasoning_details":[{"summary":"\ude00b"}]}'),
        (r'{"content":[{"thinking":[{"text":"a\ud83d"}]}]}', r'{"content":[{"thinking":"\ude00b"}]}'),
    ],
)
def test_thinking_that_was_cut_in_a_character(first: str, second: str) -> None:
    assert blocks(wire(first), wire(second), STOP, **SHOWN) == [{"type": "thinking", "thinking": "a😀b"}]


def test_nothing_of_a_character_is_told_before_it_is_whole() -> None:
    said = Said()
    assert said.says(wire(r'{"content":"a\ud83d"}')) == ["message_start", "+0 text", "a"]
    assert said.says(wire(r'{"content":"\ude00\ud83d"}')) == ["😀"]
    assert said.says(wire(r'{"content":"\ude01"}')) == ["😁"]
    assert said.says(STOP, DONE) == ["-0", "end_turn", "message_stop"]


def test_a_character_in_the_arguments_whose_escape_was_cut_between_its_halves() -> None:
    first, second = call(index=0, id="a", name="f", arguments='{"x":"\\ud83d'), call(index=0, arguments='\\ude00"}')
    assert told(translated(first, second, STOP, DONE))[2:4] == ['{"x":"\\ud83d', '\\ude00"}']
    assert blocks(first, second, STOP)[0]["input"] == {"x": "😀"}


def test_arguments_of_two_calls_whose_chunks_cut_a_character() -> None:
    pieces = [
        wire(r'{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\":\"a\ud83d"}}]}'),
        wire(r'{"tool_calls":[{"index":1,"id":"b","function":{"name":"g","arguments":"{\"y\":\"\ud83d"}}]}'),
        wire(r'{"tool_calls":[{"index":0,"function":{"arguments":"\ude00b\"}"}}]}'),
        wire(r'{"tool_calls":[{"index":1,"function":{"arguments":"\ude01\"}"}}]}'),
    ]
    assert [block["input"] for block in blocks(*pieces, STOP)] == [{"x": "a😀b"}, {"y": "😁"}]


@pytest.mark.parametrize(
    "pieces",
    [
        [r'{"content":"\ud83d"}'],
        [r'{"content":"\ud83d"}', '{"content":"x"}'],
        [r'{"content":"\ud83d"}', r'{"content":"\ud83d"}'],
        [r'{"content":"\ude00"}'],
        [r'{"content":"\ud83dx"}'],
        [r'{"content":"\ud83d"}', r'{"reasoning":"\ude00"}'],
        [r'{"tool_calls":[{"index":0,"id":"a","function":{"name":"f\ud83d","arguments":"{}"}}]}'],
        [r'{"tool_calls":[{"index":0,"id":"a\ud83d","function":{"name":"f","arguments":"{}"}}]}'],
        [r'{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":{"x":"\ud83d"}}}]}'],
        [r'{"content":"\ud83d}'],
    ],
)
def test_a_half_that_stays_one_is_an_error(pieces: list[str]) -> None:
    with pytest.raises(UpstreamMalformed):
        translated(*map(wire, pieces), STOP, DONE)


@pytest.mark.parametrize("end", [b"", DONE])
def test_a_half_at_the_end_is_an_error(end: bytes) -> None:
    with pytest.raises(UpstreamMalformed):
        translated(wire(r'{"content":"\ud83d"}'), STOP, *filter(None, [end]))


@pytest.mark.parametrize("finish", ["length", "content_filter"])
def test_a_half_that_the_limit_cut_off_is_left_out(finish: str) -> None:
    answer = message(wire(r'{"content":"a\ud83d"}'), delta(finish=finish), DONE)
    assert answer["content"] == [{"type": "text", "text": "a"}]


def test_arguments_without_index_whose_chunks_cut_a_character() -> None:
    first = wire(r'{"tool_calls":[{"id":"a","function":{"name":"f","arguments":"{\"x\":\"\ud83d"}}]}')
    second = wire(r'{"tool_calls":[{"function":{"arguments":"\ude00\"}"}}]}')
    assert blocks(first, second, STOP)[0]["input"] == {"x": "😀"}


def test_an_error_with_a_half_in_it_is_no_error_of_the_upstreams() -> None:
    with pytest.raises(UpstreamMalformed):
        translated(chunk("a"), b'data: {"error":{"message":"\\ud83d"}}\n\n')


@given(st.data())
def test_any_chunking_of_halves_and_parts_gives_the_same(data: st.DataObject) -> None:
    units = [
        msgspec.json.encode(unit).decode() for unit in data.draw(st.lists(st.text("a <é", max_size=3), max_size=3))
    ]
    pieces = [wire(f'{{"content":{unit}}}') for unit in units]
    pieces += [wire(r'{"content":"\ud83d"}'), wire(r'{"content":[{"text":"\ude00"},{"thinking":"t"}]}'), STOP, DONE]
    whole = message(*pieces, **SHOWN)
    assert message(*data.draw(cut(b"".join(pieces))), **SHOWN) == whole
