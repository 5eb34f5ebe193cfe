"""Schemas of tools that the embedded model may call or not: loosened to what llama.cpp's own converter takes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ezai.errors import UpstreamRefused
from ezai.translate.anthropic_openai import AnthropicToOpenAI
from ezai.translate.base import LLAMA_CPP, OPENAI_COMPATIBLE, UpstreamFacts
from tests.translate.test_chat_request import asked, refusal

OFFERED = replace(LLAMA_CPP, takes_tools=True, grammars=True)
NULL = {"type": "null"}


def offered(schema: dict[str, Any]) -> Any:
    """The parameters of a tool as it is offered."""
    return asked(OFFERED, tools=[{"name": "f", "input_schema": schema}])["tools"][0]["function"]["parameters"]


def of(schema: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"x": schema}}


@pytest.mark.parametrize(
    ("given", "loose"),
    [
        (True, {}),
        ({"type": "array", "items": False}, {"type": "array", "items": {}, "maxItems": 0}),
        ({"type": "array", "items": True}, {"type": "array", "items": {}}),
        ({"type": "array", "items": [NULL, True]}, {"type": "array", "items": [NULL, {}]}),
        ({"prefixItems": [NULL]}, {"prefixItems": [NULL]}),
        ({"anyOf": [NULL, False, True]}, {"anyOf": [NULL, {}]}),
        ({"$ref": "#/nowhere"}, {}),
        ({"$ref": "http://x/y"}, {}),
        ({"type": "any"}, {}),
        ({"type": 5}, {}),
        ({"type": {"type": "string"}}, {}),
        ({"type": ["string", {}]}, {}),
        ({"type": "string", "pattern": "^a+$"}, {"type": "string", "pattern": "^a+$"}),
        ({"type": "string", "pattern": "a"}, {"type": "string"}),
        ({"type": "string", "pattern": "^(?!a)b$"}, {"type": "string"}),
        ({"type": "string", "pattern": "^[a$"}, {"type": "string"}),
        ({"type": "string", "pattern": "^a{5000}$"}, {"type": "string"}),
        ({"type": "integer", "maximum": 10**19}, {"type": "integer"}),
        ({"type": "integer", "minimum": 3, "exclusiveMinimum": True}, {"type": "integer", "minimum": 3}),
        ({"type": "object", "additionalProperties": False}, {"type": "object", "additionalProperties": False}),
        ({"type": "string", "format": "hostname"}, {"type": "string"}),
    ],
)
def test_what_the_converter_is_given(given: Any, loose: Any) -> None:
    assert offered(of(given)) == of(loose)


def test_what_may_never_be_is_left_out() -> None:
    assert offered({"type": "object", "properties": {"a": False, "b": NULL}}) == {
        "type": "object",
        "properties": {"b": NULL},
    }


def test_a_reference_to_the_whole_is_one_to_a_part() -> None:
    schema = {**of({"$ref": "#"}), "$defs": {"d": False}}
    assert offered(schema) == {
        **of({"$ref": "#/$defs/self"}),
        "$defs": {"d": {}, "self": of({"$ref": "#/$defs/self"})},
    }
    kept = {**of({"$ref": "#/$defs/d"}), "$defs": {"d": NULL}}
    assert offered(kept) == kept


@pytest.mark.parametrize("schema", [{"enum": []}, {"anyOf": []}, {"minLength": 2, "maxLength": 1}])
def test_what_nothing_fits_is_refused_by_its_place(schema: Any) -> None:
    tools = [{"name": "f", "input_schema": of(schema)}]
    assert refusal(OFFERED, tools=tools).startswith("tools.0.input_schema: ")


SAID = [
    "JSON schema conversion failed: Invalid pattern ^*$: nothing to repeat",
    "Unable to generate parser for this template. Automatic parser generation failed: JSON schema error at #/x",
    "Failed to initialize samplers: failed to parse grammar",
]


@pytest.mark.parametrize("said", SAID)
@pytest.mark.parametrize(("facts", "place"), [(LLAMA_CPP, "tools: "), (OPENAI_COMPATIBLE, "")])
def test_what_llama_cpp_says_of_a_schema_is_told_with_its_place(said: str, facts: UpstreamFacts, place: str) -> None:
    body = b'{"error":{"code":400,"message":"' + said.encode() + b'","type":"invalid_request_error"}}'
    error = AnthropicToOpenAI("m", facts).refusal(400, [], body, "asked-model")
    assert isinstance(error, UpstreamRefused)
    assert (error.http_status, error.message) == (400, place + said)
