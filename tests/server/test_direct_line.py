"""The short way between an answer and its connection, without a socket."""

from __future__ import annotations

from uvicorn.protocols.http.flow_control import FlowControl

from ezai.protocol.end import Cause
from ezai.server.direct_line import DirectLine
from tests.upstreams.http.fakes import FakeTransport


class Transport(FakeTransport):
    """One that can be closing."""

    closing = False

    def is_closing(self) -> bool:
        return self.closing


def line() -> tuple[DirectLine, Transport, FlowControl]:
    transport = Transport()
    flow = FlowControl(transport)
    return DirectLine(transport, flow, transport.close), transport, flow


def test_a_push_is_one_chunk_in_one_write() -> None:
    direct, transport, _ = line()
    assert direct.push(b"x" * 17)
    assert transport.writes == [b"11\r\n" + b"x" * 17 + b"\r\n"]


def test_a_full_connection_takes_it_and_says_so() -> None:
    direct, transport, flow = line()
    flow.pause_writing()
    assert not direct.push(b"a")
    flow.resume_writing()
    assert direct.push(b"b")
    assert transport.writes == [b"1\r\na\r\n", b"1\r\nb\r\n"]


def test_a_connection_that_closes_is_not_written_to() -> None:
    direct, transport, _ = line()
    transport.closing = True
    direct.push(b"a")
    assert transport.writes == []


def test_leaving_is_told_once_watched_however_early_it_was() -> None:
    told: list[Cause] = []
    direct, _, _ = line()
    direct.watch(told.append)
    assert told == []
    direct.lost(Cause.CLIENT_LEFT)
    assert told == [Cause.CLIENT_LEFT]

    direct, _, _ = line()
    direct.lost(Cause.READER_STALLED)
    direct.watch(told.append)
    assert told == [Cause.CLIENT_LEFT, Cause.READER_STALLED]


def test_after_unwatching_nobody_is_told() -> None:
    told: list[Cause] = []
    direct, _, _ = line()
    direct.watch(told.append)
    direct.unwatch()
    direct.lost(Cause.CLIENT_LEFT)
    assert told == []


def test_watching_reads_on() -> None:
    """A request whose body filled the buffer has paused the reading; a client that leaves would not be seen."""
    direct, transport, flow = line()
    flow.pause_reading()
    direct.watch(lambda _: None)
    assert transport.calls == ["pause", "resume"]
