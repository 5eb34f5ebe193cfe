"""What msgspec says of a value it refuses, taken apart, so that the request and the configuration can say it in the
words of their readers.

msgspec's sentences ("Expected `int`, got `str` - at `$.server.port`") are part of its tests but not of its promised
interface; tests/protocol/test_validation.py holds every form that is read here.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import NamedTuple

_PLACE = re.compile(r"^(?P<text>.*?) - at `(?:key in )?\$(?P<path>[^`]*)`$", re.DOTALL)
_FIELD = re.compile(r"Object (?P<what>contains unknown|missing required) field `(?P<name>[^`]+)`")


class Kind(Enum):
    """What is wrong."""

    UNKNOWN = auto()
    MISSING = auto()
    VALUE = auto()


class Problem(NamedTuple):
    """`path` is dotted, indexes included ("messages.0.role"); empty for the outermost value."""

    kind: Kind
    path: str
    text: str


def read_problem(error: str) -> Problem:
    """Take apart the text of a `msgspec.ValidationError` or `msgspec.DecodeError`."""
    place = _PLACE.match(error)
    text, path = (place["text"], place["path"]) if place else (error, "")
    parts = [part for part in re.split(r"[.\[\]]+", path) if part]
    field = _FIELD.search(text)
    if field is None:
        return Problem(Kind.VALUE, ".".join(parts), text.replace("`", ""))
    kind = Kind.UNKNOWN if field["what"] == "contains unknown" else Kind.MISSING
    return Problem(kind, ".".join([*parts, field["name"]]), text.replace("`", ""))
