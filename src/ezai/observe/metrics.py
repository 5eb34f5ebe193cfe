"""Metrics in Prometheus' text form.

Labels are names from the configuration and the closed set of causes, never a client's word: a label per model that
somebody made up would grow without end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from ezai.observe.families import Family, families_of, rendered
from ezai.observe.log import lost_lines
from ezai.policy.breaker import Condition
from ezai.ports import Outcome, TargetReport

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

_NONE = "none"
MOST_WAITING = 32
"""So many are counted in a quarter of a millisecond; no stream is to wait longer for them."""
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """The port `Observer`, counted. `open_requests` tells how many are being served now, `open_streams` how many of
    them are streams, `targets` how targets do, `waiting_records` how much of the record of use is not in the database
    yet.

    What has ended is counted when somebody asks, or when `MOST_WAITING` wait: counting is 30 calls into the library,
    which cost a request that comes alone several times what they cost one after the other.
    """

    def __init__(
        self,
        open_requests: Callable[[], int] = lambda: 0,
        open_streams: Callable[[], int] = lambda: 0,
        targets: Callable[[], Sequence[TargetReport]] = tuple,
        waiting_records: Callable[[], int] = lambda: 0,
    ) -> None:
        self._ended: list[Outcome] = []
        self._registry = CollectorRegistry()
        registry = self._registry
        requests = Counter(
            "ezai_requests", "Requests by how they ended.", ["upstream", "cause", "status"], registry=registry
        )
        attempts = Counter(
            "ezai_attempts", "Attempts at an upstream by how they ended.", ["upstream", "cause"], registry=registry
        )
        first_token = Histogram(
            "ezai_time_to_first_token_seconds",
            "From asking an upstream to the first token of its stream.",
            ["upstream"],
            buckets=_SECONDS,
            registry=registry,
        )
        duration = Histogram(
            "ezai_request_duration_seconds",
            "From a request's admission to its end.",
            ["upstream"],
            buckets=_SECONDS,
            registry=registry,
        )
        tokens = Counter("ezai_tokens", "Tokens by kind.", ["upstream", "kind"], registry=registry)
        # By their labels, looked up once each: they are few, and the library takes 3 us for a look.
        self._requests_of = cache(requests.labels)
        self._attempts_of = cache(attempts.labels)
        self._first_token_of = cache(first_token.labels)
        self._duration_of = cache(duration.labels)
        self._tokens_of = cache(tokens.labels)
        for name, told, number in (
            ("ezai_open_requests", "Requests being served.", open_requests),
            ("ezai_open_streams", "Those of them that are answered in a stream.", open_streams),
            ("ezai_waiting_records", "Records of use that are not in the database yet.", waiting_records),
        ):
            Gauge(name, told, registry=registry).set_function(number)
        registry.register(_TargetStates(targets))
        registry.register(_LogLines())

    def ended(self, outcome: Outcome) -> None:
        if outcome.end is not None and outcome.end.error is not None:
            self._count(outcome)  # at once: a raised error holds all that its request was
            return
        self._ended.append(outcome)
        if len(self._ended) >= MOST_WAITING:
            self._count_ended()

    def _count_ended(self) -> None:
        ended, self._ended = self._ended, []
        for outcome in ended:
            self._count(outcome)

    def _count(self, outcome: Outcome) -> None:
        upstream = outcome.upstream or _NONE
        self._requests_of(upstream, outcome.cause, outcome.status).inc()
        for tried, cause in outcome.tries:
            self._attempts_of(tried, cause).inc()
        if outcome.upstream is None or outcome.end is None:  # no answer: refused, or a count of tokens
            return
        self._duration_of(upstream).observe(outcome.duration_s)
        if outcome.upstream_first_token_after_s is not None:
            self._first_token_of(upstream).observe(outcome.upstream_first_token_after_s)
        usage = outcome.end.usage
        self._count_tokens(upstream, "input", usage.input_tokens)
        self._count_tokens(upstream, "cache_read", usage.cache_read_input_tokens)
        self._count_tokens(upstream, "cache_write", usage.cache_creation_input_tokens)
        self._count_tokens(upstream, "output", usage.output_tokens)

    def _count_tokens(self, upstream: str, kind: str, tokens: int) -> None:
        counter = self._tokens_of(upstream, kind)
        if tokens:
            counter.inc(tokens)

    def families(self) -> list[Family]:
        """Everything counted so far, as values."""
        self._count_ended()
        return families_of(self._registry)

    def render(self) -> bytes:
        """The same as a page."""
        return rendered(self.families())


@dataclass(frozen=True, slots=True)
class _TargetStates(Collector):
    """Each target in each state it can be in, 1 where it is; looked up when somebody asks, never in between."""

    targets: Callable[[], Sequence[TargetReport]]

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = GaugeMetricFamily(
            "ezai_target_state", "Whether a target is in a state.", labels=["upstream", "model", "state"]
        )
        for target in self.targets():
            for condition in Condition:
                family.add_metric([target.upstream, target.model, str(condition)], float(target.condition is condition))
        yield family


class _LogLines(Collector):
    """Log lines that were dropped; see `log_output`."""

    def collect(self) -> Iterator[CounterMetricFamily]:
        yield CounterMetricFamily("ezai_log_lines_lost", "Log lines that nobody read.", value=lost_lines())
