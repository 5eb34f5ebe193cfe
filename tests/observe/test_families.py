"""Counts of several processes, added up."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from ezai.observe.families import Family, added, families_of, rendered, without_gauges


class Process:
    """What one process counts."""

    def __init__(self, requests: dict[str, int], seconds: list[float], running: int) -> None:
        self._registry = CollectorRegistry()
        counter = Counter("requests", "Requests.", ["upstream"], registry=self._registry)
        for upstream, count in requests.items():
            counter.labels(upstream).inc(count)
        histogram = Histogram("seconds", "Seconds.", buckets=(1, 10), registry=self._registry)
        for value in seconds:
            histogram.observe(value)
        Gauge("running", "Running.", registry=self._registry).set(running)

    def told(self) -> list[Family]:
        """As they come over from another process."""
        return msgspec.json.decode(msgspec.json.encode(families_of(self._registry)), type=list[Family])


def lines(families: list[Family]) -> list[str]:
    return [line for line in rendered(families).decode().splitlines() if "_created" not in line and line[0] != "#"]


def test_counters_histograms_and_gauges_are_added() -> None:
    one = Process({"a": 1, "b": 2}, [0.5], running=3)
    other = Process({"b": 5, "c": 7}, [5, 50], running=4)
    assert lines(added([one.told(), other.told()])) == [
        'requests_total{upstream="a"} 1.0',
        'requests_total{upstream="b"} 7.0',
        'requests_total{upstream="c"} 7.0',
        'seconds_bucket{le="1.0"} 1.0',
        'seconds_bucket{le="10.0"} 2.0',
        'seconds_bucket{le="+Inf"} 3.0',
        "seconds_count 3.0",
        "seconds_sum 55.5",
        "running 7.0",
    ]


def test_it_was_counted_since_the_first_began() -> None:
    told = [Process({"a": 1}, [], 0).told() for _ in range(3)]
    created = [sample.value for families in told for sample in families[0].samples if sample.name.endswith("_created")]
    (together,) = (sample.value for sample in added(told)[0].samples if sample.name.endswith("_created"))
    assert together == min(created)


def test_of_one_that_has_ended_its_counts_stay_and_its_gauges_go() -> None:
    assert [family.name for family in without_gauges(Process({"a": 1}, [1], 5).told())] == ["requests", "seconds"]


def test_of_nobody_there_is_nothing() -> None:
    assert added([]) == []
    assert rendered([]) == b""


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 100)), max_size=4))
def test_the_order_and_the_grouping_do_not_matter(processes: list[dict[str, int]]) -> None:
    told = [Process(requests, [], 1).told() for requests in processes]
    whole = sorted(lines(added(told)))
    assert sorted(lines(added(told[::-1]))) == whole
    assert sorted(lines(added([added(told[:2]), added(told[2:])]))) == whole
