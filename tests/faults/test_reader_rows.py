"""Rows C3, C4, C5 and C16 of the fault table: readers that are slow, readers that have stopped, and too many of them.

That a slow one is sent everything at its own pace, and the moment at which one that has stopped is cut, are played on a
clock that is a hand: tests/server/test_slow_readers.py; over HTTP/2: tests/server/http2/test_rows.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from ezai.config import LimitsConfig
from ezai.lab.mock import Ended
from ezai.protocol.sse import SseDecoder
from tests.faults.operated import Operated, finished, operate, rests
from tests.faults.rows import FINISHED, LEFT, Row, Rows, legal_events
from tests.raw_client import RawClient, raw_client, request
from tests.server.test_edge import STREAMED, get
from tests.upstreams.http.scripted import until

KIB, MIB = 1024, 1024 * 1024
SMALL_BUFFER_BYTES = 4 * KIB
TOKEN_BYTES = 16 * KIB
TOKENS, TOKENS_OF_THE_ROW = 1_536, 3_200
"""24 MiB, more than all buffers between the mock and a client hold; and the row's 50 MiB."""
IN_BETWEEN_BYTES = 16 * MIB
"""What all of them hold: for each of two connections up to 4 MiB at the sender (`tcp_wmem`), less at the reader, and
ours.
"""
STALLED = "reader_stalled"
LIMITS = LimitsConfig(queue_kib=64)


@asynccontextmanager
async def stopped_reader(row: Row, tokens: int = TOKENS) -> AsyncIterator[RawClient]:
    """A client that has the head of its answer, and reads no more."""
    row.mock.behave(f"tokens={tokens},token_bytes={TOKEN_BYTES}")
    async with raw_client(row.url, receive_buffer_bytes=SMALL_BUFFER_BYTES) as client:
        client.send(request(stream=True, max_tokens=tokens))
        await client.head()
        client.stop_reading()
        yield client


async def blocked(row: Row) -> int:
    """How many bytes of its last answer the mock has got rid of, once it can get rid of no more."""
    still, written = 0, -1
    while still < 2_000:
        before, written = written, row.record.written_bytes
        still = still + 1 if written == before else 0
        await asyncio.sleep(0)
    return written


# C3: a slow reader.


@pytest.mark.parametrize("tokens", [TOKENS, pytest.param(TOKENS_OF_THE_ROW, marks=pytest.mark.full)])
def test_c3_a_slow_reader_gets_all_of_it_and_its_upstream_waits(tokens: int, rows: Rows) -> None:
    async def test(row: Row) -> None:
        async with stopped_reader(row, tokens) as client:
            first = await blocked(row)
            assert first < IN_BETWEEN_BYTES < tokens * TOKEN_BYTES, "the rest is still the upstream's"
            decoder, frames, received = SseDecoder(), list[bytes](), 0
            client.read_again()
            while part := await client.chunk():
                frames += decoder.feed(part)
                received += len(part)
                assert row.record.written_bytes < received + IN_BETWEEN_BYTES, "never more than that ahead of it"
            events = legal_events(b"".join(frames))
        words = [event.payload["delta"]["text"].split()[0] for event in events if event.kind == "content_block_delta"]
        assert words == [str(number) for number in range(tokens)], "nothing lost, doubled or out of order"
        row.ends(FINISHED)
        await row.serves()

    rows.play(test, limits=LIMITS)


# C4: a reader that has stopped.


def test_c4_a_reader_that_has_stopped_is_cut_and_its_upstream_stopped(rows: Rows) -> None:
    async def test(row: Row) -> None:
        async with stopped_reader(row) as client:
            await row.registry.wait_empty()
            row.ends(STALLED)
            await row.upstream_is_let_go()
            assert row.record.ended in {Ended.PEER_CLOSED, Ended.PEER_RESET}
            assert row.record.written_bytes < IN_BETWEEN_BYTES
            (attempt,) = await row.attempts()
            assert attempt["output_tokens"] > 0, "used as far as it went"
            assert attempt["usage_source"] == "estimated"
            client.read_again()
            assert not (await client.rest()).endswith(b"0\r\n\r\n"), "what was cut never looks finished"
        await row.serves()

    rows.play(test, limits=LimitsConfig(queue_kib=64, reader_stall=0.5))


# C5: many of them, and others beside.


def test_c5_stopped_readers_stop_nobody_else(rows: Rows) -> None:
    count = 20

    async def test(row: Row) -> None:
        async with AsyncExitStack() as stack:
            for _ in range(count):
                await stack.enter_async_context(stopped_reader(row))
            await blocked(row)
            stopped = list(row.mock.journal.requests)
            row.mock.behave("tokens=200,rate=1000")
            told = await asyncio.gather(*(row.ask(max_tokens=200) for _ in range(count)))
            assert all(len(answer.text.split()) == 200 for answer in told)
            assert all(record.ended is Ended.OPEN for record in stopped), "nobody was cut for it"
            assert all(record.written_bytes < IN_BETWEEN_BYTES for record in stopped)
        row.ends(*[LEFT] * count, *[FINISHED] * count)
        await row.registry.wait_empty()
        await row.serves()

    rows.play(test, limits=LIMITS)


# C16: too many.

SERVED, CONNECTIONS = 2_000, 4_000
"""The defaults of `streams` and `connections`."""
FLOOD = 5_000


SIZES = [
    (20, 40, 50),
    pytest.param(SERVED, CONNECTIONS, FLOOD, marks=[pytest.mark.full, pytest.mark.timeout(300)]),
]


async def flood(gateway: Operated, count: int) -> list[RawClient]:
    """So many clients at once, each of which asks for a stream."""
    clients = [await gateway.client() for _ in range(count)]
    for client in clients:
        client.send(STREAMED)
    return clients


async def told(clients: list[RawClient], served: int) -> list[RawClient]:
    """As many as may be are served, all others told so; returns the served ones, in the middle of their streams."""
    running = []
    for client in clients:
        status, headers = await client.head()
        if status == 200:
            running.append(client)
            continue
        body = await client.exactly(int(headers["content-length"]))
        assert (status, int(headers["retry-after"]) in range(1, 6)) == (529, True)
        assert b'"overloaded_error"' in body
        client.close()
    assert len(running) == served
    return running


@pytest.mark.parametrize(("served", "connections", "count"), SIZES)
def test_c16_as_many_as_may_be_are_served_and_all_others_told_so(
    served: int, connections: int, count: int, wire: str, tmp_path: Path
) -> None:
    """Those above `streams` at once, and those above `connections` as soon as these have gone. Then there is room."""

    async def test(gateway: Operated) -> None:
        for _ in range(2):
            running = await told(await flood(gateway, count), served)
            gateway.let_go()
            assert all(map(finished, await rests(running)))
            for client in running:
                client.close()
        assert await gateway.causes() == {"finished": 2 * served}, "a refusal leaves no record"

    operate(test, tmp_path, wire=wire, limits=f"streams = {served}\nconnections = {connections}")


@pytest.mark.parametrize(("served", "connections", "count"), SIZES)
def test_c16_those_above_connections_wait_and_are_told_once_others_have_gone(
    served: int, connections: int, count: int, wire: str, tmp_path: Path
) -> None:
    """Connections that are open and ask for nothing hold their places, until these are wanted."""

    async def test(gateway: Operated) -> None:
        running = await gateway.streams(served)
        idle = [await gateway.client() for _ in range(connections - served)]
        for client in idle:
            await asks_for_health(client)
        waiting = await flood(gateway, count - connections)
        while "connection" not in await asks_for_health(idle[0]):
            assert not any(client.has_news for client in waiting)
        for client in idle[1:]:
            client.close()
        assert await told(waiting, 0) == []
        gateway.let_go()
        assert all(map(finished, await rests(running)))
        again = await gateway.streams(served)
        gateway.let_go()
        assert all(map(finished, await rests(again)))

    operate(test, tmp_path, wire=wire, limits=f"streams = {served}\nconnections = {connections}")


async def asks_for_health(client: RawClient) -> dict[str, str]:
    """The header of the answer."""
    client.send(get("/healthz"))
    answer = await client.answer()
    assert answer.status == 200
    return answer.headers


def test_c16_where_there_are_as_many_streams_as_connections_the_others_have_their_turns(
    wire: str, tmp_path: Path
) -> None:
    """The first are served, the others wait, and as soon as one has gone the next is."""
    at_once, count = 5, 20

    async def test(gateway: Operated) -> None:
        begun: list[RawClient] = []

        async def turn() -> bytes:
            client = await gateway.client()
            client.send(STREAMED)
            await client.until(b'"Half"')
            begun.append(client)
            rest = await client.rest_or_cut()
            client.close()
            return rest

        async with asyncio.TaskGroup() as group:
            turns = [group.create_task(turn()) for _ in range(count)]
            for gone in range(0, count, at_once):
                await until(lambda gone=gone: len(begun) == gone + at_once)  # type: ignore[misc]
                gateway.let_go()
        assert all(finished(one.result()) for one in turns)

    operate(test, tmp_path, wire=wire, limits=f"streams = {at_once}\nconnections = {at_once}")
