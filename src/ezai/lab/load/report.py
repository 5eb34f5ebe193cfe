"""The figures of a run, as a value, a table and JSON."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ezai.lab.load.stream import StreamEnd, StreamResult


@dataclass(frozen=True, slots=True)
class Spread:
    """How durations are spread, in seconds; all None where there was none."""

    count: int = 0
    p50_s: float | None = None
    p99_s: float | None = None
    max_s: float | None = None

    @classmethod
    def of(cls, durations_s: Iterable[float]) -> Spread:
        """The spread of these."""
        ordered = sorted(durations_s)
        if not ordered:
            return cls()
        return cls(len(ordered), _at(ordered, 0.5), _at(ordered, 0.99), ordered[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """What a run found."""

    seconds: float
    started: int
    shed: int
    """Arrivals that were not started, since too many streams were open."""
    ended: dict[str, int]
    """How many ended how; with the status or the type of an error."""
    events: int
    tokens: int
    received_bytes: int
    lost: int
    cut_off: int
    doubled: int
    reordered: int
    foreign: int
    """Tokens of other streams: nothing worse can happen."""
    unnumbered: int
    """Streams in which losses cannot be seen, since their text is not a mock's."""
    first_byte: Spread
    first_token: Spread
    gap: Spread
    """Between events with text, of all streams."""
    worst_gap: Spread
    """The longest gap of each stream."""
    whole: Spread
    """From the request to the end, of whole streams."""
    late: Spread
    """How much later than due the load itself started its streams."""
    cpu_s: float
    """Of this process, so of the load alone where it runs alone."""
    streams: Sequence[StreamResult] = field(repr=False)

    @property
    def is_clean(self) -> bool:
        """Whether every stream came to its end with every token once and in order."""
        wrong = self.lost + self.cut_off + self.doubled + self.reordered + self.foreign + self.shed
        return not wrong and self.ended.get(StreamEnd.WHOLE, 0) == self.started

    def as_json(self) -> bytes:
        """Everything but the single streams."""
        return msgspec.json.encode(self._figures())

    def as_table(self) -> str:
        """For a terminal."""
        rows = [
            ("streams", f"{self.started} in {self.seconds:.1f} s" + (f", {self.shed} not started" * bool(self.shed))),
            ("ended", ", ".join(f"{count} {how}" for how, count in self.ended.items())),
            ("events", f"{self.events} ({self.events / self.seconds:.0f}/s), {self.received_bytes / 1e6:.1f} MB"),
            ("tokens", self._tokens()),
            ("first byte", _told(self.first_byte)),
            ("first token", _told(self.first_token)),
            ("gaps", _told(self.gap)),
            ("whole stream", _told(self.whole)),
            ("started late", _told(self.late)),
            ("CPU of the load", f"{self.cpu_s:.2f} s, {1e6 * self.cpu_s / max(1, self.events):.1f} us an event"),
        ]
        return "\n".join(f"{name:16} {value}" for name, value in rows)

    def _tokens(self) -> str:
        if self.unnumbered == self.started:
            return "not numbered: losses cannot be seen"
        names = ("lost", "cut_off", "doubled", "reordered", "foreign")
        wrong = [f"{getattr(self, name)} {name.replace('_', ' ')}" for name in names if getattr(self, name)]
        return f"{self.tokens}, " + (", ".join(wrong) or "none lost, doubled or out of order")

    def _figures(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "streams"}


def summed(streams: Sequence[StreamResult], shed: int, seconds: float, cpu_s: float) -> LoadResult:
    """The figures of a run from those of its streams."""
    ends = Counter(" ".join(filter(None, (stream.ended, stream.detail))) for stream in streams)
    return LoadResult(
        seconds=seconds,
        started=len(streams),
        shed=shed,
        ended=dict(ends.most_common()),
        events=sum(stream.events for stream in streams),
        tokens=sum(stream.tokens for stream in streams),
        received_bytes=sum(stream.received_bytes for stream in streams),
        lost=sum(stream.lost for stream in streams),
        cut_off=sum(stream.cut_off for stream in streams),
        doubled=sum(stream.doubled for stream in streams),
        reordered=sum(stream.reordered for stream in streams),
        foreign=sum(stream.foreign for stream in streams),
        unnumbered=sum(not stream.is_numbered for stream in streams),
        first_byte=Spread.of(stream.first_byte_s for stream in streams if stream.first_byte_s is not None),
        first_token=Spread.of(stream.first_token_s for stream in streams if stream.first_token_s is not None),
        gap=Spread.of(gap_s for stream in streams for gap_s in stream.gaps_s),
        worst_gap=Spread.of(max(stream.gaps_s) for stream in streams if stream.gaps_s),
        whole=Spread.of(
            stream.ended_s for stream in streams if stream.ended is StreamEnd.WHOLE and stream.ended_s is not None
        ),
        late=Spread.of(stream.late_s for stream in streams),
        cpu_s=cpu_s,
        streams=streams,
    )


def _at(ordered: Sequence[float], part: float) -> float:
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]


def _told(spread: Spread) -> str:
    if spread.p50_s is None or spread.p99_s is None or spread.max_s is None:
        return "none"
    return f"p50 {spread.p50_s * 1000:.1f} ms, p99 {spread.p99_s * 1000:.1f} ms, max {spread.max_s * 1000:.1f} ms"
