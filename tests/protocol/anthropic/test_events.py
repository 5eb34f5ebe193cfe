"""Reading stream events."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezai.errors import IllegalStream, UpstreamError, UpstreamMalformed
from ezai.protocol.anthropic import events
from ezai.protocol.anthropic.events import MessagesEvent, read_event, usage_report
from ezai.protocol.event import COMMENT, Event
from ezai.protocol.sse import SseDecoder
from tests.properties.strategies import legal_streams, mutated


def test_bytes_are_kept() -> None:
    frame = b'event:  odd\r\ndata: {"type" : "odd", "x":1}\r\n\r\n'
    event = read_event(frame)
    assert (event.kind, event.raw, event.wire(), event.payload) == ("odd", frame, frame, {"type": "odd", "x": 1})


def test_the_type_in_the_data_decides() -> None:
    assert read_event(b'event: ping\ndata: {"type":"message_stop"}\n\n').kind == "message_stop"
    assert read_event(b"event: ping\ndata: {}\n\n").kind == "ping"


def test_an_event_without_a_name_is_seen_by_no_sdk() -> None:
    assert read_event(b'data: {"type":"message_stop"}\n\n').kind == events.UNNAMED


def test_comments() -> None:
    assert read_event(b": hi\n\n").kind == COMMENT


@pytest.mark.parametrize(
    "data", [b"nonsense", b'{"type":"ping"', b'{"type":"ping"}}', b'{"type":"pi\xffng"}', b"", b'{"x":"\xed\xa0\x80"}']
)
def test_what_is_not_json_in_utf8_is_an_error(data: bytes) -> None:
    with pytest.raises(UpstreamMalformed):
        read_event(b"event: ping\ndata: " + data + b"\n\n")
    with pytest.raises(UpstreamMalformed):
        read_event(b"data: " + data + b"\n\n")


@pytest.mark.parametrize(
    "data",
    [
        '{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":null}}',
        '{"type":"content_block_start","index":0,"content_block":{"type":"text","text":null}}',
        '{"type":"content_block_delta","index":"0","delta":{}}',
    ],
)
def test_a_known_event_of_wrong_types_is_illegal(data: str) -> None:
    with pytest.raises(IllegalStream, match="content_block"):
        read_event(b"event: x\ndata: " + data.encode() + b"\n\n")


@pytest.mark.parametrize("name", [b"", b"event: content_block_delta\n", b"event: new\n"])
@pytest.mark.parametrize("data", [b'{"x":%b}', b'{"index":"x","y":%b}', b'{"usage":%b}', b"%b"])
def test_what_is_nested_too_deeply_is_no_event(name: bytes, data: bytes) -> None:
    with pytest.raises(UpstreamMalformed):
        read_event(name + b"data: " + data % (b"[" * 5000 + b"]" * 5000) + b"\n\n")


@pytest.mark.parametrize("data", ['{"type":"new","index":"x",', '{"index":"x","y":nonsense}', '["x"', '"x" "y"'])
def test_nor_is_an_unknown_event_that_is_no_json(data: str) -> None:
    with pytest.raises(UpstreamMalformed):
        read_event(b"event: new\ndata: " + data.encode() + b"\n\n")


def test_an_unknown_event_may_hold_anything() -> None:
    frame = b'event: new\ndata: {"type":"new","index":"x","delta":7,"usage":[],"message":null}\n\n'
    assert read_event(frame).kind == "new"


@pytest.mark.parametrize("usage", ['{"output_tokens":"x"}', '{"output_tokens":1.5}', "7", '{"output_tokens":1e400}'])
def test_absurd_usage_is_no_report(usage: str) -> None:
    data = '{"type":"message_delta","delta":{},"usage":%s}' % usage
    event = read_event(b"event: message_delta\ndata: " + data.encode() + b"\n\n")
    assert usage_report(event.fields.usage) is None


@given(legal_streams())
def test_events_made_here_are_read_back(stream: list[MessagesEvent]) -> None:
    for made in stream:
        read = read_event(made.wire())
        assert (read.kind, read.payload) == (made.kind, made.payload)
        assert read.fields == made.fields


@given(st.data())
def test_mutated_bytes_give_an_event_or_a_typed_error(data: st.DataObject) -> None:
    stream = b"".join(event.wire() for event in data.draw(legal_streams()))
    try:
        for frame in SseDecoder().feed(data.draw(mutated(stream))):
            assert isinstance(read_event(frame), Event)
    except UpstreamError as error:
        assert error.message.isprintable()


def test_names_equal_types_on_the_wire() -> None:
    for made in (events.ping(), events.message_stop(), events.block_stop(3), events.text_delta(3, "é")):
        name, _, data = made.wire().partition(b"\n")
        assert name == b"event: " + made.kind.encode()
        assert msgspec.json.decode(data[6:])["type"] == made.kind
