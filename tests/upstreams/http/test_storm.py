"""Rows P1 and P2: requests given up at any moment, by the thousand. Nothing is left, and the next ones succeed."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from ezai.errors import UpstreamError
from ezai.ports import UpstreamRequest
from ezai.upstreams.http import Egress, HttpClient, Limits
from ezai.upstreams.http.addresses import Address
from tests.upstreams.http.certificates import Certificates
from tests.upstreams.http.conftest import Run
from tests.upstreams.http.fakes import FakeClock
from tests.upstreams.http.leftovers import REQUEST, TIMEOUTS, nothing_left
from tests.upstreams.http.scripted import (
    CHUNKED,
    EOF,
    HOLD,
    NAME,
    OK,
    RESET,
    Script,
    ScriptedServer,
    scripted_proxy,
    scripted_server,
    until,
)

STREAMED: Script = [CHUNKED + b"2\r\nok\r\n", b"2\r\nok\r\n", b"0\r\n\r\n"]
GOOD: list[Script] = [OK, STREAMED]
HELD: Script = [CHUNKED + b"2\r\nok\r\n", HOLD]
ANY: list[Script] = [OK, OK, STREAMED, HELD, [b"HTTP/1.1 200 OK\r\n", HOLD], [HOLD], [EOF], [RESET]]
BIG = b"b" * 8 * 1024 * 1024  # more than the kernel's buffers take

STAGES = {  # by the function of ours that a request waits in, the outer ones first
    "_reach": "connect",
    "look_up": "name",
    "ask": "proxy",
    "_secure": "handshake",
    "context": "context",
    "wait_for_head": "head",
    "__anext__": "body",
    "pour": "poured body",
}


class Storm:
    """Requests of one client, given up at moments that the dice choose; `stages` counts where they were then."""

    def __init__(self, client: HttpClient, seed: int) -> None:
        self._client = client
        self._dice = random.Random(seed)
        self._big_share = 0.0
        self.stages: Counter[str] = Counter()

    async def run(self, requests: int, *, at_once: int, given_up: float, steps: int) -> None:
        """Ask so many times; each request that is to be given up is cancelled after up to `steps` of the loop."""
        self._big_share = min(0.05, 60 / requests)
        numbers = iter(range(requests))
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(self._work(numbers, given_up, steps))

    async def _work(self, numbers: Iterator[int], given_up: float, steps: int) -> None:
        for _ in numbers:
            is_big = self._dice.random() < self._big_share
            body = BIG if is_big else b"b" * self._dice.choice([2, 2, 2, 100_000])
            asking = asyncio.get_running_loop().create_task(self._ask(body))
            if self._dice.random() < given_up:
                if is_big:  # it is begun late and sent in a few steps: chance alone would seldom meet it there
                    await self._until_sending(asking)
                await self._give_up(asking, self._dice.randrange(3 if is_big else steps))
            await asyncio.wait([asking])
            if not asking.cancelled() and (error := asking.exception()) is not None:
                assert isinstance(error, UpstreamError)

    async def _ask(self, body: bytes) -> None:
        dice = self._dice
        exchange = await self._client.open(UpstreamRequest("POST", "/v1/messages", [], body), TIMEOUTS)
        try:
            if dice.random() < 0.5:  # as streams are read
                while await exchange.pour(lambda _: dice.random() >= 0.1) and dice.random() < 0.5:
                    exchange.hold()
            else:
                async for _ in exchange.chunks():
                    if dice.random() < 0.1:
                        break
            if dice.random() < 0.5:
                exchange.release()
        finally:
            await exchange.aclose()

    async def _until_sending(self, asking: asyncio.Task[None]) -> None:
        for _ in range(100):
            if self._stage_of(asking) in {"sending", "over"}:
                return
            await asyncio.sleep(0)

    async def _give_up(self, asking: asyncio.Task[None], steps: int) -> None:
        for _ in range(steps):
            await asyncio.sleep(0)
        self.stages[self._stage_of(asking)] += 1
        asking.cancel()
        if self._dice.random() < 0.5:
            for _ in range(self._dice.randrange(2)):
                await asyncio.sleep(0)
            asking.cancel()

    def _stage_of(self, asking: asyncio.Task[None]) -> str:
        if asking.done():
            return "over"
        stage = "begin"
        waits: Any = asking.get_coro()
        while waits is not None:
            stage = STAGES.get(getattr(waits, "__name__", ""), stage)
            waits = getattr(waits, "cr_await", None)
        if stage == "head" and not all(connection._is_all_sent() for connection in self._client._pool._open):
            return "sending"
        return stage


@asynccontextmanager
async def upstream(
    way: str, scripts: Sequence[Script], clock: FakeClock, certificates: Certificates, *, pool_size: int
) -> AsyncIterator[tuple[ScriptedServer, HttpClient]]:
    """A server that is reached in one way and plays any of the scripts, and a client whose pool keeps so many."""
    dice = random.Random(1)
    secure = way != "plain"
    async with scripted_server(tls=certificates.good if secure else None) as server, scripted_proxy(server) as proxy:
        server.otherwise = lambda: dice.choice(scripts)

        async def look_up(host: str, port: int) -> list[Address]:
            await asyncio.sleep(0)
            return [proxy.address if way == "proxied" else server.address]

        client = HttpClient(
            f"https://{NAME}" if secure else f"http://{NAME}",
            clock,
            egress=Egress(certificates.ca_file if secure else "", "http://proxy.test" if way == "proxied" else "none"),
            limits=Limits(idle_limit=pool_size),
            resolve=look_up,
        )
        async with nothing_left(server, client):
            yield server, client
        await proxy.until(lambda: proxy.open_count == 0)


POOL = 4
CROWD = 50
FULL = [("tls", 24), ("proxied", 32)]
REACHED = {
    "plain": {"begin", "name", "connect", "sending", "head", "body", "poured body", "over"},
    "tls": {"begin", "name", "connect", "handshake", "sending", "head", "body", "poured body", "over"},
    "proxied": {"begin", "name", "connect", "proxy", "handshake", "sending", "head", "body", "poured body", "over"},
}
WAYS = [
    ("plain", 10_000, 16),
    ("tls", 250, 24),
    ("proxied", 150, 32),
    *(pytest.param(way, 10_000, steps, marks=[pytest.mark.full, pytest.mark.timeout(900)]) for way, steps in FULL),
]


@pytest.mark.usefixtures("_empty_store")
@pytest.mark.parametrize(("way", "requests", "steps"), WAYS)
def test_p1_requests_given_up_at_any_moment_leave_nothing(
    run: Run, clock: FakeClock, certificates: Certificates, way: str, requests: int, steps: int
) -> None:
    async def main() -> None:
        async with upstream(way, ANY, clock, certificates, pool_size=POOL) as (server, client):
            storm = Storm(client, seed=2)
            await storm.run(requests, at_once=POOL, given_up=1.0, steps=steps)
            for _ in range(10):  # a stage that the dice left out
                if not REACHED[way] <= set(storm.stages):
                    await storm.run(100, at_once=POOL, given_up=1.0, steps=steps)
            assert REACHED[way] <= set(storm.stages)
            await server.until(lambda: server.open_count == client.open_count)

    run(main())


@pytest.mark.usefixtures("_empty_store")
@pytest.mark.parametrize(
    ("way", "requests"),
    [("plain", 200), ("tls", 60), pytest.param("tls", 3_000, marks=[pytest.mark.full, pytest.mark.timeout(900)])],
)
def test_p2_where_a_fifth_is_given_up_as_many_connections_live_as_clients(
    run: Run, clock: FakeClock, certificates: Certificates, way: str, requests: int
) -> None:
    async def main() -> None:
        async with upstream(way, GOOD, clock, certificates, pool_size=CROWD) as (server, client):
            good, server.otherwise = server.otherwise, lambda: HELD
            running = [await client.open(REQUEST, TIMEOUTS) for _ in range(10)]
            server.otherwise = good
            storm = Storm(client, seed=3)
            for _ in range(3):
                await storm.run(requests, at_once=CROWD, given_up=0.2, steps=24)
                await server.until(lambda: server.open_count == client.open_count)
                await until(lambda: client.open_count - client.idle_count == len(running))
            for exchange in running:
                await exchange.aclose()

    run(main())
