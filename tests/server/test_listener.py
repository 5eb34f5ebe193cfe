"""Binding, the date, and stopping with every kind of connection open."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from email.utils import formatdate
from pathlib import Path

import pytest

from ezai.app import Embedded, build
from ezai.config import Config, EmbeddedUpstream, RouteConfig, TargetConfig
from ezai.errors import SetupError
from ezai.models.reference import LocalModel
from ezai.pipeline.driver import StreamRegistry
from ezai.server import listener as listener_module
from ezai.server.binding import bind
from ezai.server.edge_settings import KEEP_ALIVE_S
from ezai.server.listener import Listener
from ezai.system import SystemClock
from ezai.upstreams.embedded import EmbeddedEndpoint
from tests.canary import UPSTREAM_KEY
from tests.conformance.gateway import STREAM, hello
from tests.pipeline.fakes import FakeClock, FakeKeys, FakeLedger, chunk
from tests.raw_client import RawClient, raw_client
from tests.server.test_edge import (
    LOOPS,
    MORE_THAN_BUFFERS_HOLD,
    STREAMED,
    UNARY,
    Run,
    get,
    holds_our_shape,
    in_loop,
    post,
    until_stalled,
)
from tests.upstreams.http.scripted import EOF, HOLD, OK, Script, ScriptedServer, scripted_server

HELLO = hello()


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Run:
    return in_loop(LOOPS[request.param])


@pytest.fixture(autouse=True)
def _all_time_to_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that nothing depends on how fast this machine is; what is to be cut says so by `cut_soon`."""
    monkeypatch.setattr(listener_module, "FLUSH_S", 60)


@pytest.fixture
def cut_soon(_all_time_to_flush: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "FLUSH_S", 0.05)


@dataclass
class Served:
    """A listener on a scripted upstream, started; the test stops it."""

    listener: Listener
    registry: StreamRegistry
    upstream: ScriptedServer
    clock: FakeClock
    port: int

    async def asked(self, count: int = 1) -> None:
        """Return when the upstream has got that many requests."""
        await self.upstream.until(lambda: len(self.upstream.requests) == count)

    def connected(self) -> AbstractAsyncContextManager[RawClient]:
        return raw_client(f"http://127.0.0.1:{self.port}")


@asynccontextmanager
async def served(*scripts: Script) -> AsyncIterator[Served]:
    async with scripted_server(*scripts) as upstream:
        config = Config(
            upstreams=[EmbeddedUpstream(name="up")],
            routes=[RouteConfig(model="*", targets=[TargetConfig(upstream="up")])],
        )
        endpoint = EmbeddedEndpoint(upstream.url, UPSTREAM_KEY)
        embedded = Embedded(LocalModel(Path("unused"), None, None), "up", 8192, lambda: endpoint)
        gateway = build(config, FakeKeys(), FakeLedger(), embedded, SystemClock())
        clock = FakeClock()
        listener = Listener(gateway.data_plane, replace(gateway.edge, clock=clock, http2=True))
        listening = bind("127.0.0.1", 0)
        port = listening.getsockname()[1]
        await listener.start(listening)
        try:
            yield Served(listener, gateway.registry, upstream, clock, port)
        finally:
            await listener.stop()
            await gateway.aclose()
        assert clock.watchers == []
        assert len(gateway.registry) == 0
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)


# The date.


def test_the_date_is_that_of_the_clock(run: Run) -> None:
    async def test() -> None:
        async with served() as one:
            for seconds in (0, 1, 0.4, 3600):
                one.clock.advance(seconds)
                async with one.connected() as client:
                    client.send(get("/healthz"))
                    expected = formatdate(int(one.clock.epoch()), usegmt=True)
                    assert (await client.answer()).headers["date"] == expected

    run(test())


# Idle connections.


def test_a_connection_ends_after_its_time_without_a_request_and_each_request_gives_it_another(run: Run) -> None:
    async def test() -> None:
        async with served() as one, one.connected() as client:
            for _ in range(3):
                client.send(get("/healthz"))
                await client.answer()
                one.clock.advance(KEEP_ALIVE_S - 1)
            one.clock.advance(1)
            assert await client.rest() == b""

    run(test())


@pytest.mark.parametrize(
    ("request_", "later"),
    [
        (get("/healthz"), b"\r\n"),
        (b"POST /v1/nothing HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\n", b"hello"),
        (b"POST /v1/nothing HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\nhel", b"lo"),
    ],
    ids=["empty line", "body after its answer", "half of it"],
)
def test_what_is_no_request_keeps_no_connection_open(request_: bytes, later: bytes, run: Run) -> None:
    async def test() -> None:
        async with served() as one, one.connected() as client, one.connected() as other:
            client.send(request_)
            await client.answer()
            client.send(later)
            other.send(get("/healthz"))  # behind what came before, so that this has been read
            await other.answer()
            one.clock.advance(KEEP_ALIVE_S)
            assert await client.rest() == b""

    run(test())


# Stopping.


def test_stopping_closes_a_connection_that_asked_nothing_yet(run: Run) -> None:
    async def test() -> None:
        async with served() as one, one.connected() as client, one.connected() as other:
            # Accepted after the first, so both are known when it has an answer.
            other.send(get("/healthz"))
            await other.answer()
            await one.listener.stop()
            assert await client.rest() == b""
            assert await other.rest() == b""

    run(test())


@pytest.mark.parametrize("times", [1, 2])
def test_stopping_twice_is_stopping(times: int, run: Run) -> None:
    async def test() -> None:
        async with served() as one:
            for _ in range(times):
                await one.listener.stop()

    run(test())


def test_a_listener_that_never_started_can_be_stopped(run: Run) -> None:
    async def test() -> None:
        gateway = build(Config(), FakeKeys(), FakeLedger(), None, SystemClock())
        await Listener(gateway.data_plane, gateway.edge).stop()

    run(test())


def test_a_stream_that_was_told_its_end_is_read_to_it(run: Run) -> None:
    async def test() -> None:
        async with served([STREAM + chunk("Half"), HOLD]) as one, one.connected() as client:
            client.send(STREAMED)
            await client.until(b'"Half"')
            one.registry.close()
            await one.listener.stop()
            rest = await client.rest()
            assert rest.count(b"event: error") == 1
            assert b'"error_code":"draining"' in rest
            assert b"message_stop" not in rest
            assert rest.endswith(b"\r\n0\r\n\r\n")  # a clean close
            await one.upstream.until(lambda: one.upstream.peers[0].lost)

    run(test())


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
@pytest.mark.parametrize("said", [[HOLD], [b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", HOLD]], ids=["", "headers"])
def test_a_request_without_an_answer_yet_is_refused_as_draining(said: Script, path: str, run: Run) -> None:
    async def test() -> None:
        async with served(said) as one, one.connected() as client:
            client.send(post(path))
            await one.asked()
            one.registry.close()
            answer = await client.answer()
            holds_our_shape(answer)
            assert (answer.status, answer.json()["error"]["type"]) == (529, "overloaded_error")
            assert answer.json()["error"]["details"]["error_code"] == "draining"
            await one.upstream.until(lambda: one.upstream.peers[0].lost)

    run(test())


@pytest.mark.usefixtures("cut_soon")
def test_a_stream_whose_registry_is_still_open_is_cut_and_looks_cut(run: Run) -> None:
    async def test() -> None:
        async with served([STREAM + chunk("Half"), HOLD]) as one, one.connected() as client:
            client.send(STREAMED)
            await client.until(b'"Half"')
            await one.listener.stop()
            rest = await client.rest()
            assert not rest.endswith(b"0\r\n\r\n")
            assert b"message_stop" not in rest
            await one.upstream.until(lambda: one.upstream.peers[0].lost)

    run(test())


@pytest.mark.usefixtures("cut_soon")
@pytest.mark.parametrize("registry_closed", [True, False])
def test_a_reader_that_takes_nothing_is_cut(registry_closed: bool, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    stalled = until_stalled(monkeypatch)

    async def test() -> None:
        async with served(MORE_THAN_BUFFERS_HOLD) as one, one.connected() as client:
            client.stop_reading()
            client.send(STREAMED)
            await stalled.wait()
            if registry_closed:
                one.registry.close()
            await one.listener.stop()
            assert len(one.registry) == 0
            await one.upstream.until(lambda: one.upstream.peers[0].lost)
            client.read_again()
            assert not (await client.rest()).endswith(b"0\r\n\r\n")

    run(test())


@pytest.mark.usefixtures("cut_soon")
@pytest.mark.parametrize("part", [1, len(STREAMED) // 2, len(STREAMED) - 1])
def test_a_request_that_never_becomes_whole_does_not_hold_it_up(part: int, run: Run) -> None:
    async def test() -> None:
        async with served() as one, one.connected() as client:
            await client.sent(STREAMED[:part])
            async with one.connected() as other:
                other.send(get("/healthz"))
                await other.answer()
            await one.listener.stop()
            await client.rest()
            assert one.upstream.requests == []

    run(test())


def test_a_request_behind_a_running_one_is_not_begun(run: Run) -> None:
    async def test() -> None:
        async with served([STREAM + chunk("Half"), HOLD], OK) as one, one.connected() as client:
            client.send(STREAMED)
            await client.until(b'"Half"')
            await client.sent(UNARY)
            one.registry.close()
            await one.listener.stop()
            rest = await client.rest()
            assert rest.count(b"event: error") == 1
            assert len(one.upstream.requests) == 1

    run(test())


def test_a_finished_answer_is_written_whole_before_the_connection_closes(run: Run) -> None:
    async def test() -> None:
        text = "x" * 3_000_000
        async with served([STREAM + chunk(text) + chunk(finish="stop"), EOF]) as one, one.connected() as client:
            client.send(UNARY)
            await one.asked()
            stopping = asyncio.get_running_loop().create_task(one.listener.stop())
            answer = await client.answer()
            assert answer.json()["content"][0]["text"] == text
            await stopping

    run(test())


# Retiring.


def test_retiring_accepts_no_more_and_answers_who_is_there(run: Run) -> None:
    """A client that asks on its open connection is answered, and told that it was the last time."""

    async def test() -> None:
        async with served() as one, one.connected() as asked, one.connected() as asks_again:
            asks_again.send(get("/healthz"))
            assert "connection" not in (await asks_again.answer()).headers
            one.listener.retire(3600)
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", one.port)
            for client in (asked, asks_again):
                client.send(get("/healthz"))
                answer = await client.answer()
                assert (answer.status, answer.headers["connection"]) == (200, "close")
                assert await client.rest() == b""

    run(test())


def test_retiring_closes_what_was_idle_for_long(run: Run) -> None:
    async def test() -> None:
        async with served() as one, one.connected() as idle:
            idle.send(get("/healthz"))
            await idle.answer()
            one.listener.retire(0)
            assert await idle.rest() == b""
            gone = asyncio.get_running_loop().create_task(one.listener.wait_gone())
            one.clock.advance(1)
            await gone

    run(test())


def test_retiring_lets_a_request_that_is_on_its_way_be_the_last(run: Run) -> None:
    async def test() -> None:
        async with served(HELLO) as one, one.connected() as client:
            await client.sent(UNARY[:50])
            async with one.connected() as other:
                other.send(get("/healthz"))
                await other.answer()
            one.listener.retire(3600)
            client.send(UNARY[50:])
            answer = await client.answer()
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert await client.rest() == b""

    run(test())


def test_retiring_leaves_a_running_stream_and_the_request_behind_it(run: Run) -> None:
    """Its head is out, so the connection is kept once more; what is asked then is told to be the last."""

    async def test() -> None:
        rest = chunk(" of it") + chunk(finish="stop")
        async with served([STREAM + chunk("Half"), HOLD, rest, EOF], HELLO) as one, one.connected() as client:
            client.send(STREAMED)
            await client.until(b'"Half"')
            one.listener.retire(3600)
            one.upstream.peers[0].go()
            assert b"message_stop" in await client.rest_of_answer()
            client.send(UNARY)
            answer = await client.answer()
            assert (answer.status, answer.headers["connection"]) == (200, "close")

    run(test())


def test_retiring_twice_or_before_the_start_is_retiring(run: Run) -> None:
    async def test() -> None:
        gateway = build(Config(), FakeKeys(), FakeLedger(), None, SystemClock())
        Listener(gateway.data_plane, gateway.edge).retire(1)
        async with served() as one:
            one.listener.retire(1)
            one.listener.retire(1)

    run(test())


# Binding.


def test_a_free_port_is_found() -> None:
    with bind("127.0.0.1", 0) as first, bind("127.0.0.1", 0) as second:
        assert first.getsockname()[0] == "127.0.0.1"
        assert 0 != first.getsockname()[1] != second.getsockname()[1]
        assert not first.getblocking()


def test_a_name_is_bound_by_its_address() -> None:
    with bind("localhost", 0) as bound:
        assert bound.getsockname()[0] in {"127.0.0.1", "::1"}


def test_the_second_protocol_family() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with bind("::1", 0) as bound:
        assert bound.getsockname()[0] == "::1"


def test_a_port_is_free_again_at_once() -> None:
    """A restart must not wait for connections that linger."""
    with bind("127.0.0.1", 0) as bound:
        bound.listen()
        port = bound.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = bound.accept()
            accepted.close()
            client.recv(1)
    with bind("127.0.0.1", port) as again:
        assert again.getsockname()[1] == port


def sentence(host: str, port: int) -> str:
    """The one sentence that binding there is refused with."""
    with pytest.raises(SetupError) as caught:
        bind(host, port)
    said = str(caught.value)
    assert said.endswith(".")
    assert "\n" not in said
    return said


def test_a_port_that_is_taken() -> None:
    with bind("127.0.0.1", 0) as bound:
        bound.listen()
        port = bound.getsockname()[1]
        said = sentence("127.0.0.1", port)
        assert said.startswith(f"127.0.0.1:{port} cannot be listened on")
        assert "--port" in said


def test_an_address_of_another_machine() -> None:
    said = sentence("192.0.2.1", 0)  # RFC 5737: nobody's
    assert said.startswith("192.0.2.1:0 cannot be listened on")
    assert said.endswith("choose a --host that is an address of this machine."), "no other port would help"


@pytest.mark.parametrize("host", ["", "a..b", "a" * 64, "a\udcff"], ids=["empty", "dots", "long", "no text"])
def test_a_host_that_is_none(host: str) -> None:
    assert "--host" in sentence(host, 0)


def test_a_name_that_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert sentence("name.example", 0).startswith("The address 'name.example' is not known")
