"""The connection and its exchange over a fake transport: each call and its effect, without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from ezai.errors import UpstreamError, UpstreamMalformed, UpstreamTruncated
from ezai.upstreams.http.connection import SLICE_BYTES, Connection
from ezai.upstreams.http.exchange import HIGH_WATER_BYTES, LINGER_BYTES, HttpExchange, Unanswered
from tests.upstreams.http.conftest import Run
from tests.upstreams.http.fakes import FakeTransport
from tests.upstreams.http.scripted import until

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
END = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@dataclass
class Owner:
    """Implements `ConnectionOwner` by taking notes."""

    told: list[str] = field(default_factory=list)

    def connection_idle(self, connection: Connection, keep_alive_hint_s: int | None) -> None:
        self.told.append("idle" if keep_alive_hint_s is None else f"idle {keep_alive_hint_s}")

    def connection_closing(self, connection: Connection) -> None:
        self.told.append("closing")

    def connection_lost(self, connection: Connection) -> None:
        self.told.append("lost")


class Bench:
    """A connection between an owner and a transport, both of which only take notes."""

    def __init__(self, linger_s: float = 60.0) -> None:
        self.owner = Owner()
        self.transport = FakeTransport()
        self.connection = Connection(self.owner, header_limit_bytes=64 * 1024, linger_s=linger_s)
        self.connection.connection_made(self.transport)
        self.feed = self.connection.data_received

    async def open(self, *answer: bytes, method: str = "POST") -> HttpExchange:
        """Send a request, whose answer comes while it is waited for."""
        for piece in answer:
            asyncio.get_running_loop().call_soon(self.feed, piece)
        return await self.connection.perform(method, b"head", b"body")

    def lose(self, error: Exception | None = None) -> None:
        self.connection.connection_lost(error)

    @property
    def told(self) -> list[str]:
        return self.owner.told


async def read(exchange: HttpExchange) -> list[bytes]:
    return [chunk async for chunk in exchange.chunks()]


# The request.


def test_head_and_body_are_one_write_unless_the_body_is_big(run: Run) -> None:
    async def main() -> None:
        bench = Bench()
        await bench.open(ANSWER)
        assert bench.transport.writes == [b"headbody"]

        bench = Bench()
        asyncio.get_running_loop().call_soon(bench.feed, ANSWER)
        big = b"b" * (64 * 1024 + 1)
        await bench.connection.perform("POST", b"head", big)
        assert bench.transport.writes == [b"head", big]

    run(main())


def test_a_big_body_is_written_a_slice_a_step_and_no_faster_than_it_is_taken(run: Run) -> None:
    async def main() -> None:
        bench = Bench()
        slices = [letter * SLICE_BYTES for letter in (b"a", b"b", b"c", b"d")] + [b"e"]
        written = bench.transport.writes
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(bench.connection.perform("POST", b"head", b"".join(slices)))
            for count in (1, 2):
                await asyncio.sleep(0)
                assert written == [b"head", *slices[:count]]
            bench.connection.pause_writing()
            for _ in range(3):
                await asyncio.sleep(0)
            assert written == [b"head", *slices[:2]]
            bench.connection.resume_writing()
            assert written == [b"head", *slices[:3]]
            for _ in range(3):
                await asyncio.sleep(0)
            assert written == [b"head", *slices]
            bench.feed(ANSWER)
        asking.result().release()
        bench.connection.resume_writing()  # there is nothing to write
        assert written == [b"head", *slices]
        assert bench.told == ["idle"]

    run(main())


@pytest.mark.parametrize("end", ["answered", "cancelled", "lost"])
def test_what_is_not_written_yet_is_dropped_with_the_exchange(run: Run, end: str) -> None:
    async def main() -> None:
        bench = Bench()
        async with asyncio.TaskGroup() as group:
            body = b"b" * 2 * SLICE_BYTES
            asking = group.create_task(_answer_or_error(bench.connection.perform("POST", b"head", body)))
            await asyncio.sleep(0)
            bench.connection.pause_writing()
            if end == "answered":
                bench.feed(ANSWER)
                exchange = await asking
                assert isinstance(exchange, HttpExchange)
                exchange.release()
            elif end == "lost":
                bench.lose()
                assert isinstance(await asking, Unanswered)
            else:
                asking.cancel()
        bench.connection.resume_writing()
        await asyncio.sleep(0)
        assert bench.transport.writes == [b"head", b"b" * SLICE_BYTES]
        assert bench.connection.closing

    run(main())


async def _answer_or_error(asking: Awaitable[HttpExchange]) -> HttpExchange | UpstreamError:
    try:
        return await asking
    except UpstreamError as error:
        return error


# The answer.


def test_what_arrived_is_one_chunk(run: Run) -> None:
    async def main() -> None:
        bench = Bench()
        exchange = await bench.open(CHUNKED + chunk(b"one "))
        bench.feed(chunk(b"two ") + chunk(b"three "))
        bench.feed(chunk(b"four"))
        chunks = exchange.chunks()
        assert await anext(chunks) == b"one two three four"
        bench.feed(chunk(b"five") + END)
        assert await anext(chunks) == b"five"
        with pytest.raises(StopAsyncIteration):
            await anext(chunks)
        with pytest.raises(StopAsyncIteration):
            await anext(chunks)

    run(main())


def test_a_single_piece_is_handed_over_without_a_copy(run: Run) -> None:
    async def main() -> None:
        bench = Bench()
        exchange = await bench.open(CHUNKED)
        bench.feed(chunk(b"a piece"))
        piece = exchange._reader.parts[0]
        assert await anext(exchange.chunks()) is piece

    run(main())


def test_framing_alone_wakes_nobody(run: Run) -> None:
    async def main() -> None:
        bench = Bench()
        exchange = await bench.open(CHUNKED)
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(read(exchange))
            await asyncio.sleep(0)
            waiter = exchange._waiter
            assert waiter is not None
            bench.feed(b"2;extension\r\n")
            assert not waiter.done()
            bench.feed(b"ok")
            assert waiter.done()
            bench.feed(b"\r\n" + END)
        assert reading.result() == [b"ok"]

    run(main())


def test_a_cancelled_wait_loses_no_byte(run: Run) -> None:
    async def main() -> None:
        bench = Bench()
        exchange = await bench.open(CHUNKED)
        chunks = exchange.chunks()
        loop = asyncio.get_running_loop()

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await anext(chunks)
        bench.feed(chunk(b"one"))
        assert await anext(chunks) == b"one"

        # The bytes come in the very step in which the wait is cancelled, before and after it.
        for first, second in (("bytes", "cancel"), ("cancel", "bytes")):
            async with asyncio.TaskGroup() as group:
                waiting = group.create_task(_next(chunks))
                await asyncio.sleep(0)
                steps: dict[str, Callable[[], object]] = {
                    "bytes": lambda: bench.feed(chunk(b"two")),
                    "cancel": waiting.cancel,
                }
                loop.call_soon(steps[first])
                loop.call_soon(steps[second])
            assert waiting.cancelled()
            assert await anext(chunks) == b"two"
        assert "closing" not in bench.told

        bench.feed(END)
        assert await read(exchange) == []

    run(main())


async def _next(chunks: object) -> bytes:
    return await anext(chunks)  # type: ignore[call-overload, no-any-return]  # a coroutine, as a task wants it


def test_two_readers_are_a_defect(run: Run) -> None:
    async def main() -> None:
        bench = Bench()
        exchange = await bench.open(CHUNKED)
        async with asyncio.TaskGroup() as group:
            group.create_task(read(exchange))
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError):
                await anext(exchange.chunks())
            bench.feed(END)

    run(main())


# How an answer breaks.


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"", Unanswered),
        (b"H", UpstreamTruncated),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n", UpstreamTruncated),
        (b"HTTP/1.1 100 Continue\r\n\r\n", UpstreamTruncated),
    ],
)
@pytest.mark.parametrize("reset", [False, True])
def test_an_end_before_the_head(
    run: Run,
    is_for_clients: Callable[[UpstreamError], None],
    answer: bytes,
    kind: type[UpstreamTruncated],
    reset: bool,
) -> None:
    async def main() -> None:
        bench = Bench()
        loop = asyncio.get_running_loop()
        if answer:
            loop.call_soon(bench.feed, answer)
        if reset:
            loop.call_soon(bench.lose, ConnectionResetError())
        else:
            loop.call_soon(bench.connection.eof_received)
        with pytest.raises(UpstreamTruncated) as caught:
            await bench.connection.perform("POST", b"head", b"body")
        assert type(caught.value) is kind
        is_for_clients(caught.value)
        assert bench.connection.closing

    run(main())


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("answer", [CHUNKED + chunk(b"ok"), b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok"])
def test_an_end_before_the_framings_end(
    run: Run, is_for_clients: Callable[[UpstreamError], None], answer: bytes, reset: bool
) -> None:
    async def main() -> None:
        bench = Bench()
        exchange = await bench.open(answer)
        if reset:
            bench.lose(ConnectionResetError())
        else:
            bench.connection.eof_received()
        chunks = exchange.chunks()
        assert await anext(chunks) == b"ok"
        for _ in range(2):
            with pytest.raises(UpstreamTruncated) as caught:
                await anext(chunks)
            is_for_clients(caught.value)
        await exchange.aclose()
        assert "idle" not in bench.told

    run(main())


def test_a_body_until_close_ends_with_a_clean_end_and_not_with_a_reset(run: Run) -> None:
    async def main() -> None:
        bench = Bench()
        exchange = await bench.open(b"HTTP/1.1 200 OK\r\n\r\nok")
        bench.connection.eof_received()
        assert await read(exchange) == [b"ok"]
        await exchange.aclose()
        assert bench.told == ["closing"]

        bench = Bench()
        exchange = await bench.open(b"HTTP/1.1 200 OK\r\n\r\nok")
        bench.lose(ConnectionResetError())
        assert await anext(exchange.chunks()) == b"ok"
        with pytest.raises(UpstreamTruncated):
            await anext(exchange.chunks())

    run(main())


def test_a_fault_in_the_body_comes_after_the_bytes_before_it(
    run: Run, is_for_clients: Callable[[UpstreamError], None]
) -> None:
    async def main() -> None:
        bench = Bench()
        exchange = await bench.open(CHUNKED + chunk(b"ok") + b"not a size\r\n")
        assert bench.told == ["closing"]
        assert await anext(exchange.chunks()) == b"ok"
        with pytest.raises(UpstreamMalformed) as caught:
            await anext(exchange.chunks())
        is_for_clients(caught.value)

    run(main())


@pytest.mark.parametrize(
    "answer",
    [
        b"nonsense",
        b"HTTP/1.1 101 X\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: br\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 201 + b"\r\n",
        b"HTTP/1.1 200 OK\r\na: " + b"b" * 65536,
    ],
)
def test_a_fault_in_the_head(run: Run, is_for_clients: Callable[[UpstreamError], None], answer: bytes) -> None:
    async def main() -> None:
        bench = Bench()
        with pytest.raises(UpstreamMalformed) as caught:
            await bench.open(answer)
        is_for_clients(caught.value)
        assert bench.told == ["closing"]
        assert bench.transport.calls == ["abort"]

    run(main())


# Back-pressure.


def test_reading_pauses_at_the_high_water_mark_and_goes_on_when_the_reader_has_taken(run: Run) -> None:
    async def main() -> None:
        bench = Bench()
        exchange = await bench.open(CHUNKED)
        piece = chunk(b"x" * 1024)
        fed = 0
        while bench.transport.calls == []:
            bench.feed(piece)
            fed += 1024
        assert bench.transport.calls == ["pause"]
        assert HIGH_WATER_BYTES - 2048 < fed <= HIGH_WATER_BYTES
        bench.feed(piece)  # what the transport had read already
        assert bench.transport.calls == ["pause"]
        assert len(await anext(exchange.chunks())) == fed + 1024
        assert bench.transport.calls == ["pause", "resume"]
        bench.feed(piece)
        assert bench.transport.calls == ["pause", "resume"]

    run(main())


@pytest.mark.parametrize("way", ["iterating", "pouring"])
def test_a_held_exchange_is_read_on_when_somebody_reads_again(run: Run, way: str) -> None:
    async def main() -> None:
        bench = Bench()
        exchange = await bench.open(CHUNKED)
        bench.feed(chunk(b"x"))
        assert await anext(exchange.chunks()) == b"x"
        exchange.hold()
        exchange.hold()
        assert bench.transport.calls == ["pause"]
        bench.feed(chunk(b"y"))  # what the transport had read already
        asyncio.get_running_loop().call_soon(bench.feed, chunk(b"z") + END)
        if way == "iterating":
            assert b"".join([part async for part in exchange.chunks()]) == b"yz"
        else:
            got: list[bytes] = []

            def take(part: bytes) -> bool:
                got.append(part)
                return True

            assert not await exchange.pour(take)
            assert b"".join(got) == b"yz"
        assert bench.transport.calls == ["pause", "resume"]
        exchange.hold()
        assert bench.transport.calls == ["pause", "resume"], "nothing more comes of it"

    run(main())


def test_a_head_over_the_high_water_mark_pauses_nothing(run: Run) -> None:
    async def main() -> None:
        owner, transport = Owner(), FakeTransport()
        connection = Connection(owner, header_limit_bytes=10 * HIGH_WATER_BYTES, linger_s=1)
        connection.connection_made(transport)
        loop = asyncio.get_running_loop()
        loop.call_soon(connection.data_received, b"HTTP/1.1 200 OK\r\n")
        for _ in range(4):
            loop.call_soon(connection.data_received, b"a: " + b"b" * HIGH_WATER_BYTES + b"\r\n")
        loop.call_soon(connection.data_received, b"content-length: 0\r\n\r\n")
        await connection.perform("POST", b"", b"")
        assert transport.calls == []

    run(main())


@pytest.mark.parametrize("end", ["release", "aclose"])
def test_an_idle_connection_is_read_even_if_its_exchange_was_paused(run: Run, end: str) -> None:
    async def main() -> None:
        bench = Bench()
        exchange = await bench.open(CHUNKED + chunk(b"x" * HIGH_WATER_BYTES) + END)
        assert bench.transport.calls == ["pause"]
        if end == "release":
            exchange.release()
        else:
            await exchange.aclose()
        assert bench.transport.calls == ["pause", "resume"]
        assert bench.told == ["idle"]

    run(main())


# Ends of an exchange.


@pytest.mark.parametrize("end", ["release", "aclose"])
def test_a_complete_exchange_leaves_an_idle_connection(run: Run, end: str) -> None:
    async def main() -> None:
        bench = Bench()
        for times in (1, 2):
            exchange = await bench.open(ANSWER)
            for _ in range(2):
                if end == "release":
                    exchange.release()
                else:
                    await exchange.aclose()
            assert bench.told == [*["idle"] * times]
        assert bench.transport.calls == []

    run(main())


def test_the_hint_reaches_the_owner(run: Run) -> None:
    async def main() -> None:
        bench = Bench()
        exchange = await bench.open(ANSWER.replace(b"\r\n\r\n", b"\r\nkeep-alive: timeout=5\r\n\r\n"))
        exchange.release()
        assert bench.told == ["idle 5"]

    run(main())


def test_aclose_of_an_unfinished_exchange_closes_at_once(run: Run) -> None:
    async def main() -> None:
        bench = Bench()
        exchange = await bench.open(CHUNKED + chunk(b"ok"))
        await exchange.aclose()
        assert bench.transport.calls == ["abort"]
        await exchange.aclose()
        exchange.release()
        bench.lose()
        await exchange.aclose()
        assert bench.told == ["closing", "lost"]

    run(main())


@pytest.mark.parametrize("late", [b"2\r\nok\r\n", END, END + b"x", b"not a size\r\n"])
def test_what_comes_after_aclose_changes_nothing(run: Run, late: bytes) -> None:
    async def main() -> None:
        bench = Bench()
        exchange = await bench.open(CHUNKED)
        await exchange.aclose()
        bench.feed(late)
        bench.connection.eof_received()
        bench.lose()
        assert bench.told == ["closing", "lost"]
        assert bench.transport.calls == ["abort"]

    run(main())


def test_release_of_a_broken_exchange_changes_nothing(run: Run) -> None:
    async def main() -> None:
        bench = Bench()
        exchange = await bench.open(CHUNKED + chunk(b"x" * HIGH_WATER_BYTES))
        bench.connection.eof_received()
        exchange.release()
        assert exchange._linger_timer is None
        assert bench.told == ["closing"]

    run(main())


def test_reading_after_the_end_of_the_exchange_is_a_defect(run: Run) -> None:
    async def main() -> None:
        bench = Bench()
        exchange = await bench.open(ANSWER)
        exchange.release()
        with pytest.raises(RuntimeError):
            await anext(exchange.chunks())

    run(main())


def test_a_reader_wakes_when_another_task_closes_the_exchange(run: Run) -> None:
    async def main() -> None:
        bench = Bench()
        exchange = await bench.open(CHUNKED)
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(_outcome(exchange))
            await asyncio.sleep(0)
            await exchange.aclose()
            bench.lose()
        assert reading.result() is RuntimeError

    run(main())


async def _outcome(exchange: HttpExchange) -> type[BaseException] | list[bytes]:
    try:
        return await read(exchange)
    except (UpstreamError, RuntimeError) as error:
        return type(error)


def test_release_reads_to_the_end_and_keeps_the_connection(run: Run) -> None:
    async def main() -> None:
        bench = Bench()
        exchange = await bench.open(CHUNKED + chunk(b"ok"))
        exchange.release()
        await exchange.aclose()  # does nothing after a release
        exchange.release()
        assert bench.told == []
        bench.feed(b"2;ext\r\n")
        bench.feed(b"ok\r\n")
        assert exchange._reader.parts == []
        assert bench.told == []
        bench.feed(END)
        assert bench.told == ["idle"]
        assert exchange._linger_timer is not None
        assert exchange._linger_timer.cancelled()
        assert bench.transport.calls == []

    run(main())


def test_release_resumes_a_paused_transport(run: Run) -> None:
    async def main() -> None:
        bench = Bench()
        exchange = await bench.open(CHUNKED + chunk(b"x" * HIGH_WATER_BYTES))
        exchange.release()
        assert bench.transport.calls == ["pause", "resume"]
        bench.feed(END)
        assert bench.told == ["idle"]

    run(main())


def test_release_throws_away_so_much_and_no_more(run: Run) -> None:
    async def main() -> None:
        bench = Bench()
        exchange = await bench.open(b"HTTP/1.1 200 OK\r\ncontent-length: 999999\r\n\r\n")
        exchange.release()
        bench.feed(b"x" * LINGER_BYTES)
        assert bench.told == []
        bench.feed(b"x")
        assert bench.told == ["closing"]
        assert bench.transport.calls == ["abort"]

    run(main())


def test_release_waits_so_long_and_no_longer(run: Run) -> None:
    async def main() -> None:
        bench = Bench(linger_s=0)
        exchange = await bench.open(CHUNKED)
        exchange.release()
        await until(lambda: bench.transport.calls == ["abort"])
        assert bench.told == ["closing"]
        bench.lose()

    run(main())


@pytest.mark.parametrize("fault", [b"not a size\r\n", END + b"x"])
def test_a_fault_after_release_closes(run: Run, fault: bytes) -> None:
    async def main() -> None:
        bench = Bench()
        exchange = await bench.open(CHUNKED)
        exchange.release()
        bench.feed(fault)
        assert bench.told == ["closing"]
        bench.lose()
        assert exchange._linger_timer is not None
        assert exchange._linger_timer.cancelled()

    run(main())


@pytest.mark.parametrize("clean", [False, True])
def test_an_end_after_release_closes(run: Run, clean: bool) -> None:
    async def main() -> None:
        bench = Bench()
        exchange = await bench.open(b"HTTP/1.1 200 OK\r\n\r\nok")
        exchange.release()
        if clean:
            bench.connection.eof_received()
        bench.lose(None if clean else ConnectionResetError())
        assert bench.told[-1] == "lost"
        assert "idle" not in bench.told
        assert exchange._linger_timer is not None
        assert exchange._linger_timer.cancelled()

    run(main())


# When a connection is not used again.


@pytest.mark.parametrize(
    "answer",
    [
        ANSWER.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"),
        ANSWER.replace(b"1.1", b"1.0"),
        ANSWER + b"x",
        ANSWER + ANSWER,
    ],
)
def test_a_connection_closes_as_soon_as_an_answer_is_its_last(run: Run, answer: bytes) -> None:
    async def main() -> None:
        bench = Bench()
        exchange = await bench.open(answer)
        assert bench.told == ["closing"]
        bench.lose()
        assert await read(exchange) == [b"ok"]
        await exchange.aclose()
        assert bench.told == ["closing", "lost"]

    run(main())


def test_data_after_the_answer_closes_also_when_it_comes_later(run: Run) -> None:
    async def main() -> None:
        bench = Bench()
        exchange = await bench.open(ANSWER)
        bench.feed(b"x")
        assert bench.told == ["closing"]
        assert await read(exchange) == [b"ok"]

        bench = Bench()
        exchange = await bench.open(ANSWER)
        exchange.release()
        bench.feed(b"x")
        assert bench.told == ["idle", "closing"]

    run(main())


def test_an_end_of_file_after_the_answer_leaves_it_good(run: Run) -> None:
    async def main() -> None:
        bench = Bench()
        exchange = await bench.open(ANSWER)
        bench.connection.eof_received()
        bench.lose()
        assert await read(exchange) == [b"ok"]
        await exchange.aclose()
        assert bench.told == ["closing", "lost"]

    run(main())


def test_a_connection_whose_request_was_not_sent_to_its_end_is_not_used_again(run: Run) -> None:
    async def main() -> None:
        bench = Bench()
        bench.transport.unsent_bytes = 1
        exchange = await bench.open(ANSWER)
        assert await read(exchange) == [b"ok"]
        exchange.release()
        assert bench.told == ["closing"]

    run(main())


def test_a_head_answer_closes_the_connection(run: Run) -> None:
    async def main() -> None:
        bench = Bench()
        exchange = await bench.open(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", method="HEAD")
        assert await read(exchange) == []
        assert bench.told == ["closing"]

    run(main())


def test_a_cancelled_wait_for_the_head_closes(run: Run) -> None:
    async def main() -> None:
        bench = Bench()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await bench.connection.perform("POST", b"head", b"body")
        assert bench.transport.calls == ["abort"]
        bench.feed(ANSWER)  # too late
        bench.lose()
        assert bench.told == ["closing", "lost"]

    run(main())
