"""An estimate of a prompt's tokens, where nobody counts them.

docs/behaviour.md says how far off it is, on which texts.
"""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

_DIGITS = string.digits.encode()
_LETTERS = string.ascii_letters.encode()
_NO_PUNCTUATION = (string.ascii_letters + string.digits + string.whitespace).encode() + bytes(range(128, 256))
_PER_LETTER = 0.25
_PER_DIGIT = 0.55
_PER_MARK = 0.55
_PER_LINE = 1.0
_PER_BYTE_BEYOND = 0.5
"""Tokens for what a text holds, fitted to the last public tokenizer of Claude on prose, code, JSON, logs and eight
scripts. Beyond: bytes of UTF-8 more than characters; a Chinese character has two, and is about a token."""
_TOKENS_A_MESSAGE = 4
_TOKENS_AN_IMAGE = 1_500
"""About that of the hosted API for an image at the size to which it reduces larger ones."""

_encode = msgspec.json.Encoder().encode


def estimate_tokens(prompt: Mapping[str, Any]) -> int:
    """About how many tokens the input of a chat request has: at least one."""
    total = 0.0
    for message in prompt["messages"]:
        total += _TOKENS_A_MESSAGE + sum(map(_of_text, _texts(message)))
        total += _TOKENS_AN_IMAGE * _images(message)
    if "tools" in prompt:
        total += _of_text(_encode(prompt["tools"]).decode())
    return max(1, round(total))


def _texts(message: Mapping[str, Any]) -> Iterator[str]:
    content = message["content"]
    if isinstance(content, str):
        yield content
    elif content is not None:
        yield from (part["text"] for part in content if part["type"] == "text")
    for call in message.get("tool_calls", ()):
        yield call["function"]["name"]
        yield call["function"]["arguments"]


def _images(message: Mapping[str, Any]) -> int:
    content = message["content"]
    return sum(part["type"] != "text" for part in content) if isinstance(content, list) else 0


def _of_text(text: str) -> float:
    """Counting is by deleting: a pass over the bytes in C for each kind of character."""
    encoded = text.encode("utf-8", "surrogatepass")
    letters = len(encoded) - len(encoded.translate(None, _LETTERS))
    digits = len(encoded) - len(encoded.translate(None, _DIGITS))
    marks = len(encoded.translate(None, _NO_PUNCTUATION))
    return (
        _PER_LETTER * letters
        + _PER_DIGIT * digits
        + _PER_MARK * marks
        + _PER_LINE * encoded.count(b"\n")
        + _PER_BYTE_BEYOND * (len(encoded) - len(text))
    )
