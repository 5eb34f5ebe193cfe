"""Holding that nothing is left: of requests on either side, of tasks, and of this process's sockets."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from ezai.ports import Timeouts, UpstreamRequest
from ezai.upstreams.http import HttpClient
from tests.upstreams.http.scripted import HOLD, OK, ScriptedServer, until

REQUEST = UpstreamRequest("POST", "/v1/messages", [], b"{}")
TIMEOUTS = Timeouts()
FILES = Path("/proc/self/fd")
AT_ONCE = 4


async def ask(client: HttpClient, request: UpstreamRequest = REQUEST) -> bytes:
    exchange = await client.open(request, TIMEOUTS)
    try:
        return b"".join([chunk async for chunk in exchange.chunks()])
    finally:
        await exchange.aclose()


def sockets() -> set[str]:
    """The open sockets of this process, where the system tells."""
    names = set()
    for file in os.listdir(FILES) if FILES.exists() else ():
        with suppress(FileNotFoundError):  # the listing's own
            names.add(os.readlink(FILES / file))
    return {name for name in names if name.startswith("socket:")}


@asynccontextmanager
async def nothing_left(server: ScriptedServer, client: HttpClient) -> AsyncIterator[None]:
    """Afterwards four requests at once succeed, and only the connections that they left idle are open."""
    before = sockets()
    yield
    await server.until(lambda: server.open_count == client.idle_count)
    assert client.open_count == client.idle_count
    await _serves_at_once(server, client)
    await client.aclose()
    await server.until(lambda: server.open_count == 0)
    await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})  # the servers' own shake hands no more
    gc.collect()  # what a future or a coroutine has to complain about, it does when it goes
    await until(lambda: sockets() <= before)


async def _serves_at_once(server: ScriptedServer, client: HttpClient) -> None:
    """Hold that four requests are under way at the same time, over what is idle first, and that all succeed.

    None is answered before the upstream has all four: one that waited for another's connection would wait for ever.
    """
    idle, asked, otherwise = client.idle_count, len(server.requests), server.otherwise
    server.forget_scripts()
    server.otherwise = lambda: [HOLD, *OK]
    asking = asyncio.gather(*(ask(client) for _ in range(AT_ONCE)))
    await server.until(lambda: asking.done() or len(server.requests) == asked + AT_ONCE)
    assert not asking.done(), "each of them waits for its answer"
    assert client.open_count == max(idle, AT_ONCE), "a connection each, and not one more"
    await server.until(lambda: server.open_count == client.open_count)
    for peer in server.peers:
        if not peer.lost:
            peer.go()
    assert await asking == [b"ok"] * AT_ONCE
    assert (client.open_count, client.idle_count) == (max(idle, AT_ONCE),) * 2
    server.otherwise = otherwise
