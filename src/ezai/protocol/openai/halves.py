"""Characters that a server cut in two, put together: the halves of a surrogate pair in two chunks.

Servers that keep text as UTF-16 cut it between any two units. JSON can write a half alone, UTF-8 cannot: the first one
waits here for the chunk in which its text goes on.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence

import msgspec
from msgspec.structs import replace

from ezai.errors import UpstreamMalformed
from ezai.protocol.openai.chunks import CallFragment, ChatChunk, ChatDelta, ContentPart, ReasoningDetail, TextPart

_encode = msgspec.json.Encoder().encode
_first_half = re.compile("[\ud800-\udbff]\\Z").search


class Halves:
    """The first halves of one answer, each `waiting` in its place: a field of the delta, or a call's arguments.

    While any does, the next chunk has to be `joined` too.
    """

    __slots__ = ("waiting",)

    def __init__(self) -> None:
        self.waiting: dict[Hashable, str] = {}

    def joined(self, chunk: ChatChunk) -> ChatChunk:
        """The chunk with whole characters alone. Raises `UpstreamMalformed` for a half whose other one is elsewhere."""
        if not chunk.choices:
            return chunk
        first = chunk.choices[0]
        delta = first.delta or first.message
        if delta is None:
            return chunk
        whole = replace(chunk, choices=[replace(first, delta=self._delta(delta))])
        try:
            _encode(whole)
        except UnicodeEncodeError:  # where nothing can go on: in a name, in an id
            raise _cut() from None
        return whole

    def end(self) -> None:
        """The answer is over. Raises `UpstreamMalformed` where one still waits."""
        if self.waiting:
            raise _cut()

    def _delta(self, delta: ChatDelta) -> ChatDelta:
        content = delta.content
        return replace(
            delta,
            content=self._parts(content) if isinstance(content, list) else self._text("content", content),
            refusal=self._text("refusal", delta.refusal),
            reasoning_content=self._text("reasoning_content", delta.reasoning_content),
            reasoning=self._text("reasoning", delta.reasoning),
            reasoning_details=[
                ReasoningDetail(self._text("reasoning_details", detail.text or detail.summary))
                for detail in delta.reasoning_details or ()
            ],
            tool_calls=[self._call(fragment) for fragment in delta.tool_calls or ()],
        )

    def _parts(self, parts: Sequence[ContentPart]) -> list[ContentPart]:
        return [
            ContentPart(self._text("content", part.text), [TextPart(self._text("thinking", part.thinking_text()))])
            for part in parts
        ]

    def _call(self, fragment: CallFragment) -> CallFragment:
        function = fragment.function
        if function is None or not isinstance(function.arguments, str):
            return fragment
        arguments = self._text(("call", fragment.index), function.arguments)
        return replace(fragment, function=replace(function, arguments=arguments))

    def _text(self, place: Hashable, text: str | None) -> str | None:
        if not text:
            return text
        text = self.waiting.pop(place, "") + text
        if half := _first_half(text):
            self.waiting[place] = half[0]
            text = text[:-1]
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            raise _cut() from None


def _cut() -> UpstreamMalformed:
    return UpstreamMalformed("The upstream sent half of a character.")
