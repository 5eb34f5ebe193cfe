"""Markdown cut into blocks: nothing is lost, and what is final stays as it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezai.cli.chat.blocks import cut

PIECES = st.sampled_from(
    ["# T", "a", "b\n", "\n", "\n\n", "```", "```py\n", "~~~\n", "- x\n", "  y\n", "1. z\n", "> q\n", "| a | b |\n",
     "|---|---|\n", "---\n", "===\n", "    code\n", "\t", " ", "**", "`", "<p>", "\x0b", "\u2028", "[x]: y\n"],
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "final", "rest"),
    [
        ("", [], ""),
        ("one", [], "one"),
        ("one\n\n", [], "one\n\n"),
        ("one\n\ntwo", [], "one\n\ntwo"),
        ("one\n\ntwo\n", ["one\n\n"], "two\n"),
        ("1. one\n\n2", [], "1. one\n\n2"),
        ("1. one\n\n2. two\n", [], "1. one\n\n2. two\n"),
        ("# T\none\n", ["# T\n"], "one\n"),
        ("one\n```py\nx\n\ny", ["one\n"], "```py\nx\n\ny"),
        ("```\nx\n```\ny\n", ["```\nx\n```\n"], "y\n"),
        ("- a\n- b\n\n  c\n", [], "- a\n- b\n\n  c\n"),
        ("- a\n\n\nend\n", ["- a\n\n\n"], "end\n"),
        ("\n\none\n\ntwo\n", ["\n\none\n\n"], "two\n"),
        ("| a |\n|---|\n| 1 |\n\nend\n", ["| a |\n|---|\n| 1 |\n\n"], "end\n"),
    ],
)
def test_blocks(text: str, final: list[str], rest: str) -> None:
    assert cut(text) == (final, rest)


@given(st.lists(PIECES, max_size=30))
def test_joined_the_blocks_are_the_text(pieces: list[str]) -> None:
    text = "".join(pieces)
    final, rest = cut(text)
    assert "".join(final) + rest == text


@given(st.lists(PIECES, max_size=30))
def test_text_that_comes_later_changes_no_final_block(pieces: list[str]) -> None:
    text = ""
    final: list[str] = []
    for piece in pieces:
        text += piece
        now, _ = cut(text)
        assert now[: len(final)] == final
        final = now
