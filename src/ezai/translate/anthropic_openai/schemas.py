"""JSON schemas as upstreams take them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from ezai.errors import InvalidRequest

_ITEMS = 4
"""Of an array that has no bound, where one is needed."""
_LEAST_CHARS = 8
_MOST_REPEATED = 1000
"""llama.cpp refuses a grammar that repeats more than 2,000 times, and takes memory for each."""
_NAMED = frozenset({"properties", "$defs", "definitions"})
_ALTERNATIVES = frozenset({"allOf", "anyOf", "oneOf"})
_SHAPES = frozenset({"properties", "$ref", *_ALTERNATIVES})
_COUNTED = frozenset({"minLength", "minItems"})
_BOUNDS = (
    ("minLength", "maxLength"),
    ("minItems", "maxItems"),
    ("minimum", "maximum"),
    ("minProperties", "maxProperties"),
)
_GRAMMAR_FORMATS = frozenset({"date", "time", "date-time", "uuid"})
_NO_GRAMMAR = frozenset({"$schema", "$id", "$comment", "default", "examples", "title", "description"})


def is_strict(schema: Any) -> bool:
    """Whether it keeps the rules of OpenAI's strict mode: every object is closed, and all its properties required."""
    for part in _parts(schema):
        if "properties" in part or part.get("type") == "object":
            properties = part.get("properties", {})
            if part.get("additionalProperties") is not False or set(part.get("required", ())) != set(properties):
                return False
    return True


def _parts(schema: Any) -> Iterator[dict[str, Any]]:
    """Every object in it, schemas among them."""
    if isinstance(schema, dict):
        yield schema
        for value in schema.values():
            yield from _parts(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _parts(value)


def for_grammar(schema: Any, place: str) -> Any:
    """The schema as llama.cpp makes a grammar of it; another it would refuse, misread, or grow without end on.

    Left out is what only loosens it: patterns that are not anchored, formats it does not know, notes. Numbers in a
    range become integers in it, because the range of others is not held to. Alternatives beside properties become
    their first. Raises `InvalidRequest`, naming `place`, where bounds contradict each other.
    """
    if isinstance(schema, list):
        return [for_grammar(value, place) for value in schema]
    if not isinstance(schema, dict):
        return schema
    _check_bounds(schema, place)
    kept = {
        name: value
        for name, value in _merged(schema).items()
        if name not in _NO_GRAMMAR and not _is_beyond_grammar(name, value)
    }
    if kept.get("type") == "number" and {"minimum", "maximum"} <= set(kept):
        kept = _as_integer(kept)
    return {
        name: _properties(value, place) if name in _NAMED else for_grammar(value, place) for name, value in kept.items()
    }


def _check_bounds(schema: dict[str, Any], place: str) -> None:
    for low, high in _BOUNDS:
        least, most = schema.get(low), schema.get(high)
        if isinstance(least, int | float) and isinstance(most, int | float) and least > most:
            raise InvalidRequest(f"{place}: {low} {least} is more than {high} {most}, so nothing fits it")
        if isinstance(least, int) and low in _COUNTED and least > _MOST_REPEATED:
            raise InvalidRequest(f"{place}: {low} {least} is more than the upstream of this model can hold to")


def _merged(schema: dict[str, Any]) -> dict[str, Any]:
    """Without alternatives beside properties, which llama.cpp would take for the whole."""
    if "properties" not in schema:
        return schema
    merged = {name: value for name, value in schema.items() if name not in _ALTERNATIVES}
    parts = [*schema.get("allOf", ()), *schema.get("anyOf", ())[:1], *schema.get("oneOf", ())[:1]]
    for part in parts:
        if isinstance(part, dict):
            merged["properties"] = {**merged["properties"], **part.get("properties", {})}
            merged["required"] = [*merged.get("required", ()), *part.get("required", ())]
    return merged


def _as_integer(schema: dict[str, Any]) -> dict[str, Any]:
    """A number in a range, as an integer in it where there is one."""
    least, most = math.ceil(schema["minimum"]), math.floor(schema["maximum"])
    if least > most:
        return {"enum": [schema["minimum"]]}
    return {**schema, "type": "integer", "minimum": least, "maximum": most}


def bounded(schema: Any, chars: int) -> Any:
    """The schema with a bound on whatever has none, so that any answer to it fits in `chars`: strings and arrays get
    one, an object without properties is empty, and where anything goes it is a string.

    A small model that is held to a schema may go on in one string for ever: then there would be no answer at all.
    """
    fair = chars // max(1, _strings(schema))
    return _bound(schema, min(max(_LEAST_CHARS, fair), _MOST_REPEATED))


def _strings(schema: Any) -> int:
    """How many strings without a bound there can be in one value, as long as arrays have the bound they get."""
    times = _ITEMS if _is_open(schema, "array", "maxItems") else 1
    if _is_open(schema, "string", "maxLength", "enum", "const", "pattern", "format"):
        return 1
    if isinstance(schema, dict):
        return times * sum(map(_strings, schema.values()))
    return sum(map(_strings, schema)) if isinstance(schema, list) else 0


def _bound(schema: Any, chars: int) -> Any:
    if isinstance(schema, list):
        return [_bound(value, chars) for value in schema]
    if not isinstance(schema, dict):
        return schema
    if not schema:
        return {"type": "string", "maxLength": chars}
    if schema.get("type") == "object" and not _SHAPES & set(schema):
        return {"type": "object", "properties": {}, "additionalProperties": False}
    held = {
        name: {key: _bound(one, chars) for key, one in value.items()} if name in _NAMED else _bound(value, chars)
        for name, value in schema.items()
        if name != "additionalProperties"
    }
    if _is_open(schema, "string", "maxLength", "enum", "const", "pattern", "format"):
        held["maxLength"] = max(chars, schema.get("minLength", 0))
    if _is_open(schema, "array", "maxItems"):
        held["maxItems"] = max(_ITEMS, schema.get("minItems", 0))
    return held


def _is_open(schema: Any, kind: str, *bounds: str) -> bool:
    return isinstance(schema, dict) and schema.get("type") == kind and not set(bounds) & set(schema)


def _properties(named: Any, place: str) -> Any:
    """Schemas by names that may be anything, also words of the schema language."""
    if not isinstance(named, dict):
        return named
    return {name: {} if value is True else for_grammar(value, place) for name, value in named.items()}


def _is_beyond_grammar(name: str, value: Any) -> bool:
    if name in {"maxLength", "maxItems"}:
        return isinstance(value, int) and value > _MOST_REPEATED
    if name == "pattern":
        return not (isinstance(value, str) and value.startswith("^") and value.endswith("$"))
    return name == "format" and value not in _GRAMMAR_FORMATS
