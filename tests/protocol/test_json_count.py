"""Counting values without decoding: the same for any pieces, and never less than what a decoder would make."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezai.protocol.json_count import JsonValueCount
from tests.properties.strategies import cut

JSON = st.recursive(
    st.none() | st.integers(-9, 9) | st.text(st.sampled_from('a"\\{[,]}é')),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.sampled_from('a"\\{[,')), inner),
    max_leaves=30,
)


def counted(*pieces: bytes) -> int:
    count = JsonValueCount()
    for piece in pieces:
        count.feed(piece)
    return count.values


def values(value: Any) -> int:
    """How many values a decoder makes of it."""
    inner = value if isinstance(value, list) else value.values() if isinstance(value, dict) else ()
    return 1 + sum(map(values, inner))


@pytest.mark.parametrize(
    ("text", "structure"),
    [
        (b"1", 0),
        (b"[]", 1),
        (b"[[],[],[]]", 6),
        (b'{"a":1,"b":2}', 2),
        (b'"[,{"', 0),
        (rb'"\"[,{\\"', 0),
        (rb'["\\",","]', 2),
        (rb'["\\\",[",1]', 2),
        (rb'["\u0022,[\\\\"]', 1),
    ],
)
def test_what_stands_in_strings_does_not_count(text: bytes, structure: int) -> None:
    assert counted(text) == structure
    assert counted(*(text[place : place + 1] for place in range(len(text)))) == structure


@given(JSON, st.data())
def test_it_is_near_the_number_of_values_in_any_pieces(value: Any, data: st.DataObject) -> None:
    text = msgspec.json.encode(value)
    whole = counted(text)
    assert values(value) - 1 <= whole <= 2 * values(value)
    assert counted(*data.draw(cut(text))) == whole


@given(st.binary(), st.data())
def test_any_bytes_are_counted_alike_in_any_pieces(text: bytes, data: st.DataObject) -> None:
    assert counted(*data.draw(cut(text))) == counted(text)
