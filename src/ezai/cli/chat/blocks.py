"""Markdown cut into its blocks, for a text that grows at its end.

A block is final once another begins behind it in a line that is whole: CommonMark reads line by line, and a later line
changes the last block alone, while a line that is not whole may turn out as anything. The one exception, a link whose
target is defined further down, is shown as it is written.
"""

from __future__ import annotations

import re
from itertools import pairwise

from markdown_it import MarkdownIt

_PARSER = MarkdownIt().enable("strikethrough").enable("table")  # as rich reads it
_AFTER_LINE = re.compile(r"(?<=\n)")


def cut(text: str) -> tuple[list[str], str]:
    """The final blocks of a text, whose lines end in line feeds alone, and the rest. Joined they are the text."""
    *lines, unfinished = _AFTER_LINE.split(text)
    *final, rest = split("".join(lines))
    return final, rest + unfinished


def split(text: str) -> list[str]:
    """All blocks as they stand now, one at least. Joined they are the text."""
    lines = _AFTER_LINE.split(text)
    starts = [token.map[0] for token in _PARSER.parse(text) if token.level == 0 and token.map and token.nesting >= 0]
    return ["".join(lines[start:end]) for start, end in pairwise([0, *starts[1:], len(lines)])]
