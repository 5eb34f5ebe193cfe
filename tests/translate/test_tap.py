"""The short way of a tap: what it takes is what the long way would have handed back as it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import event as note
from hypothesis import given
from hypothesis import strategies as st

from ezai.protocol.anthropic import events
from ezai.protocol.anthropic.events import MessagesEvent
from ezai.protocol.anthropic.order import StreamState
from ezai.protocol.sse import SseDecoder
from ezai.translate.anthropic_anthropic import MessagesTap

TEXT: dict[str, Any] = {"type": "text_delta", "text": "Hello"}
DELTA: dict[str, Any] = {"type": "content_block_delta", "index": 0, "delta": TEXT}
OPENED: dict[str, dict[str, Any]] = {
    "text": {"type": "text", "text": ""},
    "thinking": {"type": "thinking", "thinking": "", "signature": ""},
    "tool_use": {"type": "tool_use", "id": "t", "name": "f", "input": {}},
}
USAGE = {"input_tokens": 3, "output_tokens": 1}


SIGNED = events.signature_delta(0, "x")


def inside_a_block(index: int = 0, kind: str = "text", *more: MessagesEvent) -> tuple[MessagesTap, StreamState]:
    """A tap and its stream's state, in a block of an answer, and behind `more` events."""
    tap, state = MessagesTap(), StreamState()
    blocks = [
        each for one in range(index + 1) for each in (events.block_start(one, OPENED[kind]), events.block_stop(one))
    ]
    start = events.message_start({"id": "m", "model": "m", "content": [], "usage": USAGE})
    for event in (start, *blocks[:-1], *more):
        (same,) = tap.feed(event)
        state.process(same)
    return tap, state


def frame(data: dict[str, Any], name: str = "content_block_delta", end: bytes = b"\n\n") -> bytes:
    return b"event: %b\ndata: %b%b" % (name.encode(), json.dumps(data, ensure_ascii=False).encode(), end)


def image(state: StreamState) -> dict[str, Any]:
    return {name: getattr(state, name) for name in StreamState.__slots__}


def assert_same_as_the_long_way(chunk: bytes, *place: Any) -> bool:
    """Whether the short way takes it, in the first block or at that place; where it does, the long way has to end the
    same.
    """
    short, state = inside_a_block(*place)
    before = image(state)
    if not short.feed_plain(chunk, state):
        assert short.usage == inside_a_block(*place)[0].usage, "what is not taken is not counted"
        return False
    assert image(state) == before
    assert SseDecoder().feed(chunk) == [chunk]
    long, state = inside_a_block(*place)
    (event,) = long.feed(long.read(chunk))
    state.process(event)
    assert image(state) == before
    assert event.raw == chunk
    assert event.kind == events.BLOCK_DELTA
    assert (long.usage, long.usage_source) == (short.usage, short.usage_source)
    return True


@pytest.mark.parametrize(
    "delta",
    [
        TEXT,
        {"type": "text_delta", "text": ""},
        {"type": "text_delta", "text": '日本 \u2028 \\ " \n\r'},
        {"type": "thinking_delta", "thinking": "Hm"},
        {"type": "input_json_delta", "partial_json": '{"a":'},
        TEXT | {"of_tomorrow": [None]},
    ],
)
def test_the_deltas_that_make_up_an_answer_take_the_short_way(delta: dict[str, Any]) -> None:
    assert assert_same_as_the_long_way(frame(DELTA | {"delta": delta}))


def test_padding_and_unknown_fields_do_not_keep_one_from_it() -> None:
    """The hosted API pads its events with spaces."""
    padded = b"event: content_block_delta\ndata: %b        \n\n" % json.dumps(DELTA | {"p": "abc"}).encode()
    assert assert_same_as_the_long_way(padded)


@pytest.mark.parametrize(
    "chunk",
    [
        b"",
        b"event: content_block_delta\ndata: \n\n",
        frame(DELTA)[:-1],
        frame(DELTA)[:-1] + b"i",
        frame(DELTA).replace(b", ", b",\n", 1),
        frame(DELTA) + b"\n",
        frame(DELTA) + frame(DELTA),
        frame(DELTA, end=b"\r\n\r\n"),
        frame(DELTA, end=b"\r\n\n"),
        frame(DELTA, end=b"\r\r"),
        frame(DELTA).replace(b'"index"', b'\r"index"'),
        frame(DELTA).replace(b", ", b",\ndata: ", 1),
        frame(DELTA, "content_block_stop"),
        frame(DELTA).removeprefix(b"event: content_block_delta\n"),
        b"id: 1\n" + frame(DELTA),
        frame(DELTA).replace(b"Hello", b"\xff"),
        frame(DELTA | {"unread": "x"}).replace(b'"x"', b'"\xff"'),
        frame(DELTA)[:-3] + b"\n\n",
        frame(DELTA | {"type": "content_block_stop"}),
        frame(DELTA | {"type": None}),
        frame(DELTA | {"index": 1}),
        frame(DELTA | {"index": "0"}),
        frame({"type": "content_block_delta", "delta": TEXT}),
        frame(DELTA | {"delta": None}),
        frame(DELTA | {"delta": {"type": "text_delta"}}),
        frame(DELTA | {"delta": {"type": "text_delta", "text": None}}),
        frame(DELTA | {"delta": {"type": "input_json_delta", "text": "x"}}),
        frame(DELTA | {"delta": {"type": "signature_delta", "signature": "x"}}),  # changes the state
        frame(DELTA | {"delta": {"type": "citations_delta", "citation": {}}}),
        frame(DELTA | {"unread": 0}).replace(b": 0}", b": " + b"[" * 9999 + b"]" * 9999 + b"}"),
    ],
    ids=lambda chunk: repr(chunk[24:90]),
)
def test_all_else_takes_the_long_way(chunk: bytes) -> None:
    assert not assert_same_as_the_long_way(chunk)


def test_a_delta_outside_of_a_block_takes_the_long_way() -> None:
    tap, state = MessagesTap(), StreamState()
    assert not tap.feed_plain(frame(DELTA | {"index": -1}), state)
    tap, state = inside_a_block()
    state.process(events.block_stop(0))
    assert not tap.feed_plain(frame(DELTA), state)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 2) | st.text(), lambda one: st.lists(one, max_size=2)
)
_FIELDS = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}
_GOOD = st.builds(
    lambda kind, told: DELTA | {"delta": {"type": kind, _FIELDS[kind]: told}}, st.sampled_from(list(_FIELDS)), st.text()
)
_ODD = st.dictionaries(
    st.sampled_from(["type", "index", "delta", "usage", "message", "error", "x"]), _VALUES, max_size=1
)
_ODD_DELTA = st.dictionaries(
    st.sampled_from(["type", "stop_reason", "signature", *_FIELDS.values()]), _VALUES, max_size=1
)
_STREWN = st.tuples(st.integers(0, 200), st.sampled_from([b"\n", b"\r", b'"', b"}", b" ", b"\xff", b"\xc3\xa9"]))


_PLACES = st.sampled_from(
    [(0, kind, *more) for kind in OPENED for more in ((), (SIGNED,), (events.block_stop(0),))]
    + [(1, "text"), (2, "thinking")]
)


@given(_GOOD, _ODD, _ODD_DELTA, st.lists(_STREWN, max_size=1), _PLACES)
def test_whatever_it_takes_the_long_way_hands_back(
    good: dict[str, Any], odd: dict[str, Any], odd_delta: dict[str, Any], strewn: list[tuple[int, bytes]], place: Any
) -> None:
    chunk = frame(good | {"index": place[0], "delta": good["delta"] | odd_delta} | odd)
    for where, byte in strewn:
        chunk = chunk[:where] + byte + chunk[where:]
    note("short" if assert_same_as_the_long_way(chunk, *place) else "long")
