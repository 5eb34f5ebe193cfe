"""Where an upstream's reasoning stands: in a field of the delta, or between tags at the beginning of the content."""

from __future__ import annotations

from collections.abc import Callable

from ezai.protocol.openai.chunks import ChatDelta
from ezai.translate.signatures import REASONING, REASONING_CONTENT, REASONING_DETAILS

_OPEN_TAG = "<think>"
_CLOSE_TAG = "</think>"


def reasoning_of(delta: ChatDelta) -> tuple[str, str]:
    """The reasoning of one delta and the field it stands in. Of several fields the first: they say the same."""
    if delta.reasoning_content:
        return delta.reasoning_content, REASONING_CONTENT
    if delta.reasoning:
        return delta.reasoning, REASONING
    details = delta.reasoning_details or ()
    return "".join(part.text or part.summary or "" for part in details), REASONING_DETAILS


class ThinkTags:
    """Parts content that may begin with `<think>...</think>` into thinking and text; tags may come in pieces."""

    __slots__ = ("_held", "_step", "passed")

    def __init__(self) -> None:
        self.passed = False
        """Whether all that follows is text."""
        self._held = ""
        self._step: Callable[[ThinkTags, str], tuple[str, str]] = ThinkTags._before

    def feed(self, text: str) -> tuple[str, str]:
        """More content, as thinking and the text behind it; what may yet be a tag is held back."""
        text, self._held = self._held + text, ""
        return self._step(self, text)

    def end(self) -> tuple[str, str]:
        """What is held back is no tag."""
        self.passed = True
        held, self._held = self._held, ""
        return (held, "") if self._step is ThinkTags._inside else ("", held)

    def _before(self, text: str) -> tuple[str, str]:
        begun = text.lstrip()
        if begun.startswith(_OPEN_TAG):
            self._step = ThinkTags._inside
            return self._inside(begun.removeprefix(_OPEN_TAG))
        if _OPEN_TAG.startswith(begun):
            self._held = text
            return "", ""
        self.passed = True
        return "", text

    def _inside(self, text: str) -> tuple[str, str]:
        thinking, tag, rest = text.partition(_CLOSE_TAG)
        if tag:
            self._step = ThinkTags._after
            return thinking, self._after(rest)[1]
        told = len(text) - _cut_tag(text)
        self._held = text[told:]
        return text[:told], ""

    def _after(self, text: str) -> tuple[str, str]:
        """The whitespace before the text belongs to the tag."""
        text = text.lstrip()
        self.passed = bool(text)
        return "", text


def _cut_tag(text: str) -> int:
    """How many characters at the end may begin the closing tag."""
    return next((size for size in range(len(_CLOSE_TAG) - 1, 0, -1) if text.endswith(_CLOSE_TAG[:size])), 0)
