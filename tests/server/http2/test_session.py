"""What frames mean, one by one: the rules of RFC 9113 (the cases are those of h2spec, by section), without a socket."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Sequence

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezai.errors import InvalidRequest
from ezai.server.http2.events import BodyArrived, Event, RequestArrived, RequestFaulty, StreamLost
from ezai.server.http2.flood import CANCELLED, MOST
from ezai.server.http2.frames import Code, ConnectionFault
from ezai.server.http2.session import CONNECTION_WINDOW, MAX_STREAMS, STREAM_WINDOW, Session
from tests.server.http2.client import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WIDE,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    Fields,
    Frame,
    frame,
    frames_of,
    good_head,
    rst,
    settings,
    window_update,
)

LIMIT = 32 * 1024
GREETING = PREFACE + settings()
END = END_STREAM | END_HEADERS


class Talk:
    """A session, and what it has said."""

    def __init__(self, greeting: bytes = GREETING) -> None:
        self.session = Session(LIMIT)
        self.encoder = hpack.Encoder()
        self.session.greet()
        self.tell(greeting)
        self.said()

    def tell(self, wire: bytes) -> list[Event]:
        return list(self.session.receive(wire))

    def said(self) -> list[Frame]:
        """The frames since the last look."""
        frames, rest = frames_of(b"".join(self.session.out))
        assert rest == b""
        self.session.out.clear()
        return frames

    def block(self, fields: Fields | None = None) -> bytes:
        return self.encoder.encode(fields or good_head())

    def head(self, stream: int = 1, flags: int = END_HEADERS, fields: Fields | None = None) -> bytes:
        return frame(HEADERS, flags, stream, self.block(fields))

    def asked(self, stream: int = 1, flags: int = END) -> RequestArrived:
        """A good request, arrived."""
        (event,) = self.tell(self.head(stream, flags))
        assert isinstance(event, RequestArrived)
        return event

    def fault(self, wire: bytes) -> Code:
        """The code of the fault that these bytes are."""
        with pytest.raises(ConnectionFault) as caught:
            self.tell(wire)
        assert caught.value.message.endswith(".")
        return caught.value.code


# The start (3.4).


def test_the_server_begins_with_what_it_offers() -> None:
    session = Session(LIMIT)
    session.greet()
    (offer, window), _ = frames_of(b"".join(session.out))
    values = dict(struct.iter_unpack(">HI", offer.payload))
    assert (offer.kind, offer.flags, offer.stream) == (SETTINGS, 0, 0)
    assert values == {3: MAX_STREAMS, INITIAL_WINDOW: STREAM_WINDOW, 6: LIMIT}
    assert window == Frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", CONNECTION_WINDOW - 65_535))


@pytest.mark.parametrize("opening", [b"GET / HTTP/1.1\r\n", PREFACE[:-1] + b"x", b"\x00"])
def test_another_start_is_no_http_2(opening: bytes) -> None:
    session = Session(LIMIT)
    with pytest.raises(ConnectionFault):
        list(session.receive(opening))


@pytest.mark.parametrize("first", [frame(PING, 0, 0, bytes(8)), frame(SETTINGS, ACK), frame(HEADERS, 5, 1, b"\x82")])
def test_the_first_frame_is_settings(first: bytes) -> None:
    session = Session(LIMIT)
    with pytest.raises(ConnectionFault, match="SETTINGS"):
        list(session.receive(PREFACE + first))


def test_settings_and_pings_are_acknowledged() -> None:
    talk = Talk()
    assert talk.tell(settings(window=5) + frame(PING, 0, 0, b"12345678") + frame(PING, ACK, 0, bytes(8))) == []
    assert talk.said() == [Frame(SETTINGS, ACK, 0, b""), Frame(PING, ACK, 0, b"12345678")]


def test_what_is_not_known_is_ignored() -> None:
    talk = Talk()
    unknown = (
        frame(SETTINGS, 0, 0, struct.pack(">HI", 0x99, 7))
        + frame(0x42, 0xFF, 9, b"?")
        + frame(PRIORITY, 0, 3, bytes(5))
    )
    assert talk.tell(unknown) == []
    assert talk.said() == [Frame(SETTINGS, ACK, 0, b"")]
    talk.asked()


def test_a_reserved_bit_means_nothing() -> None:
    talk = Talk()
    head = bytearray(talk.head(1, END))
    head[5] |= 0x80
    assert isinstance(talk.tell(bytes(head))[0], RequestArrived)


# What ends the connection.

BROKEN: dict[str, tuple[bytes, Code]] = {
    "4.2 larger than allowed": (frame(DATA, 0, 1, bytes(16_385)), Code.FRAME_SIZE_ERROR),
    "4.3 block that is no HPACK": (frame(HEADERS, END, 1, b"\xff\xff\xff\xff\xff"), Code.COMPRESSION_ERROR),
    "4.3 index that is not there": (frame(HEADERS, END, 1, b"\xbf"), Code.COMPRESSION_ERROR),
    "4.3 cut in a string": (frame(HEADERS, END, 1, b"\x00\x05ab"), Code.COMPRESSION_ERROR),
    "4.3 table larger than offered": (frame(HEADERS, END, 1, b"\x3f\xe2\x1f\x82"), Code.COMPRESSION_ERROR),
    "5.1 DATA on an idle stream": (frame(DATA, 0, 1, b"x"), Code.PROTOCOL_ERROR),
    "5.1 RST_STREAM on an idle stream": (rst(1), Code.PROTOCOL_ERROR),
    "5.1 WINDOW_UPDATE on an idle stream": (window_update(1, 1), Code.PROTOCOL_ERROR),
    "5.1.1 even stream": (frame(HEADERS, END, 2, b"\x82"), Code.PROTOCOL_ERROR),
    "6.1 DATA on no stream": (frame(DATA, 0, 0, b"x"), Code.PROTOCOL_ERROR),
    "6.2 HEADERS on no stream": (frame(HEADERS, END, 0, b"\x82"), Code.PROTOCOL_ERROR),
    "6.2 padding longer than the frame": (frame(HEADERS, END | PADDED, 1, b"\x05ab"), Code.PROTOCOL_ERROR),
    "6.2 padding that is not there": (frame(HEADERS, END | PADDED, 1, b""), Code.PROTOCOL_ERROR),
    "6.2 priority that is not there": (frame(HEADERS, END | WITH_PRIORITY, 1, b"abc"), Code.FRAME_SIZE_ERROR),
    "6.3 PRIORITY on no stream": (frame(PRIORITY, 0, 0, bytes(5)), Code.PROTOCOL_ERROR),
    "6.3 PRIORITY of another length": (frame(PRIORITY, 0, 1, bytes(4)), Code.FRAME_SIZE_ERROR),
    "6.4 RST_STREAM on no stream": (frame(RST_STREAM, 0, 0, bytes(4)), Code.PROTOCOL_ERROR),
    "6.4 RST_STREAM of another length": (frame(RST_STREAM, 0, 1, bytes(3)), Code.FRAME_SIZE_ERROR),
    "6.5 SETTINGS on a stream": (frame(SETTINGS, 0, 1), Code.PROTOCOL_ERROR),
    "6.5 SETTINGS of another length": (frame(SETTINGS, 0, 0, bytes(5)), Code.FRAME_SIZE_ERROR),
    "6.5 acknowledgement with a payload": (frame(SETTINGS, ACK, 0, bytes(6)), Code.FRAME_SIZE_ERROR),
    "6.5.2 push neither on nor off": (frame(SETTINGS, 0, 0, struct.pack(">HI", 2, 2)), Code.PROTOCOL_ERROR),
    "6.5.2 window too large": (settings(window=1 << 31), Code.FLOW_CONTROL_ERROR),
    "6.5.2 frame size too small": (settings(frame=16_383), Code.PROTOCOL_ERROR),
    "6.5.2 frame size too large": (settings(frame=1 << 24), Code.PROTOCOL_ERROR),
    "6.6 PUSH_PROMISE": (frame(PUSH_PROMISE, 4, 1, bytes(5)), Code.PROTOCOL_ERROR),
    "6.7 PING on a stream": (frame(PING, 0, 1, bytes(8)), Code.PROTOCOL_ERROR),
    "6.7 PING of another length": (frame(PING, 0, 0, bytes(7)), Code.FRAME_SIZE_ERROR),
    "6.8 GOAWAY on a stream": (frame(GOAWAY, 0, 1, bytes(8)), Code.PROTOCOL_ERROR),
    "6.8 GOAWAY too short": (frame(GOAWAY, 0, 0, bytes(7)), Code.FRAME_SIZE_ERROR),
    "6.9 WINDOW_UPDATE of another length": (frame(WINDOW_UPDATE, 0, 0, bytes(3)), Code.FRAME_SIZE_ERROR),
    "6.9 window opened by nothing": (window_update(0, 0), Code.PROTOCOL_ERROR),
    "6.9.1 window opened too far": (window_update(0, WIDE), Code.FLOW_CONTROL_ERROR),
    "6.10 CONTINUATION of nothing": (frame(CONTINUATION, END_HEADERS, 1, b"\x82"), Code.PROTOCOL_ERROR),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_ends_the_connection(case: str) -> None:
    wire, code = BROKEN[case]
    assert Talk().fault(wire) == code


@pytest.mark.parametrize(
    "between",
    [frame(DATA, 0, 1, b"x"), frame(PING, 0, 0, bytes(8)), frame(0x42), frame(CONTINUATION, 4, 3, b""), settings()],
    ids=["DATA", "PING", "unknown", "of another stream", "SETTINGS"],
)
def test_6_2_nothing_interrupts_a_header_block(between: bytes) -> None:
    talk = Talk()
    talk.tell(frame(HEADERS, END_STREAM, 1, talk.block()[:5]))
    assert talk.fault(between) == Code.PROTOCOL_ERROR


def test_5_1_1_a_stream_is_not_opened_again() -> None:
    for again in (1, 3):
        talk = Talk()
        talk.session.answer(talk.asked(5).stream, 200, (), last=True)
        assert talk.fault(talk.head(again, END)) == Code.STREAM_CLOSED


def test_6_9_2_a_streams_window_is_not_widened_beyond_all() -> None:
    talk = Talk()
    talk.asked()
    talk.tell(window_update(1, 1))
    assert talk.fault(settings(window=WIDE)) == Code.FLOW_CONTROL_ERROR


# What ends a stream.


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (frame(DATA, 0, 1, b"x"), Code.STREAM_CLOSED),
        (window_update(1, 0), Code.PROTOCOL_ERROR),
        (window_update(1, WIDE), Code.FLOW_CONTROL_ERROR),
    ],
    ids=["5.1 DATA behind the end", "6.9 window opened by nothing", "6.9.1 window opened too far"],
)
def test_what_ends_a_stream(wire: bytes, code: Code) -> None:
    talk = Talk()
    stream = talk.asked().stream
    assert talk.tell(wire) == [StreamLost(stream)]
    assert talk.said() == [Frame(RST_STREAM, 0, 1, struct.pack(">I", code))]
    assert talk.tell(wire) == []
    talk.asked(3)


def test_5_1_a_second_head_behind_the_end_ends_a_stream() -> None:
    talk = Talk()
    stream = talk.asked().stream
    assert talk.tell(talk.head(1, END)) == [StreamLost(stream)]


def test_8_1_a_second_head_that_is_no_trailer_is_faulty() -> None:
    talk = Talk()
    talk.asked(1, END_HEADERS)
    (event,) = talk.tell(talk.head(1, END_HEADERS))
    assert isinstance(event, RequestFaulty)


def test_6_9_1_a_stream_that_sends_more_than_its_window_is_cut() -> None:
    talk = Talk()
    talk.asked(1, END_HEADERS)
    full, rest = divmod(STREAM_WINDOW, 16_384)
    events = talk.tell(frame(DATA, 0, 1, bytes(16_384)) * full + frame(DATA, 0, 1, bytes(rest)))
    assert sum(len(event.data) for event in events if isinstance(event, BodyArrived)) == STREAM_WINDOW
    assert isinstance(talk.tell(frame(DATA, 0, 1, b"x"))[0], StreamLost)


def test_6_9_1_the_connections_window_comes_back_at_once() -> None:
    talk = Talk()
    for stream in (1, 3, 5, 7, 9, 11):
        talk.asked(stream, END_HEADERS)
        talk.tell(frame(DATA, 0, stream, bytes(16_384)) * (STREAM_WINDOW // 16_384))
    opened = [one.payload for one in talk.said() if (one.kind, one.stream) == (WINDOW_UPDATE, 0)]
    assert [int.from_bytes(payload, "big") for payload in opened] == [CONNECTION_WINDOW // 2] * 3


def test_6_9_a_streams_window_comes_back_when_its_body_was_taken() -> None:
    talk = Talk()
    stream = talk.asked(1, END_HEADERS).stream
    talk.tell(frame(DATA, 0, 1, bytes(16_384)) * 8)
    assert [one for one in talk.said() if one.stream] == []
    talk.session.consumed(stream, 8 * 16_384)
    assert talk.said() == [Frame(WINDOW_UPDATE, 0, 1, struct.pack(">I", 8 * 16_384))]


def test_6_1_padding_counts_for_the_windows_and_is_dropped() -> None:
    talk = Talk()
    stream = talk.asked(1, END_HEADERS).stream
    padded = frame(DATA, PADDED, 1, b"\x05" + b"abc" + bytes(5))
    assert talk.tell(padded) == [BodyArrived(stream, b"abc", False)]
    assert stream.receive_window == STREAM_WINDOW - 9
    assert stream.unreturned == 6


def test_6_4_a_reset_stream_is_lost_once() -> None:
    talk = Talk()
    stream = talk.asked().stream
    assert talk.tell(rst(1) + rst(1)) == [StreamLost(stream)]
    talk.session.cut(stream, Code.CANCEL)
    assert talk.said() == []


def test_frames_for_a_stream_that_was_cut_are_ignored() -> None:
    talk = Talk()
    talk.session.cut(talk.asked(1, END_HEADERS).stream, Code.CANCEL)
    assert [one.kind for one in talk.said()] == [RST_STREAM]
    late = frame(DATA, 0, 1, b"x") + window_update(1, 1) + rst(1) + talk.head(1, END)
    assert talk.tell(late) == []


@pytest.mark.parametrize("end", ["DATA", "trailers", "reset"])
def test_what_comes_behind_an_early_answer_is_thrown_away(end: str) -> None:
    talk = Talk()
    talk.tell(talk.head(1, END_HEADERS, good_head("POST", "/", (b"content-length", b"7"))))
    talk.session.answer(talk.session.streams[1], 404, (), last=True)
    assert talk.tell(frame(DATA, 0, 1, bytes(16_384)) * 8) == []
    assert [(one.kind, one.stream) for one in talk.said()] == [(HEADERS, 1), (WINDOW_UPDATE, 1)]
    ends = {"DATA": frame(DATA, END_STREAM, 1), "trailers": talk.head(1, END, [(b"x", b"")]), "reset": rst(1)}
    talk.tell(ends[end])
    assert talk.session.streams == {}
    assert talk.said() == []


# Requests.


def test_a_head_may_come_in_pieces() -> None:
    talk = Talk()
    block = talk.block()
    pieces = [block[at : at + 3] for at in range(0, len(block), 3)]
    wire = frame(HEADERS, END_STREAM, 1, pieces[0])
    wire += b"".join(frame(CONTINUATION, 0, 1, piece) for piece in pieces[1:-1])
    (event,) = talk.tell(wire + frame(CONTINUATION, END_HEADERS, 1, pieces[-1]))
    assert isinstance(event, RequestArrived)
    assert event.is_whole
    assert (event.head.method, event.head.target) == ("POST", b"/v1/messages")


def test_a_head_may_be_padded_and_have_a_priority() -> None:
    talk = Talk()
    payload = b"\x03" + bytes(5) + talk.block() + bytes(3)
    (event,) = talk.tell(frame(HEADERS, END | PADDED | WITH_PRIORITY, 1, payload))
    assert isinstance(event, RequestArrived)


@pytest.mark.parametrize(
    ("declared", "bodies"),
    [("3", [b"abcd"]), ("3", [b"ab", b""]), ("0", [b"a"]), ("3", [b"ab", b"cd"])],
    ids=["too long", "too short", "none declared", "in pieces"],
)
def test_8_1_1_a_body_of_another_length_than_declared(declared: str, bodies: Sequence[bytes]) -> None:
    talk = Talk()
    talk.tell(talk.head(1, END_HEADERS, good_head("POST", "/", (b"content-length", declared.encode()))))
    *first, last = bodies
    events = talk.tell(b"".join(frame(DATA, 0, 1, body) for body in first) + frame(DATA, END_STREAM, 1, last))
    assert isinstance(events[-1], RequestFaulty)
    assert isinstance(events[-1].error, InvalidRequest)


def test_8_1_1_a_head_alone_that_declares_a_body() -> None:
    talk = Talk()
    (event,) = talk.tell(talk.head(1, END, good_head("POST", "/", (b"content-length", b"3"))))
    assert isinstance(event, RequestFaulty)


def test_6_8_requests_after_our_goaway_are_not_taken() -> None:
    talk = Talk()
    stream = talk.asked(1).stream
    talk.session.go_away(Code.NO_ERROR)
    assert talk.said() == [Frame(GOAWAY, 0, 0, struct.pack(">II", 1, 0))]
    assert talk.tell(talk.head(3) + frame(DATA, END_STREAM, 3, b"x") + rst(3) + window_update(3, 1)) == []
    talk.session.answer(stream, 200, ())
    talk.session.send(stream, b"x", last=True)
    assert [one.kind for one in talk.said()] == [HEADERS, DATA]


# Floods. Each kind is in test_rows.py.


def test_people_who_stop_their_answers_are_no_flood() -> None:
    talk = Talk()
    for stream in range(1, 2 * MOST // (CANCELLED + 2), 2):
        talk.asked(stream)
        talk.tell(rst(stream))
    many = Talk()
    for stream in range(1, 10 * MOST, 2):  # among answers there may be any number
        answered = many.asked(stream).stream
        if stream % 4 == 1:
            many.tell(rst(stream))
        else:
            many.session.answer(answered, 200, ())
            many.session.send(answered, b"x", last=True)
    assert not talk.session.budget.is_overdrawn


def test_cve_2019_9511_windows_that_are_opened_by_crumbs_end_the_connection() -> None:
    talk = Talk(PREFACE + settings(window=0))
    stream = talk.asked().stream
    talk.session.answer(stream, 200, ())
    talk.session.send(stream, b"x" * 100_000, last=True)

    def feed() -> None:
        while stream.pending:
            talk.tell(window_update(1, 1))
            assert talk.session.send_next() is stream

    with pytest.raises(ConnectionFault, match="Too many frames"):
        feed()
    assert stream.sent_bytes <= MOST


def test_windows_that_are_opened_for_what_was_taken_are_no_flood() -> None:
    talk = Talk(PREFACE + settings(window=20_000))
    stream = talk.asked().stream
    talk.session.answer(stream, 200, ())
    for _ in range(10 * MOST):
        talk.session.send(stream, b"x" * 20_000, last=False)
        while talk.session.send_next():
            pass
        talk.tell(
            window_update(0, 16_384) + window_update(0, 3_616) + window_update(1, 16_384) + window_update(1, 3_616)
        )
        talk.session.out.clear()
    assert not stream.pending


# Answers.


def test_the_first_answer_says_that_the_table_stays_empty() -> None:
    """So a client that makes its table smaller need not be told (RFC 7541 section 4.2)."""
    talk, decoder = Talk(), hpack.Decoder()
    decoder.max_allowed_table_size = 4096
    for stream in (1, 3):
        talk.session.answer(talk.asked(stream).stream, 200, [(b"X-A", b"1"), (b"connection", b"close")])
        (head,) = talk.said()
        assert decoder.decode(head.payload, raw=True) == [(b":status", b"200"), (b"x-a", b"1")]
        assert decoder.header_table_size == 0


@pytest.mark.parametrize("status", [100, 200, 204, 400, 404, 408, 413, 431, 500, 529])
@pytest.mark.parametrize("size", [0, 1, 126, 127, 128, 254, 255, 300, 20_000, 40_000])
def test_every_head_can_be_read(status: int, size: int) -> None:
    talk = Talk()
    talk.session.answer(talk.asked().stream, status, [(b"x-long", b"v" * size)])
    head, *rest = talk.said()
    assert all(one.kind == CONTINUATION for one in rest)
    assert [bool(one.flags & END_HEADERS) for one in (head, *rest)] == [False] * len(rest) + [True]
    decoder = hpack.Decoder(100_000)
    fields = decoder.decode(b"".join(one.payload for one in (head, *rest)), raw=True)
    assert fields == [(b":status", b"%d" % status), (b"x-long", b"v" * size)]


@pytest.mark.parametrize("value", [b"a\r\nb", b"a\nb", b"a\x00b", b" a", b"a\t", b"\x7f"])
def test_a_value_that_http_1_could_not_carry_is_not_sent(value: bytes) -> None:
    talk = Talk()
    stream = talk.asked().stream
    with pytest.raises(ValueError, match="x-bad"):
        talk.session.answer(stream, 200, [(b"x-bad", value)])
    assert talk.said() == []


# Any bytes.


def wire_of_some_requests() -> bytes:
    encoder = hpack.Encoder()
    wire = GREETING
    for stream in (1, 3, 5):
        wire += frame(HEADERS, END_HEADERS, stream, encoder.encode(good_head("POST", "/", (b"x-n", b"%d" % stream))))
        wire += frame(DATA, 0, stream, b"abc" * stream) + window_update(0, 9) + frame(PING, 0, 0, bytes(8))
        wire += frame(DATA, END_STREAM, stream, b"end")
    return wire + rst(5) + frame(GOAWAY, 0, 0, bytes(8))


WIRE = wire_of_some_requests()


def shown(events: Sequence[Event]) -> list[tuple[object, ...]]:
    return [(type(event).__name__, event.stream.id, *event[1:]) for event in events]


@given(st.lists(st.integers(0, len(WIRE))))
def test_any_cut_of_the_same_bytes_is_the_same(cuts: list[int]) -> None:
    whole, cut = Session(LIMIT), Session(LIMIT)
    places = [0, *sorted(cuts), len(WIRE)]
    events = [event for start, end in itertools.pairwise(places) for event in cut.receive(WIRE[start:end])]
    assert shown(events) == shown(list(whole.receive(WIRE)))
    assert b"".join(cut.out) == b"".join(whole.out)
    assert len(events) == 10


@given(st.integers(0, len(WIRE) - 1), st.binary(max_size=20), st.integers(0, 20))
def test_any_mutation_is_understood_or_a_fault(at: int, instead: bytes, gone: int) -> None:
    session = Session(LIMIT)
    try:
        for event in session.receive(WIRE[:at] + instead + WIRE[at + gone :]):
            if isinstance(event, (RequestArrived, RequestFaulty)):
                session.answer(event.stream, 200, ())
                session.send(event.stream, b"x" * 100, last=True)
    except ConnectionFault as fault:
        session.go_away(fault.code, fault.message)
    _, rest = frames_of(b"".join(session.out))
    assert rest == b""


@given(st.binary(max_size=400))
def test_any_block_is_read_or_a_fault(block: bytes) -> None:
    talk = Talk()
    try:
        talk.tell(frame(HEADERS, END, 1, block))
    except ConnectionFault as fault:
        assert fault.code in {Code.COMPRESSION_ERROR, Code.ENHANCE_YOUR_CALM}
