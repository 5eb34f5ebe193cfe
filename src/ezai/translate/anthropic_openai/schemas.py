"""JSON schemas as upstreams take them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

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


def _properties(named: Any) -> Any:
    """Schemas by names that may be anything, also words of the schema language."""
    return {name: for_grammar(value) for name, value in named.items()} if isinstance(named, dict) else named


def _is_beyond_grammar(name: str, value: Any) -> bool:
    if name == "pattern":
        return not (isinstance(value, str) and value.startswith("^") and value.endswith("$"))
    return name == "format" and value not in _GRAMMAR_FORMATS
