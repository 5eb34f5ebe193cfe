"""Long and large: the same gateway under hundreds of streams whose clients leave and whose upstreams fail.

EZAI_SOAK_S says how long the soak is, in seconds. The gateway, the mock and the load share the machine's cores, so no
figure of time is held here but one, as a ratio (C5). What they cost is measured by `make bench`.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import uvloop

from benchmarks.lab import TRANSLATED
from benchmarks.machine import raise_file_limit, resident_kib
from benchmarks.processes import Server, gateway, mock
from benchmarks.streams import open_requests
from ezai.config import AnthropicUpstream, Config, OpenAIUpstream, RouteConfig, TargetConfig, TimeoutsConfig
from ezai.lab.load.plan import LoadPlan
from ezai.lab.load.report import LoadResult
from ezai.lab.load.run import run_load
from ezai.lab.load.stream import StreamEnd
from ezai.lab.mock import mock_upstream
from ezai.store.opening import open_store
from ezai.system import SystemClock
from ezai.upstreams.embedded import EmbeddedUpstream
from tests.canary import UPSTREAM_KEY
from tests.conformance.gateway import TICK_S, serving
from tests.store.records import new_database, rows

SOAK_S = float(os.environ.get("EZAI_SOAK_S", "300"))
WARM_S = min(60.0, SOAK_S / 5)
STREAMS = 200
SLOPE_KIB_A_MINUTE = 2 * 1024
IDLE_CONNECTION_S = 60
"""For how long the gateway keeps a connection to an upstream that nobody uses."""
CORES = frozenset(os.sched_getaffinity(0))

FAULTS = (
    "no_answer=reset", "status=529", "error_after=0", "stall_after=0",
    "reset_after=20", "cut_in=20", "garbage=20", "stall_after=20",
)  # fmt: skip
"""Before the first event, where another target answers, and in mid-stream."""
LEAVING, FAULTY = 0.2, 0.05
TOKENS, RATE = 40, 10
TOLD = {StreamEnd.WHOLE, StreamEnd.LEFT, StreamEnd.ERROR_EVENT, StreamEnd.REFUSED}
"""The ends of which a client knows what they were."""

CONFIG = """
[log]
level = "warning"
[[upstreams]]
name = "tapped"
kind = "anthropic"
base_url = "{url}"
timeouts = {{ first_event = {silence_s}, idle = {silence_s} }}
[[upstreams]]
name = "translated"
kind = "openai"
base_url = "{url}/v1"
timeouts = {{ first_event = {silence_s}, idle = {silence_s} }}
[[routes]]
model = "mock*tool_name=translated*"
targets = [{{ upstream = "translated" }}, {{ upstream = "tapped" }}]
[[routes]]
model = "mock*"
targets = [{{ upstream = "tapped" }}, {{ upstream = "translated" }}]
"""


def model(*settings: str, wire: str, tokens: int = TOKENS, rate: float = RATE) -> str:
    """The name that makes the mock behave so, on that wire."""
    return ",".join([f"mock-tokens={tokens}", f"rate={rate}", *settings, *[TRANSLATED] * (wire == "openai")])


def stormy(url: str, key: str, streams_at_a_time: int, duration_s: float = 0.0, streams: int = 0) -> list[LoadPlan]:
    """Loads of all the faults on both wires. Upstreams fail by other dice than clients leave by: with the same ones
    it would be the same streams.
    """
    kinds = [(fault, wire) for fault in FAULTS for wire in ("anthropic", "openai")]
    share, rest = divmod(streams_at_a_time, len(kinds))
    return [
        LoadPlan(
            url=url, credential=key, model=model(fault, f"chance={FAULTY}", f"seed={1000 + place}", wire=wire),
            concurrency=share + (place < rest), duration_s=duration_s, streams=streams // len(kinds),
            leave_after=10, leave_chance=LEAVING, seed=place, timeout_s=60,
        )
        for place, (fault, wire) in enumerate(kinds)
    ]  # fmt: skip


async def all_of(plans: Sequence[LoadPlan]) -> list[LoadResult]:
    return list(await asyncio.gather(*(run_load(plan) for plan in plans)))


def is_as_told(results: Sequence[LoadResult]) -> Counter[str]:
    """How the streams ended: each in a way that its client was told, with nothing lost, doubled, mixed up or left."""
    ends = Counter(str(stream.ended) for result in results for stream in result.streams)
    assert set(ends) <= set(TOLD), ends
    for result in results:
        assert (result.lost, result.doubled, result.reordered, result.foreign, result.shed) == (0, 0, 0, 0, 0)
    assert ends[StreamEnd.WHOLE] > 2 * ends[StreamEnd.LEFT] > 0
    assert ends[StreamEnd.ERROR_EVENT] > 0, "upstreams broke off in mid-stream, and clients were told"
    return ends


# What a process takes.


@dataclass(frozen=True)
class Vitals:
    """Of a process, now."""

    at_s: float
    resident_kib: int
    files: int

    @classmethod
    def of(cls, pid: int) -> Vitals:
        return cls(time.perf_counter(), resident_kib(pid), len(list(Path(f"/proc/{pid}/fd").iterdir())))


def slope_kib_a_minute(vitals: Sequence[Vitals]) -> float:
    """By least squares."""
    minutes = [item.at_s / 60 for item in vitals]
    mean_x, mean_y = sum(minutes) / len(vitals), sum(item.resident_kib for item in vitals) / len(vitals)
    over = sum((x - mean_x) * (item.resident_kib - mean_y) for x, item in zip(minutes, vitals, strict=True))
    return over / sum((x - mean_x) ** 2 for x in minutes)


async def look(pid: int, vitals: list[Vitals]) -> None:
    while True:
        vitals.append(Vitals.of(pid))
        await asyncio.sleep(1)


@contextmanager
def gateway_before_a_mock(folder: Path, more: str = "", silence_s: int = 2) -> Iterator[Server]:
    raise_file_limit()
    with mock(folder, CORES) as upstream:
        config = CONFIG.format(url=upstream.url, silence_s=silence_s) + more
        with gateway(folder / "gateway", config, CORES) as ours:
            yield ours


def run_beside(plans: Sequence[LoadPlan], pid: int) -> tuple[list[LoadResult], list[Vitals]]:
    """Run the loads, and look at the process meanwhile."""
    vitals: list[Vitals] = []

    async def run() -> list[LoadResult]:
        looking = asyncio.get_running_loop().create_task(look(pid, vitals))
        try:
            return await all_of(plans)
        finally:
            looking.cancel()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run()), vitals


def wait_until_quiet(server: Server, files: int) -> Vitals:
    """Return once the process has no more files open than that, or when its idle connections should be closed."""
    until_s = time.perf_counter() + IDLE_CONNECTION_S + 30
    now = Vitals.of(server.pid)
    while now.files > files and now.at_s < until_s:
        time.sleep(0.5)
        now = Vitals.of(server.pid)
    return now


async def rests(server: Server) -> None:
    """Return once the process has had nothing to do for two seconds."""
    before_s = -1.0
    while server.cpu_s() - before_s > 0.1:
        before_s = server.cpu_s()
        await asyncio.sleep(2)


# The soak.


@pytest.mark.full
@pytest.mark.timeout(SOAK_S + 300)
def test_a_soak_of_200_streams_grows_nothing_and_loses_nothing(tmp_path: Path) -> None:
    with gateway_before_a_mock(tmp_path) as ours:
        base = Vitals.of(ours.pid)
        results, vitals = run_beside(stormy(ours.url, ours.key, STREAMS, duration_s=SOAK_S), ours.pid)
        ends = is_as_told(results)
        after = wait_until_quiet(ours, base.files + 2)
        assert open_requests(ours) == 0
        warm = [item for item in vitals if item.at_s > vitals[0].at_s + WARM_S]
        slope = slope_kib_a_minute(warm)
        print(
            f"\n{SOAK_S:.0f} s: {sum(ends.values())} streams {dict(ends)}; memory {warm[0].resident_kib / 1024:.1f} to "
            f"{warm[-1].resident_kib / 1024:.1f} MiB, slope {slope / 1024:+.2f} MiB/min; files {base.files}, "
            f"{max(item.files for item in vitals)} at most, {after.files} after"
        )
        (tmp_path / "vitals").write_text(repr(vitals))
        assert slope <= SLOPE_KIB_A_MINUTE
        assert after.files <= base.files + 2
    audited(tmp_path / "gateway" / "ezai.db", sum(ends.values()))


def audited(database: Path, requests: int) -> None:
    """Every request has a record with one end, and every attempt was settled."""
    (told,) = rows(database, "SELECT count(*) AS n, count(ended_at_ms) AS ended, count(cause) AS told FROM request")
    assert told == {"n": requests, "ended": requests, "told": requests}
    assert rows(database, "SELECT 1 FROM attempt WHERE state != 'settled'") == []
    assert rows(database, "SELECT id FROM request WHERE id NOT IN (SELECT request_id FROM attempt)") == []


@pytest.mark.full
@pytest.mark.timeout(240)
@pytest.mark.parametrize("wire", ["anthropic", "openai"])
def test_2000_open_streams_lose_no_event(wire: str, tmp_path: Path) -> None:
    open_at_a_time = 2000
    with gateway_before_a_mock(tmp_path) as ours:
        peak = 0

        async def held() -> LoadResult:
            nonlocal peak
            plan = LoadPlan(
                url=ours.url, credential=ours.key, model=model(wire=wire, tokens=25, rate=1),
                rate=open_at_a_time / 12.5, streams=open_at_a_time,
            )  # fmt: skip
            load = asyncio.get_running_loop().create_task(run_load(plan))
            while peak < open_at_a_time and not load.done():
                peak = max(peak, await asyncio.to_thread(open_requests, ours))
                await asyncio.sleep(0.5)
            return await load

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            result = runner.run(held())
        print(f"\n{wire}: {peak} open at a time, {result.tokens} words, {result.ended}")
        assert result.is_clean
        assert peak == open_at_a_time
    audited(tmp_path / "gateway" / "ezai.db", open_at_a_time)


# C5 with its figures.


@pytest.mark.full
@pytest.mark.timeout(300)
@pytest.mark.parametrize("wire", ["anthropic", "openai"])
def test_c5_500_stopped_readers_cost_their_buffers_and_nobody_else_time(wire: str, tmp_path: Path) -> None:
    stopped = 500
    usual = model(wire=wire, tokens=200, rate=20)
    with gateway_before_a_mock(tmp_path, "[limits]\nreader_stall = 3600\n", silence_s=60) as ours:
        plan = LoadPlan(url=ours.url, credential=ours.key, model=usual, concurrency=100, streams=100)
        stopping = LoadPlan(
            url=ours.url, credential=ours.key, model=model("token_bytes=16384", wire=wire, tokens=2000, rate=0),
            concurrency=stopped, streams=stopped, stop_after=5, receive_buffer_bytes=4096, timeout_s=90,
        )  # fmt: skip

        async def calmest() -> LoadResult:
            """Of a few runs, since other work on the machine makes them slower, and nothing makes them faster."""
            results = [await run_load(plan) for _ in range(3)]
            assert all(result.is_clean for result in results)
            return min(results, key=lambda result: result.gap.p99_s or 0.0)

        async def run() -> tuple[LoadResult, LoadResult, LoadResult, Vitals, Vitals]:
            alone, before = await calmest(), Vitals.of(ours.pid)
            load = asyncio.get_running_loop().create_task(run_load(stopping))
            await asyncio.sleep(2)
            await rests(ours)
            after = Vitals.of(ours.pid)
            beside = await calmest()
            assert not load.done(), "the stopped readers were gone too early"
            cut = await load
            await rests(ours)
            return alone, beside, cut, before, after

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            alone, beside, cut, before, after = runner.run(run())
        assert alone.gap.p99_s is not None
        assert beside.gap.p99_s is not None
        grown_kib = (after.resident_kib - before.resident_kib) / stopped
        print(
            f"\n{wire}: p99 between events {alone.gap.p99_s * 1000:.1f} ms alone, {beside.gap.p99_s * 1000:.1f} ms "
            f"beside {stopped} stopped readers, which take {grown_kib:.0f} KiB each"
        )
        left_kib = (resident_kib(ours.pid) - before.resident_kib) / stopped
        print(f"{left_kib:.0f} KiB of each once they are gone")
        assert cut.ended == {StreamEnd.STOPPED_READING: stopped}
        assert grown_kib <= 512
        assert left_kib <= 64, "what they held is given back"
        assert beside.gap.p99_s <= 1.5 * alone.gap.p99_s


# The same in one process, where its tasks and its connections can be looked at.


@pytest.mark.parametrize(
    "streams", [480, pytest.param(16_000, marks=[pytest.mark.full, pytest.mark.timeout(600)])], ids=["few", "many"]
)
def test_after_a_storm_everything_is_back_where_it_was(streams: int, tmp_path: Path) -> None:
    async def test() -> None:
        async with mock_upstream(keeps_bodies=False) as upstream:
            timeouts = TimeoutsConfig(first_event=0.5, idle=0.5)
            config = Config(
                upstreams=[
                    AnthropicUpstream(name="tapped", base_url=upstream.url, api_key=UPSTREAM_KEY, timeouts=timeouts),
                    OpenAIUpstream(name="translated", base_url=upstream.url, api_key=UPSTREAM_KEY, timeouts=timeouts),
                ],
                routes=[
                    RouteConfig(model=f"mock*{TRANSLATED}*", targets=targets("translated", "tapped")),
                    RouteConfig(model="mock*", targets=targets("tapped", "translated")),
                ],
                data_dir=tmp_path,
            )
            clock = SystemClock(TICK_S)
            store = await open_store(database, tmp_path, clock, {})
            try:
                async with serving(config, store.keys, store.ledger, clock) as served:
                    before = len(asyncio.all_tasks())
                    plans = [
                        LoadPlan(url=served.url, model="mock-tokens=3", concurrency=2, streams=10),
                        *[fast(plan) for plan in stormy(served.url, "", 160, streams=streams)],
                    ]
                    first, *results = await all_of(plans)
                    assert first.is_clean
                    is_as_told(results)
                    await served.gateway.registry.wait_empty()
                    await upstream.journal.until(lambda: not upstream.journal.open_requests)
                    for item in served.gateway.upstreams:
                        assert not isinstance(item, EmbeddedUpstream)
                        assert item._client.open_count == item._client.idle_count, "a connection is lent to nobody"
                    assert served.gateway.data_plane.ports.retry_budget.under_way == 0
                    while len(asyncio.all_tasks()) > before:  # noqa: ASYNC110  # connections that close
                        await asyncio.sleep(0)
            finally:
                await store.aclose()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    database = new_database(tmp_path)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(test())
    audited(database, streams + 10)


def targets(*names: str) -> list[TargetConfig]:
    return [TargetConfig(upstream=name) for name in names]


def fast(plan: LoadPlan) -> LoadPlan:
    """The same as fast as possible."""
    return replace(plan, model=plan.model.replace(f"rate={RATE}", "rate=0"))
