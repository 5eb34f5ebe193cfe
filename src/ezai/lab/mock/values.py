"""What a setting's value may be, read from text. A reader says in `form` how its values are written."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from ezai.lab.mock.reply import Frame

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)

_SIZE = re.compile(r"(\d+)(|KiB|MiB|GiB)")
_UNITS = {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_KIND = re.compile(r"[a-z][a-z_]*")


@dataclass(frozen=True, slots=True)
class Reader(Generic[T]):
    """Reads one kind of value. `read` raises `ValueError` with what was expected, to stand behind "expected"."""

    form: str
    read: Callable[[str], T]


@dataclass(frozen=True, slots=True)
class Where:
    """A place in a stream: after, or at, one event of the answer as it would be without faults.

    Written as the event's number (1 is the first, 0 is before it), as `last`, or as a kind, which means the first
    event of that kind: `message_delta`, or on the OpenAI wire `usage`.
    """

    number: int = -1
    kind: str = ""
    last: bool = False
    reached: Callable[[], None] | None = field(default=None, compare=False, repr=False)
    """Told when somebody asked for the place and it was there."""

    def watched(self, reached: Callable[[], None]) -> Where:
        """The same place, which tells that it has come. Whoever asks `at_start` or `hits` and hears yes acts on it."""
        return replace(self, reached=reached)

    @property
    def at_start(self) -> bool:
        """Whether this is the place before the first event."""
        return self._told(self.number == 0)

    def hits(self, frame: Frame) -> bool:
        """Whether this is the event."""
        if self.kind:
            return self._told(frame.first_of_kind and frame.kind == self.kind)
        return self._told(frame.last if self.last else 0 < frame.number == self.number)

    def _told(self, is_here: bool) -> bool:
        if is_here and self.reached is not None:
            self.reached()
        return is_here


class At(NamedTuple, Generic[T]):
    """A place, and what goes with it."""

    where: Where
    value: T


def _count(text: str) -> int:
    if not text.isdecimal() or not text.isascii():
        raise ValueError("a whole number, 0 or more")
    return int(text)


def _seconds(text: str) -> float:
    return _number(text, "seconds, 0 or more")


def _rate(text: str) -> float:
    return _number(text, "a number per second, 0 or more")


def _number(text: str, expected: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ValueError(expected) from None
    if number < 0 or not math.isfinite(number):
        raise ValueError(expected)
    return number


def _chance(text: str) -> float:
    expected = "a chance from 0 to 1"
    number = _number(text, expected)
    if number > 1:
        raise ValueError(expected)
    return number


def _size(text: str) -> int:
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError("bytes, such as 4096, 64KiB, 10MiB or 1GiB")
    return int(match[1]) * _UNITS[match[2]]


def _flag(text: str) -> bool:
    if text in {"", "true"}:
        return True
    if text == "false":
        return False
    raise ValueError("no value, true or false")


def _status(text: str) -> int:
    if not text.isdecimal() or not 100 <= int(text) <= 999:
        raise ValueError("an HTTP status")
    return int(text)


def _where(text: str) -> Where:
    if text == "last":
        return Where(last=True)
    if text.isascii() and text.isdecimal():
        return Where(number=int(text))
    if _KIND.fullmatch(text):
        return Where(kind=text)
    raise ValueError("an event: its number, last, or its kind")


def _offsets(text: str) -> tuple[int, ...]:
    parts = text.split("+")
    if not all(part.isascii() and part.isdecimal() and int(part) > 0 for part in parts):
        raise ValueError("offsets in bytes, 1 or more, joined by +")
    return tuple(sorted({int(part) for part in parts}))


def _file(text: str) -> bytes:
    try:
        return Path(text).read_bytes()
    except OSError as error:
        raise ValueError(f"a file that can be read ({error.strerror})") from None


COUNT = Reader("N", _count)
SECONDS = Reader("SECONDS", _seconds)
RATE = Reader("PER SECOND", _rate)
CHANCE = Reader("0..1", _chance)
SIZE = Reader("BYTES", _size)
FLAG = Reader("flag", _flag)
TEXT: Reader[str] = Reader("TEXT", str)
STATUS = Reader("STATUS", _status)
WHERE = Reader("EVENT", _where)
OFFSETS = Reader("BYTE+BYTE...", _offsets)
FILE = Reader("FILE", _file)


def choice(kind: type[E]) -> Reader[E]:
    """One of the values of an enumeration."""
    names = [member.value for member in kind]

    def read(text: str) -> E:
        if text not in names:
            raise ValueError(f"one of {', '.join(names)}")
        return kind(text)

    return Reader(" or ".join(names), read)


def one_of(*names: str) -> Reader[str]:
    """One of these words."""

    def read(text: str) -> str:
        if text not in names:
            raise ValueError(f"one of {', '.join(names)}")
        return text

    return Reader(" or ".join(names), read)


def at(value: Reader[T], default: T | None = None) -> Reader[At[T]]:
    """A place, and behind a colon a value; with a default, the value may be left out."""

    def read(text: str) -> At[T]:
        place, colon, rest = text.partition(":")
        if colon:
            return At(_where(place), value.read(rest))
        if default is None:
            raise ValueError(f"EVENT:{value.form}")
        return At(_where(place), default)

    return Reader(f"EVENT:{value.form}" if default is None else f"EVENT[:{value.form}]", read)
