"""Numbers that a grammar can hold an answer to: as every reader of JSON reads them, and of so many digits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from ezai.errors import InvalidRequest
from ezai.translate.anthropic_openai.schemas import unheld

_MOST = 2**53 - 1
"""Integers up to here are the same to every reader of JSON."""
_STEP, _LEAST_STEP = 1e-6, 1e-9
_LARGE = 1e6
_EXCLUSIVE = frozenset({"exclusiveMinimum", "exclusiveMaximum"})


def check_numbers(value: Any, place: str) -> None:
    """Raise `InvalidRequest` for a number, anywhere in a value, that not every reader reads alike."""
    if any(abs(number) > _MOST for number in _numbers_in(value)):
        raise _beyond(place)


def narrowed_numbers(schema: dict[str, Any], place: str, *, whole: bool) -> list[dict[str, Any]]:
    """The alternatives that stand for numbers of a schema: bounded on each side, and in steps, so that no model can go
    on in their digits for ever.

    llguidance keeps steps of numbers without a sign alone: those with one stand apart, without steps. Raises
    `InvalidRequest` for what it does not keep.
    """
    low, high = _bounds(schema)
    if low > _MOST or high < -_MOST:
        raise _beyond(place)
    kind = {"type": "integer" if whole else "number"}
    step = 1 if whole else _step(high - low)
    if step is None:
        kind |= {name: schema[name] for name in _EXCLUSIVE if name in schema}
    else:  # between two bounds that are no values themselves llguidance lets 0 pass
        low = _past(low, step) if _excludes(schema.get("exclusiveMinimum"), low) else low
        high = -_past(-high, step) if _excludes(schema.get("exclusiveMaximum"), high) else high
    steps = schema.get("multipleOf", None if whole else step)
    if steps is None:
        return [{**kind, "minimum": low, "maximum": high}]
    options = [{**kind, "minimum": max(low, 0), "maximum": high, "multipleOf": steps}] if high >= 0 else []
    if low < 0 and "multipleOf" not in schema:
        options.append({**kind, "minimum": low, "maximum": min(high, -_LEAST_STEP)})
    if not options:
        raise unheld(f"{place}.multipleOf", "steps of negative numbers")
    return options


def _bounds(schema: dict[str, Any]) -> tuple[float, float]:
    def given(*names: str) -> list[float]:
        return [schema[name] for name in names if name in schema and not isinstance(schema[name], bool)]

    low = max([*given("minimum", "exclusiveMinimum"), -_MOST])
    return low, min([*given("maximum", "exclusiveMaximum"), _MOST])


def _step(width: float) -> float | None:
    """How far apart numbers of a range stand, so that there are many; None where that is too little to say."""
    if width <= 0:
        return None
    step: float = round(min(_STEP, 10.0 ** (math.floor(math.log10(width)) - 3)), 12)
    return step if step >= _LEAST_STEP else None


def _excludes(excluding: Any, bound: float) -> bool:
    """Whether a bound is no value itself; until 2017 that was said by `true`."""
    return excluding is True or (excluding is not False and excluding == bound)


def _past(bound: float, step: float) -> float:
    """The next number above a bound; of large ones llguidance reads no more places."""
    return math.floor(bound) + 1 if step == 1 or abs(bound) >= _LARGE else round(bound + step, 9)


def _numbers_in(value: Any) -> Iterator[float]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _numbers_in(inner)


def _beyond(place: str) -> InvalidRequest:
    return unheld(place, "numbers beyond 2^53")
