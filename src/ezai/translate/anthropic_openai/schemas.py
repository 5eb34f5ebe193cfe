"""JSON schemas, read.

`read_schema` checks what everybody else relies on; they take what it returned.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ezai.errors import InvalidRequest

MAX_DEPTH = 100
"""Of schemas in one another. Real ones stay below thirty."""
NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions"})
"""Keywords that hold schemas by names, which may be words of the schema language too."""
ALTERNATIVES = frozenset({"allOf", "anyOf", "oneOf"})
DATA = frozenset({"enum", "const", "default", "examples", "required"})
"""Keywords that hold values, not schemas."""
_BOUNDS = (
    ("minLength", "maxLength"),
    ("minItems", "maxItems"),
    ("minimum", "maximum"),
    ("minProperties", "maxProperties"),
)
_KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(NAMED, (dict,)),
    **dict.fromkeys((*ALTERNATIVES, "required", "enum", "prefixItems"), (list,)),
    **dict.fromkeys((*(bound for pair in _BOUNDS for bound in pair), "multipleOf"), (int, float)),
    **dict.fromkeys(("exclusiveMinimum", "exclusiveMaximum"), (int, float, bool)),  # true and false until 2017
    **dict.fromkeys(("pattern", "format", "$ref"), (str,)),
}
_NAMES = {dict: "an object", list: "an array", int: "a number", str: "a string"}


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
        value = schema.get(name, kinds[-1]())
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise InvalidRequest(f"{place}: {name} must be {_NAMES[kinds[0]]}")
    if not all(isinstance(name, str) for name in schema.get("required", ())):
        raise InvalidRequest(f"{place}: required must hold names")
    for inner in inner_schemas(schema):
        _check(inner, place, depth - 1)


def inner_schemas(schema: dict[str, Any]) -> Iterator[Any]:
    """What stands in a schema where schemas stand."""
    for name, value in schema.items():
        if name in NAMED:
            yield from value.values()
        elif name not in DATA:
            yield from value if isinstance(value, list) else (value,)


def check_satisfiable(schema: dict[str, Any], place: str) -> None:
    """Raise `InvalidRequest` where bounds of one schema contradict each other, or a list of choices is empty."""
    for low, high in _BOUNDS:
        least, most = schema.get(low), schema.get(high)
        if least is not None and most is not None and least > most:
            raise InvalidRequest(f"{place}: {low} {least} is more than {high} {most}, so nothing fits it")
    for name in ("enum", *ALTERNATIVES):
        if schema.get(name) == []:
            raise InvalidRequest(f"{place}: {name} is empty, so nothing fits it")


def is_strict(schema: Any) -> bool:
    """Whether it keeps the rules of OpenAI's strict mode: every object is closed, and all its properties required."""
    if not isinstance(schema, dict):
        return True
    if "properties" in schema or schema.get("type") == "object":
        names = set(schema.get("properties", ()))
        if schema.get("additionalProperties") is not False or set(schema.get("required", ())) != names:
            return False
    return all(map(is_strict, inner_schemas(schema)))


def unheld(place: str, what: str = "this keyword") -> InvalidRequest:
    """The refusal of a schema that no grammar keeps."""
    return InvalidRequest(
        f"{place}: the embedded model cannot be held to {what}; leave it out, or let the model choose"
    )
