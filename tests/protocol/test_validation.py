"""Every form of msgspec's sentences that the package reads."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pytest

from ezai.protocol.validation import Kind, read_problem


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    size: Annotated[int, msgspec.Meta(ge=1)] = 1
    mode: Literal["a", "b"] = "a"


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    inner: Inner
    many: list[Inner] = []


@pytest.mark.parametrize(
    ("value", "kind", "path"),
    [
        ({}, Kind.MISSING, "inner"),
        ({"inner": {}}, Kind.MISSING, "inner.name"),
        ({"inner": {"name": "x"}, "odd": 1}, Kind.UNKNOWN, "odd"),
        ({"inner": {"name": "x", "odd": 1}}, Kind.UNKNOWN, "inner.odd"),
        ({"inner": {"name": 5}}, Kind.VALUE, "inner.name"),
        ({"inner": {"name": "x", "size": 0}}, Kind.VALUE, "inner.size"),
        ({"inner": {"name": "x", "mode": "c"}}, Kind.VALUE, "inner.mode"),
        ({"inner": {"name": "x"}, "many": [{"name": "y"}, {"name": 5}]}, Kind.VALUE, "many.1.name"),
    ],
)
def test_problems_are_placed(value: dict[str, Any], kind: Kind, path: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(msgspec.json.encode(value), type=Outer)
    problem = read_problem(str(caught.value))
    assert problem[:2] == (kind, path)
    assert "`" not in problem.text


def test_the_outermost_value() -> None:
    assert read_problem("Expected `object`, got `int`") == (Kind.VALUE, "", "Expected object, got int")
