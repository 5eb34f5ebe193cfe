"""How far off the estimate of a prompt's tokens is: what docs/behaviour.md says, on the corpus that stands here.

`estimate_corpus.json` holds texts of the project's own and how many tokens each has by the last tokenizer of Claude
that was published (`tokenizer.json` of the Python SDK 0.38).
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from tests.translate.test_chat_request import made

DOCS = Path(__file__).parents[2] / "docs" / "behaviour.md"


class Text(msgspec.Struct):
    """A text and its tokens."""

    tokens: int
    text: str


CORPUS = msgspec.json.decode((Path(__file__).parent / "estimate_corpus.json").read_bytes(), type=dict[str, Text])
STATED = {
    kind: int(percent.replace(" ", ""))
    for kind, percent in re.findall(
        r"([A-Za-z][A-Za-z ]+?) ([+-]?\d+) %", DOCS.read_text().partition("tokenizer of Claude")[2]
    )
}


@pytest.mark.parametrize("kind", CORPUS)
def test_the_error_of_the_estimate_is_the_one_that_is_stated(kind: str) -> None:
    text = CORPUS[kind]
    around = made(messages=[{"role": "user", "content": ""}]).terms.prompt_tokens
    estimate = made(messages=[{"role": "user", "content": text.text}]).terms.prompt_tokens - around
    assert round(100 * (estimate - text.tokens) / text.tokens) == STATED[kind]


def test_nothing_else_is_stated() -> None:
    assert set(STATED) == set(CORPUS)
    assert min(STATED.values()) >= -35
    assert max(STATED.values()) <= 10
