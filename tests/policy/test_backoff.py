"""How long is waited before asking again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezai.policy.backoff import LONGEST_BACKOFF_S, PATIENCE_S, backoff_s, wait_s

chances = st.floats(0, 1)
repeats = st.integers(1, 10**6)


def test_it_doubles_up_to_a_limit() -> None:
    assert [backoff_s(repeat, 1) for repeat in range(1, 8)] == [0.5, 1, 2, 4, 8, 8, 8]
    assert backoff_s(10**9, 1) == LONGEST_BACKOFF_S


@given(repeats, chances)
def test_all_of_the_wait_is_chance(repeat: int, chance: float) -> None:
    assert 0 <= backoff_s(repeat, chance) <= LONGEST_BACKOFF_S
    assert backoff_s(repeat, 0) == 0
    assert backoff_s(repeat, chance) == pytest.approx(chance * backoff_s(repeat, 1))
    assert backoff_s(repeat, chance) <= backoff_s(repeat + 1, chance)


@given(repeats, st.none() | st.floats(0, 60), chances)
def test_it_is_never_earlier_than_advised(repeat: int, after_s: float | None, chance: float) -> None:
    wait = wait_s(repeat, after_s, chance)
    assert wait >= (after_s or 0)
    assert wait - (after_s or 0) <= LONGEST_BACKOFF_S + 1e-9


def test_the_first_two_repeats_fit_into_the_patience_beside_another_target() -> None:
    assert backoff_s(2, 1) <= PATIENCE_S
