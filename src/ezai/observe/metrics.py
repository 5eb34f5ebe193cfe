"""Metrics in Prometheus' text form.

Labels are names from the configuration and the closed set of causes, never a client's word: a label per model that
somebody made up would grow without end.
"""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ezai.ports import Outcome

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

_NONE = "none"
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """The port `Observer`, counted. `open_requests` tells how many are being served now."""

    def __init__(self, open_requests: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        registry = self._registry
        self._requests = Counter(
            "ezai_requests", "Requests by how they ended.", ["upstream", "cause", "status"], registry=registry
        )
        self._first_event = Histogram(
            "ezai_time_to_first_event_seconds",
            "From asking an upstream to its first event.",
            ["upstream"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._duration = Histogram(
            "ezai_request_duration_seconds",
            "From a request's admission to its end.",
            ["upstream"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._tokens = Counter("ezai_tokens", "Tokens by kind.", ["upstream", "kind"], registry=registry)
        Gauge("ezai_open_requests", "Requests being served.", registry=registry).set_function(open_requests)

    def ended(self, outcome: Outcome) -> None:
        upstream = outcome.upstream or _NONE
        self._requests.labels(upstream, outcome.cause, str(outcome.status)).inc()
        if outcome.upstream is None:
            return
        self._duration.labels(upstream).observe(outcome.duration_s)
        if outcome.first_event_after_s is not None:
            self._first_event.labels(upstream).observe(outcome.first_event_after_s)
        if outcome.end is not None:
            usage = outcome.end.usage
            self._tokens.labels(upstream, "input").inc(usage.input_tokens)
            self._tokens.labels(upstream, "cache_read").inc(usage.cache_read_input_tokens)
            self._tokens.labels(upstream, "cache_write").inc(usage.cache_creation_input_tokens)
            self._tokens.labels(upstream, "output").inc(usage.output_tokens)

    def render(self) -> bytes:
        """Everything counted so far."""
        rendered: bytes = generate_latest(self._registry)
        return rendered
