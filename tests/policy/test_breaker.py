"""The breaker and the cool-down of a target, in time that is told."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from ezai.policy.breaker import (
    COOL_DOWN_S,
    LAST_RESORT_EVERY_S,
    LONGEST_OPEN_S,
    OPENS_AFTER,
    PROBE_PATIENCE_S,
    WELL,
    Condition,
    Conduct,
    Standing,
    after,
    asked,
    cool_down_s,
    open_s,
)

LONG = 10 * LONGEST_OPEN_S


@dataclass
class Target:
    """One target in its own time. Attempts are told as conducts; time passes when it is told to."""

    now: float = 0.0
    standing: Standing = field(default_factory=Standing)

    def asks(self) -> int:
        """An attempt begins; returns its ticket."""
        self.standing = asked(self.standing, self.now)
        return self.standing.openings

    def ends(self, ticket: int, *conducts: Conduct, cool_s: float = COOL_DOWN_S) -> None:
        for conduct in conducts:
            self.standing = after(self.standing, ticket, conduct, self.now, cool_s=cool_s)

    def does(self, *conducts: Conduct) -> None:
        """A whole attempt, which takes no time."""
        self.ends(self.asks(), *conducts)

    def fails(self, times: int = 1) -> None:
        for _ in range(times):
            self.does(Conduct.FAILED)

    def answers(self) -> None:
        self.does(Conduct.SPOKE, Conduct.FINISHED)

    def passes(self, seconds: float) -> None:
        self.now += seconds

    def ready(self) -> bool:
        return self.standing.is_ready(self.now)

    def condition(self) -> Condition:
        return self.standing.condition(self.now)


@pytest.fixture
def target() -> Target:
    return Target()


@pytest.fixture
def broken() -> Target:
    """One whose breaker has just opened."""
    made = Target()
    made.fails(OPENS_AFTER)
    return made


# Opening.


def test_failures_in_a_row_open_it(target: Target) -> None:
    target.fails(OPENS_AFTER - 1)
    assert target.ready()
    assert target.condition() is Condition.READY
    target.fails()
    assert not target.ready()
    assert target.condition() is Condition.OPEN


def test_an_answer_that_ends_well_begins_a_new_count(target: Target) -> None:
    for _ in range(3):
        target.fails(OPENS_AFTER - 1)
        target.answers()
    assert target.standing == WELL


def test_answers_that_begin_and_break_open_it(target: Target) -> None:
    for _ in range(OPENS_AFTER):
        assert target.ready()
        target.does(Conduct.SPOKE, Conduct.FAILED)
    assert target.condition() is Condition.OPEN


def test_a_clients_leaving_and_its_faults_never_count(target: Target) -> None:
    target.fails(OPENS_AFTER - 1)
    for _ in range(100):
        target.does(Conduct.UNTOLD)
        target.does(Conduct.SPOKE, Conduct.UNTOLD)
    assert target.ready()
    target.fails()
    assert not target.ready(), "and they are no success either"


# Open, probed, closed.


def test_after_a_while_one_probe_is_let_through(broken: Target) -> None:
    broken.passes(29.9)
    assert not broken.ready()
    broken.passes(0.1)
    assert broken.ready()
    assert broken.condition() is Condition.PROBING
    broken.asks()
    assert not broken.ready()
    assert broken.condition() is Condition.PROBING


def test_a_probe_that_ends_well_closes_it(broken: Target) -> None:
    broken.passes(30)
    broken.answers()
    assert broken.standing == WELL


def test_a_probe_that_speaks_lets_others_in_on_trial(broken: Target) -> None:
    broken.passes(30)
    probe = broken.asks()
    broken.ends(probe, Conduct.SPOKE)
    assert broken.ready()
    assert broken.condition() is Condition.READY
    broken.fails()
    assert not broken.ready(), "one failure opens it again"
    broken.passes(59.9)
    assert not broken.ready(), "for longer"


def test_a_probe_that_fails_opens_it_for_longer_each_time_up_to_a_limit(broken: Target) -> None:
    waits = []
    for _ in range(12):
        waits.append(broken.standing.probe_at - broken.now)
        broken.passes(waits[-1])
        assert broken.ready()
        broken.fails()
    assert waits == [30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300, 300]


def test_a_probe_of_which_nothing_is_known_makes_room_for_the_next(broken: Target) -> None:
    broken.passes(30)
    broken.ends(broken.asks(), Conduct.UNTOLD)
    assert broken.ready()


def test_a_probe_that_stays_silent_holds_no_other_back_for_long(broken: Target) -> None:
    broken.passes(30)
    lost = broken.asks()
    broken.passes(PROBE_PATIENCE_S - 0.1)
    assert not broken.ready()
    broken.asks()  # somebody who has no other target
    broken.passes(0.1)
    assert broken.ready()
    broken.asks()
    broken.ends(lost, Conduct.SPOKE, Conduct.FINISHED)
    assert broken.standing == WELL, "and its answer still counts when it comes"


def test_what_began_before_says_nothing_of_the_time_since(target: Target) -> None:
    long_streams = [target.asks() for _ in range(20)]
    target.fails(OPENS_AFTER)
    opened = target.standing
    target.ends(long_streams[0], Conduct.FINISHED)
    target.ends(long_streams[1], Conduct.FAILED)
    target.ends(long_streams[2], Conduct.SPOKE)
    assert target.standing == opened
    target.passes(30)
    target.ends(target.asks(), Conduct.SPOKE)
    on_trial = target.standing
    for stream in long_streams:
        target.ends(stream, Conduct.FAILED)
    assert target.standing == on_trial


def test_many_that_fail_together_open_it_once(target: Target) -> None:
    tickets = [target.asks() for _ in range(500)]
    for ticket in tickets:
        target.ends(ticket, Conduct.FAILED)
    assert target.standing.openings == 1


# The last resort.


def test_an_open_one_may_be_asked_now_and_then_when_there_is_no_other(broken: Target) -> None:
    assert not broken.standing.is_last_resort(broken.now)
    assert broken.standing.ready_in_s(broken.now) == LAST_RESORT_EVERY_S
    broken.passes(LAST_RESORT_EVERY_S)
    assert broken.standing.is_last_resort(broken.now)
    assert broken.standing.ready_in_s(broken.now) == 0
    broken.asks()
    assert not broken.standing.is_last_resort(broken.now), "one at a time"
    broken.fails()
    assert broken.standing.ready_in_s(broken.now) == LAST_RESORT_EVERY_S
    assert broken.standing.probe_at == 30, "asked before its time, it is left out for no longer"
    broken.passes(LAST_RESORT_EVERY_S)
    broken.answers()
    assert broken.standing == WELL


def test_one_that_is_well_is_nobodys_last_resort(target: Target) -> None:
    assert not target.standing.is_last_resort(target.now)
    target.does(Conduct.RATE_LIMITED)
    assert not target.standing.is_last_resort(target.now)


# Cooling down.


def test_a_rate_limit_cools_without_counting(target: Target) -> None:
    for _ in range(3 * OPENS_AFTER):
        target.ends(target.asks(), Conduct.RATE_LIMITED, cool_s=7)
    assert target.condition() is Condition.COOLING
    assert target.standing.ready_in_s(target.now) == 7
    target.passes(6.9)
    assert not target.ready()
    target.passes(0.1)
    assert target.ready()
    assert target.standing.failures == 0


def test_of_two_cool_downs_the_longer_holds(target: Target) -> None:
    target.ends(target.asks(), Conduct.RATE_LIMITED, cool_s=10)
    target.ends(target.asks(), Conduct.RATE_LIMITED, cool_s=2)
    assert target.standing.ready_in_s(target.now) == 10


def test_an_answer_that_ends_well_does_not_end_a_cool_down(target: Target) -> None:
    running = target.asks()
    target.ends(target.asks(), Conduct.RATE_LIMITED, cool_s=10)
    target.ends(running, Conduct.FINISHED)
    assert not target.ready()


def test_a_probe_that_is_rate_limited_is_followed_by_another(broken: Target) -> None:
    broken.passes(30)
    broken.ends(broken.asks(), Conduct.RATE_LIMITED, cool_s=4)
    assert broken.condition() is Condition.PROBING
    assert not broken.ready()
    assert not broken.standing.is_last_resort(broken.now)
    assert broken.standing.ready_in_s(broken.now) == 4
    broken.passes(4)
    assert broken.ready()


@pytest.mark.parametrize(("advised", "cool_s"), [(None, 5), (0, 1), (0.2, 1), (1, 1), (30, 30), (60, 60), (1e9, 60)])
def test_how_long_it_cools(advised: float | None, cool_s: float) -> None:
    assert cool_down_s(advised) == cool_s


@given(st.integers(1, 10**9), st.floats(0, 1))
def test_how_long_it_stays_open(openings: int, chance: float) -> None:
    assert 0.8 * 30 <= open_s(openings, chance) <= LONGEST_OPEN_S
    assert open_s(openings, chance) <= open_s(openings + 1, chance)
    assert open_s(1, 0) == pytest.approx(24)
    assert open_s(1, 1) == pytest.approx(36)


# Whatever happens.

ENDS = st.sampled_from([conduct for conduct in Conduct if conduct is not Conduct.SPOKE])


class AnyOrder(RuleBasedStateMachine):
    """Attempts that overlap in any way, asked of by those who obey `is_ready`."""

    running: Bundle[int] = Bundle("running")

    def __init__(self) -> None:
        super().__init__()
        self.target = Target()
        self.failures_in_a_row = 0
        self.was_asked_open: list[float] = []

    @rule(seconds=st.floats(0, 100))
    def time_passes(self, seconds: float) -> None:
        self.target.passes(seconds)

    @rule(target=running)
    def asked_if_ready(self) -> int:
        before = self.target.standing
        if not self.target.ready():
            return -1
        ticket = self.target.asks()
        if before.is_open:
            assert not self.target.ready(), "one probe at a time"
        return ticket

    @rule(ticket=running)
    def speaks(self, ticket: int) -> None:
        if ticket >= 0:
            self.target.ends(ticket, Conduct.SPOKE)

    @rule(ticket=consumes(running), conduct=ENDS, cool_s=st.floats(1, 60))
    def ends(self, ticket: int, conduct: Conduct, cool_s: float) -> None:
        if ticket < 0:
            return
        before = self.target.standing
        self.target.ends(ticket, conduct, cool_s=cool_s)
        now = self.target.standing
        if conduct is not Conduct.FAILED:
            assert now.failures <= before.failures
            assert now.openings <= before.openings
        if conduct is Conduct.FINISHED and ticket == before.openings:
            assert (now.failures, now.openings, now.is_open) == (0, 0, False)
        if conduct is Conduct.FAILED and ticket == before.openings:
            assert now.failures == before.failures + 1

    @invariant()
    def it_opens_by_failures_alone(self) -> None:
        standing = self.target.standing
        assert standing.is_open <= (standing.failures >= OPENS_AFTER)
        assert standing.is_open or standing.failures < OPENS_AFTER
        assert standing.probe_at <= self.target.now + LONGEST_OPEN_S

    @invariant()
    def it_always_comes_back(self) -> None:
        standing, now = self.target.standing, self.target.now
        assert standing.is_ready(now + LONG)
        assert standing.ready_in_s(now) <= max(60.0, PROBE_PATIENCE_S) + 1e-6
        waited = now + standing.ready_in_s(now)
        assert standing.is_ready(waited + 1e-6) or standing.is_last_resort(waited + 1e-6)
        assert (standing.condition(now) is Condition.READY) <= standing.is_ready(now)


TestAnyOrder = AnyOrder.TestCase
