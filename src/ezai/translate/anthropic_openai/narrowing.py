"""Schemas narrowed to what a grammar can hold an answer to, and to what ends.

Whatever fits the narrowed schema fits the schema: objects are closed, numbers have some digits (`numbers.py`), a schema
stands in itself a few times at most, and where the whole has to end in some characters, strings and arrays have a
bound. What cannot be said so is refused by its place.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from typing import Any, NamedTuple

from ezai.errors import InvalidRequest
from ezai.translate.anthropic_openai.numbers import check_numbers, narrowed_numbers
from ezai.translate.anthropic_openai.references import References
from ezai.translate.anthropic_openai.schema_joins import Joins, Unjoinable
from ezai.translate.anthropic_openai.schemas import check_satisfiable, unheld

ITEMS = 4
"""Of an array or a map without a bound, where one is needed."""
LEVELS = 4
"""How often a schema stands in itself."""
_FORMAT_CHARS = 64
_MOST_CHARS = 20_000
_MOST_SCHEMAS = 4_000
_MOST_ITEMS = 1_000
_MOST_PATTERN_CHARS = 1_000
_MOST_PATTERNS = 16
"""Some of what is larger takes llguidance minutes, or all memory."""
_NAME = r'^[^\x00-\x1f"\\]{1,40}$'
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"})
_LITERAL = re.compile(r"\^([A-Za-z0-9_-]+)(?![?*{])")
"""What every name begins with that fits a pattern."""
_COUNTS = re.compile(r"\{(\d{1,4})")
_URI = r"^[A-Za-z][A-Za-z0-9+.-]*:[A-Za-z0-9._~:/?#@!$&'()*+,;=%-]+$"
_OF_KIND: dict[str, frozenset[str]] = {
    "object": frozenset({"properties", "patternProperties", "additionalProperties", "required", "minProperties",
                         "maxProperties"}),
    "array": frozenset({"items", "prefixItems", "minItems", "maxItems"}),
    "string": frozenset({"minLength", "maxLength", "pattern", "format"}),
    "number": frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}),
    "integer": frozenset(), "boolean": frozenset(), "null": frozenset(),
}  # fmt: skip
_OF_OBJECT, _OF_ARRAY = _OF_KIND["object"], _OF_KIND["array"]
_NESTING = frozenset({"properties", "patternProperties", "additionalProperties", "items", "prefixItems"})
_HELD = frozenset({"type", "const", "enum", "$ref", "anyOf", "oneOf", "allOf"}).union(*_OF_KIND.values())
_UNHELD: dict[str, Any] = {
    **dict.fromkeys(("contains", "not", "if", "propertyNames", "$dynamicRef", "$recursiveRef")),
    **dict.fromkeys(("unevaluatedProperties", "unevaluatedItems"), True),
    **{name: {} for name in ("dependentRequired", "dependentSchemas", "dependencies")},
    "uniqueItems": False,
}
"""Keywords that no grammar keeps, each with the value under which there is nothing to keep."""


class PlacedSchema(NamedTuple):
    """A schema as the client wrote it, and where."""

    place: str
    schema: dict[str, Any]


class Definitions:
    """The parts of a grammar that others point to, and its strings without a bound."""

    def __init__(self) -> None:
        self.schemas: dict[str, Any] = {}
        self.open_strings: list[tuple[dict[str, Any], int]] = []
        """Each with the least bound that it can have."""

        self._seen = 0

    def see(self, place: str) -> None:
        """One more schema. Raises `InvalidRequest` for too many: references can make a great deal of a few lines."""
        self._seen += 1
        if self._seen > _MOST_SCHEMAS:
            raise InvalidRequest(
                f"{place}: the schemas of this call are more than {_MOST_SCHEMAS}, references followed"
            )

    def name(self) -> str:
        """A new one, to be defined."""
        name = f"d{len(self.schemas)}"
        self.schemas[name] = {}
        return name

    def bound_strings(self, chars: int) -> None:
        """Give each string without a bound this one."""
        for schema, least in self.open_strings:
            schema["maxLength"] = max(chars, least)


def narrowed(schema: PlacedSchema, definitions: Definitions, *, bounded: bool) -> Any:
    """The narrowed schema; `bounded` if it has to end in some characters.

    Raises `InvalidRequest`, which begins with the place of what no grammar keeps.
    """
    try:
        return _Narrowing(schema, definitions, bounded).node(schema.schema, schema.place, 0)
    except RecursionError:
        raise InvalidRequest(f"{schema.place}: its schemas stand too deeply in one another") from None


class _Narrowing:
    def __init__(self, schema: PlacedSchema, definitions: Definitions, bounded: bool) -> None:
        self._place = schema.place
        self._references = References(schema.schema)
        self._definitions = definitions
        self._bounded = bounded
        self._names: dict[tuple[str, int], str] = {}

    def node(self, schema: Any, place: str, level: int) -> Any:
        """A schema at its place; `level` says how often one has stood in itself on the way there."""
        schema, level = self._joined(schema, place, level)
        if isinstance(schema, bool):
            return self._plain({}, place, level) if schema else False
        if "$ref" in schema:
            return self._reference(schema["$ref"], place, level)
        for name in ("anyOf", "oneOf"):
            if name in schema:
                return {name: self._each(schema[name], f"{place}.{name}", level)}
        return self._plain(schema, place, level)

    def _each(self, schemas: Any, place: str, level: int) -> Any:
        """Those in a list, or under names."""
        if isinstance(schemas, dict):
            return {name: self.node(schema, f"{place}.{name}", level) for name, schema in schemas.items()}
        return [self.node(schema, f"{place}.{number}", level) for number, schema in enumerate(schemas)]

    # What stands for other schemas.

    def _joined(self, schema: Any, place: str, level: int) -> tuple[Any, int]:
        """The schema as one thing, and the level, which grows with what had to be put into its place."""

        def read(part: Any) -> Any:
            self._definitions.see(place)
            return _asserting(part, place)

        def target(reference: str) -> Any:
            nonlocal level
            found = self._target(reference, place)
            level += self._references.is_circular(reference)
            return found if level <= LEVELS else False

        try:
            return Joins(read, target).joined(schema), level
        except Unjoinable as keyword:
            raise unheld(f"{place}.{keyword}", "what is said in several places of it") from None

    def _reference(self, reference: str, place: str, level: int) -> Any:
        target = self._target(reference, place)
        level += self._references.is_circular(reference)
        if level > LEVELS:
            return False
        if (reference, level) not in self._names:
            name = self._names[reference, level] = self._definitions.name()
            there = self._place + reference[1:].replace("/", ".")
            self._definitions.schemas[name] = self.node(target, there, level)
        return {"$ref": f"#/$defs/{self._names[reference, level]}"}

    def _target(self, reference: Any, place: str) -> Any:
        try:
            return self._references.target(reference)
        except LookupError:
            raise InvalidRequest(f"{place}.$ref: {reference!r} points to nothing in this schema") from None

    # Plain keywords.

    def _plain(self, schema: dict[str, Any], place: str, level: int) -> Any:
        kinds = _kinds_of(schema, place)
        if "const" in schema or "enum" in schema:
            return _values(schema, place)
        if not kinds:
            return self._string({"type": "string"}, place) if self._bounded else schema
        numeric = [kind for kind in kinds if kind in {"number", "integer"}]
        others = [kind for kind in kinds if kind not in numeric]
        options = narrowed_numbers(schema, place, whole="number" not in numeric) if numeric else []
        if others:
            options.append(self._other(schema, others, place, level))
        return options[0] if len(options) == 1 else {"anyOf": options}

    def _other(self, schema: dict[str, Any], kinds: list[str], place: str, level: int) -> dict[str, Any]:
        """Anything but numbers."""
        kept: dict[str, Any] = {"type": kinds if len(kinds) > 1 else kinds[0]}
        if "object" in kinds:
            kept |= self._object({name: schema[name] for name in _OF_OBJECT if name in schema}, place, level)
        if "array" in kinds:
            kept |= self._array({name: schema[name] for name in _OF_ARRAY if name in schema}, place, level)
        if "string" not in kinds:
            return kept
        return self._string(kept | {name: schema[name] for name in _OF_KIND["string"] if name in schema}, place)

    def _object(self, schema: dict[str, Any], place: str, level: int) -> dict[str, Any]:
        """Closed, unless its names are free: then they are held to a pattern, and some are enough."""
        properties, required = dict(schema.get("properties", {})), schema.get("required", [])
        others = schema.get("additionalProperties", True)
        _check_names_apart(properties, required, schema.get("patternProperties", {}), place)
        properties |= {name: others for name in required if name not in properties}
        patterns = schema.get("patternProperties") or ({} if others in (True, False, {}) else {_NAME: others})
        least, most = schema.get("minProperties", 0), schema.get("maxProperties")
        if least > len(properties) and not patterns and others is not False:
            patterns = {_NAME: others}
        if patterns and least > len(required) + 1:  # names are not told apart
            raise unheld(f"{place}.minProperties")
        if set(properties) - set(required) and least <= len(properties):  # some may be missing: then none is free
            patterns = {}
        kept = {"properties": self._each(properties, f"{place}.properties", level), "additionalProperties": False}
        if required:
            kept["required"] = required
        if patterns:
            kept["patternProperties"] = self._each(patterns, f"{place}.patternProperties", level)
            most = min(most if most is not None else math.inf, len(required) + ITEMS) if self._bounded else most
        if least > len(required):
            kept["minProperties"] = least
        if most is not None and (patterns or most < len(properties)):
            kept["maxProperties"] = most
        return kept

    def _array(self, schema: dict[str, Any], place: str, level: int) -> dict[str, Any]:
        """Places of a tuple are filled; behind them, and in an array without a bound, come a few items at most."""
        kept = dict(schema)
        places = self._each(schema.get("prefixItems", []), f"{place}.prefixItems", level)
        least, most = schema.get("minItems", 0), schema.get("maxItems")
        if least > _MOST_ITEMS:
            raise unheld(f"{place}.minItems", f"more than {_MOST_ITEMS} items")
        if most is not None and most > _MOST_ITEMS:
            most = kept["maxItems"] = _MOST_ITEMS
        if places:
            filled = next((number for number, one in enumerate(places) if one is False), len(places))
            kept["prefixItems"] = places
            kept["minItems"] = least = max(least, filled if most is None else min(filled, most))
        if places and "items" not in schema and least <= len(places):
            kept["items"] = False
        elif "items" in schema or self._bounded:
            kept["items"] = self.node(schema.get("items", True), f"{place}.items", level)
        if most is None and self._bounded:
            kept["maxItems"] = max(ITEMS, least)
        return kept

    def _string(self, schema: dict[str, Any], place: str) -> dict[str, Any]:
        kept = dict(schema)
        if len(kept.get("pattern", "")) > _MOST_PATTERN_CHARS:
            raise unheld(f"{place}.pattern", f"patterns of more than {_MOST_PATTERN_CHARS} characters")
        form = kept.get("format")
        if form not in _FORMATS:
            kept.pop("format", None)
        if form in {"uri", "url"}:
            kept.setdefault("pattern", _URI)
        most = kept.get("maxLength")
        if not self._bounded or (most is not None and most <= _MOST_CHARS):
            return kept
        least = max(kept.get("minLength", 0), _chars_of(kept.get("pattern", "")))
        if "format" in kept:
            kept["maxLength"] = max(least, _FORMAT_CHARS)
        else:
            self._definitions.open_strings.append((kept, least))
        return kept


def _asserting(schema: Any, place: str) -> Any:
    """Without notes, tuples written as they are now."""
    if isinstance(schema, bool):
        return schema
    if not isinstance(schema, dict):
        raise InvalidRequest(f"{place}: must be a JSON schema")
    check_satisfiable(schema, place)
    for name, nothing in _UNHELD.items():
        if name in schema and schema[name] != nothing:
            raise unheld(f"{place}.{name}")
    kept = {name: value for name, value in schema.items() if name in _HELD}
    if isinstance(kept.get("type"), list):
        kept["type"] = _kinds_of(schema, place)
    if isinstance(kept.get("items"), list):
        kept["prefixItems"] = kept["items"]
        kept["items"] = schema.get("additionalItems", True)
    return kept


def _kinds_of(schema: dict[str, Any], place: str) -> list[str]:
    """The types that it allows, or that its keywords are about."""
    if "type" not in schema:
        return [kind for kind, names in _OF_KIND.items() if names & set(schema)]
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if not all(isinstance(kind, str) and kind in _OF_KIND for kind in kinds):
        raise InvalidRequest(f"{place}.type: must be of {', '.join(_OF_KIND)}")
    return [*dict.fromkeys(kinds)]


def _check_names_apart(properties: dict[str, Any], required: list[str], patterns: dict[str, Any], place: str) -> None:
    """Raise `InvalidRequest` where a pattern may say something of a name that stands beside it, or there are many.

    Whether it does is not tried: a pattern can be made to take for ever.
    """
    if len(patterns) > _MOST_PATTERNS:
        raise unheld(f"{place}.patternProperties", f"more than {_MOST_PATTERNS} patterns of names")
    unnamed = sorted({*required} - {*properties})
    names = sorted({*required, *properties})
    for pattern, schema in patterns.items():
        told = unnamed if schema in (True, {}) else names
        begun = None if "|" in pattern else _LITERAL.match(pattern)
        beginning = begun[1] if begun else ""
        at = bisect_left(told, beginning)
        if at < len(told) and told[at].startswith(beginning):
            raise unheld(f"{place}.patternProperties", "a pattern that a name beside it may fit")


def _values(schema: dict[str, Any], place: str) -> dict[str, Any]:
    """The values that it lists, and what else is said of them."""
    for name in _NESTING & set(schema):
        raise unheld(f"{place}.{name}", "this keyword beside listed values")
    check_numbers([schema[name] for name in ("const", "enum") if name in schema], place)
    return schema


def _chars_of(pattern: str) -> int:
    """At least as many characters as the shortest text that it can stand for."""
    return len(pattern) * math.prod(max(1, int(count)) for count in _COUNTS.findall(pattern)[:9])
