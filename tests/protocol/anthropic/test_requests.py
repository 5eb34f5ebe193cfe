"""Reading request bodies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezai.errors import InvalidRequest
from ezai.protocol.anthropic.requests import MAX_MEMBERS, MAX_MESSAGES, read_count_request, read_request

GOOD: dict[str, Any] = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]}


def body(**changed: Any) -> bytes:
    return msgspec.json.encode({name: value for name, value in {**GOOD, **changed}.items() if value is not ...})


def test_what_the_gateway_reads() -> None:
    request = read_request(body(stream=True, odd={"kept": 1}))
    assert (request.model, request.max_tokens, request.streamed) == ("m", 5, True)
    assert not read_request(body()).streamed
    assert not read_request(body(stream=None)).streamed


@pytest.mark.parametrize(
    ("text", "half"),
    [
        (rb"a\ud800", rb"\ud800"),
        (rb"a\uDFFF b", rb"\uDFFF"),
        (rb"\ud83d\ude00\ud83d\ud83d\ude00", rb"\ud83d"),
        (rb"\\ud800\\\ud800", rb"\ud800"),
    ],
)
def test_half_of_a_character_is_named(text: bytes, half: bytes) -> None:
    whole = b'{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"' + text + b'"}]}'
    with pytest.raises(InvalidRequest) as refused:
        read_request(whole)
    words = refused.value.message.removeprefix("The request body is not valid JSON: ")
    found, _, rest = words.partition(" at byte ")
    assert found.encode() == half
    at, _, rest = rest.partition(" ")
    assert whole[int(at) :].startswith(half)
    assert rest == "is half of a character, without its other half."


@pytest.mark.parametrize("text", [rb"\\ud800", rb"\ud83d\ude00", rb"\u00e9"])
def test_escapes_of_whole_characters_are_taken(text: bytes) -> None:
    body = b'{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"' + text + b'"}]}'
    assert isinstance(read_request(body).conversation().messages[0].content, str)


@pytest.mark.parametrize("field", ["model", "max_tokens", "messages"])
def test_a_missing_field_is_named(field: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^{field}: Field required$"):
        read_request(body(**{field: ...}))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model": 5}, "^model: "),
        ({"model": ""}, "^model: must not be empty"),
        ({"max_tokens": "5"}, "^max_tokens: "),
        ({"max_tokens": -1}, "^max_tokens: must not be negative"),
        ({"max_tokens": 1.5}, "^max_tokens: "),
        ({"messages": {}}, "^messages: "),
        ({"messages": []}, "^messages: at least one"),
        ({"stream": "yes"}, "^stream: "),
    ],
)
def test_a_bad_field_is_named(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        read_request(body(**changed))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"messages": [{"role": "user"}]}, r"^messages\.0\.content: Field required$"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, r"^messages\.0\.role: "),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, r"^messages\.0\.content\.0\.text: Field"),
        ({"messages": [{"role": "user", "content": [{"type": "odd"}]}]}, r"^messages\.0\.content\.0\.type: "),
        ({"system": 5}, "^system: "),
        ({"temperature": "warm"}, "^temperature: "),
        ({"top_k": -1}, "^top_k: "),
        ({"stop_sequences": "x"}, "^stop_sequences: "),
    ],
)
def test_a_bad_conversation_is_told_by_its_place(changed: dict[str, Any], message: str) -> None:
    request = read_request(body(**changed))
    with pytest.raises(InvalidRequest, match=message):
        request.conversation()


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b"7", b"null", b"not json", b'{"model":"\xff"}', b"\xef\xbb\xbf{}", b"[" * 100_000,
     b'{"model":' + b"[" * 100_000, b'{"model":"m"} x'],
)  # fmt: skip
def test_what_is_no_json_object_is_a_400(raw: bytes) -> None:
    with pytest.raises(InvalidRequest):
        read_request(raw)


def test_deep_nesting_is_a_400() -> None:
    deep = b"[" * 5000 + b"]" * 5000
    request = body().replace(b'"Hi"', deep)
    with pytest.raises(InvalidRequest):
        read_request(request).conversation()


def test_too_many_messages() -> None:
    many = b"[" + b",".join([b"{}"] * (MAX_MESSAGES + 1)) + b"]"
    with pytest.raises(InvalidRequest, match="^messages: at most"):
        read_request(b'{"model":"m","max_tokens":5,"messages":' + many + b"}")


@pytest.mark.parametrize("read", [read_request, read_count_request])
@pytest.mark.parametrize(
    ("again", "name"),
    [
        (b'"model":"x"', "model"),
        (b'"model":"m"', "model"),
        (b'"mod\\u0065l" : "x"', "model"),
        (b'"max_tokens":99999', "max_tokens"),
        (b'"messages":[]', "messages"),
        (b'"odd":1,"odd":1', "odd"),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_a_member_that_is_given_twice_is_a_400(
    read: Callable[[bytes], object], again: bytes, name: str, first: bool
) -> None:
    inside = body()[1:-1]
    with pytest.raises(InvalidRequest, match=f"^{name}: given twice"):
        read(b"{" + (again + b"," + inside if first else inside + b"," + again) + b"}")


def test_a_long_name_that_is_given_twice_is_not_repeated_in_full() -> None:
    name = b'"' + b"x" * 1000 + b'":1'
    with pytest.raises(InvalidRequest, match="^x{64}: given twice"):
        read_request(b"{" + name + b"," + body()[1:-1] + b"," + name + b"}")


def test_members_of_deeper_objects_are_left_alone() -> None:
    deeper = b'{"model":"m","max_tokens":5,"messages":[{"role":"user","role":"user","content":"Hi"}],"x":{"a":1,"a":2}}'
    assert read_request(deeper).body is deeper


def test_too_many_members() -> None:
    extra: dict[str, Any] = {str(number): 0 for number in range(MAX_MEMBERS - len(GOOD))}
    read_request(body(**extra))
    with pytest.raises(InvalidRequest, match=f"1001 members; at most {MAX_MEMBERS} are allowed"):
        read_request(body(**extra, more=0))


def test_counting_needs_no_max_tokens() -> None:
    assert read_count_request(body(max_tokens=...)).model == "m"
    with pytest.raises(InvalidRequest, match="^messages: "):
        read_count_request(body(messages=...))


def test_nulls_are_absent() -> None:
    conversation = read_request(body(system=None, temperature=None, stop_sequences=None)).conversation()
    assert (conversation.system, conversation.temperature, conversation.stop_sequences) == (None, None, None)


@given(
    st.dictionaries(
        st.text(max_size=8).filter(lambda name: name != "stream"),  # which is read
        st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        max_size=5,
    )
)
def test_replacing_a_value_keeps_the_bytes_of_all_others(extra: dict[str, Any]) -> None:
    odd = b'{ "x" :1.50,"messages": [ {"role":"user", "content":"\\u00e9"} ],"model":"m","max_tokens":5e0}'
    assert msgspec.json.decode(odd)
    request = read_count_request(odd)
    replaced = request.with_value("model", "new")
    members = msgspec.json.decode(replaced, type=dict[str, msgspec.Raw])
    assert {name: bytes(raw) for name, raw in members.items()} == {
        **{name: bytes(raw) for name, raw in request.members.items()},
        "model": b'"new"',
    }
    whole = msgspec.json.encode({**extra, **GOOD})
    assert msgspec.json.decode(read_request(whole).with_value("model", "n")) == {**extra, **GOOD, "model": "n"}
