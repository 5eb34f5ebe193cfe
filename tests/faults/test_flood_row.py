"""Row U21 with its figure: what a flood of tiny events does to the other streams of the same gateway.

It takes processes of their own: the flood comes from another mock and goes to another client than the streams that are
looked at, so that all they share is the gateway and the machine's cores.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import uvloop

from benchmarks.lab import TRANSLATED
from benchmarks.load import Load, running_load
from benchmarks.machine import Cores
from benchmarks.processes import Server, gateway, mock
from ezai.lab.load.plan import LoadPlan
from ezai.lab.load.report import LoadResult
from ezai.lab.load.run import run_load

FLOOD_EVENTS = 100_000
FLOOD_S = 20.0
"""In which floods begin, one after the other: for longer than the runs beside them take."""
RUNS = 3
STREAMS, TOKENS, RATE = 20, 80, 20
MOST_TIMES = 2.0
"""The row allows 100 ms between two events; a word comes every 50 ms here, and alone it takes little more."""

CONFIG = """
[log]
level = "warning"
[[upstreams]]
name = "usual"
kind = "anthropic"
base_url = "{usual}"
proxy = "none"
[[upstreams]]
name = "flood"
kind = "{kind}"
base_url = "{flood}"
proxy = "none"
[[routes]]
model = "mock-tokens={events}*"
targets = [{{ upstream = "flood" }}]
[[routes]]
model = "mock*"
targets = [{{ upstream = "usual" }}]
"""


def calmest(ours: Server) -> LoadResult:
    """Of a few runs, since other work on the machine makes them slower, and nothing makes them faster."""
    model = f"mock-tokens={TOKENS},rate={RATE}"
    plan = LoadPlan(url=ours.url, credential=ours.key, model=model, concurrency=STREAMS, streams=STREAMS)
    results = [uvloop.run(run_load(plan)) for _ in range(RUNS)]
    assert all(result.is_clean for result in results)
    return min(results, key=p99_ms)


def p99_ms(result: LoadResult) -> float:
    assert result.gap.p99_s is not None
    return result.gap.p99_s * 1000


@pytest.mark.full
@pytest.mark.timeout(180)
@pytest.mark.parametrize("wire", ["anthropic", "openai"])
def test_u21_a_flood_of_tiny_events_holds_up_nobody_else(wire: str, tmp_path: Path) -> None:
    cores = Cores.found()
    model = f"mock-tokens={FLOOD_EVENTS}" + (f",{TRANSLATED}" if wire == "openai" else "")
    flood = Load(model=model, tokens=FLOOD_EVENTS, concurrency=1, duration_s=FLOOD_S)
    with mock(tmp_path, cores.load) as usual, mock(tmp_path, cores.load) as flooding:
        url = flooding.url + ("/v1" if wire == "openai" else "")
        config = CONFIG.format(usual=usual.url, flood=url, kind=wire, events=FLOOD_EVENTS)
        with gateway(tmp_path / "gateway", config, cores.server) as ours:
            alone = calmest(ours)
            with running_load(flood, ours.url, ours.key, cores) as running:
                beside = calmest(ours)
                assert running.is_running, "the floods were over too early"
                flooded = running.result()
    print(
        f"\n{wire}: p99 between events {p99_ms(alone):.1f} ms alone, {p99_ms(beside):.1f} ms beside "
        f"{flooded.tokens / flooded.seconds:,.0f} events a second"
    )
    assert flooded.faults == 0
    assert flooded.tokens == flooded.started * FLOOD_EVENTS
    assert p99_ms(beside) <= MOST_TIMES * p99_ms(alone)
