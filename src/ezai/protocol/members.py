"""The members of a JSON text, with every value kept as the bytes that it was (contract 8): taking some of them out,
and finding one that is named twice.

Only the objects and arrays on the way are decoded, one level at a time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

_encode = msgspec.json.Encoder().encode
_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_array = msgspec.json.Decoder(list[msgspec.Raw]).decode

_name = msgspec.json.Decoder(str).decode
_to_value = re.compile(rb'[ \t\r\n]*[{,][ \t\r\n]*("[^"\\]*(?:\\.[^"\\]*)*")[ \t\r\n]*:[ \t\r\n]*').match
_end = re.compile(rb"[ \t\r\n]*}").match
_ROUND_A_MEMBER = 4  # two quotes, a colon, and a comma or the first brace
_SHORTEST_VALUE = 1

ANY = "*"
"""In a path: every element of an array, or every member of an object."""


def repeated_name(text: bytes, members: Mapping[str, msgspec.Raw]) -> str | None:
    """A name that the outermost object of `text` gives to two members, however each is spelled; None: there is none.

    `text` is valid JSON, and `members` what msgspec decoded of it: in order, of each name the last value. Takes less
    than a microsecond where there is no room for another member beside these, as in compact text; else half of one for
    each member, and as long as it takes to copy the text.
    """
    least = 1 + sum(map(len, members)) + sum(map(len, members.values())) + _ROUND_A_MEMBER * len(members)
    if not members or len(text) < least + min(map(len, members)) + _ROUND_A_MEMBER + _SHORTEST_VALUE:
        return None
    return _walk(text, members)


def _walk(text: bytes, members: Mapping[str, msgspec.Raw]) -> str | None:
    """`repeated_name`, exactly: the text holds each name with its value in order, and then ends; or a name repeats.

    Up to the first that repeats every step is to the true end of a value, since a value that stands there as a whole
    is the value there; but a number may begin with another, and then what follows it fits nothing.
    """
    names: list[re.Match[bytes]] = []
    at = 0
    for value in members.values():
        if (found := _to_value(text, at)) is None:
            break
        names.append(found)
        start = found.end()
        if not text.startswith(bytes(value), start):
            break
        at = start + len(value)
    else:
        if _end(text, at):
            return None
        if (found := _to_value(text, at)) is not None:
            names.append(found)
    told = [_name(name[1]) for name in names]
    return next((name for name, expected in zip(told, members, strict=False) if name != expected), told[-1])


def without(text: bytes, path: Sequence[str]) -> bytes:
    """The text without what stands at `path`; the very same bytes where nothing stands there.

    `text` is valid JSON. A path that does not fit the shape of the value names nothing, which is no error: clients
    leave out what they like.
    """
    if not path:
        return text
    if text.lstrip()[:1] == b"{":
        return _without_in_object(text, path)
    if text.lstrip()[:1] == b"[" and path[0] == ANY:
        return _without_in_array(text, path)
    return text


def _without_in_object(text: bytes, path: Sequence[str]) -> bytes:
    members = _object(text)
    head, rest = path[0], path[1:]
    names = [name for name in members if head in {ANY, name}]
    changed = False
    for name in names:
        if not rest:
            del members[name]
            changed = True
            continue
        value = bytes(members[name])
        replaced = without(value, rest)
        if replaced is not value:
            members[name] = msgspec.Raw(replaced)
            changed = True
    return _encode(members) if changed else text


def _without_in_array(text: bytes, path: Sequence[str]) -> bytes:
    rest = path[1:]
    if not rest:
        return b"[]"
    values = [bytes(raw) for raw in _array(text)]
    replaced = [without(value, rest) for value in values]
    if all(new is old for new, old in zip(replaced, values, strict=True)):
        return text
    return _encode([msgspec.Raw(value) for value in replaced])
