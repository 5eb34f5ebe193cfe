"""Cancelling at any moment closes the connection and leaves nothing behind, on either side."""

from __future__ import annotations

import asyncio
import gc
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from ezai.ports import Timeouts, UpstreamRequest
from ezai.upstreams.http import HttpClient
from tests.upstreams.http.conftest import Connect, Run
from tests.upstreams.http.fakes import FakeClock
from tests.upstreams.http.scripted import CHUNKED, HOLD, OK, Deaf, Script, ScriptedServer, scripted_server, until

REQUEST = UpstreamRequest("POST", "/v1/messages", [], b"{}")
TIMEOUTS = Timeouts()
FILES = Path("/proc/self/fd")


async def ask(client: HttpClient, request: UpstreamRequest = REQUEST) -> bytes:
    exchange = await client.open(request, TIMEOUTS)
    try:
        return b"".join([chunk async for chunk in exchange.chunks()])
    finally:
        await exchange.aclose()


async def cancel(task: asyncio.Task[bytes]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def sockets() -> set[str]:
    """The open sockets of this process, where the system tells."""
    names = set()
    for file in os.listdir(FILES) if FILES.exists() else ():
        with suppress(FileNotFoundError):  # the listing's own
            names.add(os.readlink(FILES / file))
    return {name for name in names if name.startswith("socket:")}


@asynccontextmanager
async def nothing_left(server: ScriptedServer, client: HttpClient) -> AsyncIterator[None]:
    """Afterwards four requests succeed, and only the connections that they left idle are open."""
    before = sockets()
    yield
    await server.until(lambda: server.open_count == client.idle_count)
    assert client.open_count == client.idle_count
    assert [await ask(client) for _ in range(4)] == [b"ok"] * 4
    await client.aclose()
    await server.until(lambda: server.open_count == 0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    gc.collect()  # what a future or a coroutine has to complain about, it does when it goes
    assert sockets() <= before


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
            scripted_server(ignores_bodies=True) as server,
            client_of(server) as client,
            nothing_left(server, client),
        ):
            server.ignores_bodies = False
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
