"""The table of legal orders, and what breaks an SDK's accumulator."""

from __future__ import annotations

import pytest
from hypothesis import given

from ezai.errors import IllegalStream
from ezai.protocol.anthropic import events
from ezai.protocol.anthropic.events import MessagesEvent, read_event
from ezai.protocol.anthropic.order import TERMINAL, TRANSITIONS, Place, StreamState, diagram
from ezai.protocol.sse import encode_frame
from tests.properties.strategies import legal_streams


def event(kind: str, data: str = "{}") -> MessagesEvent:
    return read_event(encode_frame(kind.encode(), ('{"type":"%s",' % kind + data[1:]).replace(",}", "}").encode()))


START = event("message_start", '{"message":{"content":[],"usage":{"input_tokens":3,"output_tokens":0}}}')
OPEN = event("content_block_start", '{"index":0,"content_block":{"type":"text","text":""}}')
TEXT = event("content_block_delta", '{"index":0,"delta":{"type":"text_delta","text":"a"}}')
CLOSE = event("content_block_stop", '{"index":0}')
END = event("message_delta", '{"delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":4}}')
STOP = event("message_stop")
BY_KIND = {step.kind: step for step in (START, OPEN, TEXT, CLOSE, END, STOP)}
WAY_TO: dict[Place, list[MessagesEvent]] = {
    Place.BEFORE: [],
    Place.BETWEEN: [START],
    Place.INSIDE: [START, OPEN],
    Place.ENDING: [START, END],
    Place.ENDED: [START, END, STOP],
    Place.FAILED: [event("error")],
}


def at(place: Place) -> StreamState:
    state = StreamState()
    for step in WAY_TO[place]:
        state.process(step)
    assert state.place is place
    return state


@pytest.mark.parametrize("place", list(Place))
@pytest.mark.parametrize("kind", [*BY_KIND, "error"])
def test_every_cell_of_the_table(place: Place, kind: str) -> None:
    state = at(place)
    step = event("error") if kind == "error" else BY_KIND[kind]
    if kind in TRANSITIONS[place]:
        state.process(step)
        assert state.place is TRANSITIONS[place][kind]
    else:
        with pytest.raises(IllegalStream, match=kind):
            state.process(step)
        assert state.place is place


@pytest.mark.parametrize("place", list(Place))
@pytest.mark.parametrize("kind", ["ping", "future_thing"])
def test_pings_and_unknown_kinds_stand_anywhere(place: Place, kind: str) -> None:
    state = at(place)
    state.process(event(kind))
    assert state.place is place


def test_nothing_leads_out_of_the_end() -> None:
    assert {place for place, row in TRANSITIONS.items() if not row} == TERMINAL
    assert at(Place.ENDED).over


@pytest.mark.parametrize(
    ("before", "broken"),
    [
        ([], ("message_start", '{"message":{"content":[]}}')),
        ([], ("message_start", '{"message":{"usage":{}}}')),
        ([], ("message_start",)),
        ([START], ("content_block_start", '{"index":1,"content_block":{"type":"text","text":""}}')),
        ([START], ("content_block_start", '{"index":0,"content_block":{"type":"text"}}')),
        ([START], ("content_block_start", '{"index":0,"content_block":{"type":"thinking","signature":""}}')),
        ([START], ("content_block_start", '{"index":0}')),
        ([START, OPEN], ("content_block_delta", '{"index":1,"delta":{"type":"text_delta","text":"a"}}')),
        ([START, OPEN], ("content_block_delta", '{"index":0,"delta":{"type":"text_delta"}}')),
        ([START, OPEN], ("content_block_delta", '{"index":0}')),
        ([START, OPEN], ("content_block_stop", '{"index":3}')),
        ([START], ("message_delta", '{"delta":{"stop_reason":"end_turn"}}')),
        ([START], ("message_delta", '{"delta":{},"usage":null}')),
    ],
)
def test_shapes_that_break_an_accumulator(before: list[MessagesEvent], broken: tuple[str, ...]) -> None:
    state = StreamState()
    for step in before:
        state.process(step)
    with pytest.raises(IllegalStream):
        state.process(event(*broken))


def test_blocks_follow_one_another() -> None:
    state = at(Place.INSIDE)
    state.process(CLOSE)
    state.process(event("content_block_start", '{"index":1,"content_block":{"type":"tool_use","id":"t","name":"f"}}'))
    assert (state.block_index, state.block_type) == (1, "tool_use")


def test_the_stop_reason_is_read_on_the_way() -> None:
    assert at(Place.ENDING).stop_reason == "end_turn"


def test_a_signature_closes_a_thinking_block_to_deltas_of_ours() -> None:
    state = at(Place.BETWEEN)
    state.process(events.block_start(0, {"type": "thinking", "thinking": "", "signature": ""}))
    assert not state.signed
    state.process(event("content_block_delta", '{"index":0,"delta":{"type":"signature_delta","signature":"s"}}'))
    assert state.signed


@given(legal_streams())
def test_every_legal_stream_passes(stream: list[MessagesEvent]) -> None:
    state = StreamState()
    for step in stream:
        state.process(step)
    assert state.over


def test_the_diagram_shows_every_transition() -> None:
    drawn = diagram()
    for place, row in TRANSITIONS.items():
        for kind, after in row.items():
            assert f"{place.name} --> {after.name}: {kind}" in drawn
