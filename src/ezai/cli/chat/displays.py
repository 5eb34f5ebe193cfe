"""What shows an answer: plain text for pipes and files; what a display is."""

from __future__ import annotations

import re
import sys
from typing import Protocol

from ezai.cli.chat.answer import Answer, Piece

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Display(Protocol):
    """Shows one answer after the other."""

    refresh_s: float
    """How often `refresh` wants to be called while an answer runs."""

    def begin(self, answer: Answer) -> None:
        """An answer is waited for."""

    def add(self, piece: Piece) -> None:
        """More of it is there."""

    def refresh(self) -> None:
        """Time has passed."""

    def end(self) -> None:
        """It has ended, whichever way: what came stays, with its mark and its figures."""

    def tell(self, words: str) -> None:
        """Something beside the answers."""


def printable(text: str) -> str:
    """Text of a model moves no cursor and sets no title: control characters but tab and line feed are left out."""
    return _CONTROL.sub("", text)


def last_words(answer: Answer) -> list[str]:
    """What is said below an answer that has ended: why it is partial or refused, and its figures if it has any."""
    mark = printable(answer.mark)
    if answer.first_at is None:
        return [f"ezai: {mark}"] if mark else [answer.status()]
    return [f"■ partial: {mark}", answer.status()] if mark else [answer.status()]


class PlainDisplay:
    """The text alone on stdout, each piece as it comes; all else on stderr."""

    refresh_s = 3600.0

    def begin(self, answer: Answer) -> None:
        self._answer = answer

    def add(self, piece: Piece) -> None:
        if piece.kind == "text":
            sys.stdout.write(printable(piece.text))
            sys.stdout.flush()
        elif piece.kind == "tool":
            sys.stderr.write(f"[tool: {printable(piece.text)}]\n")

    def refresh(self) -> None:
        """Nothing here changes by itself."""

    def end(self) -> None:
        if self._answer.text:
            if not self._answer.text.endswith("\n"):
                sys.stdout.write("\n")
            sys.stdout.flush()
        for line in last_words(self._answer):
            sys.stderr.write(f"{line}\n")

    def tell(self, words: str) -> None:
        sys.stderr.write(f"{words}\n")
