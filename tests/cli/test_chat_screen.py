"""What stands on the terminal between two writes: a reader sees every one of these states."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pyte
import pytest
from rich.console import Console

from ezai.cli.chat.answer import Answer, Piece
from ezai.cli.chat.screen import Screen

ROWS, COLUMNS = 12, 40
TEXT = "\n\n".join(
    [
        "# Numbers",
        *(f"Paragraph {number} is long enough to take more than one row of it." for number in range(4)),
        "```\n" + "\n".join(f"code {number}" for number in range(30)) + "\n```",
        "\n".join(f"{number}. item {number}" for number in range(1, 12)),
        "The end.",
    ]
)


class Emulated(io.StringIO):
    """A terminal that keeps what it shows after each write."""

    def __init__(self) -> None:
        super().__init__()
        self.screen = pyte.HistoryScreen(COLUMNS, ROWS, history=10_000, ratio=0.5)
        self.stream = pyte.Stream(self.screen)
        self.states: list[list[str]] = []

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.stream.feed(text.replace("\n", "\r\n"))
        above = ["".join(row[place].data for place in range(COLUMNS)) for row in self.screen.history.top]
        self.states.append([line.strip() for line in (*above, *self.screen.display)])
        return len(text)


def drawn(*pieces: Piece, clock: Iterator[float] | None = None) -> Emulated:
    """Show an answer that comes in these pieces, each of which is drawn."""
    terminal = Emulated()
    console = Console(file=terminal, force_terminal=True, width=COLUMNS, height=ROWS, highlight=False)
    now = clock or iter(range(1_000_000))
    screen = Screen(console, lambda: next(now))
    answer = Answer(now=lambda: 0.0)
    screen.begin(answer)
    for piece in pieces:
        screen.add(piece)
    screen.end()
    return terminal


def pieces(size: int) -> list[Piece]:
    return [Piece("text", TEXT[start : start + size]) for start in range(0, len(TEXT), size)]


@pytest.mark.parametrize("size", [1, 3, 7, 50, 400])
def test_no_state_shows_a_row_twice(size: int) -> None:
    for state in drawn(*pieces(size)).states:
        rows = [row for row in state if row.startswith(("Paragraph", "code", "Numbers", "The end"))]
        assert len(rows) == len(set(rows)), "\n".join(state)


@pytest.mark.parametrize("size", [1, 3, 7, 50])
def test_what_is_left_does_not_depend_on_how_it_came(size: int) -> None:
    assert drawn(*pieces(size)).states[-1] == drawn(*pieces(len(TEXT))).states[-1]


def test_only_the_open_block_is_written_again() -> None:
    """Each finished row is written once: the output grows with the text, not with its square."""
    long = [Piece("text", f"Paragraph {number}.\n\n") for number in range(200)]
    terminal = drawn(*long)
    shown = terminal.states[-1]
    assert [row for row in shown if row.startswith("Paragraph")] == [f"Paragraph {number}." for number in range(200)]
    assert len(terminal.states) < 3 * len(long)


def test_drawing_waits_for_the_next_frame() -> None:
    """Two hundred pieces within a millisecond are not drawn two hundred times."""
    at_once = (number * 1e-6 for number in range(1_000_000))
    assert len(drawn(*pieces(3), clock=at_once).states) < 12
