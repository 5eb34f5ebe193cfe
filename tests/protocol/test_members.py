"""A name that two members of the outermost object have."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ezai.protocol.members import repeated_name

decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def found(text: bytes) -> str | None:
    return repeated_name(text, decode(text))


def expected(text: bytes) -> set[str]:
    """The names that repeat, by a reader that is told every member: of the outermost object last."""
    objects: list[list[str]] = []
    json.loads(text, object_pairs_hook=lambda pairs: objects.append([name for name, _ in pairs]))
    names = objects[-1]
    return {name for name in names if names.count(name) > 1}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("{}", None),
        ("  {        }  ", None),
        ('{"":0}', None),
        ('{"":0,"":0}', ""),
        ('{"a":1}', None),
        ('{"a":1,"b":1}', None),
        ('{"a":1,"a":1}', "a"),
        ('{"a":1,"a":1,"b":1}', "a"),
        ('{"b":1,"a":1,"a":1}', "a"),
        ('{"a":12,"a":1}', "a"),
        ('{"b":3,"a":12,"a":1}', "a"),
        ('{"a":1e5,"b":3,"a":1}', "a"),
        ('{"a":1,"b":3,"a":12}', "a"),
        ('{"model":1,"mod\\u0065l":1}', "model"),
        ('{"\\u006dodel":1,"mod\\u0065l":1}', "model"),
        ('{"mod\\u0065l":1,"x":{"model":1,"model":2}}', None),
        ('{"a":"\\",\\"a\\":1","b":[{"a":1,"a":1}]}', None),
        ('{"a\\"":1,"a\\\\":2,"a":3}', None),
        ('{"a\\"":1,"a\\\\":2,"a\\u0022":3}', 'a"'),
        ('{"\\ud83d\\ude00":1,"😀":1}', "😀"),
        ('{ "a" : 1 , "b" : [ 1 , 2 ] }', None),
        ('{ "a" : "x\\",\\"b\\":2" , "a" : "x" , "b" : 2 }', "a"),
    ],
)
def test_which_name_is_found(text: str, name: str | None) -> None:
    assert found(text.encode()) == name
    assert expected(text.encode()) == (set() if name is None else {name})


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (" , ", " : "), (",\n\t", ":\r\n")])
def test_a_large_object_in_any_layout(separators: tuple[str, str]) -> None:
    members = {
        f"member {number}": [
            {
                "text": "a \\ 😀 ",
            }
        ]
        * number
        for number in range(100)
    }
    text = json.dumps(members, separators=separators).encode()
    assert found(text) is None
    again = text[:-1] + separators[0].encode() + b'"member\\u00207"' + separators[1].encode() + b"[]}"
    assert found(again) == "member 7"


class Members(list[Any]):
    """Of an object, in which a name may stand several times."""


spaces = st.text(" \t\r\n", max_size=3)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-20, 2000) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.lists(st.tuples(st.sampled_from("ab"), inner), max_size=3).map(Members)
    ),
    max_leaves=6,
)
names = st.sampled_from(["", "a", "b", "ab", 'a"', "a:1", "\\", "é", "😀", "a,", "{"]) | st.text(max_size=3)


@st.composite
def spelled(draw: st.DrawFn, text: str) -> str:
    """A string of JSON, some of its characters as escapes."""
    parts = []
    for character in text:
        escape = draw(st.booleans())
        units = character.encode("utf-16-be")
        escaped = "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
        parts.append(escaped if escape else json.dumps(character, ensure_ascii=False)[1:-1])
    return f'"{"".join(parts)}"'


@st.composite
def written(draw: st.DrawFn, value: Any) -> str:
    """A value as JSON, with any spaces and escapes."""
    if isinstance(value, Members):
        items = [f"{draw(spaces)}{draw(spelled(name))}{draw(spaces)}:{draw(spaces)}{draw(written(inner))}{draw(spaces)}"
                 for name, inner in value]  # fmt: skip
        return "{" + (",".join(items) or draw(spaces)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(draw(spaces) + draw(written(inner)) + draw(spaces) for inner in value) + "]"
    return draw(spelled(value)) if isinstance(value, str) else json.dumps(value)


objects = st.lists(st.tuples(names, values), max_size=5).map(Members)


@given(objects.flatmap(written), spaces, spaces)
@example('{"a":1,"a":1}', "", "")
def test_it_is_found_where_a_reader_of_every_member_finds_it(text: str, before: str, behind: str) -> None:
    whole = f"{before}{text}{behind}".encode()
    repeated, name = expected(whole), found(whole)
    assert (name in repeated) if repeated else name is None
