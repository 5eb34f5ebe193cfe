"""Metric families as values, so that what several processes have counted becomes one page.

Counters and histograms are added; so are gauges, whose sum over the workers is what each of them says of its own part
(requests being served). A gauge that says yes or no says, added, in how many workers it is so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import msgspec
from prometheus_client import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

_SINCE = "_created"


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """One number, and what it is the number of."""

    name: str
    labels: dict[str, str]
    value: float


class Family(msgspec.Struct, frozen=True, array_like=True):
    """One metric with all its samples; `kind` is Prometheus' type."""

    name: str
    told: str
    kind: str
    samples: list[Sample]


def families_of(collector: Collector) -> list[Family]:
    """What a registry has collected so far."""
    return [
        Family(
            metric.name,
            metric.documentation,
            metric.type,
            [Sample(sample.name, sample.labels, sample.value) for sample in metric.samples],
        )
        for metric in collector.collect()
    ]


def added(several: Iterable[Sequence[Family]]) -> list[Family]:
    """What several processes have counted, as if one had; in the order of the first that knows a family."""
    known: dict[str, Family] = {}
    sums: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for families in several:
        for family in families:
            known.setdefault(family.name, family)
            values = sums.setdefault(family.name, {})
            for sample in family.samples:
                place = (sample.name, tuple(sample.labels.items()))
                values[place] = _together(values.get(place), sample)
    return [
        Family(
            name,
            family.told,
            family.kind,
            [Sample(key, dict(labels), value) for (key, labels), value in sums[name].items()],
        )
        for name, family in known.items()
    ]


def without_gauges(families: Sequence[Family]) -> list[Family]:
    """What stays true of a process that has ended: what it counted, not what it was doing."""
    return [family for family in families if family.kind != "gauge"]


def rendered(families: Sequence[Family]) -> bytes:
    """The page, in Prometheus' text form."""
    page: bytes = generate_latest(_Collected(families))
    return page


def _together(sum_so_far: float | None, sample: Sample) -> float:
    if sum_so_far is None:
        return sample.value
    if sample.name.endswith(_SINCE):  # a moment: since when it was counted
        return min(sum_so_far, sample.value)
    return sum_so_far + sample.value


@dataclass(frozen=True, slots=True)
class _Collected(Collector):
    """Families as a registry would give them."""

    families: Sequence[Family]

    def collect(self) -> Iterator[Metric]:
        for family in self.families:
            metric = Metric(family.name, family.told, family.kind)
            for sample in family.samples:
                metric.add_sample(sample.name, sample.labels, sample.value)
            yield metric
