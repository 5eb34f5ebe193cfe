"""Rows C1 and C2 of the fault table: the client leaves, at every moment and in every way.

Nobody is told why, so there are two places that hold the cause: the ledger and the log. A half-closed client is gone,
where the reference says that its stream goes on (design, "Leaving").
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from ezai.config import LimitsConfig
from ezai.lab.mock import Ended, black_hole
from ezai.protocol.sse import SseDecoder
from tests.faults.rows import LEFT, Row, Rows
from tests.raw_client import LEAVES, RawClient, head, raw_client, request

GONE = {Ended.PEER_CLOSED, Ended.PEER_RESET}
EVENTS_FOR = {"anthropic": (0, 1, 2, 3, 4, 5, 6, 7, 8), "openai": (0, 1, 3, 4, 5, 6, 6)}
"""How many events the client gets for so many of the upstream's, of an answer of three tokens."""


async def read_events(client: RawClient, count: int) -> list[bytes]:
    """Exactly so many events of a stream, which is then silent."""
    decoder, frames = SseDecoder(), list[bytes]()
    await client.head()
    while len(frames) < count:
        frames += decoder.feed(await client.chunk())
    assert (len(frames), decoder.close()) == (count, b"")
    return frames


async def is_left(row: Row, delivered_tokens: int = 0) -> None:
    """The upstream was told to stop, and what was delivered is recorded."""
    row.ends(LEFT)
    await row.upstream_is_let_go()
    assert row.record.ended in GONE
    await row.registry.wait_empty()
    attempt = (await row.attempts())[-1]
    assert attempt["output_tokens"] >= delivered_tokens
    await row.serves()


@asynccontextmanager
async def sending(row: Row, data: bytes) -> AsyncIterator[RawClient]:
    """A client that has sent this; gone at the end of the block."""
    async with raw_client(row.url) as client:
        client.send(data)
        yield client


BOUNDARIES = [
    pytest.param(wire, events, id=f"{wire}-{events}")
    for wire, counts in EVENTS_FOR.items()
    for events in range(len(counts))
]


@pytest.mark.parametrize("way", LEAVES)
@pytest.mark.parametrize(("wire", "events"), BOUNDARIES)
def test_c1_c2_leaving_at_each_event_boundary(events: int, way: str, rows: Rows) -> None:
    async def test(row: Row) -> None:
        async with row.asking(f"tokens=3,stall_after={events}") as client:
            await row.mock.journal.accepted()
            await row.mock.journal.until(lambda: row.record.is_holding)
            count = EVENTS_FOR[row.wire][events]
            frames = await read_events(client, count) if count else []
            LEAVES[way](client)
            await is_left(row, delivered_tokens=sum(b"text_delta" in frame for frame in frames))
        first = row.mock.journal.requests[0]
        assert first.events == events

    rows.play(test)


@pytest.mark.parametrize("way", LEAVES)
def test_c1_c2_leaving_inside_an_event(way: str, rows: Rows) -> None:
    async def test(row: Row) -> None:
        async with row.asking("tokens=3,stall_in=4") as client:
            await row.mock.journal.accepted()
            await row.mock.journal.until(lambda: row.record.is_holding)
            await read_events(client, EVENTS_FOR[row.wire][3])
            LEAVES[way](client)
            await is_left(row)

    rows.play(test)


@pytest.mark.parametrize("way", LEAVES)
def test_c1_c2_leaving_before_the_first_byte(way: str, rows: Rows, stream: bool) -> None:
    async def test(row: Row) -> None:
        async with row.asking("no_answer=hold", stream=stream) as client:
            await row.mock.journal.accepted()
            LEAVES[way](client)
            await is_left(row)

    rows.play(test)


@pytest.mark.parametrize("way", LEAVES)
def test_c1_c2_leaving_inside_a_unary_answer(way: str, rows: Rows) -> None:
    async def test(row: Row) -> None:
        async with row.asking(
            "tokens=3,stall_in=1" if row.is_tap else "tokens=3,stall_after=3", stream=False
        ) as client:
            await row.mock.journal.accepted()
            await row.mock.journal.until(lambda: row.record.is_holding)
            LEAVES[way](client)
            await is_left(row)

    rows.play(test)


@pytest.mark.parametrize("way", LEAVES)
def test_c1_c2_leaving_while_the_upstream_is_connected_to(way: str, rows: Rows, stream: bool) -> None:
    async def test(row: Row) -> None:
        async with sending(row, request(stream=stream)) as client:
            while not await row.attempts():  # noqa: ASYNC110  # another thread files them
                await asyncio.sleep(0)
            LEAVES[way](client)
            await row.registry.wait_empty()
        row.ends(LEFT)

    with black_hole() as nobody:
        rows.play(test, at=nobody)


@pytest.mark.parametrize("way", LEAVES)
def test_c1_c2_leaving_between_pings(way: str, rows: Rows) -> None:
    async def test(row: Row) -> None:
        async with row.asking("no_answer=hold") as client:
            assert (await client.head())[0] == 200
            await client.chunk()
            LEAVES[way](client)
            await is_left(row)

    rows.play(test, limits=LimitsConfig(commit_after=0.02, keep_alive=0.02))


@pytest.mark.parametrize("way", LEAVES)
@pytest.mark.parametrize("events", [1, 100])
def test_c1_c2_leaving_while_events_flow(events: int, way: str, rows: Rows) -> None:
    async def test(row: Row) -> None:
        async with row.asking("endless") as client:
            await client.head()
            frames, decoder = list[bytes](), SseDecoder()
            while len(frames) < events:
                frames += decoder.feed(await client.chunk())
            LEAVES[way](client)
            await is_left(row, delivered_tokens=sum(b"text_delta" in frame for frame in frames))

    rows.play(test)


PARTS = {
    "head": head("content-length: 100")[:-2],
    "nothing of the body": head("content-length: 100"),
    "some of the body": request()[:-5],
    "inside a chunk": head("transfer-encoding: chunked") + b'20\r\n{"model"',
    "between chunks": head("transfer-encoding: chunked") + b'8\r\n{"model"\r\n',
}


@pytest.mark.parametrize("way", LEAVES)
@pytest.mark.parametrize("part", PARTS)
def test_c1_c2_leaving_during_its_own_body(part: str, way: str, rows: Rows) -> None:
    """Nothing was admitted: there is no record, and nobody was asked."""

    async def test(row: Row) -> None:
        async with sending(row, PARTS[part]) as client:
            await row.serves()  # what was sent has been read by now
            LEAVES[way](client)
            assert await client.rest() == b""
        await row.serves()
        assert len(row.mock.journal.requests) == len(await row.requests()) == 2

    rows.play(test)
