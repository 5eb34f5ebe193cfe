"""A figure that was measured over requests that failed is none: each row says so, and so does the exit status."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

import benchmarks.__main__ as command
from benchmarks import events, lab, lag, latency, streams, unary
from benchmarks.bodies import WHOLE
from benchmarks.embedded import first_and_whole
from benchmarks.events import CROWDS, Window, crowd_rows
from benchmarks.figures import Figure
from benchmarks.lab import Busy, Lab, Run
from benchmarks.load import Load, Loaded, Spread
from benchmarks.machine import Cores
from benchmarks.processes import Server
from benchmarks.table import Row, Verdict
from ezai.lab.mock import mock_upstream

SERVER = Server(url="http://127.0.0.1:1", pid=1, key="", ready_s=0.1)


def loaded(lost: int = 0) -> Loaded:
    spread = Spread(count=1, p50_s=0.1, p99_s=0.1, max_s=0.1)
    return Loaded(
        seconds=1, started=2, ended={"whole": 2}, events=200, tokens=190, lost=lost, cut_off=0, doubled=0,
        reordered=0, foreign=0, first_token=spread, whole=spread, late=spread, cpu_s=1,
    )  # fmt: skip


class FakeLoad:
    """A load of streams that is over."""

    def __init__(self, lost: int) -> None:
        self._lost = lost

    def result(self) -> Loaded:
        return loaded(self._lost)


class FakeJournal:
    """A mock that has written all that is waited for."""

    def __init__(self, *_: object) -> None: ...

    def clear(self) -> None: ...

    def release(self) -> None: ...

    def wait_events(self, _events: int) -> None: ...


@contextmanager
def server(*_: object, **__: object) -> Iterator[Server]:
    yield SERVER


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """Nothing is started, and nobody is waited for."""
    for module in (events, unary, latency, streams, lag):
        for name in {"mock", "gateway", "nginx"} & set(vars(module)):
            monkeypatch.setattr(module, name, server)
    monkeypatch.setattr("time.sleep", lambda _: None)
    return Lab(tmp_path, Cores.found(), 100_000, say=lambda _: None)


@pytest.mark.parametrize("faults", [0, 3])
@pytest.mark.parametrize("measure", [events.per_event, unary.per_request, latency.added])
def test_figures_of_runs(measure: Any, faults: int, bench: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    calm = Run(1.0, loaded(faults), Busy(0.5, 0.0), "")
    monkeypatch.setattr(Lab, "run", lambda *_: calm)
    for row in measure(bench):
        assert (row.verdict is Verdict.FAILED) is bool(faults), row.figure


@pytest.mark.parametrize("faults", [0, 3])
def test_figures_of_crowds(faults: int) -> None:
    found = {name: {crowd: [Window(1.0, "", 0)] for crowd in CROWDS} for name in ("ours", "nginx")}
    found["ours"][CROWDS[1]].append(Window(1.0, "", faults))
    found["nginx"][CROWDS[1]].append(Window(1.0, "", 0))
    assert {row.verdict is Verdict.FAILED for row in crowd_rows(found)} == {bool(faults)}


def test_the_dearest_crowd_is_held_to_the_figure_of_an_event() -> None:
    costs = dict(zip(CROWDS, (3.0, 1.0, 1.0), strict=True))
    found = {
        "ours": {crowd: [Window(cost, "", 0)] for crowd, cost in costs.items()},
        "nginx": {crowd: [Window(1.0, "", 0)] for crowd in CROWDS},
    }
    growth, dearest, _ = crowd_rows(found)
    assert (growth.measured, growth.verdict) == (0, Verdict.REACHED)
    assert (dearest.measured, dearest.verdict) == (3, Verdict.MISSED)


@pytest.mark.parametrize("faults", [0, 3])
def test_figures_of_memory(faults: int, bench: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def load(*_: object) -> Iterator[FakeLoad]:
        yield FakeLoad(faults)

    monkeypatch.setattr(streams, "running_load", load)
    monkeypatch.setattr(streams, "Journal", FakeJournal)
    monkeypatch.setattr(streams, "resident_kib", lambda _: 1024)
    rows = streams.memory(bench)
    assert {row.verdict is Verdict.FAILED for row in rows} == {bool(faults)}


@pytest.mark.parametrize(("ends", "fails"), [({WHOLE: 3}, False), ({WHOLE: 3, "529": 1}, True), ({}, True)])
def test_figures_of_lag(ends: dict[str, int], fails: bool, bench: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lag, "_probed_and_posted", lambda *_: ([1.0], ends))
    assert {row.verdict is Verdict.FAILED for row in lag.lag(bench)} == {fails}


@pytest.mark.parametrize(
    ("runs", "counted"),
    [
        ([("busy", 0), ("", 0)], ("", 0)),
        ([("busy", 0)] * lab.ATTEMPTS, ("busy", 0)),
        ([("busy", 3), ("", 0)], ("busy", 3)),
    ],
    ids=["disturbed once", "disturbed always", "faults"],
)
def test_a_run_with_faults_is_not_done_again(
    runs: Sequence[tuple[str, int]], counted: tuple[str, int], bench: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = iter(runs)

    def run(*_: object) -> Run:
        disturbance, faults = next(left)
        return Run(1.0, loaded(faults), Busy(0.5, 0.0), disturbance)

    monkeypatch.setattr(Lab, "_run_once", run)
    found = bench.run(SERVER, Load(model="m", streams=1))
    assert (found.disturbance, found.loaded.faults) == counted


@pytest.mark.parametrize(
    ("row", "status"),
    [
        (Row(figure="f", measured=1, unit="", hold=2), 0),
        (Row(figure="f", measured=3, unit="", hold=2), 1),
        (Row(figure="f", measured=1, unit="", hold=2, failure="3 streams"), 1),
        (Row(figure="f", measured=1, unit="", failure="3 streams"), 1),
    ],
    ids=["held", "missed", "failed", "failed, nothing promised"],
)
def test_the_exit_status(row: Row, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "FIGURES", (Figure("f", lambda _: [row]),))
    assert command.main([]) == status


@pytest.mark.parametrize("behaviour", ["tokens=4", "tokens=0", "tokens=4,cut_after=5", "status=500"])
def test_an_answer_of_the_embedded_model_that_is_not_whole_is_no_measurement(behaviour: str) -> None:
    async def ask() -> tuple[float, float, int]:
        async with mock_upstream(behaviour) as upstream:
            with httpx2.Client(base_url=upstream.url, trust_env=False) as client:
                return await asyncio.to_thread(first_and_whole, client, "Hi", 4)

    if behaviour == "tokens=4":
        first_s, whole_s, tokens = asyncio.run(ask())
        assert 0 < first_s <= whole_s
        assert tokens == 4
    else:
        with pytest.raises((RuntimeError, httpx2.HTTPError)):
            asyncio.run(ask())
