"""The load generator finds exactly what a fault does, and measures what came."""

from __future__ import annotations

import asyncio
import resource
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezai.errors import SetupError
from ezai.lab.load import LoadPlan, LoadResult, Spread, run_load
from ezai.lab.load.sequence import Sequence
from ezai.lab.load.stream import StreamEnd, StreamResult
from ezai.lab.mock import black_hole, closed_port, mock_upstream
from ezai.lab.mock.server import Tls
from tests.lab.conftest import Run

CERTIFICATES = Path(__file__).parent / "certificates"


async def loaded(url: str, behaviour: str = "", **given: Any) -> LoadResult:
    """A short load of four streams, two at a time."""
    model = "mock-" + ",".join(filter(None, ("tokens=5", behaviour)))
    plan: dict[str, Any] = {"url": url, "model": model, "concurrency": 2, "streams": 4, **given}
    if plan.get("rate"):
        plan["concurrency"] = 0
    return await run_load(LoadPlan(**plan))


@pytest.mark.parametrize("wire", ["anthropic", "openai"])
@pytest.mark.parametrize("is_streamed", [True, False])
def test_a_whole_load_is_clean(run: Run, wire: Any, is_streamed: bool) -> None:
    async def main() -> None:
        async with mock_upstream() as mock:
            result = await loaded(mock.url, wire=wire, is_streamed=is_streamed)
            assert result.is_clean
            assert result.ended == {"whole": 4}
            assert (result.tokens, result.lost, result.foreign, result.unnumbered) == (20, 0, 0, 0)
            assert [stream.output_tokens for stream in result.streams] == [5] * 4
            assert result.first_token.count == 4
            assert result.gap.count == (16 if is_streamed else 0)
            assert len(mock.journal.connections) == 2  # kept and used again
            # Two at a time: which of the two reaches the upstream first is nobody's promise.
            for number in range(4):
                word = bytes(f"[stream s{number}]", "ascii")
                assert sum(word in record.body for record in mock.journal.requests) == 1

    run(main())


def test_arrivals_come_at_a_rate_whatever_becomes_of_the_others(run: Run) -> None:
    async def main() -> None:
        async with mock_upstream("tokens=5,stall_after=3") as mock:
            load = asyncio.ensure_future(loaded(mock.url, rate=1000.0, streams=10))
            await mock.journal.until(lambda: sum(record.is_holding for record in mock.journal.requests) == 10)
            mock.release()
            result = await load
            assert result.is_clean
            assert (result.started, len(mock.journal.connections)) == (10, 10)

    run(main())


def test_more_than_the_limit_is_shed(run: Run) -> None:
    async def main() -> None:
        async with mock_upstream() as mock:
            result = await loaded(mock.url, "stall_after=2", rate=1000.0, streams=10, open_limit=3, timeout_s=0.01)
            assert result.shed + result.started == 10
            assert result.shed > 0
            assert not result.is_clean

    run(main())


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        ("drop=5", {"lost": 4}),
        ("drop=8", {"lost": 4}),  # the last one: only known by how many there should be
        ("drop=4", {"lost": 4}),
        ("drop=content_block_delta", {"lost": 4}),
        ("repeat=5", {"doubled": 4}),
        ("swap=5", {"reordered": 4}),
        ("swap=4,drop=6,repeat=8", {"reordered": 4, "lost": 4, "doubled": 4}),
        ("cut_after=5", {"cut_off": 12}),
        ("end_after=5", {"cut_off": 12}),
        ("reset_after=5", {"cut_off": 12}),
        ("drop=4,cut_after=6", {"lost": 4, "cut_off": 8}),
        ("error_after=6", {"cut_off": 8}),
    ],
)
def test_it_finds_exactly_the_losses_that_a_fault_makes(run: Run, fault: str, found: dict[str, int]) -> None:
    async def main() -> None:
        async with mock_upstream() as mock:
            result = await loaded(mock.url, fault)
            expected = {"lost": 0, "cut_off": 0, "doubled": 0, "reordered": 0, "foreign": 0} | found
            assert {name: getattr(result, name) for name in expected} == expected
            assert not result.is_clean

    run(main())


def test_it_finds_the_losses_of_the_one_stream_that_has_them(run: Run) -> None:
    async def main() -> None:
        async with mock_upstream("tokens=5,drop=5,times=1") as mock:
            result = await loaded(mock.url, expected_tokens=5)
            assert sorted(stream.lost for stream in result.streams) == [0, 0, 0, 1]
            assert result.tokens == 19

    run(main())


def test_it_finds_the_text_of_another_stream(run: Run) -> None:
    async def main() -> None:
        async with mock_upstream("text=s0.0 s0.1 s9.2 s0.2 ,tokens=4") as mock:
            result = await loaded(mock.url, concurrency=1, streams=1, expected_tokens=3)
            assert (result.foreign, result.lost, result.tokens) == (1, 0, 3)
            assert not result.is_clean

    run(main())


def test_text_without_numbers_is_no_loss(run: Run) -> None:
    async def main() -> None:
        async with mock_upstream("text=Hello there,tokens=3") as mock:
            result = await loaded(mock.url, model="llama")
            assert result.is_clean
            assert result.unnumbered == 4
            assert "losses cannot be seen" in result.as_table()

    run(main())


@pytest.mark.parametrize(
    ("fault", "ended"),
    [
        ("status=529", "refused 529"),
        ("error_after=0:api_error", "error event api_error"),
        ("error_after=6", "error event overloaded_error"),
        ("end_after=5", "truncated"),
        ("end_in=5", "truncated"),
        ("cut_after=5", "truncated"),
        ("reset_after=5", "reset"),
        ("garbage=5", "malformed event"),
        ("chunk_junk=5", "malformed http"),
        ("no_answer=close", "unanswered"),
        ("no_answer=reset", "unanswered"),
        ("body=html", "truncated"),
        ("stall_after=5", "timeout"),
        ("framing=close", "whole"),
        ("framing=length", "whole"),
        ("slice=7", "whole"),
        ("comments=100,line_end=crlf,unknown_event=4,early_hints=2,keep_alive=close", "whole"),
    ],
)
def test_it_tells_how_streams_ended(run: Run, fault: str, ended: str) -> None:
    async def main() -> None:
        async with mock_upstream() as mock:
            result = await loaded(mock.url, fault, concurrency=4, timeout_s=0.5 if "stall" in fault else 30)
            assert result.ended == {ended: 4}

    run(main())


def test_nobody_there_is_told(run: Run) -> None:
    async def main() -> None:
        with closed_port() as url:
            result = await loaded(url)
            assert result.ended == {"unreachable ConnectionRefusedError": 4}
        with black_hole() as url:
            result = await loaded(url, concurrency=4, timeout_s=0.05)
            assert result.ended == {"unreachable TimeoutError": 4}

    run(main())


def test_a_kept_connection_that_was_closed_is_replaced(run: Run) -> None:
    async def main() -> None:
        async with mock_upstream("tokens=5,keep_alive=race", "tokens=5") as mock:
            result = await loaded(mock.url, concurrency=1)
            assert result.is_clean
            assert [record.raced for record in mock.journal.connections] == [1, 0]

    run(main())


def test_connections_need_not_be_kept(run: Run) -> None:
    async def main() -> None:
        async with mock_upstream() as mock:
            assert (await loaded(mock.url, keeps_connections=False)).is_clean
            assert len(mock.journal.connections) == 4

    run(main())


# Clients that behave otherwise.


def test_clients_may_leave(run: Run) -> None:
    async def main() -> None:
        async with mock_upstream() as mock:
            result = await loaded(mock.url, "endless", leave_after=6)
            assert result.ended == {"left": 4}
            assert [stream.events for stream in result.streams] == [6] * 4
            await mock.journal.quiet()
            assert {record.ended for record in mock.journal.requests} <= {"peer closed", "peer reset"}
            some = await loaded(mock.url, leave_after=6, leave_chance=0.5, streams=20, seed=1)
            again = await loaded(mock.url, leave_after=6, leave_chance=0.5, streams=20, seed=1)
            assert set(some.ended) == {"left", "whole"}
            assert some.ended == again.ended

    run(main())


def test_clients_may_stop_reading(run: Run) -> None:
    async def main() -> None:
        async with mock_upstream() as mock:
            result = await loaded(
                mock.url,
                "endless,token_bytes=1KiB",
                concurrency=4,
                stop_after=3,
                timeout_s=0.5,
                receive_buffer_bytes=4096,
            )
            assert result.ended == {"stopped reading": 4}
            assert all(record.blocked for record in mock.journal.requests)

    run(main())


def test_clients_may_read_slowly(run: Run) -> None:
    async def main() -> None:
        async with mock_upstream() as mock:
            result = await loaded(mock.url, "token_bytes=10KiB", read_bytes_per_s=10e6, receive_buffer_bytes=4096)
            assert result.is_clean

    run(main())


def test_what_a_slow_client_has_not_read_does_not_come(run: Run) -> None:
    async def main() -> None:
        async with mock_upstream() as mock:
            plan = LoadPlan(
                url=mock.url, model="mock-endless,token_bytes=4KiB", concurrency=1, streams=1,
                read_bytes_per_s=40_000, leave_after=6,
            )  # fmt: skip
            assert plan.socket_buffer_bytes == 4096
            (stream,) = (await run_load(plan)).streams
            assert stream.ended is StreamEnd.LEFT
            read = 3 * 4 * 1024  # of the events that it took, those that carry text
            assert read < stream.received_bytes < 1.1 * read + 2 * plan.socket_buffer_bytes  # Linux doubles it

    run(main())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, 0),
        ({"read_bytes_per_s": 1000.0}, 4096),
        ({"read_bytes_per_s": 1e6}, 100_000),
        ({"receive_buffer_bytes": 5000}, 5000),
        ({"read_bytes_per_s": 1e6, "receive_buffer_bytes": 5000}, 5000),
    ],
)
def test_the_buffer_of_a_slow_client_is_small(given: dict[str, Any], expected: int) -> None:
    assert LoadPlan(url="http://localhost", **given).socket_buffer_bytes == expected


def test_it_speaks_tls_and_refuses_what_it_does_not_trust(run: Run) -> None:
    async def main() -> None:
        async with mock_upstream(tls=Tls(CERTIFICATES / "good.pem", CERTIFICATES / "key.pem")) as mock:
            assert (await loaded(mock.url, ca_file=CERTIFICATES / "authority.pem")).is_clean
            untrusting = await loaded(mock.url)
            assert untrusting.ended == {"unreachable SSLCertVerificationError": 4}

    run(main())


# Plans.


@pytest.mark.parametrize(
    ("url", "wire", "target"),
    [
        ("http://h", "anthropic", "/v1/messages"),
        ("http://h/", "openai", "/v1/chat/completions"),
        ("http://h/v1", "openai", "/v1/chat/completions"),
        ("http://h/base/v1/", "anthropic", "/base/v1/messages"),
        ("http://h/base/v1/messages", "anthropic", "/base/v1/messages"),
    ],
)
def test_a_url_may_be_a_base_or_the_whole(url: str, wire: Any, target: str) -> None:
    plan = LoadPlan(url=url, wire=wire)
    assert (plan.host, plan.port, plan.is_tls, plan.target) == ("h", 80, False, target)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"url": "ftp://h", "rate": 1.0, "streams": 1}, "is no URL"),
        ({"url": "http://h", "streams": 1}, "either a rate"),
        ({"url": "http://h", "rate": 1.0, "concurrency": 1, "streams": 1}, "either a rate"),
        ({"url": "http://h", "rate": 1.0}, "has to end"),
        ({"url": "http://[::1", "rate": 1.0, "streams": 1}, "is no URL"),
        ({"url": "http://h:0", "rate": 1.0, "streams": 1}, "is no URL"),
        ({"url": "http://h", "rate": -1.0, "streams": 1}, r"^--rate -1: it has to be above 0\.$"),
        ({"url": "http://h", "concurrency": -1, "streams": 1}, r"^--concurrency -1: it has to be above 0\.$"),
    ],
)
def test_a_plan_that_cannot_be_run_is_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(SetupError, match=told):
        LoadPlan(**given).checked()


@pytest.mark.parametrize(
    ("field", "option", "bad"),
    [
        ("rate", "--rate", [-1.0]),
        ("max_tokens", "--tokens", [0, -1]),
        ("duration_s", "--duration", [-1.0]),
        ("streams", "--streams", [-1]),
        ("timeout_s", "--timeout", [0.0, -1.0]),
        ("leave_after", "--leave-after", [-1]),
        ("leave_chance", "--leave-chance", [-0.5, 1.5]),
        ("read_bytes_per_s", "--read-rate", [-1.0]),
        ("stop_after", "--stop-after", [-1]),
    ],
)
def test_a_number_that_cannot_be_is_refused_by_its_name(field: str, option: str, bad: list[float]) -> None:
    good: dict[str, Any] = {"url": "http://h", "concurrency": 1, "streams": 1, "duration_s": 1.0}
    is_count = isinstance(bad[0], int)
    for number in [*bad, *([] if is_count else [float("nan"), float("inf"), float("-inf")])]:
        with pytest.raises(SetupError, match=rf"^{option} {number:g}: it has to be "):
            LoadPlan(**{**good, field: number}).checked()
    LoadPlan(**good).checked()


def test_words_due_are_known_of_mocks_alone() -> None:
    assert LoadPlan(url="", model="mock").words_due() == 20
    assert LoadPlan(url="", model="mock-tokens=7,rate=3").words_due() == 7
    assert LoadPlan(url="", model="mock-tokens=7", max_tokens=3).words_due() == 3
    assert LoadPlan(url="", model="claude").words_due() is None
    assert LoadPlan(url="", model="mock-no").words_due() is None
    assert LoadPlan(url="", model="claude", expected_tokens=4).words_due() == 4


# Sequences.


@given(st.lists(st.integers(1, 7), max_size=30))
def test_pieces_of_any_size_tell_the_same(sizes: list[int]) -> None:
    text = "".join(f"a-1.{number} " for number in range(12))
    sequence = Sequence("a-1")
    for size in sizes:
        sequence.feed(text[:size])
        text = text[size:]
    sequence.feed(text)
    sequence.close()
    assert (sequence.words, sequence.next, sequence.missing, sequence.garbled) == (12, 12, 0, 0)


@given(st.lists(st.integers(0, 9), max_size=20))
def test_any_order_is_accounted_for(numbers: list[int]) -> None:
    sequence = Sequence("s")
    sequence.feed("".join(f"s.{number} " for number in numbers))
    assert sequence.words == len(set(numbers))
    assert sequence.doubled == len(numbers) - len(set(numbers))
    assert sequence.missing == (max(numbers) + 1 if numbers else 0) - len(set(numbers))


def test_what_is_no_number_of_the_stream_is_garbled() -> None:
    sequence = Sequence("s")
    sequence.feed("s.0 hello s.99999999 s. t.1 s.1")
    sequence.close()
    assert (sequence.words, sequence.garbled, sequence.foreign) == (2, 3, 1)


# Results.


def test_a_spread_is_of_what_there_was() -> None:
    assert Spread.of([]) == Spread()
    assert Spread.of(float(number) for number in range(100, 0, -1)) == Spread(100, 50.0, 99.0, 100.0)
    assert Spread.of([3.0]) == Spread(1, 3.0, 3.0, 3.0)


def test_a_result_is_told_as_json_and_as_a_table(run: Run) -> None:
    async def main() -> None:
        async with mock_upstream() as mock:
            result = await loaded(mock.url, "drop=5")
            told = msgspec.json.decode(result.as_json())
            assert (told["started"], told["lost"], told["ended"]) == (4, 4, {"whole": 4})
            assert set(told["first_token"]) == {"count", "p50_s", "p99_s", "max_s"}
            assert "streams" not in told
            table = result.as_table()
            assert "4 lost" in table
            assert "p99" in table

    run(main())


def test_a_stream_s_result_is_a_value() -> None:
    result = StreamResult("s0")
    assert (result.ended, result.lost, list(result.gaps_s)) == (StreamEnd.RUNNING, 0, [])


def test_a_thousand_streams_at_once_lose_nothing(run: Run) -> None:
    async def main() -> None:
        async with mock_upstream("tokens=5,stall_after=5") as mock:
            load = asyncio.ensure_future(loaded(mock.url, concurrency=1000, streams=1000))
            await mock.journal.until(lambda: mock.journal.open_requests == 1000)
            await mock.journal.until(lambda: all(record.is_holding for record in mock.journal.requests))
            mock.release()
            result = await load
            assert result.is_clean
            assert (result.started, result.tokens) == (1000, 5000)

    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 4096:
        pytest.skip("too few open files are allowed here")
    run(main())
