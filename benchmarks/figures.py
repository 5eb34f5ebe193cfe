"""The figures of the table, in its order."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from benchmarks import embedded, events, lag, latency, starting, streams, unary
from benchmarks.lab import Lab
from benchmarks.table import Row


class Figure(NamedTuple):
    """Rows that are measured together."""

    name: str
    measure: Callable[[Lab], list[Row]]
    needs_nginx: bool = False


FIGURES = (
    Figure("events", events.per_event, needs_nginx=True),
    Figure("unary", unary.per_request, needs_nginx=True),
    Figure("latency", latency.added),
    Figure("memory", streams.memory),
    Figure("held", streams.held),
    Figure("flatness", events.flatness, needs_nginx=True),
    Figure("starting", starting.starting),
    Figure("embedded", embedded.embedded),
    Figure("lag", lag.lag),
)
