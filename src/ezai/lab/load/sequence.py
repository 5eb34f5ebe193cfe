"""Numbered words: which are missing, came twice, out of order, or belong to somebody else.

A mock's text is "NAME.0 NAME.1 NAME.2 ..." for a request that holds "[stream NAME]".
"""

from __future__ import annotations

import re

_WORD = re.compile(r"([A-Za-z0-9_-]{1,32})\.(\d{1,9})")
_GAP_LIMIT = 1_000_000
"""A number further ahead than this is no number of the stream."""


class Sequence:
    """The words of one stream, as they come, in pieces of any size."""

    __slots__ = ("_missing", "_name", "_part", "doubled", "foreign", "garbled", "next", "reordered", "words")

    def __init__(self, name: str) -> None:
        self._name = name
        self._part = ""
        self._missing: set[int] = set()
        self.next = 0
        """The number due."""
        self.words = 0
        """Words of this stream, each counted once."""
        self.doubled = 0
        self.reordered = 0
        """Words that came after a later one."""
        self.foreign = 0
        """Words of another stream."""
        self.garbled = 0
        """Words that are no numbers; all of them, where a model speaks."""

    @property
    def is_numbered(self) -> bool:
        """Whether the text is a mock's."""
        return self.words > 0 or self.foreign > 0

    @property
    def missing(self) -> int:
        """How many numbers before the last one did not come."""
        return len(self._missing)

    def feed(self, text: str) -> None:
        """More text; a word that is not ended yet waits."""
        if self._part:
            text = self._part + text
        words = text.split()
        self._part = words.pop() if words and not text[-1].isspace() else ""
        for word in words:
            self._take(word)

    def close(self) -> None:
        """No more text comes."""
        if self._part:
            self._take(self._part)
            self._part = ""

    def _take(self, word: str) -> None:
        if word == f"{self._name}.{self.next}":  # hot: nearly every word
            self.next += 1
            self.words += 1
            return
        found = _WORD.fullmatch(word)
        if found is None:
            self.garbled += 1
        elif found[1] != self._name:
            self.foreign += 1
        else:
            self._place(int(found[2]))

    def _place(self, number: int) -> None:
        """A word of this stream that was not due."""
        if number > self.next + _GAP_LIMIT:
            self.garbled += 1
        elif number >= self.next:
            self._missing.update(range(self.next, number))
            self.next = number + 1
            self.words += 1
        elif number in self._missing:
            self._missing.remove(number)
            self.reordered += 1
            self.words += 1
        else:
            self.doubled += 1
