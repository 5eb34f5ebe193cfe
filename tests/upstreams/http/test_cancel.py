"""Cancelling at any moment closes the connection and leaves nothing behind, on either side."""

from __future__ import annotations

import asyncio
import random
import ssl
import threading
from collections.abc import Callable

import pytest

from ezai.ports import UpstreamRequest
from ezai.upstreams.http import Egress, HttpClient
from ezai.upstreams.http.addresses import Address
from tests.upstreams.http.certificates import Certificates
from tests.upstreams.http.conftest import Connect, Run
from tests.upstreams.http.fakes import FakeClock
from tests.upstreams.http.leftovers import REQUEST, TIMEOUTS, ask, nothing_left, sockets
from tests.upstreams.http.scripted import (
    CHUNKED,
    HOLD,
    NAME,
    OK,
    Deaf,
    Script,
    scripted_proxy,
    scripted_server,
    until,
)


async def cancel(task: asyncio.Task[bytes]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("used", [False, True], ids=["fresh", "used"])
@pytest.mark.parametrize(
    "script", [[HOLD], [b"HTTP/1.1 200 OK\r\n", HOLD], [b"HTTP/1.1 100 Continue\r\n\r\n", HOLD]], ids=str
)
def test_cancelled_while_waiting_for_the_head(run: Run, client_of: Connect, script: Script, used: bool) -> None:
    async def main() -> None:
        before: list[Script] = [OK] if used else []
        async with (
            scripted_server(*before, script) as server,
            client_of(server) as client,
            nothing_left(server, client),
        ):
            for _ in before:
                await ask(client)
            async with asyncio.TaskGroup() as group:
                asking = group.create_task(ask(client))
                await server.until(lambda: len(server.requests) == len(before) + 1)
                await cancel(asking)
            await server.until(lambda: server.peers[0].lost)

    run(main())


def test_cancelled_while_sending(run: Run, client_of: Connect) -> None:
    async def main() -> None:
        async with (
            scripted_server(hears="heads") as server,
            client_of(server) as client,
            nothing_left(server, client),
        ):
            server.hears = "requests"
            big = UpstreamRequest("POST", "/v1/messages", [], b"b" * 64 * 1024 * 1024)
            async with asyncio.TaskGroup() as group:
                asking = group.create_task(ask(client, big))
                await server.until(lambda: len(server.peers) == 1)
                await cancel(asking)
            await server.until(lambda: server.peers[0].lost)
            assert server.requests == []

    run(main())


def test_cancelled_while_waiting_for_a_chunk(run: Run, client_of: Connect) -> None:
    async def main() -> None:
        async with (
            scripted_server([CHUNKED + b"2\r\nok\r\n", HOLD]) as server,
            client_of(server) as client,
            nothing_left(server, client),
        ):
            async with asyncio.TaskGroup() as group:
                asking = group.create_task(ask(client))
                await server.until(lambda: len(server.requests) == 1)
                await cancel(asking)
            await server.until(lambda: server.peers[0].lost)

    run(main())


def test_a_cancelled_wait_for_a_chunk_may_be_resumed(run: Run, client_of: Connect) -> None:
    async def main() -> None:
        script: Script = [CHUNKED, HOLD, b"2\r\nok\r\n", HOLD, b"0\r\n\r\n"]
        async with (
            scripted_server(script) as server,
            client_of(server) as client,
            nothing_left(server, client),
        ):
            exchange = await client.open(REQUEST, TIMEOUTS)
            chunks = exchange.chunks()
            for received in (b"ok", None):
                for _ in range(3):
                    with pytest.raises(TimeoutError):
                        async with asyncio.timeout(0):
                            await anext(chunks)
                server.peers[0].go()
                assert await anext(chunks, None) == received
            await exchange.aclose()
            assert client.idle_count == 1

    run(main())


def test_cancelled_while_connecting(run: Run, clock: FakeClock) -> None:
    async def main() -> None:
        with Deaf() as url:
            before = sockets()
            client = HttpClient(url, clock)
            async with asyncio.TaskGroup() as group:
                asking = group.create_task(ask(client))
                await until(lambda: len(client._dials) == 1)
                await asyncio.sleep(0)
                await cancel(asking)
            assert len(client._dials) == client.open_count == 0
            await client.aclose()
            await until(lambda: sockets() <= before)

    run(main())


def test_cancelled_while_the_name_is_looked_up(run: Run, client_of: Connect) -> None:
    async def main() -> None:
        async with scripted_server() as server:
            looking = asyncio.get_running_loop().create_future()

            async def slow(host: str, port: int) -> list[Address]:
                await looking
                return [server.address]

            async with client_of(server, resolve=slow) as client, nothing_left(server, client):
                await cancelled_when(client, lambda: len(client._dials) == 1)
                looking = asyncio.get_running_loop().create_future()
                looking.set_result(None)

    run(main())


async def cancelled_when(client: HttpClient, condition: Callable[[], bool], *, times: int = 1) -> None:
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(ask(client))
        await until(condition)
        for _ in range(3):
            await asyncio.sleep(0)
        for _ in range(times):
            asking.cancel()
    assert asking.cancelled()
    assert len(client._dials) == client.open_count == 0


@pytest.mark.parametrize("times", [1, 2])
def test_cancelled_in_a_race_of_addresses(run: Run, clock: FakeClock, times: int) -> None:
    async def main() -> None:
        with Deaf() as first, Deaf() as second:
            before = sockets()

            async def both(host: str, port: int) -> list[Address]:
                return [("127.0.0.1", int(url.rpartition(":")[2])) for url in (first, second)]

            client = HttpClient(f"http://{NAME}", clock, resolve=both)
            await cancelled_when(client, lambda: len(asyncio.all_tasks()) == 3, times=times)
            await until(lambda: sockets() <= before)
            await client.aclose()

    run(main())


@pytest.mark.usefixtures("_empty_store")
@pytest.mark.parametrize("times", [1, 2])
def test_cancelled_in_the_handshake(run: Run, client_of: Connect, certificates: Certificates, times: int) -> None:
    async def main() -> None:
        async with scripted_server([HOLD], hears="anything") as server:
            server.secure = True
            before = sockets()
            async with client_of(server, ca_file=certificates.ca_file) as client:
                await cancelled_when(client, lambda: len(server.requests) == 1, times=times)
                await server.until(lambda: server.peers[0].lost)
                await until(lambda: sockets() <= before)

    run(main())


@pytest.mark.usefixtures("_empty_store")
@pytest.mark.parametrize("steps", range(12))
def test_cancelled_at_each_step_of_a_handshake(
    run: Run, client_of: Connect, certificates: Certificates, steps: int
) -> None:
    """Among them the one before the loop has begun it, where asyncio's own `create_connection` would leave it be."""

    async def main() -> None:
        async with (
            scripted_server(tls=certificates.good) as server,
            client_of(server, ca_file=certificates.ca_file) as client,
            nothing_left(server, client),
        ):
            await ask(client)  # the context is there
            async with asyncio.TaskGroup() as group:
                first = group.create_task(ask(client))
                second = group.create_task(ask(client))
                for _ in range(steps):
                    await asyncio.sleep(0)
                second.cancel()
            assert first.result() == b"ok"

    run(main())


@pytest.mark.usefixtures("_empty_store")
def test_cancelled_while_the_context_is_made(
    run: Run, client_of: Connect, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    making, go_on = threading.Event(), threading.Event()
    load = ssl.SSLContext.load_default_certs

    def slow(context: ssl.SSLContext) -> None:
        making.set()
        go_on.wait()
        load(context)

    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", slow)

    async def main() -> None:
        async with (
            scripted_server(tls=certificates.good) as server,
            client_of(server, ca_file=certificates.ca_file) as client,
            nothing_left(server, client),
        ):
            await cancelled_when(client, making.is_set)
            go_on.set()

    run(main())


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("script", [[HOLD], [b"HTTP/1.1 200 OK\r\n", HOLD]], ids=str)
def test_cancelled_while_the_proxy_is_asked(run: Run, clock: FakeClock, script: Script, times: int) -> None:
    async def main() -> None:
        async with scripted_server() as server, scripted_proxy(server, script) as proxy:
            client = HttpClient(f"http://{NAME}", clock, egress=Egress(proxy=proxy.url))
            async with nothing_left(server, client):
                await cancelled_when(client, lambda: len(proxy.requests) == 1, times=times)
                await proxy.until(lambda: proxy.peers[0].lost)
            await proxy.until(lambda: proxy.open_count == 0)

    run(main())


@pytest.mark.parametrize("seed", range(2))
def test_cancelled_anywhere(run: Run, client_of: Connect, seed: int) -> None:
    dice = random.Random(seed)
    streamed: Script = [CHUNKED + b"2\r\nok\r\n", b"2\r\nok\r\n", b"0\r\n\r\n"]
    held: Script = [CHUNKED + b"2\r\nok\r\n", HOLD]
    scripts: list[Script] = [dice.choice([OK, streamed, held, [HOLD]]) for _ in range(200)]

    async def main() -> None:
        async with (
            scripted_server(*scripts) as server,
            client_of(server) as client,
            nothing_left(server, client),
        ):
            for _ in range(200):
                async with asyncio.TaskGroup() as group:
                    asking = group.create_task(ask(client))
                    for _ in range(dice.randrange(16)):
                        await asyncio.sleep(0)
                    asking.cancel()
            server.forget_scripts()

    run(main())
