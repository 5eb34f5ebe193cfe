"""Schemas that hold at once, made one: only then is it known which properties an object can have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

_ALTERNATIVES = ("anyOf", "oneOf")
_JOINING = frozenset({"$ref", "allOf", *_ALTERNATIVES})
_GREATER = frozenset({"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"})
_LESSER = frozenset({"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"})


class Unjoinable(ValueError):
    """No plain schema says what two values of one keyword say; `str()` is the keyword."""


class Joins:
    """Joins what a schema says beside its references, parts and alternatives.

    `read` takes each schema that is come by and returns it with the keywords that count; `target` is what a reference
    points to.
    """

    def __init__(self, read: Callable[[Any], Any], target: Callable[[str], Any]) -> None:
        self._read = read
        self._target = target

    def joined(self, schema: Any) -> Any:
        """The same schema as one of these: true, false, a reference alone, alternatives alone, or plain keywords.

        Raises `Unjoinable`.
        """
        schema = self._read(schema)
        if isinstance(schema, bool) or not _JOINING & set(schema) or (len(schema) == 1 and "allOf" not in schema):
            return schema
        whole: Any = {name: value for name, value in schema.items() if name not in _JOINING}
        if "$ref" in schema:
            whole = self._both(whole, {"$ref": schema["$ref"]})
        for part in schema.get("allOf", ()):
            whole = self._both(whole, part)
        for name in _ALTERNATIVES:
            if name in schema:
                whole = self._both(whole, {name: schema[name]})
        return whole

    def _both(self, one: Any, other: Any) -> Any:
        for schema, beside in ((one, other), (other, one)):
            if schema in (True, {}):
                return self.joined(beside)
        one, other = self._resolved(one), self._resolved(other)
        for schema, beside in ((one, other), (other, one)):
            if isinstance(schema, bool) or not schema:
                return beside if schema is not False else False
            for name in _ALTERNATIVES:
                if name in schema:
                    return {name: [self._both(option, beside) for option in schema[name]]}
        return _merged(one, other)

    def _resolved(self, schema: Any) -> Any:
        """Without references."""
        schema = self.joined(schema)
        while isinstance(schema, dict) and "$ref" in schema:
            schema = self.joined(self._target(schema["$ref"]))
        return schema


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> Any:
    if _closes(one, other) or _closes(other, one):
        raise Unjoinable("additionalProperties")
    both = dict(one)
    for name, value in other.items():
        both[name] = _value(name, both[name], value) if name in both and both[name] != value else value
    return False if both.get("type") == [] else both


def _closes(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether `one` says something of properties that it does not name, and the other names some, or a pattern."""
    named, others = set(one.get("properties", ())), set(other.get("properties", ()))
    names_none = others <= named and other.get("patternProperties") in (None, {}, one.get("patternProperties"))
    return one.get("additionalProperties", True) is not True and not names_none


def _value(name: str, one: Any, other: Any) -> Any:
    match name:
        case "properties":
            shared = {key: {"allOf": [one[key], other[key]]} for key in one if key in other and one[key] != other[key]}
            return {**one, **other, **shared}
        case "required":
            return [*dict.fromkeys([*one, *other])]
        case "type":
            kinds = _kinds(one, other)
            return [*kinds, *(kind for kind in _kinds(other, one) if kind not in kinds)]
    if name in _GREATER:
        return max(one, other)
    if name in _LESSER:
        return min(one, other)
    raise Unjoinable(name)


def _kinds(one: Any, other: Any) -> list[Any]:
    """The types of `one` that the other has too: an integer is a number."""
    ours, theirs = (kinds if isinstance(kinds, list) else [kinds] for kinds in (one, other))
    return [kind for kind in ours if kind in theirs or (kind == "integer" and "number" in theirs)]
