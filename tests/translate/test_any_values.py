"""Recorded requests and streams with values changed at any place: what comes of one is legal, or an error with a name.

Whoever sends what nobody thought of is told so; an exception of another kind would be a defect of the gateway.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from ezai.errors import IllegalStream, InvalidRequest, RequestError
from ezai.protocol.anthropic.fold import fold
from ezai.protocol.anthropic.requests import read_request
from ezai.translate.anthropic_openai import AnthropicToOpenAI
from ezai.translate.base import LLAMA_CPP, OPENAI_COMPATIBLE, OPENAI_ITSELF, MidSystem
from ezai.translate.terms import Thinking
from tests.translate.chat_stream import DONE, Said

ROOT = Path(__file__).parents[2] / "recordings"
FACTS = [
    OPENAI_COMPATIBLE,
    OPENAI_ITSELF,
    replace(OPENAI_COMPATIBLE, mid_system=MidSystem.HOIST, signing_key=b"key"),
    replace(OPENAI_COMPATIBLE, mid_system=MidSystem.NATIVE),
    replace(LLAMA_CPP, takes_tools=True),
    replace(LLAMA_CPP, grammars=True),
    replace(LLAMA_CPP, grammars=True, takes_tools=True, bare_calls=True),
]
TERMS: list[dict[str, Any]] = [
    {},
    {"thinking": Thinking.SHOWN, "signing_key": b"key"},
    {"thinking": Thinking.OMITTED},
    {"stop_sequences": ("a", "ab", "Col", '"')},
    {"called_in_text": ("f",)},
    {"called_in_text": ("get_weather", "f"), "mark": "\x1e", "schema_place": "tools"},
    {"bare_calls": True, "offered": ("get_weather", "get")},
    {"offered": ("get_weather", "get_weather_now"), "tool_names": {"get_weather": "x" * 100}},
    {"max_tokens": 0},
    {"may_end_unread": True},
]
SCHEMA = {
    "type": "object",
    "properties": {
        "a": {"anyOf": [{"type": "string", "pattern": "^a"}, {"$ref": "#/$defs/d"}]},
        "b": {"type": "array", "items": {"type": "integer", "minimum": 1, "multipleOf": 2}, "minItems": 1},
        "c": {"allOf": [{"type": "object", "properties": {"z": {"type": "null"}}}, {"required": ["z"]}]},
    },
    "required": ["a", "b"],
    "additionalProperties": False,
    "$defs": {"d": {"properties": {"next": {"$ref": "#/$defs/d"}}, "patternProperties": {"^x-": {"type": "number"}}}},
}
FORCED = {
    "model": "m",
    "max_tokens": 500,
    "messages": [{"role": "user", "content": "Hi"}],
    "tools": [{"name": "f", "input_schema": SCHEMA}],
    "tool_choice": {"type": "any"},
}
REQUESTS = [FORCED, *(msgspec.json.decode(path.read_bytes()) for path in sorted((ROOT / "requests").glob("*.json")))]


def _chunks(stream: bytes) -> list[Any]:
    frames = [frame.removeprefix(b"data: ") for frame in stream.split(b"\n\n")]
    return [msgspec.json.decode(data) for data in frames if data.startswith(b"{")]


STREAMS = [
    _chunks(path.read_bytes())
    for path in sorted((ROOT / "openai").glob("*.sse"))
    if not (".told." in path.name or "characters-cut" in path.name)
]
ODD: list[Any] = [
    None, True, 0, -1, 1.5, 2**63, 10**30, "", " ", "x", "null", '{"a":1', "<think>", "</think>", "\u2028é😀", [], {},
    [None], [[]], {"": None}, {"type": "text"}, {"type": ["string", "null"]}, {"$ref": "#"}, {"$ref": "#/$defs/d"},
    {"allOf": [{"$ref": "#"}]}, {"properties": {"a": {}}}, {"patternProperties": {"^a": {"type": "integer"}}},
]  # fmt: skip


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Where a value stands in another: what holds it, and its key."""
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from places(value[key])


@st.composite
def changed(draw: st.DrawFn, originals: list[Any]) -> Any:
    """One of these with up to four of its values changed: something odd, something else of it, or nothing."""
    value = deepcopy(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(0, 4))):
        found = list(places(value))
        if not found:
            break
        holder, key = draw(st.sampled_from(found))
        match draw(st.sampled_from(["odd", "other", "none"])):
            case "odd":
                holder[key] = deepcopy(draw(st.sampled_from(ODD)))
            case "other":
                other, its_key = draw(st.sampled_from(found))
                holder[key] = deepcopy(other[its_key])
            case _:
                del holder[key]
    return value


@given(changed(REQUESTS), st.sampled_from(FACTS), st.sampled_from(["m", "gemini-3", "mistral-small"]))
def test_a_request_is_translated_or_refused(body: Any, facts: Any, model: str) -> None:
    translator = AnthropicToOpenAI(model, facts)
    try:
        request = read_request(msgspec.json.encode(body))
        asked = msgspec.json.decode(translator.request(request).body)
        assert translator.estimate_tokens(request) > 0
    except InvalidRequest as refused:
        assert refused.message
    else:
        assert asked["model"] == model
        assert asked["messages"]


@given(changed(STREAMS), st.sampled_from(TERMS), st.booleans())
def test_a_stream_is_legal_or_ends_in_an_error(stream: Any, terms: dict[str, Any], ends: bool) -> None:
    said = Said(**terms)
    try:
        said.says(*(b"data: " + msgspec.json.encode(chunk) + b"\n\n" for chunk in stream), *([DONE] if ends else []))
        said.ends()
    except RequestError as error:
        assert not isinstance(error, IllegalStream)
        return
    for block in fold(said.events)["content"]:
        if block["type"] == "tool_use":
            assert isinstance(block["input"], dict)
            assert block["name"]
            assert re.fullmatch("[A-Za-z0-9_-]+", block["id"])
        else:
            assert block.get("text") or block.get("signature")
