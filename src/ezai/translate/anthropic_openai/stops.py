"""Stop sequences that are enforced here, on text that comes in pieces."""

from __future__ import annotations

import re
from collections.abc import Iterable


class StopSequences:
    """Holds back the end of the text that may be the beginning of a stop sequence.

    The match is the earliest in the text and the longest there, however the text was cut: a shorter one waits until
    no longer one can come of it.
    """

    __slots__ = ("_beginning", "_held", "_stops", "matched")

    def __init__(self, stops: Iterable[str]) -> None:
        self._stops: dict[str, list[str]] = {}  # by their first character, the longest first
        for stop in sorted({stop for stop in stops if stop}, key=len, reverse=True):
            self._stops.setdefault(stop[0], []).append(stop)
        self._beginning = re.compile("|".join(map(re.escape, self._stops)) or "(?!)")
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
            if may_grow and self._grows(text, at):
                self._held = text[at:]
                return text[:at]
            self.matched = next((stop for stop in self._stops[text[at]] if text.startswith(stop, at)), None)
            if self.matched is not None:
                return text[:at]
            beginning = self._beginning.search(text, at + 1)
        return text

    def _grows(self, text: str, at: int) -> bool:
        """Whether the text from there to its end is the beginning of a stop sequence, and not the whole of it."""
        size = len(text) - at
        return any(len(stop) > size and text.startswith(stop[:size], at) for stop in self._stops[text[at]])
