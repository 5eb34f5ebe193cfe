"""What is counted, and what is looked up when somebody asks."""

from __future__ import annotations

import gc
import weakref

import pytest

from ezai.errors import UpstreamUnreachable
from ezai.observe.metrics import MOST_WAITING, Metrics
from ezai.policy.breaker import Condition
from ezai.ports import Outcome, TargetReport
from ezai.protocol.end import End, UsageSource
from ezai.protocol.usage import Usage

FINISHED = End("finished", Usage(), UsageSource.UPSTREAM)


def lines(metrics: Metrics) -> list[str]:
    return metrics.render().decode().splitlines()


def test_attempts_are_counted_by_upstream_and_cause() -> None:
    metrics = Metrics()
    tries = (("near", "upstream_unreachable"), ("near", "upstream_unreachable"), ("far", "finished"))
    for _ in range(2):
        metrics.ended(Outcome("req_1", 200, "finished", 1.0, upstream="far", attempts=3, tries=tries))
    metrics.ended(Outcome("req_2", 529, "no_target_ready", 0.0))
    told = [line for line in lines(metrics) if line.startswith("ezai_attempts_total")]
    assert sorted(told) == [
        'ezai_attempts_total{cause="finished",upstream="far"} 2.0',
        'ezai_attempts_total{cause="upstream_unreachable",upstream="near"} 4.0',
    ]


@pytest.mark.parametrize("ended", [1, MOST_WAITING - 1, MOST_WAITING, MOST_WAITING + 1, 2 * MOST_WAITING])
def test_every_request_is_counted_once_however_many_there_were_and_however_often_somebody_asks(ended: int) -> None:
    metrics = Metrics()
    for _ in range(ended):
        metrics.ended(Outcome("req_1", 200, "finished", 1.0, upstream="far", end=FINISHED))
    for _ in range(2):
        told = [line for line in lines(metrics) if line.startswith("ezai_request_duration_seconds_count")]
        assert told == [f'ezai_request_duration_seconds_count{{upstream="far"}} {ended}.0']


def test_a_count_of_tokens_is_a_request_and_no_answer() -> None:
    metrics = Metrics()
    metrics.ended(Outcome("req_1", 200, "finished", 0.1, upstream="far", attempts=1))
    told = lines(metrics)
    assert 'ezai_requests_total{cause="finished",status="200",upstream="far"} 1.0' in told
    for family in ("ezai_attempts_total", "ezai_request_duration_seconds", "ezai_tokens_total"):
        assert not [line for line in told if line.startswith(f"{family}") and 'upstream="far"' in line]


def test_an_outcome_that_holds_an_error_is_not_kept() -> None:
    """A raised error holds the frames that it came through, and so the whole request."""
    metrics = Metrics()
    error = UpstreamUnreachable("gone")
    end = End("upstream_unreachable", Usage(), UsageSource.NONE, error=error)
    kept = weakref.ref(error)
    metrics.ended(Outcome("req_1", 502, "upstream_unreachable", 0.0, upstream="far", end=end))
    del error, end
    gc.collect()
    assert kept() is None
    assert 'ezai_requests_total{cause="upstream_unreachable",status="502",upstream="far"} 1.0' in lines(metrics)


def test_records_that_wait_are_told() -> None:
    assert "ezai_waiting_records 7.0" in lines(Metrics(waiting_records=lambda: 7))


def test_each_target_is_in_one_state() -> None:
    reports = [
        TargetReport("near", "", Condition.READY, failures=1, ready_in_s=0),
        TargetReport("far", "small", Condition.OPEN, failures=5, ready_in_s=20),
    ]
    metrics = Metrics(targets=lambda: reports)
    told = [line for line in lines(metrics) if line.startswith("ezai_target_state{")]
    assert [line for line in told if line.endswith(" 1.0")] == [
        'ezai_target_state{model="",state="ready",upstream="near"} 1.0',
        'ezai_target_state{model="small",state="open",upstream="far"} 1.0',
    ]
    assert len(told) == len(reports) * len(Condition)
    assert len([line for line in told if line.endswith(" 0.0")]) == len(reports) * (len(Condition) - 1)
    reports[1] = TargetReport("far", "small", Condition.PROBING, failures=5, ready_in_s=0)
    assert 'ezai_target_state{model="small",state="probing",upstream="far"} 1.0' in lines(metrics)


def test_nobody_looks_until_somebody_asks() -> None:
    asked = 0

    def targets() -> list[TargetReport]:
        nonlocal asked
        asked += 1
        return []

    metrics = Metrics(targets=targets)
    before = asked  # the registry looks once for the names
    metrics.ended(Outcome("req_1", 200, "finished", 1.0, upstream="far", tries=(("far", "finished"),)))
    assert asked == before
    metrics.render()
    assert asked == before + 1
