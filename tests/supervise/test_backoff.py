"""When a process that died is started again."""

import pytest

from ezai.supervise.backoff import HEALTHY_AFTER_S, deaths_in_a_row, restart_delay_s


def test_the_wait_doubles_up_to_a_limit() -> None:
    assert [restart_delay_s(deaths) for deaths in range(1, 9)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert restart_delay_s(10_000) == 30


@pytest.mark.parametrize(
    ("before", "ran_for_s", "counted"),
    [(0, 0.0, 1), (0, 1000.0, 1), (3, HEALTHY_AFTER_S - 0.1, 4), (3, HEALTHY_AFTER_S, 1)],
)
def test_a_process_that_ran_well_begins_a_new_count(before: int, ran_for_s: float, counted: int) -> None:
    assert deaths_in_a_row(before, ran_for_s) == counted
