"""Places for connections: who waits when all are taken, who makes room, and whom a queue belongs to."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import cast

import pytest

from ezai.server.acceptor import Acceptor, Place
from ezai.server.binding import bind
from ezai.server.edge_settings import KEEP_ALIVE_S, SHORT_KEEP_ALIVE_S
from tests.raw_client import RawClient, raw_client
from tests.server.http2.client import http2_client
from tests.server.test_edge import LOOPS, Run, get, in_loop
from tests.server.test_listener import Served, served
from tests.upstreams.http.scripted import until

TICK_S = 0.25


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Run:
    return in_loop(LOOPS[request.param])


# By itself.


class Echo(asyncio.Protocol):
    """Sends back what it gets, with the name of its acceptor."""

    def __init__(self, name: bytes, place: Place) -> None:
        self.name = name
        self.place = place

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(self.name + data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.place.leave()
        self.place.leave()  # it counts once


@dataclass
class Echoing:
    """An acceptor of its own, and what it has made."""

    name: bytes
    listening: socket.socket
    limit: int
    opened: list[asyncio.BaseProtocol] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.acceptor = Acceptor(
            self.listening,
            lambda place: Echo(self.name, place),
            self.opened.append,
            lambda: self.limit,
            lambda: None,
            10,
        )
        self.acceptor.start(100)


@asynccontextmanager
async def echoing(*limits: int) -> AsyncIterator[tuple[Echoing, ...]]:
    """Acceptors that listen on one socket, as workers do; named a, b and so on."""
    listening = bind("127.0.0.1", 0)
    sockets = [listening, *(listening.dup() for _ in limits[1:])]
    made = tuple(Echoing(b"abc"[at : at + 1], sockets[at], limit) for at, limit in enumerate(limits))
    try:
        yield made
    finally:
        for one in made:
            one.acceptor.close()
            await until(lambda one=one: not one.acceptor.taken)  # type: ignore[misc]  # its clients have gone


async def said(client: RawClient, text: bytes = b"!") -> bytes:
    client.send(text)
    return await client.exactly(1 + len(text))


def url_of(one: Echoing) -> str:
    return f"http://127.0.0.1:{one.listening.getsockname()[1]}"


def test_there_are_never_more_than_places(run: Run) -> None:
    async def test() -> None:
        async with echoing(2) as (one,):
            url = url_of(one)
            async with raw_client(url) as first, raw_client(url) as second, raw_client(url) as third:
                waiting = asyncio.get_running_loop().create_task(said(third))
                while not one.acceptor.is_short:
                    assert [await said(first), await said(second)] == [b"a!", b"a!"]
                assert (one.acceptor.taken, len(one.opened), waiting.done()) == (2, 2, False)
                first.close()
                assert await waiting == b"a!"
                assert (one.acceptor.taken, len(one.opened)) == (2, 3)

    run(test())


def test_a_crowd_gets_its_turns(run: Run) -> None:
    async def test() -> None:
        async with echoing(3) as (one,):

            async def turn() -> bytes:
                async with raw_client(url_of(one)) as client:
                    return await said(client)

            assert await asyncio.gather(*(turn() for _ in range(50))) == [b"a!"] * 50
            assert len(one.opened) == 50

    run(test())


def test_one_that_is_full_leaves_the_queue_to_another(run: Run) -> None:
    async def test() -> None:
        async with echoing(0, 1) as (full, other):
            async with raw_client(url_of(full)) as client:
                assert await said(client) == b"b!"
                async with raw_client(url_of(full)) as waiting:
                    waiting.send(b"?")
                    full.limit = 1
                    full.acceptor.check()
                    assert await waiting.exactly(2) == b"a?"
            assert (len(full.opened), len(other.opened)) == (1, 1)

    run(test())


def test_one_that_closes_leaves_its_queue_to_its_successor(run: Run) -> None:
    async def test() -> None:
        async with echoing(1, 0) as (old, new):
            url = url_of(old)
            async with raw_client(url) as served_one, raw_client(url) as waiting:
                assert await said(served_one) == b"a!"
                waiting.send(b"?")
                old.acceptor.close()
                new.limit = 1
                new.acceptor.check()
                assert await waiting.exactly(2) == b"b?"
                assert await said(served_one) == b"a!", "who was there stays"

    run(test())


# With connections of HTTP.


def limit(one: Served, connections: int) -> None:
    """As a reload does."""
    one.listener.edge = replace(one.listener.edge, connection_limit=connections)


async def told(client: RawClient) -> str:
    """What an answer says of the connection."""
    client.send(get("/healthz"))
    answer = await client.answer()
    assert answer.status == 200
    return answer.headers.get("connection", "")


def test_while_somebody_waits_an_answer_is_the_last_of_its_connection(run: Run) -> None:
    async def test() -> None:
        async with served() as one, one.connected() as client:
            limit(one, 1)
            assert await told(client) == ""
            async with one.connected() as waiting:
                waiting.send(get("/healthz"))
                while await told(client) != "close":
                    pass
                assert await client.rest() == b""
                assert (await waiting.answer()).status == 200

    run(test())


async def until_it_made_room(one: Served, client: RawClient, within_s: float = KEEP_ALIVE_S) -> float:
    """How long it was kept, in ticks of the clock."""
    began = one.clock.now()
    while not client.is_hung_up and one.clock.now() < began + within_s:
        one.clock.advance(TICK_S)
        for _ in range(3):
            await asyncio.sleep(0)
    return one.clock.now() - began


def test_an_idle_connection_makes_room_in_seconds(run: Run) -> None:
    async def test() -> None:
        async with served() as one, one.connected() as client:
            limit(one, 1)
            assert await told(client) == ""
            async with one.connected() as waiting:
                waiting.send(get("/healthz"))
                assert SHORT_KEEP_ALIVE_S <= await until_it_made_room(one, client) < 2 * SHORT_KEEP_ALIVE_S
                assert (await waiting.answer()).status == 200

    run(test())


def test_so_does_one_of_http_2(run: Run) -> None:
    async def test() -> None:
        async with served() as one, http2_client(f"http://127.0.0.1:{one.port}") as client:
            limit(one, 1)
            assert (await client.answer(client.get("/healthz"))).status == 200
            async with one.connected() as waiting:
                waiting.send(get("/healthz"))
                answered = asyncio.get_running_loop().create_task(waiting.answer())
                began = one.clock.now()
                while not answered.done():
                    one.clock.advance(TICK_S)
                    for _ in range(3):
                        await asyncio.sleep(0)
                assert SHORT_KEEP_ALIVE_S <= one.clock.now() - began < KEEP_ALIVE_S
                assert (await answered).status == 200

    run(test())


def test_where_nobody_waits_it_is_kept(run: Run) -> None:
    async def test() -> None:
        async with served() as one, one.connected() as client:
            limit(one, 1)
            assert await told(client) == ""
            just_under_s = KEEP_ALIVE_S - TICK_S
            assert await until_it_made_room(one, client, just_under_s) >= just_under_s
            assert await told(client) == ""

    run(test())


def test_more_places_after_a_reload_are_there_at_the_next_tick(run: Run) -> None:
    async def test() -> None:
        async with served() as one, one.connected() as client:
            limit(one, 1)
            assert await told(client) == ""
            async with one.connected() as waiting:
                waiting.send(get("/healthz"))
                for _ in range(10):
                    await asyncio.sleep(0)
                assert not waiting.has_news
                limit(one, 2)
                one.clock.advance(TICK_S)
                assert (await waiting.answer()).status == 200
            assert not client.is_hung_up

    run(test())
