"""The SSE decoder: every line end, every cut, the limit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezai.errors import UpstreamMalformed
from ezai.protocol.sse import SseDecoder, encode_frame, parse_frame
from tests.properties.strategies import cut

CASES: list[tuple[str, bytes, list[tuple[bytes, bytes | None]]]] = [
    ("LF", b"event: a\ndata: 1\n\n", [(b"a", b"1")]),
    ("CR", b"event: a\rdata: 1\r\r", [(b"a", b"1")]),
    ("CRLF", b"event: a\r\ndata: 1\r\n\r\n", [(b"a", b"1")]),
    ("mixed", b"event: a\ndata: 1\r\n\rdata: 2\r\r\n", [(b"a", b"1"), (b"", b"2")]),
    ("byte order mark", b"\xef\xbb\xbfdata: 1\n\n", [(b"", b"1")]),
    ("no space", b"data:1\n\n", [(b"", b"1")]),
    ("one space is taken", b"data:  1\n\n", [(b"", b" 1")]),
    ("several data lines", b"data: 1\ndata: 2\ndata:\n\n", [(b"", b"1\n2\n")]),
    ("last event name counts", b"event: a\nevent: b\ndata: 1\n\n", [(b"b", b"1")]),
    ("comment", b": hi\n\n", [(b"", None)]),
    ("comment between", b"event: a\n: hi\ndata: 1\n\n", [(b"a", b"1")]),
    ("id and retry", b"id: 7\nretry: 3\ndata: 1\n\n", [(b"", b"1")]),
    ("field without colon", b"data\n\n", [(b"", b"")]),
    ("two in one read", b"data: 1\n\ndata: 2\n\n", [(b"", b"1"), (b"", b"2")]),
    ("U+2028 is no line end", "data: a\u2028b\x85c\x0bd\n\n".encode(), [(b"", "a\u2028b\x85c\x0bd".encode())]),
    ("incomplete", b"data: 1\n\ndata: 2\n", [(b"", b"1")]),
]


def decode(chunks: list[bytes], limit: int = 1 << 20) -> tuple[list[tuple[bytes, bytes | None]], bytes, bytes]:
    decoder = SseDecoder(limit)
    frames = [frame for chunk in chunks for frame in decoder.feed(chunk)]
    return [parse_frame(frame) for frame in frames if frame.strip()], b"".join(frames), decoder.close()


@pytest.mark.parametrize(("stream", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_whole_bytewise_and_with_more_behind(stream: bytes, expected: list[tuple[bytes, bytes | None]]) -> None:
    assert decode([stream])[0] == expected
    assert decode([stream[place : place + 1] for place in range(len(stream))])[0] == expected
    if not stream.endswith(b"2\n"):
        assert decode([stream + b"data: more\n\n"])[0] == [*expected, (b"", b"more")]


@given(st.data())
def test_any_chunking_gives_the_same_events(data: st.DataObject) -> None:
    pieces = [
        b"event: a",
        b"data: x",
        b": c",
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"\xef\xbb\xbf",
        b"id: 1",
        b"\xe2\x80\xa8",
    ]
    stream = b"".join(data.draw(st.lists(st.sampled_from(pieces), max_size=30)))
    whole, _, tail = decode([stream])
    events, raw, rest = decode(data.draw(cut(stream)))
    assert events == whole
    assert raw + rest == stream.removeprefix(b"\xef\xbb\xbf")
    assert rest.strip() == tail.strip()


def test_an_event_is_not_held_back_for_half_a_line_end() -> None:
    decoder = SseDecoder()
    assert decoder.feed(b"data: 1\r\r") == [b"data: 1\r\r"]
    assert [parse_frame(frame) for frame in decoder.feed(b"\ndata: 2\r\n\r\n")] == [(b"", b"2")]


def test_one_event_in_one_read_is_not_copied() -> None:
    chunk = b"event: a\ndata: 1\n\n"
    assert SseDecoder().feed(chunk)[0] is chunk


@pytest.mark.parametrize("chunk_bytes", [1, 7, 64, 1000])
def test_the_limit_ends_an_endless_line(chunk_bytes: int) -> None:
    decoder = SseDecoder(limit_bytes=500)
    fed = 0
    while fed <= 500:
        fed += chunk_bytes
        try:
            decoder.feed(b"x" * chunk_bytes)
        except UpstreamMalformed:
            break
    assert fed > 500
    with pytest.raises(UpstreamMalformed, match="larger than 500 bytes"):
        decoder.feed(b"x")


def test_events_before_one_over_the_limit_come_first() -> None:
    decoder = SseDecoder(limit_bytes=20)
    assert decoder.feed(b"data: 1\n\ndata: " + b"x" * 100 + b"\n\n") == [b"data: 1\n\n"]
    with pytest.raises(UpstreamMalformed):
        decoder.feed(b"")


def test_an_event_at_the_limit_passes() -> None:
    frame = b"data: " + b"x" * 12 + b"\n\n"
    assert SseDecoder(limit_bytes=20).feed(frame) == [frame]
    with pytest.raises(UpstreamMalformed):
        SseDecoder(limit_bytes=19).feed(frame)


def test_encoded_frames_are_read_back() -> None:
    assert parse_frame(encode_frame(b"ping", b"{}")) == (b"ping", b"{}")


@pytest.mark.parametrize("line_end", [b"\n", b"\r", b"\r\n"])
def test_a_flood_of_blank_lines_is_one_frame(line_end: bytes) -> None:
    event = b"data: x" + line_end * 2
    assert SseDecoder().feed(event + line_end * 30_000 + event) == [event + line_end * 30_000, event]
