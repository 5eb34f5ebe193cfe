"""What a process knows of its targets: the port `TargetState`."""

from __future__ import annotations

import logging

import pytest

from ezai.policy.breaker import OPENS_AFTER, WELL, Condition, Conduct
from ezai.policy.routing import Target
from ezai.ports import TargetReport, TargetState
from ezai.upstreams.target_states import TargetStates
from tests.pipeline.fakes import FakeClock

A, B = Target("a", "m"), Target("b")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def states(clock: FakeClock) -> TargetStates:
    made = TargetStates(clock, lambda: 0.5)
    made.configure([A, B, Target("a", "m", max_output=9)])
    return made


def fails(states: TargetState, target: Target, times: int = 1) -> None:
    for _ in range(times):
        states.note(target, states.asking(target), Conduct.FAILED)


def answers(states: TargetState, target: Target) -> None:
    ticket = states.asking(target)
    states.note(target, ticket, Conduct.SPOKE)
    states.note(target, ticket, Conduct.FINISHED)


def test_of_targets_that_do_well_nothing_is_kept(states: TargetStates) -> None:
    for _ in range(3):
        answers(states, A)
        states.note(A, states.asking(A), Conduct.UNTOLD)
    assert states.standing(A) is WELL
    assert not states._standings
    fails(states, A)
    assert set(states._standings) == {A.key}
    answers(states, B)
    assert set(states._standings) == {A.key}
    answers(states, A)
    assert not states._standings


def test_a_cool_down_that_is_over_is_not_kept(states: TargetStates, clock: FakeClock) -> None:
    ticket = states.asking(A)
    states.note(A, states.asking(A), Conduct.RATE_LIMITED, cool_s=7)
    states.note(A, ticket, Conduct.FINISHED)
    assert not states.standing(A).is_ready(clock.now())
    clock.advance(7)
    assert states.standing(A).is_ready(clock.now())
    answers(states, A)
    assert not states._standings


def test_routes_to_the_same_place_share_what_is_known_of_it(states: TargetStates, clock: FakeClock) -> None:
    fails(states, A, OPENS_AFTER)
    for same in (Target("a", "m", context=9), Target("a", "m", max_retries=0)):
        assert states.standing(same).is_open
    for other in (Target("a"), Target("a", "n"), Target("b", "m")):
        assert states.standing(other) is WELL


def test_a_probe_is_one_that_was_asked_for(states: TargetStates, clock: FakeClock) -> None:
    fails(states, A, OPENS_AFTER)
    clock.advance(30)
    assert states.standing(A).is_ready(clock.now())
    ticket = states.asking(A)
    assert not states.standing(A).is_ready(clock.now())
    states.note(A, ticket, Conduct.SPOKE)
    assert states.standing(A).is_ready(clock.now())


def test_every_configured_target_is_reported(states: TargetStates, clock: FakeClock) -> None:
    fails(states, A, 2)
    states.note(B, states.asking(B), Conduct.RATE_LIMITED, cool_s=3)
    assert states.report() == [
        TargetReport("a", "m", Condition.READY, failures=2, ready_in_s=0),
        TargetReport("b", "", Condition.COOLING, failures=0, ready_in_s=3),
    ]
    fails(states, A, OPENS_AFTER)
    clock.advance(30)
    assert [report.condition for report in states.report()] == [Condition.PROBING, Condition.READY]


def test_a_new_configuration_begins_anew(states: TargetStates) -> None:
    ticket = states.asking(A)
    fails(states, A, OPENS_AFTER)
    states.configure([A, Target("c")])
    states.note(A, ticket, Conduct.FAILED)  # of a request of the former one
    assert [(report.upstream, report.failures) for report in states.report()] == [("a", 1), ("c", 0)]


def test_what_changes_is_told(states: TargetStates, clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ezai.targets")
    fails(states, A, OPENS_AFTER)
    clock.advance(30)
    answers(states, A)
    for _ in range(2):
        states.note(B, 0, Conduct.RATE_LIMITED, cool_s=3)
    answers(states, B)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "target a/m: 5 failures in a row; left to others for 30 s"),
        ("INFO", "target a/m: back"),
        ("INFO", "target b: rate-limited; left to others for 3 s"),
    ]
