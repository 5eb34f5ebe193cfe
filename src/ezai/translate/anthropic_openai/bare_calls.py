"""Tool calls that stand in the text of an answer as bare JSON, as the chat templates of some models write them.

Engines that look for them take the first brace for a call: where it is none, llama.cpp refuses the whole answer at its
end, and what stood behind the brace is lost. So such models are asked for text, and the calls are found here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

import msgspec

from ezai.protocol.json_prefix import WHITESPACE, JsonPrefix, NotAnObject
from ezai.translate.anthropic_openai.calls import ToolCalls

_S = f"[{WHITESPACE}]*+"
_beginning = re.compile(rf"(\[{_S})?\{{|\[{_S}\Z").search
_next_in_list = re.compile(rf"{_S}(?:,{_S}(?:(?P<another>\{{)|\Z)|(?P<close>\])|\Z)").match
_ARGUMENTS = ("arguments", "parameters", "input")

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode


class BareCalls:
    """Parts text in any pieces into calls of the tools `names` and into text, which goes to `say`.

    A call is an object of a name and arguments, alone or in a list of calls; it is told once it is whole. What may
    yet become one is held back, and what becomes none is text, each character of it. Stops at the first call where
    only one may come: `over` is true then, and nothing more may be fed.
    """

    __slots__ = ("_calls", "_held", "_names", "_object", "_once", "_say", "_step", "over")

    def __init__(self, names: Collection[str], calls: ToolCalls, say: Callable[[str], None], *, once: bool) -> None:
        self.over = False
        self._names = names
        self._calls = calls
        self._say = say
        self._once = once
        self._object = JsonPrefix()
        self._held: list[str] = []  # with an open object: the text before its brace, and its pieces
        self._step: _Step = BareCalls._outside

    def feed(self, text: str) -> None:
        """More of the text."""
        while text and not self.over:
            text = self._step(self, text)

    def end(self) -> None:
        """The text has ended: what is held back is no call."""
        held, self._held = "".join(self._held), []
        self._step = BareCalls._outside
        if held and not self.over:
            self._say(held)

    # Each takes what comes and returns what it leaves to the next.

    def _outside(self, text: str) -> str:
        text = self._taken(text)
        begun = _beginning(text)
        if begun is None:
            self._say(text)
            return ""
        if begun.start():
            self._say(text[: begun.start()])
        return self._begun(text, begun.start(), begun.end())

    def _in_list(self, text: str) -> str:
        """Behind a call in a list."""
        text = self._taken(text)
        found = _next_in_list(text)
        if found is None:
            self._step = BareCalls._outside
            return text
        if found["close"]:
            self._step = BareCalls._outside
            return text[found.end() :]
        return self._begun(text, 0, found.end())

    def _begun(self, text: str, start: int, end: int) -> str:
        """A brace stands right before `end`, unless the text has ended before one could come."""
        if text[end - 1] != "{":
            self._held = [text[start:]]
            return ""
        self._held = [text[start : end - 1]]
        self._object = JsonPrefix()
        self._step = BareCalls._inside
        return text[end - 1 :]

    def _inside(self, text: str) -> str:
        try:
            size = self._object.feed(text)
        except NotAnObject:
            return self._let_go(text)
        self._held.append(text[:size])
        if self._object.complete:
            self._whole()
        return text[size:]

    def _let_go(self, text: str) -> str:
        """It is no object: its beginning is text, and behind its brace is looked anew, as if it had come at once."""
        before = self._held[0]
        text = "".join(self._held[1:]) + text
        self._held = []
        self._say(before + text[0])
        self._step = BareCalls._outside
        return text[1:]

    def _whole(self) -> None:
        before, text = self._held[0], "".join(self._held[1:])
        self._held = []
        call = _call_in(text, self._names)
        if call is None:
            self._say(before + text)
            self._step = BareCalls._outside
            return
        name, arguments = call
        self._calls.more(self._calls.begin(name), arguments)
        self._step = BareCalls._in_list if before else BareCalls._outside
        self.over = self._once

    def _taken(self, text: str) -> str:
        """With what was held back before it."""
        if self._held:
            text = "".join(self._held) + text
            self._held = []
        return text


_Step = Callable[[BareCalls, str], str]


def _call_in(text: str, names: Collection[str]) -> tuple[str, str] | None:
    """Name and arguments of a call: `{"name": ..., "parameters": {...}}` and its kin; None for any other object."""
    try:
        members = _decode(text)
        if bytes(inner := members.get("function", _NOTHING)).startswith(b"{"):
            members = _decode(inner)
        name = _decode_text(members.get("name") or members["function"])
        arguments = next(_arguments(members[key]) for key in _ARGUMENTS if key in members)
    except (msgspec.DecodeError, LookupError, StopIteration):
        return None
    return (name, arguments) if name in names and _is_object(arguments) else None


_NOTHING = msgspec.Raw()


def _arguments(value: msgspec.Raw) -> str:
    """As the model wrote them, out of the string in which some put them."""
    return _decode_text(value) if bytes(value).startswith(b'"') else bytes(value).decode()


def _is_object(text: str) -> bool:
    prefix = JsonPrefix()
    try:
        return prefix.feed(text) == len(text) and prefix.complete
    except NotAnObject:
        return False
