"""An answer whose text is a tool call: from engines that were given a schema for it in the place of tools."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import msgspec

from ezai.errors import UpstreamMalformed
from ezai.protocol.json_prefix import WHITESPACE
from ezai.translate.anthropic_openai.calls import Call, ToolCalls

MAX_HEAD_CHARS = 4096

_S = f"[{WHITESPACE}]*"
_head = re.compile(rf'{_S}{{{_S}"name"{_S}:{_S}("(?:[^"\\]|\\.)*"){_S},{_S}"input"{_S}:').match


class CalledInText:
    """Reads the call out of text in pieces: of one tool it is the input, of several `{"name": ..., "input": ...}`."""

    __slots__ = ("_after", "_call", "_calls", "_held", "_names", "_step")

    def __init__(self, names: Sequence[str], calls: ToolCalls) -> None:
        self._names = names
        self._calls = calls
        self._call: Call | None = None
        self._held = ""
        self._step: _Step = CalledInText._alone if len(names) == 1 else CalledInText._head
        self._after: _Step = CalledInText._nothing

    def feed(self, text: str) -> None:
        """More of the text. Raises `UpstreamMalformed` for what is no call of these tools."""
        self._step(self, text)

    def end(self, *, cut: bool) -> None:
        """The text has ended; `cut` where that was not its own end."""
        if self._held.strip(WHITESPACE) and not cut:
            raise _no_call()

    def _alone(self, text: str) -> None:
        text = text.lstrip(WHITESPACE)
        if text:
            self._begin(self._names[0])
            self._input(text)

    def _head(self, text: str) -> None:
        self._held += text
        head = _head(self._held)
        if head is None:
            if len(self._held) > MAX_HEAD_CHARS:
                raise _no_call()
            return
        text, self._held = self._held[head.end() :], ""
        self._begin(_decoded(head[1]))
        self._after = CalledInText._closing_brace
        self._input(text)

    def _begin(self, name: str) -> None:
        if name not in self._names:
            raise _no_call()
        self._call = self._calls.begin(name)
        self._step = CalledInText._input

    def _input(self, text: str) -> None:
        assert self._call is not None
        rest = self._calls.more(self._call, text)
        if self._call.arguments.complete:
            self._step = self._after
            self.feed(rest)

    def _closing_brace(self, text: str) -> None:
        text = text.lstrip(WHITESPACE)
        if text:
            if text[0] != "}":
                raise _no_call()
            self._step = CalledInText._nothing
            self.feed(text[1:])

    def _nothing(self, text: str) -> None:
        if text.strip(WHITESPACE):
            raise _no_call()


_Step = Callable[[CalledInText, str], None]


def _decoded(literal: str) -> str:
    try:
        return msgspec.json.decode(literal, type=str)
    except msgspec.DecodeError:
        raise _no_call() from None


def _no_call() -> UpstreamMalformed:
    return UpstreamMalformed("The upstream was to call a tool, and answered with something else.")
