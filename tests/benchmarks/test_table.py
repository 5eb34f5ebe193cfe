"""The table of `make bench`: what counts as held, and what it prints."""

from __future__ import annotations

import pytest

from benchmarks.table import Row, Verdict, rendered


@pytest.mark.parametrize(
    ("measured", "verdict"), [(1.4, "reached"), (1.5, "reached"), (1.51, "held"), (2.2, "held"), (2.21, "MISSED")]
)
def test_less_is_better_unless_told_otherwise(measured: float, verdict: str) -> None:
    assert Row(figure="cost", measured=measured, unit="x", hold=2.2, reach=1.5).verdict == verdict


@pytest.mark.parametrize(("measured", "verdict"), [(5000, "reached"), (2000, "held"), (1999, "MISSED")])
def test_more_may_be_better(measured: float, verdict: str) -> None:
    row = Row(figure="streams", measured=measured, unit="", hold=2000, reach=5000, more_is_better=True)
    assert row.verdict == verdict


def test_nothing_promised_is_nothing_missed() -> None:
    assert Row(figure="rate", measured=1, unit=" tokens/s").verdict is Verdict.TOLD


def test_a_disturbed_figure_says_so() -> None:
    row = Row(figure="cost", measured=9, unit="x", hold=2, is_disturbed=True)
    assert row.cells()[-1] == "MISSED (machine busy)"


@pytest.mark.parametrize("hold", [2, None])
def test_a_figure_over_requests_that_failed_is_none(hold: float | None) -> None:
    row = Row(figure="cost", measured=1, unit="x", hold=hold, reach=2, failure="3 answered 529")
    assert row.verdict is Verdict.FAILED
    assert rendered([row]).splitlines()[-2:] == ["failed", "  cost: 3 answered 529"]
    assert row.values()["failure"] == "3 answered 529"


def test_every_row_is_printed_with_its_limits_and_what_it_is_made_of() -> None:
    rows = [
        Row(figure="CPU per event", measured=2.345, unit="x", hold=2.2, reach=1.5, digits=2, detail="35 us of 15 us"),
        Row(figure="rate", measured=50.0, unit=" tokens/s", digits=0),
    ]
    printed = rendered(rows).splitlines()
    assert printed[0].split() == ["figure", "measured", "hold", "reach", "verdict"]
    assert printed[2].split() == ["CPU", "per", "event", "2.35x", "2.2x", "1.5x", "MISSED"]
    assert printed[3].split() == ["rate", "50", "tokens/s"]
    assert printed[-1] == "  CPU per event: 35 us of 15 us"
