"""What happens to a connection between TCP and its first request, step by step."""

from __future__ import annotations

import asyncio

import pytest

from ezai.errors import UpstreamUnreachable
from ezai.upstreams.http.dial import Dialer, Line
from ezai.upstreams.http.proxy import Proxy
from ezai.upstreams.http.tls import Trust
from tests.upstreams.http.certificates import Certificates
from tests.upstreams.http.conftest import Run
from tests.upstreams.http.fakes import FakeTransport
from tests.upstreams.http.scripted import NAME, TUNNEL_STANDS, scripted_server

LIMIT_S = 60.0
HEADER_LIMIT_BYTES = 1024


class HungUp(Line):
    """A connection whose peer is gone as soon as it stands."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.wire.abort()


CLOSED = "The upstream closed the connection before it was asked."


@pytest.mark.usefixtures("_empty_store")
@pytest.mark.parametrize(
    ("way", "message"),
    [("plain", CLOSED), ("tls", CLOSED), ("proxied", "The proxy closed the connection without an answer.")],
)
def test_a_peer_that_is_gone_before_it_is_asked_is_unreachable(
    run: Run, certificates: Certificates, monkeypatch: pytest.MonkeyPatch, way: str, message: str
) -> None:
    monkeypatch.setattr("ezai.upstreams.http.dial.Line", HungUp)

    async def main() -> None:
        async with scripted_server() as server:
            dialer = Dialer(
                NAME,
                443,
                trust=Trust(certificates.ca_file) if way == "tls" else None,
                proxy=Proxy("proxy.test", 80) if way == "proxied" else None,
                resolve=server.here,
            )
            with pytest.raises(UpstreamUnreachable) as caught:
                await dialer.dial(LIMIT_S)
            assert caught.value.message == message
            await server.until(lambda: len(server.peers) == 1 and server.open_count == 0)

    run(main())


def line() -> tuple[Line, FakeTransport]:
    transport = FakeTransport()
    made = Line()
    made.connection_made(transport)
    return made, transport


def test_a_byte_that_nobody_asked_for_closes(run: Run) -> None:
    async def main() -> None:
        made, transport = line()
        made.data_received(b"x")
        assert transport.calls == ["abort"]

    run(main())


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_an_answer_in_pieces(run: Run, size: int) -> None:
    async def main() -> None:
        made, transport = line()
        answer = b"HTTP/1.1 100 Continue\r\n\r\n" + TUNNEL_STANDS
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(made.ask(b"head", HEADER_LIMIT_BYTES))
            await asyncio.sleep(0)
            for start in range(0, len(answer), size):
                made.data_received(answer[start : start + size])
        assert asking.result() == 200
        assert transport.writes == [b"head"]
        assert transport.calls == []

    run(main())


@pytest.mark.parametrize("same_piece", [True, False])
@pytest.mark.parametrize("status", [200, 407])
def test_a_byte_behind_an_answer_closes_and_leaves_the_answer_good(run: Run, status: int, same_piece: bool) -> None:
    async def main() -> None:
        made, transport = line()
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(made.ask(b"head", HEADER_LIMIT_BYTES))
            await asyncio.sleep(0)
            answer = b"HTTP/1.1 %d X\r\ncontent-length: 1\r\n\r\n" % status
            for piece in [answer + b"x"] if same_piece else [answer, b"x"]:
                made.data_received(piece)
        assert asking.result() == status
        assert transport.is_closing()

    run(main())


def test_a_cancelled_question_takes_no_late_answer(run: Run) -> None:
    async def main() -> None:
        made, transport = line()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await made.ask(b"head", HEADER_LIMIT_BYTES)
        made.data_received(TUNNEL_STANDS)
        made.eof_received()
        made.connection_lost(None)
        assert transport.calls == ["abort"]

    run(main())
