from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ezai.errors import UpstreamMalformed
from ezai.upstreams.http.response import ResponseReader

START = b"HTTP/1.1 200 OK\r\n"
CHUNKED = START + b"transfer-encoding: chunked\r\n\r\n"
ANSWER = START + b"content-length: 2\r\n\r\nok"


@dataclass(frozen=True)
class Outcome:
    """What came of reading an answer. `reusable` is told where it is complete."""

    status: int
    body: bytes
    complete: bool
    reusable: bool = False
    malformed: bool = False


def read(pieces: Iterable[bytes], method: str = "POST", **limits: int) -> Outcome:
    reader = ResponseReader(method, **limits)
    body = b""
    malformed = False
    for piece in pieces:
        was = (reader.head_complete, reader.complete)
        try:
            news = reader.feed(piece)
        except UpstreamMalformed:
            malformed = True
        else:
            changed = (reader.head_complete, reader.complete) != was
            assert news == (changed or bool(reader.parts))
        assert all(reader.parts)
        body += b"".join(reader.parts)
        reader.parts.clear()
        if malformed:
            break
    return Outcome(reader.status, body, reader.complete, reader.complete and reader.reusable, malformed)


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def both_ways(data: bytes, method: str = "POST") -> Outcome:
    whole = read([data], method)
    assert read(bytewise(data), method) == whole
    return whole


# Framing.

ACCEPTED = {
    "length": (ANSWER, Outcome(200, b"ok", True, True)),
    "length 0": (START + b"content-length: 0\r\n\r\n", Outcome(200, b"", True, True)),
    "length with spaces around": (START + b"content-length:  2 \r\n\r\nok", Outcome(200, b"ok", True, True)),
    "unfinished length": (START + b"content-length: 3\r\n\r\nok", Outcome(200, b"ok", False)),
    "chunks": (CHUNKED + b"2\r\nok\r\n3\r\nyes\r\n0\r\n\r\n", Outcome(200, b"okyes", True, True)),
    "no chunks": (CHUNKED + b"0\r\n\r\n", Outcome(200, b"", True, True)),
    "chunk size in hex": (CHUNKED + b"00A\r\n0123456789\r\n0\r\n\r\n", Outcome(200, b"0123456789", True, True)),
    "chunk extension": (CHUNKED + b'2;a=b;c="d"\r\nok\r\n0;e\r\n\r\n', Outcome(200, b"ok", True, True)),
    "trailers": (CHUNKED + b"2\r\nok\r\n0\r\nX: y\r\nZ: \r\n\r\n", Outcome(200, b"ok", True, True)),
    "unfinished chunk": (CHUNKED + b"3\r\nok", Outcome(200, b"ok", False)),
    "unfinished end of chunks": (CHUNKED + b"2\r\nok\r\n0\r\n", Outcome(200, b"ok", False)),
    "coding in capitals": (START + b"Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n", Outcome(200, b"", True, True)),
    "until close": (START + b"\r\nok", Outcome(200, b"ok", False)),
    "HTTP/1.0 until close": (b"HTTP/1.0 200 OK\r\n\r\nok", Outcome(200, b"ok", False)),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", Outcome(200, b"ok", True)),
    "HTTP/1.0 kept alive": (
        b"HTTP/1.0 200 OK\r\nconnection: Keep-Alive\r\ncontent-length: 2\r\n\r\nok",
        Outcome(200, b"ok", True, True),
    ),
    "close": (START + b"connection: close\r\ncontent-length: 2\r\n\r\nok", Outcome(200, b"ok", True)),
    "close among others": (
        START + b"connection: keep-alive\r\nconnection: x, Close\r\ncontent-length: 2\r\n\r\nok",
        Outcome(200, b"ok", True),
    ),
    "an upgrade offered, not made": (
        START + b"connection: upgrade\r\nupgrade: h2c\r\ncontent-length: 2\r\n\r\nok",
        Outcome(200, b"ok", True, True),
    ),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", Outcome(204, b"", True, True)),
    "204 with a length": (b"HTTP/1.1 204 X\r\ncontent-length: 2\r\n\r\n", Outcome(204, b"", True, True)),
    "304 with a length": (b"HTTP/1.1 304 X\r\ncontent-length: 2\r\n\r\n", Outcome(304, b"", True, True)),
    "no reason": (b"HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nok", Outcome(200, b"ok", True, True)),
    "100": (b"HTTP/1.1 100 Continue\r\n\r\n" + ANSWER, Outcome(200, b"ok", True, True)),
    "103 and others": (
        b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 102 X\r\n\r\nHTTP/1.1 199 X\r\n\r\n" + ANSWER,
        Outcome(200, b"ok", True, True),
    ),
    "100 alone": (b"HTTP/1.1 100 Continue\r\n\r\n", Outcome(0, b"", False)),
    "an error status": (b"HTTP/1.1 529 X\r\ncontent-length: 2\r\n\r\nok", Outcome(529, b"ok", True, True)),
    "identity": (
        START + b"content-encoding: identity\r\ncontent-length: 2\r\n\r\nok",
        Outcome(200, b"ok", True, True),
    ),
    "an unfinished head": (START + b"content-length: 2\r\n", Outcome(0, b"", False)),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_framing_that_is_accepted(case: str) -> None:
    data, outcome = ACCEPTED[case]
    assert both_ways(data) == outcome


REFUSED = {
    "two lengths": START + b"content-length: 2\r\ncontent-length: 3\r\n\r\nok",
    "two equal lengths": START + b"content-length: 2\r\ncontent-length: 2\r\n\r\nok",
    "lengths in a list": START + b"content-length: 2, 2\r\n\r\nok",
    "negative length": START + b"content-length: -2\r\n\r\nok",
    "signed length": START + b"content-length: +2\r\n\r\nok",
    "hexadecimal length": START + b"content-length: 0x2\r\n\r\nok",
    "empty length": START + b"content-length: \r\n\r\nok",
    "length over 64 bits": START + b"content-length: 99999999999999999999\r\n\r\nok",
    "length and coding": START + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding and length": START + b"transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n0\r\n\r\n",
    "gzip, chunked": START + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "gzip and chunked": START + b"transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked, gzip": START + b"transfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunked twice": START + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "xchunked": START + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "identity as coding": START + b"transfer-encoding: identity\r\n\r\nok",
    "empty coding": START + b"transfer-encoding:\r\n\r\nok",
    "chunked in HTTP/1.0": b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "101": b"HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
    "101 alone": b"HTTP/1.1 101 X\r\n\r\n",
    "1xx with a length": b"HTTP/1.1 104 X\r\ncontent-length: 2\r\n\r\nok" + ANSWER,
    "1xx with a coding": b"HTTP/1.1 103 X\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + ANSWER,
    "gzip": START + b"content-encoding: gzip\r\ncontent-length: 2\r\n\r\nok",
    "identity, gzip": START + b"content-encoding: identity, GZip\r\n\r\nok",
    "HTTP/2": b"HTTP/2.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
    "HTTP/0.9": b"HTTP/0.9 200 OK\r\ncontent-length: 2\r\n\r\nok",
    "HTTP/1.2": b"HTTP/1.2 200 OK\r\ncontent-length: 2\r\n\r\nok",
    "RTSP": b"RTSP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
    "a banner": b"SSH-2.0-OpenSSH\r\n",
    "TLS": b"\x15\x03\x01\x00\x02\x02\x46",
    "an empty line first": b"\r\n" + ANSWER,
    "status 099": b"HTTP/1.1 099 X\r\ncontent-length: 2\r\n\r\nok",
    "status 600": b"HTTP/1.1 600 X\r\ncontent-length: 2\r\n\r\nok",
    "status of two digits": b"HTTP/1.1 20 X\r\n\r\n",
    "status of four digits": b"HTTP/1.1 2000 X\r\n\r\n",
    "bare LF": b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok",
    "bare LF behind a value": START + b"a: b\ncontent-length: 2\r\n\r\nok",
    "CR in a value": START + b"a: b\rc\r\n\r\n",
    "NUL in a value": START + b"a: b\0c\r\n\r\n",
    "control character in a value": START + b"a: b\x01c\r\n\r\n",
    "folded line": START + b"a: b\r\n c\r\n\r\n",
    "folded line, tab": START + b"a: b\r\n\tc\r\n\r\n",
    "space before the colon": START + b"a : b\r\n\r\n",
    "space before the first name": START + b" a: b\r\n\r\n",
    "no name": START + b": b\r\n\r\n",
    "no colon": START + b"ab\r\n\r\n",
    "chunk size with 0x": CHUNKED + b"0x2\r\nok\r\n0\r\n\r\n",
    "chunk size with a space": CHUNKED + b"2 \r\nok\r\n0\r\n\r\n",
    "negative chunk size": CHUNKED + b"-2\r\nok\r\n0\r\n\r\n",
    "no chunk size": CHUNKED + b"\r\nok\r\n0\r\n\r\n",
    "chunk size over 64 bits": CHUNKED + b"fffffffffffffffff\r\nok\r\n0\r\n\r\n",
    "bare LF in chunks": CHUNKED + b"2\nok\n0\n\n",
}


@pytest.mark.parametrize("case", REFUSED)
def test_framing_that_is_refused(case: str) -> None:
    outcome = both_ways(REFUSED[case])
    assert outcome.malformed
    assert not outcome.complete
    assert outcome.body == b""


def test_body_before_a_fault_is_given_out() -> None:
    outcome = both_ways(CHUNKED + b"2\r\nok\r\n2\r\nokay\r\n")
    assert outcome == Outcome(200, b"okok", False, malformed=True)


@pytest.mark.parametrize("status", [200, 204, 304, 404])
@pytest.mark.parametrize("field", [b"", b"content-length: 2\r\n", b"transfer-encoding: chunked\r\n"])
def test_head_has_no_body_and_its_connection_is_not_reused(status: int, field: bytes) -> None:
    data = b"HTTP/1.1 %d X\r\n%b\r\n" % (status, field)
    assert both_ways(data, "HEAD") == Outcome(status, b"", True, False)
    assert both_ways(data + b"ok", "HEAD") == Outcome(status, b"", True, False)


@pytest.mark.parametrize("excess", [b"x", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno", b"0\r\n\r\n", b"\0"])
@pytest.mark.parametrize(
    "answer",
    [
        ANSWER,
        CHUNKED + b"2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 204 X\r\n\r\n",
        START + b"connection: close\r\ncontent-length: 2\r\n\r\nok",
    ],
)
def test_data_after_the_answer_leaves_it_good_and_spoils_the_connection(answer: bytes, excess: bytes) -> None:
    alone = both_ways(answer)
    assert alone.complete
    assert both_ways(answer + excess) == Outcome(alone.status, alone.body, True, False)


def test_an_empty_line_after_the_answer_spoils_the_connection_when_it_comes_later() -> None:
    assert read([ANSWER + b"\r\n"]).reusable  # documented in ResponseReader
    assert not read([ANSWER, b"\r\n"]).reusable


@pytest.mark.parametrize(
    ("data", "complete"),
    [
        (START + b"\r\nok", True),
        (START + b"\r\n", True),
        (b"HTTP/1.0 500 X\r\n\r\n", True),
        (ANSWER, True),
        (ANSWER[:-1], False),
        (CHUNKED + b"2\r\nok\r\n0\r\n", False),
        (START, False),
        (b"HTTP/1.1 100 X\r\n\r\n", False),
        (b"", False),
    ],
)
def test_end_of_file(data: bytes, complete: bool) -> None:
    reader = ResponseReader("POST")
    if data:
        reader.feed(data)
    assert reader.feed_eof() is reader.complete is complete


def test_headers_are_lower_case_in_order_and_without_spaces_around() -> None:
    reader = ResponseReader("POST")
    reader.feed(b"HTTP/1.1 103 X\r\nLink: x\r\n\r\n")
    reader.feed(START + b"B:\tone \t\r\nA: two  words\r\nb: \xff\r\nEmpty:\r\nContent-Length: 0\r\n\r\n")
    assert reader.headers == [
        (b"b", b"one"),
        (b"a", b"two  words"),
        (b"b", b"\xff"),
        (b"empty", b""),
        (b"content-length", b"0"),
    ]


def test_trailers_are_not_headers() -> None:
    reader = ResponseReader("POST")
    reader.feed(CHUNKED + b"0\r\nX: y\r\n\r\n")
    assert reader.headers == [(b"transfer-encoding", b"chunked")]


@pytest.mark.parametrize(
    ("field", "hint_s"),
    [
        (b"", None),
        (b"keep-alive: timeout=5\r\n", 5),
        (b"keep-alive: timeout=5, max=100\r\n", 5),
        (b"keep-alive: max=100, Timeout = 7\r\n", 7),
        (b'keep-alive: timeout="9"\r\n', 9),
        (b"keep-alive: max=100\r\n", None),
        (b"keep-alive: timeout=\r\n", None),
        (b"keep-alive: notimeout=5\r\n", None),
    ],
)
def test_keep_alive_hint(field: bytes, hint_s: int | None) -> None:
    reader = ResponseReader("POST")
    reader.feed(START + field + b"content-length: 0\r\n\r\n")
    assert reader.keep_alive_hint_s == hint_s


def test_a_closed_reader_takes_nothing_and_keeps_what_it_has() -> None:
    reader = ResponseReader("POST")
    reader.feed(START + b"content-length: 3\r\n\r\nok")
    reader.close()
    reader.close()
    assert (reader.status, reader.parts) == (200, [b"ok"])
    with pytest.raises(RuntimeError):
        reader.feed(b"k")


# Limits.


def padded_head(size: int) -> bytes:
    """A head of exactly `size` bytes with an empty body."""
    start, end = START + b"pad: ", b"\r\ncontent-length: 0\r\n\r\n"
    return start + b"a" * (size - len(start) - len(end)) + end


@pytest.mark.parametrize("pieces", [1, 7, 1000])
@pytest.mark.parametrize(("size", "malformed"), [(1000, False), (1001, True), (5000, True)])
def test_a_head_over_the_limit_is_refused(size: int, malformed: bool, pieces: int) -> None:
    data = padded_head(size)
    cuts = [data[at : at + pieces] for at in range(0, size, pieces)] if pieces > 1 else [data]
    assert read(cuts, header_limit_bytes=1000).malformed is malformed


def test_the_body_does_not_count_to_the_head() -> None:
    data = padded_head(1000).replace(b"length: 0", b"length: 9") + b"a body of"[:9]
    assert read([data], header_limit_bytes=1000) == Outcome(200, b"a body of", True, True)


@pytest.mark.parametrize(
    ("start", "bomb"),
    [
        (b"HTTP/1.1 200 ", b"a"),
        (START, b"a"),
        (START + b"a: ", b"b"),
        (START + b"a:", b" "),
        (START, b"a: b\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (CHUNKED, b"0"),
        (CHUNKED + b"2;", b"a"),
        (CHUNKED + b"2\r\nok\r\n0\r\n", b"a"),
        (CHUNKED + b"2\r\nok\r\n0\r\na:", b"b"),
        (CHUNKED + b"0\r\n", b"a: b\r\n"),
    ],
    ids=repr,
)
def test_what_never_ends_is_cut_while_reading(start: bytes, bomb: bytes) -> None:
    reader = ResponseReader("POST")
    if start:
        reader.feed(start)
    reader.parts.clear()
    piece = bomb * (1024 // len(bomb))
    fed = 0

    def feed_on() -> None:
        nonlocal fed
        while True:
            reader.feed(piece)
            fed += len(piece)

    with pytest.raises(UpstreamMalformed):
        feed_on()
    assert fed <= 64 * 1024
    assert reader.parts == []


def test_framing_between_events_is_not_summed_up() -> None:
    reader = ResponseReader("POST", header_limit_bytes=100)
    reader.feed(CHUNKED)
    for _ in range(100):
        for piece in (b"000002;ext\r\n", b"ok", b"\r\n"):
            reader.feed(piece)
        reader.parts.clear()


def test_fields_are_counted_in_each_head() -> None:
    fields = b"a: b\r\n" * 200
    assert not read([b"HTTP/1.1 103 X\r\n" + fields + b"\r\nHTTP/1.1 200 OK\r\n" + fields + b"\r\n"]).malformed
    assert read([b"HTTP/1.1 200 OK\r\n" + fields + b"c: d\r\n\r\n"]).malformed


# Properties.

cuts = st.lists(st.integers(0, 400), max_size=12)


def cut_at(data: bytes, places: Iterable[int]) -> list[bytes]:
    ends = sorted({place for place in places if 0 < place < len(data)})
    return [data[start:end] for start, end in zip([0, *ends], [*ends, len(data)], strict=True)]


@given(chunks=st.lists(st.binary(min_size=1, max_size=40), max_size=8), places=cuts)
def test_chunks_cut_anywhere_are_the_same_body(chunks: list[bytes], places: list[int]) -> None:
    framed = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    outcome = read(cut_at(CHUNKED + framed + b"0\r\n\r\n", places))
    assert outcome == Outcome(200, b"".join(chunks), True, True)


@given(
    case=st.sampled_from(sorted(ACCEPTED) + sorted(REFUSED)),
    edits=st.lists(st.tuples(st.integers(0, 120), st.binary(max_size=3)), max_size=3),
    places=cuts,
)
@example(case="length", edits=[], places=[])
def test_any_bytes_are_read_or_refused_and_the_cuts_do_not_matter(
    case: str, edits: list[tuple[int, bytes]], places: list[int]
) -> None:
    data = ACCEPTED[case][0] if case in ACCEPTED else REFUSED[case]
    for at, replacement in edits:
        data = data[:at] + replacement + data[at + 1 :]
    if not data:
        return
    whole, cut = read([data]), read(cut_at(data, places))
    assert (whole.status, whole.body, whole.complete) == (cut.status, cut.body, cut.complete)
    assert whole.malformed == cut.malformed
