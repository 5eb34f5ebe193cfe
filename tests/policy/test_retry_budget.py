"""How many may be asking again at one time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezai.policy.retry_budget import RetryBudget


@pytest.mark.parametrize(
    ("active", "expected"), [(0, 3), (1, 3), (15, 3), (16, 4), (20, 4), (21, 5), (100, 20), (2000, 400)]
)
def test_it_is_a_fifth_of_what_is_served_and_at_least_three(active: int, expected: int) -> None:
    budget = RetryBudget(lambda: active)
    assert [budget.take() for _ in range(expected + 2)] == [True] * expected + [False, False]
    assert budget.under_way == expected


def test_what_is_given_back_can_be_taken_again() -> None:
    budget = RetryBudget(lambda: 1)
    while budget.take():
        pass
    budget.give_back()
    assert budget.take()
    assert not budget.take()


def test_it_does_not_shrink_below_what_is_under_way() -> None:
    active = 100
    budget = RetryBudget(lambda: active)
    assert all(budget.take() for _ in range(20))
    active = 10
    assert not budget.take()
    for _ in range(18):
        budget.give_back()
    assert budget.take()


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 200))))
def test_it_never_holds_more(steps: list[tuple[bool, int]]) -> None:
    active = 0
    budget = RetryBudget(lambda: active)
    for takes, active in steps:  # the budget reads it
        before = budget.under_way
        if takes and budget.take():
            assert budget.under_way == before + 1 <= max(3, active * 0.2 + 1)
        elif not takes and before:
            budget.give_back()
            assert budget.under_way == before - 1
