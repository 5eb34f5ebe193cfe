"""Text that is the beginning of a JSON object: checked as it comes, and completed where it was cut off.

The accumulators of the SDKs parse a tool's input after every delta, and throw at text that no object begins with. So
the pieces are checked before they are passed on. What is accepted is what all of those parsers take, which is a little
less than the grammar has: no half of a surrogate pair, and no more than `MAX_DEPTH` containers in one another.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum, auto

MAX_DEPTH = 200
"""jiter, which parses for the Python SDK, goes no deeper."""

WHITESPACE = " \t\n\r"
"""What JSON calls whitespace."""

_HEX = "[0-9A-Fa-f]"
_NUMBER = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_LOW_HALF = rf"\\u[Dd][C-Fc-f]{_HEX}{{2}}"
_CODE = rf"[0-9A-CE-Fa-ce-f]{_HEX}{{3}}|[Dd][0-7]{_HEX}{{2}}|[Dd][89ABab]{_HEX}{{2}}{_LOW_HALF}"
_STRING_REST = rf'(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u(?:{_CODE})))*+'

_space = re.compile(f"[{WHITESPACE}]*+").match
_string_rest = re.compile(_STRING_REST).match
_scalar = re.compile(rf"(?:{_NUMBER}|true|false|null)(?=[{WHITESPACE},\]}}])").match
_cut_scalar = re.compile(
    r"-?(?:(?:0|[1-9][0-9]*)(?:\.(?:[0-9]+(?:[eE][+-]?[0-9]*)?)?|[eE][+-]?[0-9]*)?)?"
    r"|t(?:r(?:ue?)?)?|f(?:a(?:l(?:se?)?)?)?|n(?:u(?:ll?)?)?"
).fullmatch
_cut_escape = re.compile(
    rf"\\(?:u(?:[0-9A-CE-Fa-ce-f]{_HEX}{{0,2}}|[Dd](?:[0-9ABab]{_HEX}?)?"
    rf"|[Dd][89ABab]{_HEX}{{2}}(?:\\(?:u(?:[Dd](?:[C-Fc-f]{_HEX}?)?)?)?)?)?)?"
).fullmatch
_digits = re.compile("[0-9]{2,}")
_PLAIN = rf'[{WHITESPACE}]*+(?>{_NUMBER}|true|false|null|"{_STRING_REST}")[{WHITESPACE}]*+,'
_items = re.compile(rf"(?:{_PLAIN})*+").match
_members = re.compile(rf'(?:[{WHITESPACE}]*+"{_STRING_REST}"[{WHITESPACE}]*+:{_PLAIN})*+').match
_tokens = re.compile(
    rf'(?P<space>[{WHITESPACE}]+)|(?P<open>[{{\[])|(?P<close>[}}\]])|(?P<between>[,:])|"(?P<string>{_STRING_REST})"'
    rf"|(?P<scalar>(?:{_NUMBER})(?=[{WHITESPACE},\]}}])|true|false|null)"
).match


class NotAnObject(ValueError):
    """No JSON object begins with this text."""


class _Due(Enum):
    """What comes next, between strings and scalars."""

    OBJECT = auto()
    FIRST_KEY = auto()
    KEY = auto()
    COLON = auto()
    FIRST_ITEM = auto()
    VALUE = auto()
    AFTER_VALUE = auto()


class JsonPrefix:
    """Checks the text of one object, in any pieces."""

    __slots__ = ("_due", "_in_string", "_open", "_rest", "complete")

    def __init__(self) -> None:
        self.complete = False
        """Whether the object has been closed."""
        self._due = _Due.OBJECT
        self._in_string = False
        self._open: list[str] = []
        self._rest = ""  # of a scalar or an escape that a piece ended in

    @property
    def begun(self) -> bool:
        """Whether anything but whitespace has come."""
        return self._due is not _Due.OBJECT

    def feed(self, text: str) -> int:
        """Take more of the text. Returns how much of it belongs to the object: all, unless that has ended in it.

        Raises `NotAnObject` as soon as nothing that follows could make it one.
        """
        carried = len(self._rest)
        if carried:
            text, self._rest = self._rest + text, ""
        at, end = 0, len(text)
        while at < end and not self.complete:
            at = self._string(text, at) if self._in_string else self._between(text, at)
        return at - carried

    def _string(self, text: str, at: int) -> int:
        at = _end(_string_rest(text, at))
        if at == len(text):
            return at
        if text[at] == '"':
            self._in_string = False
            return at + 1
        if not _cut_escape(text, at):
            raise NotAnObject(f"{text[at]!r} inside a string")
        self._rest = text[at:]
        return len(text)

    def _between(self, text: str, at: int) -> int:
        at = _end(_space(text, at))
        if at == len(text):
            return at
        step = _STEPS[self._due].get(text[at])
        if step is None:
            raise NotAnObject(f"{text[at]!r} out of place")
        return step(self, text, at)

    def _open_container(self, text: str, at: int) -> int:
        if len(self._open) == MAX_DEPTH:
            raise NotAnObject("too many containers in one another")
        self._open.append(text[at])
        self._due = _Due.FIRST_KEY if text[at] == "{" else _Due.FIRST_ITEM
        return at + 1

    def _close_container(self, text: str, at: int) -> int:
        if _CLOSING[self._open.pop()] != text[at]:
            raise NotAnObject(f"{text[at]!r} closes nothing")
        self._due = _Due.AFTER_VALUE
        self.complete = not self._open
        return at + 1

    def _key(self, _text: str, at: int) -> int:
        self._in_string, self._due = True, _Due.COLON
        return at + 1

    def _string_value(self, _text: str, at: int) -> int:
        self._in_string, self._due = True, _Due.AFTER_VALUE
        return at + 1

    def _colon(self, _text: str, at: int) -> int:
        self._due = _Due.VALUE
        return at + 1

    def _comma(self, text: str, at: int) -> int:
        """On to the next, past all that are plain and have a comma of their own: a long list costs little."""
        if self._open[-1] == "{":
            self._due = _Due.KEY
            return _end(_members(text, at + 1))
        self._due = _Due.VALUE
        return _end(_items(text, at + 1))

    def _scalar_value(self, text: str, at: int) -> int:
        whole = _scalar(text, at)
        if whole:
            self._due = _Due.AFTER_VALUE
            return whole.end()
        if not _cut_scalar(text, at):
            raise NotAnObject(f"{text[at]!r} begins no value")
        self._rest = _digits.sub("1", text[at:])  # a number without end is not read anew from its start
        return len(text)


_CLOSING = {"{": "}", "[": "]"}
_Step = Callable[[JsonPrefix, str, int], int]
_VALUES: dict[str, _Step] = {
    **dict.fromkeys("{[", JsonPrefix._open_container),
    **dict.fromkeys("-0123456789tfn", JsonPrefix._scalar_value),
    '"': JsonPrefix._string_value,
}
_STEPS: dict[_Due, dict[str, _Step]] = {
    _Due.OBJECT: {"{": JsonPrefix._open_container},
    _Due.FIRST_KEY: {'"': JsonPrefix._key, "}": JsonPrefix._close_container},
    _Due.KEY: {'"': JsonPrefix._key},
    _Due.COLON: {":": JsonPrefix._colon},
    _Due.FIRST_ITEM: {**_VALUES, "]": JsonPrefix._close_container},
    _Due.VALUE: _VALUES,
    _Due.AFTER_VALUE: {",": JsonPrefix._comma, **dict.fromkeys("}]", JsonPrefix._close_container)},
}


def completed(prefix: str) -> str:
    """The object that was told as far as `prefix`, less a tail that is not whole; `{}` where there is none yet.

    The partial parsers of the SDKs show the same, except that the Python one keeps the digits of a cut number.
    """
    at = told = 0
    opened: list[str] = []
    is_value = False
    while token := _tokens(prefix, at):
        at, kind = token.end(), token.lastgroup
        match kind:
            case "open":
                opened.append(token[0])
            case "close":
                opened.pop()
        if kind in {"open", "close", "scalar"} or (kind == "string" and is_value):
            told = at
        if kind != "space":
            is_value = token[0] in ":[" or (token[0] == "," and opened[-1] == "[")
    return prefix[:told] + "".join(_CLOSING[container] for container in reversed(opened)) or "{}"


def _end(match: re.Match[str] | None) -> int:
    assert match is not None, "the pattern matches nothing at least"
    return match.end()
