"""Answers that are held to a grammar, and begin with its mark."""

from __future__ import annotations

from ezai.errors import InvalidRequest

_MOST_BEFORE = 64
"""Characters of the generation prompt that llama.cpp may repeat before the answer."""


class HeldText:
    """Takes the mark from the beginning of an answer.

    Without it the grammar was none that llama.cpp could hold the answer to, which it says nowhere else.
    """

    __slots__ = ("_before", "_mark", "_place", "begun")

    def __init__(self, mark: str, place: str) -> None:
        self.begun = False
        self._mark = mark
        self._place = place
        self._before = ""

    def feed(self, text: str) -> str:
        """More of the answer. Returns what stands behind the mark. Raises `InvalidRequest` where there is none."""
        if self.begun:
            return text
        before, mark, behind = (self._before + text).partition(self._mark)
        self.begun, self._before = bool(mark), before
        if len(before) > _MOST_BEFORE:
            raise self._refusal()
        return behind

    def end(self, *, cut: bool) -> None:
        """The answer has ended; `cut` where that was not its own end. Raises as `feed` does."""
        if not self.begun and (self._before or not cut):
            raise self._refusal()

    def _refusal(self) -> InvalidRequest:
        return InvalidRequest(
            f"{self._place}: the embedded model cannot be held to this schema: nothing fits it, or alternatives in a "
            "oneOf are not told apart, or a pattern or a number in it is beyond what it keeps"
        )
