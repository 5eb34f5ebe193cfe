"""Chat Completions streams as Messages: whatever the shape, what goes in comes out, legal and in order."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ezai.errors import UpstreamError
from ezai.protocol.anthropic.fold import fold
from ezai.translate.terms import Thinking
from tests.properties.strategies import (
    CALLED,
    answer_terms,
    call_scripts,
    chat_frame,
    chat_streams,
    cut,
    cut_text,
    mutated,
)
from tests.translate.chat_stream import DONE, blocks, message, translated

WORDS = st.text("abc é", min_size=1, max_size=6).filter(str.strip)


def frames(deltas: list[dict[str, Any]]) -> list[bytes]:
    return [chat_frame({"choices": [{"index": 0, "delta": fields}]}) for fields in deltas]


@given(st.data())
def test_any_chunking_gives_the_same_events(data: st.DataObject) -> None:
    stream, terms = data.draw(chat_streams()), data.draw(answer_terms())
    whole = [event.wire() for event in translated(stream, **terms)]
    assert [event.wire() for event in translated(*data.draw(cut(stream)), **terms)] == whole


@given(st.data())
def test_mutated_bytes_give_a_legal_stream_or_a_typed_error(data: st.DataObject) -> None:
    stream = data.draw(mutated(data.draw(chat_streams())))
    try:
        translated(*data.draw(cut(stream)), **data.draw(answer_terms()))
    except UpstreamError as error:
        assert error.message


@given(st.data())
def test_the_calls_that_go_in_come_out(data: st.DataObject) -> None:
    deltas, calls = data.draw(call_scripts())
    said = [{"content": word} for word in data.draw(st.lists(WORDS, max_size=4))]
    for fields in said:
        deltas.insert(data.draw(st.integers(0, len(deltas))), fields)
    content = blocks(*frames(deltas), DONE, offered=CALLED)
    uses = [block for block in content if block["type"] == "tool_use"]
    assert [(block["name"], block["input"]) for block in uses] == [(call.name, call.input) for call in calls]
    for block, call in zip(uses, calls, strict=True):
        assert block["id"] == call.id if call.id else re.fullmatch("toolu_[0-9A-Za-z]{24}", block["id"])
    texts = [fields["content"] for fields in deltas if "content" in fields]
    assert "".join(block["text"] for block in content if block["type"] == "text") == "".join(texts)


@given(st.lists(st.tuples(st.sampled_from(["content", "reasoning"]), WORDS), max_size=8))
def test_text_and_thinking_stay_apart_and_in_order(parts: list[tuple[str, str]]) -> None:
    content = blocks(*frames([{}, *({name: text} for name, text in parts)]), DONE, thinking=Thinking.SHOWN)
    expected: list[dict[str, str]] = []
    for name, text in parts:
        kind = "text" if name == "content" else "thinking"
        if expected and expected[-1]["type"] == kind:
            expected[-1][kind] += text
        else:
            expected.append({"type": kind, kind: text})
    assert content == expected


@given(st.data())
def test_think_tags_are_the_field_in_other_words(data: st.DataObject) -> None:
    thought, between, text = data.draw(WORDS), data.draw(st.text(" \n", max_size=3)), data.draw(WORDS).lstrip()
    tagged = [{"content": piece} for piece in data.draw(cut_text(f"<think>{thought}</think>{between}{text}"))]
    for thinking in Thinking:
        told = blocks(*frames(tagged), DONE, thinking=thinking)
        assert told == blocks(*frames([{"reasoning": thought}, {"content": text}]), DONE, thinking=thinking)


@given(st.data())
def test_a_stop_sequence_ends_the_text_wherever_it_was_cut(data: st.DataObject) -> None:
    stops = tuple(data.draw(st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=4)))
    pieces = data.draw(st.lists(st.text("abc", min_size=1, max_size=5), max_size=6))
    answer = message(*frames([{}, *({"content": piece} for piece in pieces)]), DONE, stop_sequences=stops)
    text = "".join(block["text"] for block in answer["content"])
    assert not any(stop in text for stop in stops)
    if answer["stop_reason"] == "stop_sequence":
        assert "".join(pieces).startswith(text + answer["stop_sequence"])
    else:
        assert text == "".join(pieces)


@given(chat_streams(), answer_terms())
def test_blocks_that_the_api_would_refuse_are_not_made(stream: bytes, terms: dict[str, Any]) -> None:
    content = fold(translated(stream, **terms))["content"]
    texts = [block["text"] for block in content if block["type"] == "text"]
    assert all(text.strip() for text in texts) or len(content) == 1
    assert all(block["signature"] for block in content if block["type"] == "thinking")
    ids = [block["id"] for block in content if block["type"] == "tool_use"]
    assert len(set(ids)) == len(ids)
