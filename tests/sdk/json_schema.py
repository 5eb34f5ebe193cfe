"""Whether a value fits a JSON schema: of draft 2020-12 what the tests use, read from the specification."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

_KINDS: dict[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "integer": lambda value: isinstance(value, int | float) and not isinstance(value, bool) and value == int(value),
}


def fits(value: Any, schema: Any, root: Any = None) -> bool:
    """Whether it does; `root` is what references point into."""
    if isinstance(schema, bool):
        return schema
    root = schema if root is None else root
    if "$ref" in schema and not fits(value, _target(schema["$ref"], root), root):
        return False
    kinds = schema.get("type", [])
    if kinds and not any(_KINDS[kind](value) for kind in ([kinds] if isinstance(kinds, str) else kinds)):
        return False
    chosen = [fits(value, option, root) for option in schema.get("oneOf", ())]
    return (
        ("const" not in schema or value == schema["const"])
        and ("enum" not in schema or value in schema["enum"])
        and all(fits(value, part, root) for part in schema.get("allOf", ()))
        and any(fits(value, part, root) for part in schema.get("anyOf", (True,)))
        and (not chosen or chosen.count(True) == 1)
        and _fits_itself(value, schema, root)
    )


def _fits_itself(value: Any, schema: Any, root: Any) -> bool:
    match value:
        case str():
            return _string(value, schema)
        case list():
            return _array(value, schema, root)
        case dict():
            return _object(value, schema, root)
        case bool() | None:
            return True
    return _number(value, schema)


def _target(reference: str, root: Any) -> Any:
    for name in filter(None, reference.removeprefix("#").split("/")):
        root = root[name]
    return root


def _string(value: str, schema: Any) -> bool:
    length_fits = schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", math.inf)
    return length_fits and re.search(schema.get("pattern", ""), value) is not None


def _number(value: float, schema: Any) -> bool:
    parts = value / schema.get("multipleOf", value or 1)
    return (
        schema.get("minimum", -math.inf) <= value <= schema.get("maximum", math.inf)
        and schema.get("exclusiveMinimum", -math.inf) < value < schema.get("exclusiveMaximum", math.inf)
        and math.isclose(parts, round(parts), rel_tol=1e-9)
    )


def _array(value: list[Any], schema: Any, root: Any) -> bool:
    places = schema.get("prefixItems", [])
    return (
        schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", math.inf)
        and all(fits(item, place, root) for item, place in zip(value, places, strict=False))
        and all(fits(item, schema.get("items", True), root) for item in value[len(places) :])
    )


def _object(value: dict[str, Any], schema: Any, root: Any) -> bool:
    named, patterns = schema.get("properties", {}), schema.get("patternProperties", {})

    def said_of(name: str) -> list[Any]:
        said = [named[name]] if name in named else []
        said += [inner for pattern, inner in patterns.items() if re.search(pattern, name)]
        return said or [schema.get("additionalProperties", True)]

    return (
        set(schema.get("required", ())) <= set(value)
        and schema.get("minProperties", 0) <= len(value) <= schema.get("maxProperties", math.inf)
        and all(fits(inner, one, root) for name, inner in value.items() for one in said_of(name))
    )
