"""Stop sequences that are enforced here, on text that comes in pieces."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable


class StopSequences:
    """Holds back the end of the text that may be the beginning of a stop sequence.

    The match is the earliest in the text and the longest there, however the text was cut: a shorter one waits until
    no longer one can come of it. Looking at a place takes as long for many sequences as for a few.
    """

    __slots__ = ("_beginning", "_held", "_longest", "_shorter", "_stops", "matched")

    def __init__(self, stops: Iterable[str]) -> None:
        self._stops = sorted({stop for stop in stops if stop})
        self._longest = max(map(len, self._stops), default=0)
        self._shorter = _beginnings(self._stops)
        self._beginning = re.compile("|".join(sorted({re.escape(stop[0]) for stop in self._stops})) or "(?!)")
        self._held = ""
        self.matched: str | None = None
        """The sequence that ended the text."""

    def feed(self, text: str) -> str:
        """More text. Returns what can go out; after a match that is all there is before it."""
        if self._held:
            text, self._held = self._held + text, ""
        return self._released(text, may_grow=True)

    def end(self) -> str:
        """The text has ended, or is interrupted. Returns what was held back, up to a match."""
        text, self._held = self._held, ""
        return self._released(text, may_grow=False)

    def _released(self, text: str, *, may_grow: bool) -> str:
        beginning = self._beginning.search(text)
        while beginning:
            at = beginning.start()
            rest = text[at : at + self._longest]
            place = bisect_right(self._stops, rest)
            if may_grow and self._grows(rest, place):
                self._held = text[at:]
                return text[:at]
            self.matched = self._longest_in(rest, place)
            if self.matched is not None:
                return text[:at]
            beginning = self._beginning.search(text, at + 1)
        return text

    def _grows(self, rest: str, place: int) -> bool:
        """Whether the rest of the text is the beginning of a stop sequence, and not the whole of it.

        `place` is where it stands in their order: all that begin with it stand right behind.
        """
        return place < len(self._stops) and self._stops[place].startswith(rest)

    def _longest_in(self, rest: str, place: int) -> str | None:
        """The longest that the rest begins with: the one before its place, or a beginning of that one."""
        stop = self._stops[place - 1] if place else None
        while stop is not None and not rest.startswith(stop):
            stop = self._shorter.get(stop)
        return stop


def _beginnings(stops: Iterable[str]) -> dict[str, str]:
    """Of each the longest other one that it begins with; `stops` are in order."""
    found: dict[str, str] = {}
    before: list[str] = []
    for stop in stops:
        while before and not stop.startswith(before[-1]):
            before.pop()
        if before:
            found[stop] = before[-1]
        before.append(stop)
    return found
