"""The walk of one request over its targets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezai.errors import (
    ContentRefused,
    ContextOverflow,
    ContextRefused,
    InvalidRequest,
    NoTargetReady,
    RequestError,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamTruncated,
    UpstreamUnreachable,
)
from ezai.policy.backoff import LONGEST_WAIT_S, PATIENCE_S
from ezai.policy.breaker import OPENS_AFTER, WELL, Conduct, Standing, after, asked, cool_down_s
from ezai.policy.retry_advice import NO_ADVICE, RetryAdvice
from ezai.policy.retry_budget import RetryBudget
from ezai.policy.routing import Target
from ezai.policy.verdicts import Elsewhere, Verdict, judge
from ezai.policy.walk import MAX_ATTEMPTS, Step, Walk

A, B, C = Target("a"), Target("b"), Target("c")
DOWN = UpstreamUnreachable("refused")
SILENT = UpstreamTimeout("first_event", 300)
CUT = UpstreamTruncated("cut")


def status(code: int) -> UpstreamRefused:
    return UpstreamRefused("no", status=code, wire_type="x", upstream_status=code)


def opened(now: float = 0.0) -> Standing:
    standing = WELL
    for _ in range(OPENS_AFTER):
        standing = after(standing, 0, Conduct.FAILED, now)
    return standing


def cooling(seconds: float) -> Standing:
    return after(WELL, 0, Conduct.RATE_LIMITED, 0, cool_s=seconds)


@dataclass
class Request:
    """One request on its way, with all the chances at their worst: every backoff is as long as it can be."""

    targets: Sequence[Target]
    standings: dict[tuple[str, str | None], Standing] = field(default_factory=dict)
    budget: RetryBudget = field(default_factory=lambda: RetryBudget(lambda: 1))
    deadline: float = 3600.0
    commits_at: float = float("inf")
    now: float = 0.0

    def __post_init__(self) -> None:
        self.walk = Walk(self.targets, self.standing, self.budget, deadline=self.deadline, commits_at=self.commits_at)

    def standing(self, target: Target) -> Standing:
        return self.standings.get(target.key, WELL)

    def begins(self) -> str:
        self.at = self.walk.first(self.now)
        self._asks()
        return self.at.upstream

    def meets(self, error: RequestError, advice: RetryAdvice = NO_ADVICE) -> str | tuple[str, float]:
        """What becomes of it: whom it asks next, with the wait where there is one; "over" when it is given up."""
        verdict = judge(error, advice)
        self.standings[self.at.key] = after(
            self.standing(self.at), self.ticket, verdict.conduct, self.now, cool_s=cool_down_s(verdict.after_s)
        )
        step = self.walk.onward(verdict, self.now, 1.0)
        if step is None:
            return "over"
        self.now += step.wait_s
        self.at = step.target
        self._asks()
        return (step.target.upstream, step.wait_s) if step.wait_s else step.target.upstream

    def _asks(self) -> None:
        self.standings[self.at.key] = asked(self.standing(self.at), self.now)
        self.ticket = self.standing(self.at).openings


def met(request: Request, *errors: RequestError) -> list[str | tuple[str, float]]:
    return [request.begins(), *(request.meets(error) for error in errors)]


# Where it begins.


def test_the_targets_are_asked_in_their_order() -> None:
    assert met(Request([A, B, C]), CUT, CUT, CUT) == ["a", "b", "c", "over"]


def test_what_is_out_is_passed_over() -> None:
    assert met(Request([A, B, C], {A.key: opened()}), CUT) == ["b", "c"]
    assert met(Request([A, B], {A.key: cooling(9)})) == ["b"]


def test_what_is_out_is_probed_when_its_time_has_come() -> None:
    request = Request([A, B], {A.key: opened()}, now=30)
    assert request.begins() == "a"
    other = Request([A, B], request.standings, now=30)
    assert other.begins() == "b", "by one request"


def test_a_target_alone_is_never_left_out() -> None:
    assert met(Request([A], {A.key: opened()})) == ["a"]
    assert met(Request([A], {A.key: cooling(60)}), status(429)) == ["a", ("a", 0.5)]


def test_when_every_breaker_is_open_the_client_is_told_for_how_long() -> None:
    request = Request([A, B], {A.key: opened(), B.key: opened()}, now=0.5)
    with pytest.raises(NoTargetReady) as caught:
        request.begins()
    assert (caught.value.http_status, caught.value.error_type) == (529, "overloaded_error")
    assert (caught.value.retry_after_s, caught.value.error_code) == (1, "no_target_ready")


def test_then_each_is_asked_once_a_second_all_the_same() -> None:
    standings = {A.key: opened(), B.key: opened()}
    assert [Request([A, B], standings, now=1.0).begins() for _ in range(2)] == ["a", "b"]
    with pytest.raises(NoTargetReady) as caught:
        Request([A, B], standings, now=1.0).begins()
    assert caught.value.retry_after_s == 2, "both are being probed"


def test_targets_that_cool_down_are_left_alone() -> None:
    with pytest.raises(NoTargetReady) as caught:
        Request([A, B], {A.key: cooling(40), B.key: cooling(20.2)}, now=1.0).begins()
    assert caught.value.retry_after_s == 20


# The same target again.


@pytest.mark.parametrize("error", [DOWN, status(503), status(529)], ids=["down", "503", "529"])
def test_contract_6_the_same_target_is_asked_again_and_then_the_next(error: RequestError) -> None:
    request = Request([A, B])
    assert met(request, error, error, error, error) == ["a", ("a", 0.5), ("a", 1.0), "b", "over"]


@pytest.mark.parametrize("error", [SILENT, CUT, status(500), status(401)], ids=["silent", "cut", "500", "401"])
def test_contract_6_the_same_target_is_asked_once(error: RequestError) -> None:
    assert met(Request([A, B]), error, error) == ["a", "b", "over"]
    assert met(Request([A]), error) == ["a", "over"]


def test_it_is_asked_again_as_often_as_its_upstream_is_configured() -> None:
    assert met(Request([Target("a", max_retries=0), B]), DOWN) == ["a", "b"]
    assert met(Request([Target("a", max_retries=1)]), DOWN, DOWN) == ["a", ("a", 0.5), "over"]
    assert met(Request([Target("a", max_retries=3)]), *[DOWN] * 4) == ["a", ("a", 0.5), ("a", 1), ("a", 2), "over"]


def test_each_target_has_repeats_of_its_own() -> None:
    a, b = Target("a", max_retries=1), Target("b", max_retries=1)
    assert met(Request([a, b]), DOWN, DOWN, DOWN, DOWN) == ["a", ("a", 0.5), "b", ("b", 0.5), "over"]


def test_four_attempts_are_the_end_of_it() -> None:
    many = [Target(str(place)) for place in range(9)]
    assert met(Request(many), *[CUT] * 4) == ["0", "1", "2", "3", "over"]
    assert met(Request([A, B, C]), *[DOWN] * 4) == ["a", ("a", 0.5), ("a", 1.0), "b", "over"]


def test_a_target_whose_breaker_opens_is_left_for_the_next_at_once() -> None:
    nearly = after(after(after(after(WELL, 0, Conduct.FAILED, 0), 0, Conduct.FAILED, 0), 0, Conduct.FAILED, 0), 0,
                   Conduct.FAILED, 0)  # fmt: skip
    assert met(Request([A, B], {A.key: nearly}), DOWN) == ["a", "b"]


def test_a_rate_limited_target_is_left_for_the_next_at_once() -> None:
    assert met(Request([A, B]), status(429)) == ["a", "b"]
    assert met(Request([A]), status(429)) == ["a", ("a", 0.5)]


def test_the_next_request_passes_over_a_target_that_cools_down() -> None:
    request = Request([A, B])
    request.begins()
    request.meets(status(429), RetryAdvice(after_s=20))
    assert Request([A, B], request.standings, now=19).begins() == "b"
    assert Request([A, B], request.standings, now=20).begins() == "a"


# Waiting.


def test_u26_the_wait_is_what_was_advised_and_a_backoff() -> None:
    request = Request([A])
    request.begins()
    assert request.meets(status(503), RetryAdvice(after_s=4)) == ("a", 4.5)


def test_a_long_wait_is_the_clients_to_decide_upon() -> None:
    request = Request([A])
    request.begins()
    assert request.meets(status(429), RetryAdvice(after_s=LONGEST_WAIT_S)) == "over"


def test_nobody_waits_long_while_another_target_is_ready() -> None:
    request = Request([A, B])
    request.begins()
    assert request.meets(status(503), RetryAdvice(after_s=PATIENCE_S)) == "b"


def test_while_the_other_is_out_one_waits() -> None:
    request = Request([A, B], {B.key: opened()})
    request.begins()
    assert request.meets(status(503), RetryAdvice(after_s=3)) == ("a", 3.5)


def test_a_wait_that_passes_the_deadline_is_not_begun() -> None:
    assert met(Request([A], deadline=0.5), DOWN) == ["a", "over"]
    assert met(Request([A], deadline=0.6), DOWN) == ["a", ("a", 0.5)]
    assert met(Request([A, B], deadline=0.5), DOWN) == ["a", "b"]


def test_nor_one_that_passes_the_moment_when_the_answer_has_to_begin() -> None:
    assert met(Request([A], commits_at=0.5), DOWN) == ["a", "over"]
    assert met(Request([A, B], commits_at=0.5), DOWN, CUT) == ["a", "b", "over"]


def test_once_it_has_begun_waiting_costs_nothing_more() -> None:
    request = Request([A], commits_at=10)
    request.begins()
    request.now = 9.5
    assert request.meets(DOWN) == "over", "its status can still be told"
    request = Request([A], commits_at=10)
    request.begins()
    request.now = 10
    assert request.meets(DOWN) == ("a", 0.5)


def test_after_the_deadline_nothing_is_begun() -> None:
    request = Request([A, B], deadline=10)
    request.begins()
    request.now = 10
    assert request.meets(SILENT) == "over"


# What is nobody else's business.


@pytest.mark.parametrize("error", [status(400), status(404), status(422), InvalidRequest("messages: none")])
def test_a_clients_fault_goes_nowhere(error: RequestError) -> None:
    assert met(Request([A, B]), error) == ["a", "over"]


def test_a_refusal_for_content_goes_nowhere() -> None:
    error = ContentRefused("no", status=400, wire_type="x", upstream_status=403)
    assert met(Request([A, B]), error) == ["a", "over"]


# Larger contexts.

SMALL, LARGE, LARGER = Target("a", context=8192), Target("b", context=32_768), Target("c", context=200_000)
TOO_LONG = ContextOverflow(9000, 8192)


def test_a_prompt_that_does_not_fit_goes_to_a_larger_context_alone() -> None:
    assert met(Request([SMALL, Target("x"), Target("y", context=8192), LARGE]), TOO_LONG) == ["a", "b"]
    assert met(Request([LARGE, SMALL]), ContextOverflow(40_000, 32_768)) == ["b", "over"]
    assert met(Request([SMALL, Target("x")]), TOO_LONG) == ["a", "over"]


def test_to_one_that_the_prompt_is_known_to_fit() -> None:
    assert met(Request([SMALL, LARGE, LARGER]), ContextOverflow(40_000, 8192)) == ["a", "c"]


def test_it_stays_with_the_larger_ones_whatever_happens_there() -> None:
    assert met(Request([SMALL, LARGE, B, LARGER]), TOO_LONG, CUT, CUT) == ["a", "b", "c", "over"]
    assert met(Request([SMALL, LARGE, LARGER]), TOO_LONG, ContextOverflow(40_000, 32_768)) == ["a", "b", "c"]


def test_where_nobody_says_what_did_not_do_nothing_is_known_to_be_larger() -> None:
    error = ContextRefused("too long", status=400, wire_type="x", upstream_status=400)
    assert met(Request([A, LARGER]), error) == ["a", "over"]
    assert met(Request([SMALL, Target("x", context=8192), LARGER]), error) == ["a", "c"]
    error.context_tokens = 100_000
    assert met(Request([A, LARGE, LARGER]), error) == ["a", "c"]


# The budget.


def spent() -> RetryBudget:
    budget = RetryBudget(lambda: 1)
    while budget.take():
        pass
    return budget


def test_without_budget_the_same_upstream_is_not_asked_again() -> None:
    assert met(Request([A, B], budget=spent()), DOWN) == ["a", "b"]
    assert met(Request([A], budget=spent()), DOWN) == ["a", "over"]
    assert met(Request([A, Target("a", "other model"), B], budget=spent()), CUT) == ["a", "over"]


def test_another_upstream_costs_no_budget() -> None:
    request = Request([A, B])
    met(request, CUT)
    assert request.budget.under_way == 0


def test_a_retry_is_under_way_until_its_outcome_is_known() -> None:
    request = Request([A, B])
    met(request, DOWN)
    assert request.budget.under_way == 1
    request.meets(DOWN)
    assert request.budget.under_way == 1
    request.meets(DOWN)
    assert (request.at, request.budget.under_way) == (B, 0)
    request.meets(DOWN)
    request.walk.close()
    request.walk.close()
    assert request.budget.under_way == 0


# Whatever happens.

targets = st.builds(
    Target,
    st.sampled_from("abc"),
    st.none() | st.sampled_from("xyz"),
    st.none(),
    st.none() | st.integers(1, 100),
    st.integers(0, 3),
)
routes = st.lists(targets, min_size=1, max_size=6, unique_by=lambda target: target.key)
verdicts = st.builds(
    Verdict,
    st.booleans(),
    st.sampled_from(Elsewhere),
    st.sampled_from(Conduct),
    st.none() | st.floats(0, 60),
    st.none() | st.integers(1, 100),
)
standings: st.SearchStrategy[Callable[[Target], Standing]] = st.builds(
    lambda known: lambda target: known.get(target.key, WELL),
    st.dictionaries(
        st.tuples(st.sampled_from("abc"), st.none() | st.sampled_from("xyz")),
        st.sampled_from([WELL, opened(), opened(-100.0), cooling(20)]),
    ),
)


@given(
    routes, standings, st.lists(st.tuples(verdicts, st.floats(0, 40), st.floats(0, 1)), max_size=8),
    st.floats(1, 100), st.floats(0, 120), st.integers(0, 3),
)  # fmt: skip
def test_the_bounds_hold_whatever_happens(
    route: list[Target],
    standing_of: Callable[[Target], Standing],
    events: list[tuple[Verdict, float, float]],
    deadline: float,
    commits_at: float,
    held_by_others: int,
) -> None:
    budget = RetryBudget(lambda: 1)
    for _ in range(held_by_others):
        assert budget.take()
    walk = Walk(route, standing_of, budget, deadline=deadline, commits_at=commits_at)
    now = 0.5
    try:
        asked_targets = [walk.first(now)]
    except NoTargetReady as refused:
        assert len(route) > 1
        assert not any(standing_of(target).is_ready(now) for target in route)
        assert 1 <= (refused.retry_after_s or 0) <= 60
        return
    too_small = -1
    for verdict, took_s, chance in events:
        now += took_s
        current = asked_targets[-1]
        step = walk.onward(verdict, now, chance)
        if verdict.elsewhere is Elsewhere.LARGER:
            too_small = max(too_small, current.context or 0, verdict.larger_than or 0)
        if step is None:
            break
        _check(step, verdict, asked_targets, now, deadline if now >= commits_at else min(deadline, commits_at))
        assert step.target is current or too_small < 0 or (step.target.context or 0) > too_small
        asked_targets.append(step.target)
        now += step.wait_s
        assert now < deadline
    assert len(asked_targets) <= MAX_ATTEMPTS
    for target in route:
        assert asked_targets.count(target) <= 1 + target.max_retries
    walk.close()
    assert budget.under_way == held_by_others


def _check(step: Step, verdict: Verdict, asked_targets: list[Target], now: float, until: float) -> None:
    current = asked_targets[-1]
    if step.target is current:
        assert verdict.same
        assert step.wait_s >= (verdict.after_s or 0)
        assert step.wait_s <= LONGEST_WAIT_S
        assert now + step.wait_s < until
    else:
        assert verdict.elsewhere is not Elsewhere.NOWHERE
        assert step.target not in asked_targets, "none is come back to"
        assert step.wait_s == 0
