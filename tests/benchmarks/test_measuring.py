"""What `make bench` measures with: CPU time, a disturbed run, the loads and bodies that it makes."""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec
import pytest

from benchmarks.bodies import SHAPES, body
from benchmarks.figures import FIGURES
from benchmarks.lab import Busy, disturbance, gateway_config
from benchmarks.load import Load, paced_model
from benchmarks.machine import BusyMeter, Cores, cpu_s, resident_kib
from benchmarks.processes import Server
from ezai import config
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
    ("faults", "busy", "is_paced", "counts"),
    [
        (0, Busy(0.5, 0.02), True, True),
        (1, Busy(0.5, 0.02), True, False),
        (0, Busy(0.95, 0.02), True, False),
        (0, Busy(0.95, 0.02), False, True),
        (0, Busy(0.5, 0.3), True, False),
        (0, Busy(0.5, 0.3), False, False),
    ],
)
def test_a_disturbed_run_does_not_count(faults: int, busy: Busy, is_paced: bool, counts: bool) -> None:
    assert (disturbance(faults, busy, is_paced=is_paced) == "") is counts


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
