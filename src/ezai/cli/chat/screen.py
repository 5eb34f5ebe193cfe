"""An answer on a terminal: Markdown while it streams, with a line of figures below.

Finished blocks are printed once and scroll away as any output does; the open block and the figures are what rich's
Live draws again. What of the open block does not fit the terminal is printed too, line by line from its top, so that
an answer of any length scrolls as it grows and nothing is drawn that cannot be taken back.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import ClassVar

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.markdown import Heading, Markdown
from rich.segment import Segment, SegmentLines
from rich.text import Text

from ezai.cli.chat import blocks
from ezai.cli.chat.answer import Answer, Kind, Piece
from ezai.cli.chat.displays import last_words, printable

FRAME_S = 1 / 15
COST_FACTOR = 4
"""Drawing takes no more than a part in so many of the time, however large the open block grows."""
RESERVED_ROWS = 2  # the figures, and the row that a terminal scrolls by

Lines = list[list[Segment]]


class Screen:
    """A `Display` for a terminal that understands cursor movements."""

    refresh_s = FRAME_S

    def __init__(self, console: Console | None = None, now: Callable[[], float] = time.monotonic) -> None:
        self._console = console or Console(highlight=False, markup=False, emoji=False)
        self._now = now

    def begin(self, answer: Answer) -> None:
        self._answer = answer
        self._kind: Kind = "text"
        self._open = ""
        self._printed_rows = 0
        """Of the open block, how many stand above already."""
        self._shown_rows = 0
        self._has_gap = False
        """Whether the open block has an empty row above it."""
        self._width = self._console.width
        self._next_draw_at = 0.0
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._echo_again = _silence_keys()
        self._live.start()
        self.refresh()

    def add(self, piece: Piece) -> None:
        text = printable(piece.text)
        if piece.kind == "tool" or piece.kind not in {self._kind, "input"}:
            self._close_part()
            self._kind = piece.kind
        self._open += f"{text} " if piece.kind == "tool" else text
        self.refresh()

    def refresh(self) -> None:
        began = self._now()
        if began < self._next_draw_at:
            return
        self._draw()
        ended = self._now()
        self._next_draw_at = ended + max(FRAME_S, (ended - began) * COST_FACTOR)

    def end(self) -> None:
        try:
            self._close_part()
        finally:  # whoever presses Ctrl-C again here wants a terminal that works all the same
            self._echo_again()
            self._live.stop()
        *marks, last = last_words(self._answer)
        for mark in marks:
            self._console.print(Text(mark, "yellow"))
        self._console.print(Text(last, "dim" if self._answer.first_at is not None else "yellow"))

    def tell(self, words: str) -> None:
        self._console.print(Text(words, "dim"))

    # Drawing.

    def _draw(self) -> None:
        """Bring the screen up to date, in one write."""
        final, self._open = self._cut(self._open)
        above = self._finished(final)
        rows = self._rows(self._blocks(self._open))
        self._follow_width(rows)
        room = max(1, self._console.height - RESERVED_ROWS)
        overflow = max(0, len(rows) - self._printed_rows - room)
        above += rows[self._printed_rows : self._printed_rows + overflow]
        self._printed_rows += overflow
        self._show(above, rows[self._printed_rows :])

    def _close_part(self) -> None:
        """Nothing is added to what is open any more: all of it goes above."""
        above = self._finished(self._blocks(self._open))
        self._open, self._printed_rows = "", 0
        self._show(above, [])

    def _finished(self, final: list[str]) -> Lines:
        """The rows of final blocks that do not stand above yet; others begin behind them."""
        rows = self._rows(final)
        self._follow_width(rows)
        rest = rows[self._printed_rows :]
        self._printed_rows = max(0, self._printed_rows - len(rows))
        self._has_gap = self._has_gap or bool(rows)
        return rest

    def _follow_width(self, rows: Lines) -> None:
        """Rows break elsewhere once the terminal is wider or narrower: as many stay below as did."""
        if self._width != self._console.width:
            self._width = self._console.width
            self._printed_rows = max(0, len(rows) - self._shown_rows) if self._printed_rows else 0

    def _cut(self, text: str) -> tuple[list[str], str]:
        """The blocks that are final, and the rest."""
        if self._kind == "text":
            return blocks.cut(text)
        *final, rest = self._blocks(text)
        return final, rest

    def _blocks(self, text: str) -> list[str]:
        if self._kind == "text":
            return blocks.split(text)
        return text.split("\n\n") if self._kind == "thinking" else [text]

    def _rows(self, blocks_: list[str]) -> Lines:
        """Blocks as rows of the terminal, each with an empty one above it where something stands there."""
        rows: Lines = []
        for block in blocks_:
            if not block.strip():
                continue
            drawn = self._console.render_lines(self._rendered(block), self._console.options, pad=False)
            while drawn and _is_empty(drawn[-1]):
                drawn.pop()
            first = next((place for place, row in enumerate(drawn) if not _is_empty(row)), 0)
            rows += [[], *drawn[first:]] if self._has_gap or rows else drawn[first:]
        return rows

    def _rendered(self, block: str) -> RenderableType:
        if self._kind == "text":
            return _Markdown(block, hyperlinks=False)
        if self._kind == "thinking":
            return Text(block.strip("\n"), "dim italic")
        return Text(f"→ {block}", "cyan dim")

    def _show(self, above: Lines, below: Lines) -> None:
        """Print rows that stay, and draw those that may change; in one write, so that nothing is seen in between."""
        self._shown_rows = len(below)
        figures = Text(self._answer.status(), "dim", no_wrap=True, overflow="ellipsis")
        with self._console:
            if above:
                self._live.update(figures, refresh=True)  # else what is drawn now would be printed along
                self._console.print(SegmentLines(above, new_lines=True), end="")
            self._live.update(Group(SegmentLines(below, new_lines=True), figures), refresh=True)


def _silence_keys() -> Callable[[], None]:
    """Keep what is typed, Ctrl-C's own mark too, from being shown where the cursor is; what undoes that."""
    if sys.platform == "win32" or not sys.stdin.isatty():
        return lambda: None
    import termios

    keyboard, flags = sys.stdin.fileno(), 3
    before = termios.tcgetattr(keyboard)
    silent = [*before]
    silent[flags] &= ~termios.ECHO
    termios.tcsetattr(keyboard, termios.TCSANOW, silent)
    return lambda: termios.tcsetattr(keyboard, termios.TCSANOW, before)


def _is_empty(row: list[Segment]) -> bool:
    """Whether nothing of it can be seen; rich puts such rows around lists and tables."""
    return all(not text.strip() and not (style and style.bgcolor) for text, style, _ in row)


class _Heading(Heading):
    """A heading where the text is; rich puts the first level into the middle."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        del console, options
        text = self.text.copy()
        text.justify = "left"
        yield text


class _Markdown(Markdown):
    """Links stand with their addresses: what a model says does not decide where a click goes unseen."""

    elements: ClassVar = {**Markdown.elements, "heading_open": _Heading}
