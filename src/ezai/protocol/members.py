"""Taking members out of a JSON text without touching the rest of it (contract 8).

Only the objects and arrays on the way are decoded, one level at a time; every value off the way stays the bytes that
it was.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

_encode = msgspec.json.Encoder().encode
_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_array = msgspec.json.Decoder(list[msgspec.Raw]).decode

ANY = "*"
"""In a path: every element of an array, or every member of an object."""


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
