"""The whole walk under random upstreams: whatever is sent, the client gets a legal stream or one error event, the
record is settled once, and a unary answer is the fold of its stream."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from ezai.errors import UpstreamTruncated
from ezai.protocol.anthropic.events import MessagesEvent, read_event
from ezai.protocol.anthropic.fold import fold
from ezai.protocol.anthropic.order import Place, StreamState
from ezai.protocol.sse import SseDecoder
from ezai.translate.base import ANTHROPIC, LLAMA_CPP
from tests.pipeline.fakes import Dialogue
from tests.properties.strategies import chat_streams, cut, legal_streams, mutated


def read(wire: bytes) -> list[MessagesEvent]:
    decoder = SseDecoder()
    events = [read_event(frame) for frame in decoder.feed(wire)]
    assert decoder.close() == b""
    return events


def walk(talk: Dialogue, pieces: list[bytes], end: UpstreamTruncated | None = None) -> bytes:
    """All that the client gets when the upstream says this and ends so."""
    talk.upstream_answers()
    for piece in pieces:
        if piece:
            talk.upstream_says(piece)
    talk.upstream_ends(end)
    return talk._unread()


@settings(max_examples=50)
@given(st.data())
def test_a_unary_answer_is_the_fold_of_its_stream(data: st.DataObject) -> None:
    stream = data.draw(chat_streams())
    with Dialogue(LLAMA_CPP) as talk:
        events = read(walk(talk, data.draw(cut(stream))))
    with Dialogue(LLAMA_CPP, stream=False) as talk:
        unary = msgspec.json.decode(walk(talk, data.draw(cut(stream))))
    assert unary == fold(events)


@settings(max_examples=50)
@given(st.data())
def test_a_tapped_stream_arrives_as_it_was_however_it_is_cut(data: st.DataObject) -> None:
    wire = b"".join(event.wire() for event in data.draw(legal_streams()))
    with Dialogue(ANTHROPIC) as talk:
        assert walk(talk, data.draw(cut(wire))) == wire
        talk.ended("finished")


@settings(max_examples=100)
@given(st.data())
def test_a_broken_upstream_gives_a_legal_stream_that_tells_it(data: st.DataObject) -> None:
    tapped = data.draw(st.booleans())
    whole = b"".join(event.wire() for event in data.draw(legal_streams())) if tapped else data.draw(chat_streams())
    broken = data.draw(mutated(whole[: data.draw(st.integers(0, len(whole)))]))
    end = data.draw(st.sampled_from([None, UpstreamTruncated("reset")]))
    with Dialogue(ANTHROPIC if tapped else LLAMA_CPP) as talk:
        got = walk(talk, data.draw(cut(broken)), end)
        assert len(talk.ledger.settlements) == 1
        cause = talk.ledger.settlements[0].end.cause
        if talk.status() != 200:
            assert msgspec.json.decode(got)["error"]["details"]["error_code"] == cause
            return
        state = StreamState()
        events = read(got)
        for event in events:
            assert not state.over, "nothing follows the end"
            state.process(event)
        assert state.place is (Place.ENDED if cause == "finished" else Place.FAILED)
        if cause != "finished":
            assert events[-1].payload["error"]["details"]["error_code"] == cause
