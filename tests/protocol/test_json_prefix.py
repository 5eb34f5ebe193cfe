"""The beginning of a JSON object: accepted in any pieces, refused as soon as it is none, completed where it was cut."""

from __future__ import annotations

import json
import re
from typing import Any

import jiter
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezai.protocol.json_prefix import MAX_DEPTH, WHITESPACE, JsonPrefix, NotAnObject, completed
from tests.properties.strategies import cut_text

TEXT = st.text(max_size=8) | st.text('\\"/{}[],:\n\x01é😀 u0', max_size=8)
NUMBER = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
VALUE = st.recursive(
    st.none() | st.booleans() | NUMBER | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
OBJECT = st.dictionaries(TEXT, VALUE, max_size=4)


@st.composite
def objects(draw: st.DrawFn) -> str:
    """The text of an object as some encoder or other writes it."""
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t: ")]))
    return json.dumps(draw(OBJECT), ensure_ascii=draw(st.booleans()), separators=separators)


def fed(*parts: str) -> JsonPrefix:
    prefix = JsonPrefix()
    for part in parts:
        assert prefix.feed(part) == len(part)
    return prefix


def refused(text: str) -> bool:
    try:
        return text[JsonPrefix().feed(text) :].strip(WHITESPACE) != ""
    except NotAnObject:
        return True


@given(st.data())
def test_a_whole_object_is_accepted_in_any_pieces_and_complete_exactly_at_its_end(data: st.DataObject) -> None:
    text = data.draw(objects())
    prefix = JsonPrefix()
    for piece in data.draw(cut_text(text)):
        assert not (prefix.complete and piece)
        assert prefix.feed(piece) == len(piece)
    assert prefix.complete


@given(objects())
def test_every_prefix_is_accepted(text: str) -> None:
    for size in range(len(text)):
        assert not fed(text[:size]).complete
    assert fed(*text).complete


@given(objects(), TEXT)
def test_what_stands_behind_the_end_is_none_of_it(text: str, more: str) -> None:
    assert JsonPrefix().feed(text + more) == len(text)
    prefix = fed(text)
    assert prefix.feed(more) == 0


ENDINGS = [
    "", "{}", '"', '":0', ":0", "0", '"":0', 'n"', 'n":0', "rue", "ue", "e", "alse", "lse", "se", "ull", "ll", "l",
    *(f"{'0' * n}{close}" for n in range(1, 5) for close in ('"', '":0')),
    *(f"{half}{close}" for half in ("00\\udc00", "0\\udc00", "\\udc00", "udc00", "dc00", "c00")
      for close in ('"', '":0')),
]  # fmt: skip


def can_become_an_object(text: str) -> bool:
    """By Python's decoder, with every ending that there is. What no UTF-8 can write is no JSON here."""
    outside = re.sub(r'"(?:[^"\\]|\\.|\\$)*("|$)', "", text, flags=re.DOTALL)
    closers = ""
    for bracket in re.findall(r"[{}\[\]]", outside):
        closers = closers[1:] if bracket in "}]" else {"{": "}", "[": "]"}[bracket] + closers
    for ending in ENDINGS:
        try:
            value = json.loads(text + ending + closers)
            json.dumps(value, ensure_ascii=False).encode()
        except ValueError:
            continue
        if isinstance(value, dict) and not re.search("NaN|Infinity", outside):
            return True
    return False


@given(st.data())
def test_what_json_could_never_complete_is_refused(data: st.DataObject) -> None:
    text = data.draw(objects())
    text = text[: data.draw(st.integers(1, len(text)))]
    place = data.draw(st.integers(0, len(text) - 1))
    put = data.draw(st.sampled_from([*'{}[]",:\\0129-+.eEtfnu \n\x00', "\\u", "\\ud83d", "\\ude00"]))
    text = text[:place] + put + text[place + data.draw(st.integers(0, 2)) :]
    assert refused(text) is not can_become_an_object(text)


@pytest.mark.parametrize(
    "text",
    ["[", "1", '"', "null", "x", "{a", "{,", "{1", '{"a"1', '{"a" :,', '{"a":}', '{"a":1,}', '{"a":[1,]', '{"a":[}',
     '{"a":1]', '{"a":01', '{"a":1.e', '{"a":.5', '{"a":+1', '{"a":1.2.', '{"a":--', '{"a":trux', '{"a":truee',
     '{"a":NaN', '{"a":Infinity', '{"a":"\n', '{"a":"\\x', '{"a":"\\u00g', '{"a":"\\ud83dx', '{"a":"\\ud83d"',
     '{"a":"\\ude00', '{"a":"\\udC', "{'a'", "{/"],
)  # fmt: skip
def test_what_is_no_beginning_of_an_object(text: str) -> None:
    assert refused(text)
    with pytest.raises(NotAnObject):
        fed(*text)


def test_containers_in_one_another_are_counted() -> None:
    deepest = '{"a":' * MAX_DEPTH
    assert not refused(deepest)
    jiter.from_json(deepest.encode(), partial_mode=True)
    assert refused(deepest + "{")


def test_a_number_without_end_is_not_kept() -> None:
    prefix = fed('{"a":', *["1234567890"] * 1000)
    assert len(prefix._rest) < 10
    assert fed('{"a":1', "0", ".", "0", "5", "e", "-", "0", "7", "}").complete


def test_nothing_has_begun_with_whitespace() -> None:
    assert not fed(" \n").begun
    assert fed(" ", "{").begun


# Completed.


@given(objects())
def test_a_whole_object_is_complete_as_it_is(text: str) -> None:
    assert completed(text) == text


@given(objects())
def test_a_prefix_is_completed_as_the_sdk_shows_it(text: str) -> None:
    for size in range(1, len(text)):
        prefix = text[:size]
        ours = json.loads(completed(prefix))
        if prefix[-1] not in "0123456789":  # digits at the end may be no whole number, but the SDK shows them
            assert ours == jiter.from_json(prefix.encode(), partial_mode=True)


@pytest.mark.parametrize(
    ("prefix", "value"),
    [
        ("", {}), (" ", {}), ("{", {}), ('{"a', {}), ('{"a"', {}), ('{"a":', {}), ('{"a":1', {}), ('{"a":1,', {"a": 1}),
        ('{"a":"x', {}), ('{"a":"x"', {"a": "x"}), ('{"a":true', {"a": True}), ('{"a":tru', {}),
        ('{"a":[1,"b', {"a": [1]}), ('{"a":[{"b":1,"c', {"a": [{"b": 1}]}),
        ('{"a":{"b":"}"},"c":[', {"a": {"b": "}"}, "c": []}),
        ('{"a":"\\ud83d', {}), ('{"a":[1,"b",', {"a": [1, "b"]}),
    ],
)  # fmt: skip
def test_what_is_not_whole_is_dropped(prefix: str, value: Any) -> None:
    assert json.loads(completed(prefix)) == value
