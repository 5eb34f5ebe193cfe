"""JSON schemas as upstreams take them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_ITEMS = 4
"""Of an array that has no bound, where one is needed."""
_LEAST_CHARS = 8
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


def for_grammar(schema: Any) -> Any:
    """The schema without what llama.cpp makes no grammar of: it would refuse the request.

    What is left out only loosens it: a pattern that is not anchored, formats it does not know, and notes.
    """
    if isinstance(schema, list):
        return [for_grammar(value) for value in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: _properties(value) if name in {"properties", "$defs", "definitions"} else for_grammar(value)
        for name, value in schema.items()
        if name not in _NO_GRAMMAR and not _is_beyond_grammar(name, value)
    }


def bounded(schema: Any, chars: int) -> Any:
    """The schema with a bound on every string and array that has none, so that any answer to it fits in `chars`.

    A small model that is held to a schema may go on in one string for ever: then there would be no answer at all.
    """
    return _bound(schema, max(_LEAST_CHARS, chars // max(1, _strings(schema))))


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
    held = {name: _bound(value, chars) for name, value in schema.items()}
    if _is_open(schema, "string", "maxLength", "enum", "const", "pattern", "format"):
        held["maxLength"] = max(chars, schema.get("minLength", 0))
    if _is_open(schema, "array", "maxItems"):
        held["maxItems"] = max(_ITEMS, schema.get("minItems", 0))
    return held


def _is_open(schema: Any, kind: str, *bounds: str) -> bool:
    return isinstance(schema, dict) and schema.get("type") == kind and not set(bounds) & set(schema)


def _properties(named: Any) -> Any:
    """Schemas by names that may be anything, also words of the schema language."""
    return {name: for_grammar(value) for name, value in named.items()} if isinstance(named, dict) else named


def _is_beyond_grammar(name: str, value: Any) -> bool:
    if name == "pattern":
        return not (isinstance(value, str) and value.startswith("^") and value.endswith("$"))
    return name == "format" and value not in _GRAMMAR_FORMATS
