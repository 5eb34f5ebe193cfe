"""Pouring: each chunk in the call that received it, to whoever wants it, and none lost however it is stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezai.errors import UpstreamTruncated
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
