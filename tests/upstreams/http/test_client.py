"""The client against a scripted server on a loopback socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import pytest
from msgspec import structs

from ezai.errors import (
    UpstreamError,
    UpstreamMalformed,
    UpstreamTimeout,
    UpstreamTruncated,
    UpstreamUnreachable,
)
from ezai.ports import Timeouts, UpstreamRequest
from ezai.upstreams.http import HttpClient, HttpExchange, Limits
from ezai.upstreams.http.client import REPLAY_WITHIN_S
from ezai.upstreams.http.exchange import HIGH_WATER_BYTES, LINGER_BYTES
from tests.upstreams.http.conftest import Connect, Run
from tests.upstreams.http.fakes import FakeClock
from tests.upstreams.http.scripted import CHUNKED, EOF, HOLD, OK, RESET, Deaf, Script, Step, scripted_server, until

REQUEST = UpstreamRequest("POST", "/v1/messages", [(b"accept", b"text/event-stream")], b"{}")
TIMEOUTS = Timeouts()

Checked = Callable[[UpstreamError], None]


async def read(exchange: HttpExchange) -> bytes:
    return b"".join([chunk async for chunk in exchange.chunks()])


async def ask(client: HttpClient, request: UpstreamRequest = REQUEST) -> tuple[int, bytes]:
    exchange = await client.open(request, TIMEOUTS)
    try:
        return exchange.status, await read(exchange)
    finally:
        await exchange.aclose()


# One exchange.


def test_a_request_and_its_answer(run: Run, client_of: Connect) -> None:
    async def main() -> None:
        answer = b"HTTP/1.1 201 Created\r\nX-Y: z\r\ncontent-length: 2\r\n\r\nok"
        async with (
            scripted_server([answer]) as server,
            client_of(server, "/pfx/", headers=[(b"x-api-key", b"k")]) as client,
        ):
            exchange = await client.open(REQUEST, TIMEOUTS)
            assert exchange.status == 201
            assert list(exchange.headers) == [(b"x-y", b"z"), (b"content-length", b"2")]
            assert await read(exchange) == b"ok"
            await exchange.aclose()
            assert server.requests == [
                b"POST /pfx/v1/messages HTTP/1.1\r\nhost: %b\r\naccept-encoding: identity\r\n"
                b"x-api-key: k\r\ncontent-length: 2\r\naccept: text/event-stream\r\n\r\n{}"
                % server.url.removeprefix("http://").encode()
            ]

    run(main())


def test_a_refused_status_is_an_answer(run: Run, client_of: Connect) -> None:
    async def main() -> None:
        script = [b"HTTP/1.1 529 X\r\ncontent-length: 4\r\n\r\nbusy"]
        async with scripted_server(script) as server, client_of(server) as client:
            assert await ask(client) == (529, b"busy")

    run(main())


def test_chunks_come_as_they_are_sent(run: Run, client_of: Connect) -> None:
    async def main() -> None:
        script: Script = [CHUNKED, HOLD, b"3\r\none\r\n", HOLD, b"3\r\ntwo\r\n", HOLD, b"0\r\n\r\n"]
        async with scripted_server(script) as server, client_of(server) as client:
            exchange = await client.open(REQUEST, TIMEOUTS)
            chunks = exchange.chunks()
            for expected in (b"one", b"two"):
                server.peers[0].go()
                assert await anext(chunks) == expected
            server.peers[0].go()
            with pytest.raises(StopAsyncIteration):
                await anext(chunks)
            await exchange.aclose()
            assert client.idle_count == 1

    run(main())


def test_informational_answers_are_passed_over(run: Run, client_of: Connect) -> None:
    async def main() -> None:
        script: Script = [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 X\r\nlink: y\r\n\r\n", *OK]
        async with scripted_server(script) as server, client_of(server) as client:
            assert await ask(client) == (200, b"ok")
            assert client.idle_count == 1

    run(main())


@pytest.mark.parametrize("size", [0, 1, 64 * 1024, 64 * 1024 + 1, 4 * 1024 * 1024])
def test_a_body_of_any_size_arrives(run: Run, client_of: Connect, size: int) -> None:
    async def main() -> None:
        async with scripted_server() as server, client_of(server) as client:
            body = b"b" * size
            assert await ask(client, structs.replace(REQUEST, body=body)) == (200, b"ok")
            assert server.requests[0].endswith(b"\r\n\r\n" + body)
            assert client.idle_count == 1

    run(main())


def test_a_body_until_close(run: Run, client_of: Connect) -> None:
    async def main() -> None:
        script: Script = [b"HTTP/1.0 200 OK\r\n\r\nsome", b"thing", EOF]
        async with scripted_server(script) as server, client_of(server) as client:
            assert await ask(client) == (200, b"something")
            assert client.open_count == 0 or client.idle_count == 0

    run(main())


def test_the_socket_sends_at_once_and_notices_a_dead_peer(run: Run, client_of: Connect) -> None:
    async def main() -> None:
        async with scripted_server() as server, client_of(server) as client:
            exchange = await client.open(REQUEST, TIMEOUTS)
            sock = exchange._connection._transport.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            await exchange.aclose()

    run(main())


def test_a_slow_reader_stops_the_peer(run: Run, client_of: Connect) -> None:
    async def main() -> None:
        size = 64 * 1024 * 1024  # more than the kernel's buffers take
        script = [b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size, b"x" * size]
        async with scripted_server(script) as server, client_of(server) as client:
            exchange = await client.open(REQUEST, TIMEOUTS)
            await until(lambda: exchange._paused)
            await server.until(lambda: server.peers[0].writing_paused)
            waiting = exchange._buffered_bytes
            assert HIGH_WATER_BYTES <= waiting <= 2 * 1024 * 1024
            for _ in range(100):
                await asyncio.sleep(0)
            assert exchange._buffered_bytes == waiting
            assert server.peers[0].writing_paused

            received = 0
            async for chunk in exchange.chunks():
                received += len(chunk)
            assert received == size
            await server.until(lambda: not server.peers[0].writing_paused)
            await exchange.aclose()
            assert client.idle_count == 1

    run(main())


# What breaks.


def test_refused_is_unreachable(run: Run, clock: FakeClock, is_for_clients: Checked) -> None:
    async def main() -> None:
        async with scripted_server() as server:
            url = server.url
        client = HttpClient(url, clock)
        with pytest.raises(UpstreamUnreachable) as caught:
            await client.open(REQUEST, TIMEOUTS)
        is_for_clients(caught.value)
        await client.aclose()

    run(main())


def test_a_host_that_is_no_name_is_unreachable(run: Run, clock: FakeClock, is_for_clients: Checked) -> None:
    async def main() -> None:
        client = HttpClient("http://%s.invalid" % ("a" * 64), clock)
        with pytest.raises(UpstreamUnreachable) as caught:
            await client.open(REQUEST, TIMEOUTS)
        is_for_clients(caught.value)
        await client.aclose()

    run(main())


def test_connecting_has_a_limit(run: Run, clock: FakeClock, is_for_clients: Checked) -> None:
    async def main() -> None:
        with Deaf() as url:
            client = HttpClient(url, clock)
            with pytest.raises(UpstreamTimeout) as caught:
                await client.open(REQUEST, replace(TIMEOUTS, connect=0.01))
            assert (caught.value.phase, caught.value.limit_s) == ("connect", 0.01)
            assert caught.value.message == "The upstream could not be reached within 0.01 s (timeouts.connect)."
            assert client.open_count == 0
            await client.aclose()

    run(main())


BROKEN: dict[str, tuple[Script, type[UpstreamError]]] = {
    "EOF at once": ([EOF], UpstreamTruncated),
    "reset at once": ([RESET], UpstreamTruncated),
    "EOF in the head": ([b"HTTP/1.1 200", EOF], UpstreamTruncated),
    "EOF after 100": ([b"HTTP/1.1 100 Continue\r\n\r\n", EOF], UpstreamTruncated),
    "EOF in a chunk": ([CHUNKED + b"5\r\nab", EOF], UpstreamTruncated),
    "EOF between chunks": ([CHUNKED + b"2\r\nab\r\n", EOF], UpstreamTruncated),
    "EOF in the length": ([b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab", EOF], UpstreamTruncated),
    "not HTTP": ([b"\x15\x03\x01\x00\x02\x02\x46"], UpstreamMalformed),
    "broken chunk": ([CHUNKED + b"5\r\nab\r\n0\r\n\r\n"], UpstreamMalformed),
    "a switch of protocols": ([b"HTTP/1.1 101 X\r\nupgrade: h2c\r\n\r\n"], UpstreamMalformed),
    "compressed": ([b"HTTP/1.1 200 X\r\ncontent-encoding: gzip\r\n\r\n"], UpstreamMalformed),
    "an endless header": ([b"HTTP/1.1 200 OK\r\na: " + b"b" * 1024 * 1024], UpstreamMalformed),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_answer_closes_and_is_not_asked_for_again(
    run: Run, client_of: Connect, is_for_clients: Checked, case: str
) -> None:
    script, kind = BROKEN[case]

    async def main() -> None:
        async with scripted_server(script) as server, client_of(server) as client:
            with pytest.raises(UpstreamError) as caught:
                await ask(client)
            assert isinstance(caught.value, kind)
            is_for_clients(caught.value)
            assert caught.value.error_code == kind.code
            assert len(server.requests) == 1
            await server.until(lambda: server.peers[0].lost)
            assert await ask(client) == (200, b"ok")

    run(main())


def test_a_peer_that_hangs_up_on_connecting(run: Run, client_of: Connect) -> None:
    async def main() -> None:
        async with scripted_server() as server, client_of(server) as client:
            server.hangs_up = True
            for _ in range(20):
                # Whether the request was sent before this was seen is a matter of luck.
                with pytest.raises((UpstreamUnreachable, UpstreamTruncated)):
                    await ask(client)
            server.hangs_up = False
            assert await ask(client) == (200, b"ok")

    run(main())


def test_a_reset_in_a_body_until_close_is_no_end(run: Run, client_of: Connect) -> None:
    async def main() -> None:
        async with (
            scripted_server([b"HTTP/1.1 200 OK\r\n\r\nab", HOLD, RESET]) as server,
            client_of(server) as client,
        ):
            exchange = await client.open(REQUEST, TIMEOUTS)
            assert await anext(exchange.chunks()) == b"ab"
            server.peers[0].go()
            with pytest.raises(UpstreamTruncated):
                await anext(exchange.chunks())
            await exchange.aclose()

    run(main())


def test_a_request_that_cannot_be_sent_touches_nothing(run: Run, client_of: Connect) -> None:
    async def main() -> None:
        async with scripted_server() as server, client_of(server) as client:
            with pytest.raises(ValueError, match="control character"):
                await client.open(structs.replace(REQUEST, headers=[(b"x", b"a\r\nb: c")]), TIMEOUTS)
            assert client.open_count == 0

    run(main())


# Using a connection again.


def test_connections_are_used_again(run: Run, client_of: Connect) -> None:
    async def main() -> None:
        async with scripted_server() as server, client_of(server) as client:
            for _ in range(4):
                assert await ask(client) == (200, b"ok")
            assert len(server.peers) == 1
            async with asyncio.TaskGroup() as group:
                for _ in range(4):
                    group.create_task(ask(client))
            assert len(server.peers) == client.idle_count == 4

    run(main())


def test_an_idle_connection_expires(run: Run, client_of: Connect, clock: FakeClock) -> None:
    async def main() -> None:
        hinted: Script = [b"HTTP/1.1 200 OK\r\nkeep-alive: timeout=5\r\ncontent-length: 0\r\n\r\n"]
        async with (
            scripted_server(hinted, hinted) as server,
            client_of(server, limits=Limits(keep_alive_s=10)) as client,
        ):
            await ask(client)
            clock.advance(3.5)
            await ask(client)
            assert len(server.peers) == 1
            clock.advance(4.5)
            await ask(client)
            assert len(server.peers) == 2
            clock.advance(9.5, tick=True)
            assert client.idle_count == 1
            clock.advance(0.5, tick=True)
            assert client.idle_count == 0
            await server.until(lambda: server.open_count == 0)

    run(main())


@pytest.mark.parametrize("step", [EOF, RESET, b"HTTP/1.1 408 Request Timeout\r\n\r\n"], ids=str)
def test_an_idle_connection_notices_its_peer(run: Run, client_of: Connect, step: bytes) -> None:
    async def main() -> None:
        async with scripted_server() as server, client_of(server) as client:
            await ask(client)
            assert client.idle_count == 1
            server.peers[0].play([step])
            await until(lambda: client.open_count == 0)
            assert client.idle_count == 0
            assert await ask(client) == (200, b"ok")
            assert len(server.requests) == 2

    run(main())


STALE: list[Script] = [[EOF], [RESET]]


@pytest.mark.parametrize("stale", STALE, ids=str)
def test_u34_a_stale_connection_is_replaced_unseen(run: Run, client_of: Connect, stale: Script) -> None:
    async def main() -> None:
        async with scripted_server(OK, stale) as server, client_of(server) as client:
            await ask(client)
            assert await ask(client) == (200, b"ok")
            assert len(server.peers) == 2
            assert len(server.requests) == 3
            assert server.requests[1] == server.requests[2]

    run(main())


def test_a_connection_that_was_closed_a_moment_ago_is_replaced_unseen(run: Run, client_of: Connect) -> None:
    async def main() -> None:
        async with scripted_server() as server, client_of(server) as client:
            await ask(client)
            server.peers[0].reset()  # the client's loop has had no chance to see it
            assert await ask(client) == (200, b"ok")
            assert len(server.peers) == 2

    run(main())


@pytest.mark.parametrize("stale", [EOF, RESET], ids=str)
@pytest.mark.parametrize("later_s", [REPLAY_WITHIN_S, REPLAY_WITHIN_S + 0.1])
def test_a_connection_that_breaks_later_is_no_stale_one(
    run: Run, client_of: Connect, clock: FakeClock, later_s: float, stale: Step
) -> None:
    """An upstream that dies after working for a while may have billed: it is asked once."""

    async def main() -> None:
        async with scripted_server(OK, [HOLD, stale]) as server, client_of(server) as client:
            await ask(client)
            async with asyncio.TaskGroup() as group:
                asking = group.create_task(_outcome_of(ask(client)))
                await server.until(lambda: len(server.requests) == 2)
                clock.advance(later_s)
                server.peers[0].go()
            if later_s <= REPLAY_WITHIN_S:
                assert asking.result() == (200, b"ok")
                assert len(server.requests) == 3
            else:
                assert isinstance(asking.result(), UpstreamTruncated)
                assert len(server.requests) == 2

    run(main())


async def _outcome_of(asking: Awaitable[object]) -> object:
    try:
        return await asking
    except UpstreamError as error:
        return error


@pytest.mark.parametrize("stale", STALE, ids=str)
def test_a_request_is_replayed_once_and_not_twice(run: Run, client_of: Connect, stale: Script) -> None:
    async def main() -> None:
        hold: Script = [HOLD, *OK]
        async with scripted_server(hold, hold, stale, stale) as server, client_of(server) as client:
            async with asyncio.TaskGroup() as group:
                for _ in range(2):
                    group.create_task(ask(client))
                await server.until(lambda: len(server.requests) == 2)
                for peer in server.peers:
                    peer.go()
            assert client.idle_count == 2
            with pytest.raises(UpstreamTruncated):
                await ask(client)
            # The second time it went over a fresh connection, past the other idle one.
            assert [peer.requests for peer in server.peers[2:]] == [1]
            assert len(server.requests) == 4
            assert client.idle_count == 1

    run(main())


@pytest.mark.parametrize("first_bytes", [b"H", b"HTTP/1.1 100 Continue\r\n\r\n", CHUNKED])
def test_after_the_first_byte_of_an_answer_nothing_is_replayed(
    run: Run, client_of: Connect, first_bytes: bytes
) -> None:
    async def main() -> None:
        async with scripted_server(OK, [first_bytes, EOF]) as server, client_of(server) as client:
            await ask(client)
            with pytest.raises(UpstreamTruncated):
                await ask(client)
            assert len(server.requests) == 2

    run(main())


def test_a_stale_connection_to_a_peer_that_is_gone_is_unreachable(run: Run, client_of: Connect) -> None:
    async def main() -> None:
        async with scripted_server(OK, [HOLD, EOF]) as server, client_of(server) as client:
            await ask(client)
            async with asyncio.TaskGroup() as group:
                asking = group.create_task(_error_of(ask(client)))
                await server.until(lambda: len(server.requests) == 2)
                server.stop_listening()
                server.peers[0].go()
            assert isinstance(asking.result(), UpstreamUnreachable)

    run(main())


async def _error_of(asking: object) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        await asking  # type: ignore[misc]  # any awaitable
    return caught.value


# Answers that come before the request is sent.


@pytest.mark.parametrize("end", ["release", "aclose"])
def test_an_early_answer_is_read_and_the_connection_closed(run: Run, client_of: Connect, end: str) -> None:
    async def main() -> None:
        script: Script = [b"HTTP/1.1 413 X\r\ncontent-length: 3\r\n\r\nbig"]
        async with (
            scripted_server(script, hears="heads") as server,
            client_of(server) as client,
        ):
            exchange = await client.open(structs.replace(REQUEST, body=b"b" * 32 * 1024 * 1024), TIMEOUTS)
            assert exchange.status == 413
            assert await read(exchange) == b"big"
            if end == "release":
                exchange.release()
            else:
                await exchange.aclose()
            assert client.idle_count == 0
            await until(lambda: client.open_count == 0)

    run(main())


def test_an_early_answer_before_the_peer_hangs_up(run: Run, client_of: Connect) -> None:
    async def main() -> None:
        script: Script = [b"HTTP/1.1 413 X\r\ncontent-length: 3\r\n\r\nbig", EOF]
        async with (
            scripted_server(script, hears="heads") as server,
            client_of(server) as client,
        ):
            request = structs.replace(REQUEST, body=b"b" * 32 * 1024 * 1024)
            assert await ask(client, request) == (413, b"big")
            await until(lambda: client.open_count == 0)

    run(main())


# Release.


def test_release_of_a_complete_answer_is_immediate(run: Run, client_of: Connect) -> None:
    async def main() -> None:
        async with scripted_server() as server, client_of(server) as client:
            exchange = await client.open(REQUEST, TIMEOUTS)
            await read(exchange)
            exchange.release()
            assert client.idle_count == 1
            # What is said about a past exchange does not touch the next one on the same connection.
            following = await client.open(REQUEST, TIMEOUTS)
            exchange.release()
            await exchange.aclose()
            assert await read(following) == b"ok"
            await following.aclose()
            assert len(server.peers) == 1

    run(main())


def test_release_waits_for_the_end_of_the_framing(run: Run, client_of: Connect) -> None:
    async def main() -> None:
        script: Script = [CHUNKED + b"2\r\nok\r\n", HOLD, b"3\r\nyes\r\n", HOLD, b"0\r\n\r\n"]
        async with scripted_server(script) as server, client_of(server) as client:
            exchange = await client.open(REQUEST, TIMEOUTS)
            assert await anext(exchange.chunks()) == b"ok"
            exchange.release()
            assert (client.open_count, client.idle_count) == (1, 0)
            server.peers[0].go()
            server.peers[0].go()
            await until(lambda: client.idle_count == 1)
            assert await ask(client) == (200, b"ok")
            assert len(server.peers) == 1

    run(main())


@pytest.mark.parametrize(
    ("rest", "linger_s"),
    [([b"x" * (LINGER_BYTES + 1)], 60.0), ([], 0.001), ([EOF], 60.0), ([RESET], 60.0)],
    ids=["too much", "too long", "EOF", "reset"],
)
def test_release_of_an_answer_that_does_not_end_closes(
    run: Run, client_of: Connect, rest: Sequence[bytes], linger_s: float
) -> None:
    async def main() -> None:
        script: Script = [b"HTTP/1.1 200 OK\r\ncontent-length: 9999999\r\n\r\nok", HOLD, *rest]
        async with scripted_server(script) as server, client_of(server, limits=Limits(linger_s=linger_s)) as client:
            exchange = await client.open(REQUEST, TIMEOUTS)
            exchange.release()
            server.peers[0].go()
            await until(lambda: client.open_count == 0)
            await server.until(lambda: server.peers[0].lost)

    run(main())


# Closing the client.


def test_aclose_ends_what_is_running(run: Run, client_of: Connect, is_for_clients: Checked) -> None:
    async def main() -> None:
        streaming: Script = [CHUNKED + b"2\r\nok\r\n", HOLD]
        async with (
            scripted_server(OK, streaming, streaming, [HOLD]) as server,
            client_of(server) as client,
        ):
            await ask(client)
            lingering = await client.open(REQUEST, TIMEOUTS)
            running = await client.open(REQUEST, TIMEOUTS)
            lingering.release()
            async with asyncio.TaskGroup() as group:
                errors = [
                    group.create_task(_error_of(read(running))),
                    group.create_task(_error_of(ask(client))),
                ]
                await server.until(lambda: len(server.requests) == 4)
                await client.aclose()
                assert client.open_count == 0
            for error in errors:
                assert isinstance(error.result(), UpstreamTruncated)
                is_for_clients(error.result())
            await server.until(lambda: server.open_count == 0)
            with pytest.raises(RuntimeError):
                await client.open(REQUEST, TIMEOUTS)

    run(main())


def test_aclose_ends_a_request_on_a_used_connection_without_a_replay(run: Run, client_of: Connect) -> None:
    async def main() -> None:
        async with scripted_server(OK, [HOLD]) as server, client_of(server) as client:
            await ask(client)
            async with asyncio.TaskGroup() as group:
                error = group.create_task(_error_of(ask(client)))
                await server.until(lambda: len(server.requests) == 2)
                await client.aclose()
            assert isinstance(error.result(), UpstreamTruncated)
            assert len(server.peers) == 1

    run(main())


def test_aclose_ends_what_is_connecting(run: Run, clock: FakeClock, is_for_clients: Checked) -> None:
    async def main() -> None:
        with Deaf() as url:
            client = HttpClient(url, clock)
            async with asyncio.TaskGroup() as group:
                error = group.create_task(_error_of(client.open(REQUEST, TIMEOUTS)))
                await until(lambda: len(client._dials) == 1)
                group.create_task(client.aclose())
                for _ in range(2):  # the dial has been told, and has not ended
                    await asyncio.sleep(0)
                await client.aclose()
                assert len(client._dials) == 0
            assert isinstance(error.result(), UpstreamUnreachable)
            is_for_clients(error.result())

    run(main())
