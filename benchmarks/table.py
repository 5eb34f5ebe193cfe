"""One row of the table, its verdict, and how rows are printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """How a figure stands to what is promised."""

    REACHED = "reached"
    HELD = "held"
    MISSED = "MISSED"
    FAILED = "FAILED"
    """Requests failed, so the number is none of what it should tell."""
    TOLD = ""
    """Nothing is promised: it is printed to be known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure. `unit` is written behind each of its numbers; `detail` says what the number is made of."""

    figure: str
    measured: float
    unit: str
    hold: float | None = None
    reach: float | None = None
    more_is_better: bool = False
    digits: int = 1
    detail: str = ""
    is_disturbed: bool = False
    """Whether the machine had other work all the time, so that the number is not worth much."""
    failure: str = ""
    """What went wrong with the requests that it was measured over; empty where nothing did."""
    runs: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """What the number was made of, run by run."""

    @property
    def verdict(self) -> Verdict:
        """What was measured, against what is promised."""
        if self.failure:
            return Verdict.FAILED
        if self.hold is None:
            return Verdict.TOLD
        if self.reach is not None and self._meets(self.reach):
            return Verdict.REACHED
        return Verdict.HELD if self._meets(self.hold) else Verdict.MISSED

    def cells(self) -> tuple[str, str, str, str, str]:
        """The row as it is printed."""
        verdict = self.verdict + (" (machine busy)" if self.is_disturbed else "")
        return (self.figure, self._written(self.measured), self._limit(self.hold), self._limit(self.reach), verdict)

    def values(self) -> dict[str, Any]:
        """The row for a program to read."""
        return {
            "figure": self.figure,
            "measured": self.measured,
            "unit": self.unit.strip(),
            "hold": self.hold,
            "reach": self.reach,
            "verdict": str(self.verdict),
            "disturbed": self.is_disturbed,
            "failure": self.failure,
            "detail": self.detail,
            "runs": {name: list(values) for name, values in self.runs.items()},
        }

    def _meets(self, limit: float) -> bool:
        return self.measured >= limit if self.more_is_better else self.measured <= limit

    def _written(self, value: float) -> str:
        return f"{value:,.{self.digits}f}{self.unit}"

    def _limit(self, limit: float | None) -> str:
        return "" if limit is None else f"{limit:,g}{self.unit}"


TITLES = ("figure", "measured", "hold", "reach", "verdict")


def rendered(rows: Sequence[Row]) -> str:
    """The table, and under it what its numbers are made of."""
    cells = [TITLES, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(TITLES))]
    lines = [_line(line, widths) for line in cells]
    lines.insert(1, "  ".join("-" * width for width in widths))
    details = [f"  {row.figure}: {row.detail}" for row in rows if row.detail]
    failures = [f"  {row.figure}: {row.failure}" for row in rows if row.failure]
    made_of = ["", "made of", *details] if details else []
    return "\n".join([*lines, *made_of, *(["", "failed", *failures] if failures else [])])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *numbers, verdict = cells
    aligned = [text.rjust(width) for text, width in zip(numbers, widths[1:-1], strict=True)]
    return "  ".join([first.ljust(widths[0]), *aligned, verdict]).rstrip()
