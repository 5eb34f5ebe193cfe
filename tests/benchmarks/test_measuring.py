"""What `make bench` measures with: CPU time, a disturbed run, the loads and bodies that it makes."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import msgspec
import pytest

from benchmarks.bodies import SHAPES, WHOLE, body
from benchmarks.bodies import main as post_bodies
from benchmarks.events import growth_percent
from benchmarks.figures import FIGURES
from benchmarks.lab import Busy, Run, beside, disturbance, gateway_config
from benchmarks.load import Load, Loaded, Spread, paced_model
from benchmarks.machine import BusyMeter, Cores, cpu_s, resident_kib
from benchmarks.processes import Server
from benchmarks.table import Verdict
from ezai import config
from ezai.lab.mock import mock_upstream
from ezai.lab.mock.spec import MODEL_PREFIX, parse


def test_the_cpu_time_of_a_process_is_the_one_that_it_sees_itself() -> None:
    before_s = time.process_time()
    seen_s = cpu_s(os.getpid())
    assert before_s <= seen_s <= time.process_time()


def test_a_process_has_memory() -> None:
    assert resident_kib(os.getpid()) > 1024


def test_a_core_is_busy_for_a_part_of_the_time() -> None:
    meter = BusyMeter()
    assert 0 <= meter.share(frozenset(os.sched_getaffinity(0))) <= 1


def test_the_server_has_a_core_to_itself_where_there_are_two() -> None:
    cores = Cores.found()
    assert cores.are_apart == (len(os.sched_getaffinity(0)) > 1)
    assert cores.server | cores.load == os.sched_getaffinity(0)


@pytest.mark.parametrize(
    ("busy", "is_paced", "counts"),
    [
        (Busy(0.5, 0.02), True, True),
        (Busy(0.95, 0.02), True, False),
        (Busy(0.95, 0.02), False, True),
        (Busy(0.5, 0.3), True, False),
        (Busy(0.5, 0.3), False, False),
    ],
)
def test_a_disturbed_run_does_not_count(busy: Busy, is_paced: bool, counts: bool) -> None:
    assert (disturbance(busy, is_paced=is_paced) == "") is counts


@pytest.mark.parametrize("who", ["ours", "theirs"])
def test_a_figure_over_faults_is_none(who: str) -> None:
    def run(lost: int) -> Run:
        loaded = Loaded(
            seconds=1, started=2, ended={"whole": 2}, events=200, tokens=190, lost=lost, cut_off=0, doubled=0,
            reordered=0, foreign=0, first_token=Spread(), whole=Spread(), late=Spread(), cpu_s=1,
        )  # fmt: skip
        return Run(1.0, loaded, Busy(0.5, 0.0), "")

    found = {name: [run(0), run(3 if name == who else 0)] for name in ("ours", "theirs")}
    row = beside(found, "ours", "theirs", lambda each: each.cpu_s, "us", figure="cost", hold=2.0)
    assert row.verdict is Verdict.FAILED
    assert row.failure.startswith("3 streams or words")


@pytest.mark.parametrize(
    ("costs", "percent"),
    [({10: 2.0, 100: 2.2, 1000: 2.1}, 10), ({10: 2.0, 100: 1.0, 1000: 1.5}, 50), ({10: 3.0, 100: 2.0, 1000: 1.0}, 0)],
)
def test_flatness_is_growth_from_fewer_streams_to_more(costs: dict[int, float], percent: float) -> None:
    assert growth_percent(costs) == pytest.approx(percent)


def test_a_paced_model_is_a_behaviour_of_the_mock() -> None:
    behaviour = parse(paced_model(94, 30.9).removeprefix(MODEL_PREFIX), "the model")
    assert (behaviour.tokens, behaviour.rate) == (94, 30.9)


def test_a_load_comes_at_a_rate_or_so_many_at_a_time() -> None:
    at_a_rate = Load(model="m", rate=50.0, streams=1).arguments("http://h", "k")
    at_a_time = Load(model="m", concurrency=32, streams=1, is_unary=True).arguments("http://h", "k")
    assert ("--rate" in at_a_rate, "--concurrency" in at_a_rate, "--unary" in at_a_rate) == (True, False, False)
    assert ("--rate" in at_a_time, "--concurrency" in at_a_time, "--unary" in at_a_time) == (False, True, True)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_body_is_as_large_as_asked(shape: str) -> None:
    made = body("m", shape, 200_000)
    assert 180_000 < len(made) <= 200_000
    assert msgspec.json.decode(made)["messages"][-1]["role"] == "user"


def test_the_gateway_is_measured_with_a_valid_configuration(tmp_path: Path) -> None:
    file = tmp_path / "ezai.toml"
    file.write_text(gateway_config(Server("http://127.0.0.1:9", 0), models=["mock-tokens=1"]))
    assert {route.targets[0].upstream for route in config.load(file, {}).routes} == {"tapped", "translated"}


def test_figures_are_chosen_by_name() -> None:
    names = [figure.name for figure in FIGURES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("behaviour", "told"),
    [
        ("tokens=2", WHOLE),
        ("status=529", "529"),
        ("tokens=2,error_after=4", "200, broken off"),
        ("no_answer=reset", "badly (ConnectionResetError)"),
    ],
)
def test_what_became_of_posted_bodies_is_told(behaviour: str, told: str) -> None:
    async def main() -> None:
        async with mock_upstream(behaviour, keeps_bodies=False) as mock:
            ends = await asyncio.to_thread(post_bodies, mock.url, "", "mock", "files", 0.1)
            assert set(ends) == {told}

    asyncio.run(main())
