"""Pouring: each chunk in the call that received it, to whoever wants it, and none lost however it is stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezai.errors import UpstreamError, UpstreamMalformed, UpstreamTruncated
from ezai.upstreams.http.exchange import HttpExchange
from tests.upstreams.http.conftest import Run
from tests.upstreams.http.test_connection import CHUNKED, END, Bench, chunk


class Sink:
    """Takes chunks, and has enough at each of `enough` (counted from 1)."""

    def __init__(self, *enough: int) -> None:
        self.got: list[bytes] = []
        self._enough = enough

    def __call__(self, chunk: bytes) -> bool:
        self.got.append(chunk)
        return len(self.got) not in self._enough


def test_a_chunk_is_given_in_the_call_that_received_it(run: Run) -> None:
    async def main() -> None:
        bench, sink = Bench(), Sink()
        exchange = await bench.open(CHUNKED + chunk(b"early"))
        async with asyncio.TaskGroup() as group:
            pouring = group.create_task(exchange.pour(sink))
            await asyncio.sleep(0)
            assert sink.got == [b"early"]
            for piece in (b"one", b"two"):
                bench.feed(chunk(piece))
                assert sink.got[-1] == piece  # and no task has run
            bench.feed(chunk(b"last") + END)
            assert sink.got[-1] == b"last"
        assert pouring.result() is False
        assert await exchange.pour(sink) is False
        assert sink.got == [b"early", b"one", b"two", b"last"]

    run(main())


@pytest.mark.parametrize("buffered", [True, False])
def test_a_sink_that_has_enough_gets_no_more(run: Run, buffered: bool) -> None:
    async def main() -> None:
        bench, sink = Bench(), Sink(1)
        exchange = await bench.open(CHUNKED)
        if buffered:
            bench.feed(chunk(b"one"))
        async with asyncio.TaskGroup() as group:
            pouring = group.create_task(exchange.pour(sink))
            await asyncio.sleep(0)
            if not buffered:
                bench.feed(chunk(b"one"))
            bench.feed(chunk(b"two"))
        assert pouring.result() is True
        assert sink.got == [b"one"]
        assert await anext(exchange.chunks()) == b"two"

    run(main())


def test_the_end_behind_the_last_wanted_chunk_is_told_the_next_time(run: Run) -> None:
    async def main() -> None:
        bench, sink = Bench(), Sink(1)
        exchange = await bench.open(CHUNKED)
        async with asyncio.TaskGroup() as group:
            pouring = group.create_task(exchange.pour(sink))
            await asyncio.sleep(0)
            bench.feed(chunk(b"one") + END)
        assert pouring.result() is True
        assert await exchange.pour(sink) is False

    run(main())


@pytest.mark.parametrize("first", ["bytes", "cancel"])
def test_after_a_cancellation_nothing_is_given_and_nothing_lost(run: Run, first: str) -> None:
    """The bytes come in the very step in which the wait is cancelled: before it they are the sink's, after it not."""

    async def main() -> None:
        bench, sink = Bench(), Sink()
        exchange = await bench.open(CHUNKED)
        waiting = asyncio.get_running_loop().create_task(exchange.pour(sink))
        await asyncio.sleep(0)
        steps: list[Callable[[], object]] = [lambda: bench.feed(chunk(b"one")), waiting.cancel]
        for step in steps if first == "bytes" else reversed(steps):
            step()
        await asyncio.wait({waiting})
        assert waiting.cancelled()
        bench.feed(chunk(b"two"))
        assert sink.got == ([b"one"] if first == "bytes" else [])
        assert await anext(exchange.chunks()) == (b"two" if first == "bytes" else b"onetwo")

    run(main())


def test_what_the_sink_raises_comes_out_of_pouring(run: Run) -> None:
    """And not into the transport, which would close the connection without a word."""

    def broken(_chunk: bytes) -> bool:
        raise ZeroDivisionError

    async def main() -> None:
        bench = Bench()
        exchange = await bench.open(CHUNKED)
        waiting = asyncio.get_running_loop().create_task(exchange.pour(broken))
        await asyncio.sleep(0)
        bench.feed(chunk(b"one"))
        with pytest.raises(ZeroDivisionError):
            await waiting

    run(main())


def test_a_break_is_told_after_the_chunks_before_it(run: Run) -> None:
    async def main() -> None:
        bench, sink = Bench(), Sink()
        exchange = await bench.open(CHUNKED)
        waiting = asyncio.get_running_loop().create_task(exchange.pour(sink))
        await asyncio.sleep(0)
        bench.feed(chunk(b"one"))
        bench.lose()
        with pytest.raises(UpstreamTruncated):
            await waiting
        assert sink.got == [b"one"]

    run(main())


def test_pouring_keeps_no_socket_paused(run: Run) -> None:
    """What had filled the buffer is taken out of it, and reading goes on."""

    async def main() -> None:
        bench, sink = Bench(), Sink()
        exchange = await bench.open(CHUNKED)
        bench.feed(chunk(b"x" * 70_000))
        assert bench.transport.calls == ["pause"]
        waiting = asyncio.get_running_loop().create_task(exchange.pour(sink))
        await asyncio.sleep(0)
        bench.feed(chunk(b"y" * 70_000))  # given on at once: it fills nothing
        assert bench.transport.calls == ["pause", "resume"]
        bench.feed(END)
        assert await waiting is False
        assert [len(got) for got in sink.got] == [70_000, 70_000]

    run(main())


@given(
    cuts=st.lists(st.integers(1, 40), max_size=30),
    enough=st.sets(st.integers(1, 12)),
    cancelled=st.sets(st.integers(0, 30)),
)
def test_however_it_is_cut_and_stopped_every_byte_comes_once(
    cuts: list[int], enough: set[int], cancelled: set[int]
) -> None:
    body = bytes(range(200))
    wire = chunk(body[:50]) + chunk(body[50:51]) + chunk(body[51:]) + END

    async def main() -> list[bytes]:
        bench, sink = Bench(), Sink(*enough)
        exchange = await bench.open(CHUNKED)
        loop = asyncio.get_running_loop()
        rest, waiting = wire, loop.create_task(exchange.pour(sink))
        for number, cut in enumerate([*cuts, len(wire)]):
            if number in cancelled:
                waiting.cancel()
            if rest[:cut]:
                bench.feed(rest[:cut])
            rest = rest[cut:]
            await asyncio.sleep(0)
            if waiting.done() and (waiting.cancelled() or waiting.result()):
                waiting = loop.create_task(exchange.pour(sink))
                await asyncio.sleep(0)
        while waiting.cancelled() or await waiting:
            waiting = loop.create_task(exchange.pour(sink))
        return sink.got

    assert b"".join(asyncio.run(main())) == body


# What is read while somebody pours has a path of its own: it has to end as iterating does, whatever comes.

CLOSING = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
SIX = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n"
UNFRAMED = b"HTTP/1.1 200 OK\r\n\r\n"
EXTENSION = b";" + b"x" * 40_000


class Seen(NamedTuple):
    """All that a reader, the owner and the transport are told of one answer."""

    body: bytes
    error: type[BaseException] | None
    told: list[str]
    calls: list[str]
    is_complete: bool
    is_reusable: bool


async def outcome(way: str, head: bytes, pieces: Sequence[bytes]) -> Seen:
    """What becomes of an answer that comes in these pieces, and ends by a reset where it has not ended before."""
    bench, sink = Bench(), Sink()
    exchange = await bench.open(head)
    reading = asyncio.get_running_loop().create_task(_into(sink, way, exchange))
    await asyncio.sleep(0)
    for piece in pieces:
        if "abort" not in bench.transport.calls:
            bench.feed(piece)
        await asyncio.sleep(0)
    if not reading.done():
        bench.lose()
    error = await reading
    reader = exchange._reader
    return Seen(b"".join(sink.got), error, bench.told, bench.transport.calls, reader.complete, reader.reusable)


async def _into(sink: Sink, way: str, exchange: HttpExchange) -> type[BaseException] | None:
    try:
        if way == "pouring":
            await exchange.pour(sink)
        else:
            async for piece in exchange.chunks():
                sink(piece)
    except UpstreamError as error:
        return type(error)
    return None


async def both(head: bytes, pieces: Sequence[bytes]) -> Seen:
    """The same, whichever way it is read."""
    poured = await outcome("pouring", head, pieces)
    assert poured == await outcome("iterating", head, pieces)
    return poured


@pytest.mark.parametrize(
    ("head", "pieces", "body", "error"),
    [
        (CHUNKED, [chunk(b"ok"), b"not a size\r\n"], b"ok", UpstreamMalformed),
        (CHUNKED, [chunk(b"ok") + b"not a size\r\n"], b"ok", UpstreamMalformed),
        (CHUNKED, [b"2" + EXTENSION, b"x" * 30_000], b"", UpstreamMalformed),
        (CHUNKED, [b"2" + EXTENSION + b"\r\n", b"ok\r\n", b"2" + EXTENSION + b"\r\n", b"ok\r\n", END], b"okok", None),
        (CHUNKED, [chunk(b"ok")], b"ok", UpstreamTruncated),
        (CHUNKED, [chunk(b"ok"), END, b"x"], b"ok", None),
        (CHUNKED, [chunk(b"ok") + END + b"x"], b"ok", None),
        (SIX, [b"123", b"456"], b"123456", None),
        (SIX, [b"123", b"4567"], b"123456", None),
    ],
)
def test_a_fault_is_found_as_in_iterating(
    run: Run, head: bytes, pieces: list[bytes], body: bytes, error: type[BaseException] | None
) -> None:
    async def main() -> None:
        seen = await both(head, pieces)
        assert (seen.body, seen.error) == (body, error)

    run(main())


@pytest.mark.parametrize("pieces", [[chunk(b"ok") + END], [chunk(b"ok"), END]])
def test_the_last_answer_of_a_connection_closes_it_at_once(run: Run, pieces: list[bytes]) -> None:
    async def main() -> None:
        seen = await both(CLOSING, pieces)
        assert seen[:4] == (b"ok", None, ["closing"], ["abort"])

    run(main())


@given(
    st.sampled_from([CHUNKED, CLOSING, SIX, UNFRAMED]),
    st.lists(
        st.sampled_from(
            [
                chunk(b"ab"),
                chunk(b"cd") + chunk(b"e"),
                b"2;ext\r\n",
                b"ok",
                b"\r\n",
                b"0\r\n",
                END,
                b"junk\r\n",
                b"x" * 9,
                b"1" + EXTENSION,
            ]
        ),
        max_size=8,
    ),
)
def test_whatever_comes_it_ends_as_iterating_does(head: bytes, pieces: list[bytes]) -> None:
    asyncio.run(both(head, pieces))


def test_what_comes_after_another_task_has_released_it_is_thrown_away(run: Run) -> None:
    async def main() -> None:
        bench, sink = Bench(), Sink()
        exchange = await bench.open(CHUNKED)
        pouring = asyncio.get_running_loop().create_task(exchange.pour(sink))
        await asyncio.sleep(0)
        exchange.release()
        bench.feed(chunk(b"late") + END)
        assert sink.got == []
        assert bench.told == ["idle"]
        assert exchange._linger_timer is not None
        assert exchange._linger_timer.cancelled()
        pouring.cancel()
        await asyncio.wait({pouring})

    run(main())
