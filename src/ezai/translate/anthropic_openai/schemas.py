"""JSON schemas as upstreams take them.

`read_schema` checks what the others rely on; they take what it returned.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from ezai.errors import InvalidRequest

MAX_DEPTH = 100
"""Of schemas in one another. Real ones stay below thirty."""
_ITEMS = 4
"""Of an array that has no bound, where one is needed."""
_LEAST_CHARS = 8
_MOST_REPEATED = 1000
"""llama.cpp refuses a grammar that repeats more than 2,000 times, and takes memory for each."""
_NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions"})
"""Keywords that hold schemas by names, which may be words of the schema language too."""
_ALTERNATIVES = frozenset({"allOf", "anyOf", "oneOf"})
_DATA = frozenset({"enum", "const", "default", "examples", "required"})
"""Keywords that hold values, not schemas."""
_SHAPES = frozenset({"properties", "$ref", *_ALTERNATIVES})
_COUNTED = frozenset({"minLength", "minItems"})
_BOUNDS = (
    ("minLength", "maxLength"),
    ("minItems", "maxItems"),
    ("minimum", "maximum"),
    ("minProperties", "maxProperties"),
)
_KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(_NAMED, (dict,)),
    **dict.fromkeys((*_ALTERNATIVES, "required", "enum"), (list,)),
    **dict.fromkeys((bound for pair in _BOUNDS for bound in pair), (int, float)),
    **dict.fromkeys(("pattern", "format"), (str,)),
}
_NAMES = {dict: "an object", list: "an array", int: "a number", str: "a string"}
_GRAMMAR_FORMATS = frozenset({"date", "time", "date-time", "uuid"})
_NO_GRAMMAR = frozenset({"$schema", "$id", "$comment", "default", "examples", "title", "description"})


# Reading.


def read_schema(raw: msgspec.Raw, place: str) -> dict[str, Any]:
    """The schema, whose keywords have values of their kinds. Raises `InvalidRequest` that begins with `place`."""
    try:
        schema = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        raise InvalidRequest(f"{place}: is no JSON that can be read, or nested too deeply") from None
    if not isinstance(schema, dict):
        raise InvalidRequest(f"{place}: must be a JSON schema, which is an object")
    _check(schema, place, MAX_DEPTH)
    return schema


def _check(schema: Any, place: str, depth: int) -> None:
    if not isinstance(schema, dict):
        return
    if not depth:
        raise InvalidRequest(f"{place}: has more than {MAX_DEPTH} schemas in one another")
    for name, kinds in _KINDS.items():
        if name in schema and (not isinstance(schema[name], kinds) or isinstance(schema[name], bool)):
            raise InvalidRequest(f"{place}: {name} must be {_NAMES[kinds[0]]}")
    if not all(isinstance(name, str) for name in schema.get("required", ())):
        raise InvalidRequest(f"{place}: required must hold names")
    for inner in _inner(schema):
        _check(inner, place, depth - 1)


def _inner(schema: dict[str, Any]) -> Iterator[Any]:
    """What stands in a schema where schemas stand."""
    for name, value in schema.items():
        if name in _NAMED:
            yield from value.values()
        elif name not in _DATA:
            yield from value if isinstance(value, list) else (value,)


def _with_inner(schema: dict[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
    """The schema with each of those changed."""

    def changed(name: str, value: Any) -> Any:
        if name in _DATA:
            return value
        if name in _NAMED:
            return {key: change(one) for key, one in value.items()}
        return [change(one) for one in value] if isinstance(value, list) else change(value)

    return {name: changed(name, value) for name, value in schema.items()}


# What upstreams take.


def is_strict(schema: Any) -> bool:
    """Whether it keeps the rules of OpenAI's strict mode: every object is closed, and all its properties required."""
    if not isinstance(schema, dict):
        return True
    if "properties" in schema or schema.get("type") == "object":
        names = set(schema.get("properties", ()))
        if schema.get("additionalProperties") is not False or set(schema.get("required", ())) != names:
            return False
    return all(map(is_strict, _inner(schema)))


def for_grammar(schema: Any, place: str) -> Any:
    """The schema as llama.cpp makes a grammar of it; another it would refuse, misread, or grow without end on.

    Left out is what only loosens it: patterns that are not anchored, formats it does not know, notes. Numbers in a
    range become integers in it, because the range of others is not held to. Alternatives beside properties become
    their first. Raises `InvalidRequest`, naming `place`, where bounds contradict each other.
    """
    if not isinstance(schema, dict):
        return schema
    _check_bounds(schema, place)
    kept = {
        name: value
        for name, value in _merged(schema).items()
        if name not in _NO_GRAMMAR and not _is_beyond_grammar(name, value)
    }
    if "properties" in kept:  # `true`, which is any value, has to be written out
        kept["properties"] = {name: {} if value is True else value for name, value in kept["properties"].items()}
    if kept.get("type") == "number" and {"minimum", "maximum"} <= set(kept):
        kept = _as_integer(kept)
    return _with_inner(kept, lambda inner: for_grammar(inner, place))


def _check_bounds(schema: dict[str, Any], place: str) -> None:
    for low, high in _BOUNDS:
        least, most = schema.get(low), schema.get(high)
        if least is not None and most is not None and least > most:
            raise InvalidRequest(f"{place}: {low} {least} is more than {high} {most}, so nothing fits it")
        if least is not None and low in _COUNTED and least > _MOST_REPEATED:
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


def _is_beyond_grammar(name: str, value: Any) -> bool:
    match name:
        case "maxLength" | "maxItems":
            return bool(value > _MOST_REPEATED)
        case "pattern":
            return not (value.startswith("^") and value.endswith("$"))
        case "format":
            return value not in _GRAMMAR_FORMATS
    return False


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
    return (_ITEMS if _is_open_array(schema) else 1) * sum(map(_strings, _inner(schema)))


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
