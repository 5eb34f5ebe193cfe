"""Schemas as llama.cpp's own converter takes them: loosened to what it can make a grammar of.

For tools that the model may call or not, and for what it answers where it is not held to grammars (`grammar.py`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import msgspec

from ezai.errors import InvalidRequest
from ezai.translate.anthropic_openai.references import ASIDE, References
from ezai.translate.anthropic_openai.schemas import ALTERNATIVES, DATA, NAMED, check_satisfiable, inner_schemas

_ITEMS = 4
"""Of an array that has no bound, where one is needed."""
_LEAST_CHARS = 8
_MOST_REPEATED = 1000
"""llama.cpp refuses a grammar that repeats more than 2,000 times, and takes memory for each."""
_SHAPES = frozenset({"properties", "$ref", *ALTERNATIVES})
_PLACES = frozenset({"items", "prefixItems"})
_COUNTED = frozenset({"minLength", "minItems"})
_GRAMMAR_FORMATS = frozenset({"date", "time", "date-time", "uuid"})
_TYPES = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})
_WHOLE = 2**53
_COUNTS = re.compile(r"\d+(?=,?\d*\})")
_SELF = b'"$ref":"#/$defs/self"'
_NO_GRAMMAR = frozenset({"$schema", "$id", "$comment", "default", "examples", "title", "description"})


def for_grammar(schema: dict[str, Any], place: str) -> dict[str, Any]:
    """The schema as llama.cpp makes a grammar of it; another it would refuse, misread, or grow without end on.

    Left out is what only loosens it: patterns that are not anchored, formats it does not know, notes, references to
    nothing. Numbers in a range become integers in it, because the range of others is not held to. Alternatives beside
    properties become their first. Raises `InvalidRequest`, naming `place`, where nothing fits it.
    """
    kept: dict[str, Any] = _for_grammar(schema, place, References(schema))
    if _SELF in msgspec.json.encode(kept):
        kept["$defs"] = {**kept.get("$defs", {}), "self": {name: kept[name] for name in kept if name != "$defs"}}
    return kept


def _for_grammar(schema: Any, place: str, references: References) -> Any:
    if not isinstance(schema, dict):
        return schema
    check_satisfiable(schema, place)
    _check_counts(schema, place)
    if "$ref" in schema:
        return _reference(schema["$ref"], references)
    kept = {
        name: _without_booleans(name, value)
        for name, value in _merged(schema).items()
        if name not in _NO_GRAMMAR and not _is_beyond_grammar(name, value)
    }
    if kept.get("items") is False:
        kept |= {"items": {}, "maxItems": 0}
    if kept.get("type") == "number" and {"minimum", "maximum"} <= set(kept):
        kept = _as_integer(kept)
    return _with_inner(kept, lambda inner: _for_grammar(inner, place, references))


def _without_booleans(name: str, value: Any) -> Any:
    """With `true`, which is any value, written out, and without what may never be."""
    if name in NAMED:
        return {
            key: {} if isinstance(one, bool) else one for key, one in value.items() if one is not False or name in ASIDE
        }
    if name in ALTERNATIVES or (name in _PLACES and isinstance(value, list)):
        return [{} if one is True else one for one in value if one is not False]
    return {} if name == "items" and value is True else value


def _reference(reference: str, references: References) -> dict[str, Any]:
    """llama.cpp follows those to parts of the schema, and not to the whole."""
    try:
        references.target(reference)
    except LookupError:
        return {}
    return {"$ref": "#/$defs/self" if reference == "#" else reference}


def _check_counts(schema: dict[str, Any], place: str) -> None:
    for name in _COUNTED:
        if schema.get(name, 0) > _MOST_REPEATED:
            raise InvalidRequest(f"{place}: {name} {schema[name]} is more than the upstream of this model can hold to")


def _merged(schema: dict[str, Any]) -> dict[str, Any]:
    """Without alternatives beside properties, which llama.cpp would take for the whole."""
    if "properties" not in schema:
        return schema
    merged = {name: value for name, value in schema.items() if name not in ALTERNATIVES}
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


def _is_beyond_grammar(name: str, value: Any) -> bool:
    match name:
        case "maxLength" | "maxItems":
            return bool(value > _MOST_REPEATED)
        case "pattern":
            return not _is_plain_pattern(value)
        case "type":
            kinds = value if isinstance(value, list) else [value]
            return not all(isinstance(kind, str) and kind in _TYPES for kind in kinds)
        case "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum":
            return isinstance(value, bool) or abs(value) > _WHOLE
        case "format":
            return value not in _GRAMMAR_FORMATS
    return False


def _is_plain_pattern(pattern: str) -> bool:
    """Whether llama.cpp can read it: from end to end, without looking around, repeating no more than it can."""
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError):
        return False
    counts = [int(count) for count in _COUNTS.findall(pattern)]
    return (
        pattern.startswith("^")
        and pattern.endswith("$")
        and "(?" not in pattern
        and max(counts, default=0) < _MOST_REPEATED
    )


def bounded(schema: Any, chars: int) -> Any:
    """The schema with a bound on whatever has none, so that any answer to it fits in `chars`: strings and arrays get
    one, an object without properties is empty, and where anything goes it is a string.

    A small model that is held to a schema may go on in one string for ever: then there would be no answer at all.
    """
    fair = chars // max(1, _strings(schema))
    return _bound(schema, min(max(_LEAST_CHARS, fair), _MOST_REPEATED))


def _strings(schema: Any) -> int:
    """How many strings without a bound there can be in one value, as long as arrays have the bound they get."""
    if not isinstance(schema, dict):
        return 0
    if not schema or _is_open_string(schema):
        return 1
    return (_ITEMS if _is_open_array(schema) else 1) * sum(map(_strings, inner_schemas(schema)))


def _bound(schema: Any, chars: int) -> Any:
    if not isinstance(schema, dict):
        return schema
    if not schema:
        return {"type": "string", "maxLength": chars}
    if schema.get("type") == "object" and not _SHAPES & set(schema):
        return {"type": "object", "properties": {}, "additionalProperties": False}
    held = _with_inner(schema, lambda inner: _bound(inner, chars))
    held.pop("additionalProperties", None)
    if _is_open_string(schema):
        held["maxLength"] = max(chars, schema.get("minLength", 0))
    if _is_open_array(schema):
        held["maxItems"] = max(_ITEMS, schema.get("minItems", 0))
    return held


def _is_open_string(schema: dict[str, Any]) -> bool:
    return schema.get("type") == "string" and not {"maxLength", "enum", "const", "pattern", "format"} & set(schema)


def _is_open_array(schema: dict[str, Any]) -> bool:
    return schema.get("type") == "array" and "maxItems" not in schema


def _with_inner(schema: dict[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
    """The schema with each of those changed."""

    def changed(name: str, value: Any) -> Any:
        if name in DATA:
            return value
        if name in NAMED:
            return {key: change(one) for key, one in value.items()}
        return [change(one) for one in value] if isinstance(value, list) else change(value)

    return {name: changed(name, value) for name, value in schema.items()}
