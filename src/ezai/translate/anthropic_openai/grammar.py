"""Grammars that llama.cpp holds an answer to, made of schemas by llguidance.

llguidance makes a grammar that fits a schema exactly, or none; where it makes none, llama.cpp answers freely and says
nothing of it. So each begins with a mark that no model says by itself: an answer without it was not held, and is
refused before any of it is told (`held.py`). Source: llguidance, docs/json_schema.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from ezai.translate.anthropic_openai.narrowing import ITEMS, Definitions, PlacedSchema, narrowed
from ezai.translate.anthropic_openai.schemas import unheld

MARK = "\x1e"
"""The record separator: it stands before the texts of a JSON sequence (RFC 7464), and in nothing that people read."""

_START = '%llguidance {}\nstart: "\\u001e" %json '
_WRITING = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
_CHARS_A_TOKEN = 0.75
"""Less than a token has: a small model may go on in digits, each a token, until its string ends."""
_VALUE_CHARS, _NAME_CHARS = 12, 6
"""Of a value that is no open string, and of what stands around a name."""
_LEAST_CHARS = 8
_MOST_CHARS = 20_000
_MOST_BYTES = 262_144


def grammar_of_call(schemas: Mapping[str, PlacedSchema], tokens: int) -> str:
    """The grammar of a call of one of these tools: of one its input, of several an object of its name and input.

    An answer to it ends within about that many tokens. Raises `InvalidRequest`, which begins with the place of what no
    grammar keeps.
    """
    definitions = Definitions()
    inputs = {name: narrowed(schema, definitions, bounded=True) for name, schema in schemas.items()}
    call = next(iter(inputs.values())) if len(inputs) == 1 else {"anyOf": [_call(*item) for item in inputs.items()]}
    size = _Sizes(definitions).of(call)
    fair = int((tokens * _CHARS_A_TOKEN - size.chars) / max(1, size.strings))
    definitions.bound_strings(min(max(_LEAST_CHARS, fair), _MOST_CHARS))
    return _grammar(call, definitions, next(iter(schemas.values())).place if len(schemas) == 1 else "tools")


def grammar_of_answer(schema: PlacedSchema) -> str:
    """The grammar of an answer that keeps a schema. Raises as above."""
    definitions = Definitions()
    return _grammar(narrowed(schema, definitions, bounded=False), definitions, schema.place)


def _grammar(start: Any, definitions: Definitions, place: str) -> str:
    schema = msgspec.json.encode({"x-guidance": _WRITING, "$defs": definitions.schemas, "allOf": [start]})
    if len(schema) > _MOST_BYTES:  # seconds for llguidance, in which nobody else is answered
        raise unheld(place, f"schemas of more than {_MOST_BYTES} bytes")
    return _START + schema.decode()


def _call(name: str, given: Any) -> dict[str, Any]:
    properties = {"name": {"const": name}, "input": given}
    return {"type": "object", "properties": properties, "required": ["name", "input"], "additionalProperties": False}


class _Size(NamedTuple):
    """How large a value may be: characters, and beside them strings without a bound."""

    chars: int
    strings: int


class _Sizes:
    """Sizes of values of schemas, at most."""

    def __init__(self, definitions: Definitions) -> None:
        self._schemas = definitions.schemas
        self._open = {id(schema) for schema, _ in definitions.open_strings}
        self._known: dict[str, _Size] = {}

    def of(self, schema: Any) -> _Size:
        if not isinstance(schema, dict):
            return _Size(0, 0)
        if "$ref" in schema:
            return self._of_definition(schema["$ref"].removeprefix("#/$defs/"))
        own = _Size(*max(map(self.of, schema.get("anyOf") or schema.get("oneOf") or ()), default=(_VALUE_CHARS, 0)))
        named = schema.get("properties", {})
        parts = [*map(self.of, (*named.values(), *schema.get("prefixItems", ())))]
        parts += [self.of(one) for one in (schema.get("items"), *schema.get("patternProperties", {}).values())] * ITEMS
        return _Size(
            own.chars + sum(len(name) + _NAME_CHARS for name in named) + sum(part.chars for part in parts),
            own.strings + (id(schema) in self._open) + sum(part.strings for part in parts),
        )

    def _of_definition(self, name: str) -> _Size:
        if name not in self._known:
            self._known[name] = self.of(self._schemas[name])
        return self._known[name]
