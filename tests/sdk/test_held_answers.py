"""What the embedded model is forced to say: always of its schema, whatever it would rather say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

import anthropic
import msgspec
import pytest
from anthropic.types import Message

from tests.gateway_process import GatewayProcess
from tests.sdk.json_schema import fits

NODE = {"type": "object", "properties": {"name": {"type": "string"}, "children": {"$ref": "#/$defs/nodes"}},
        "required": ["name", "children"]}  # fmt: skip
CIRCLE = {"type": "object", "properties": {"kind": {"const": "circle"}, "r": {"type": "number", "exclusiveMinimum": 0}},
          "required": ["kind", "r"]}  # fmt: skip
SQUARE = {"type": "object", "properties": {"kind": {"const": "square"}, "side": {"type": "integer", "minimum": 1}},
          "required": ["kind", "side"]}  # fmt: skip
NEXT = {"anyOf": [{"$ref": "#"}, {"type": "null"}]}
ODD = 'a "b\\c\u2028é'
SCHEMAS: dict[str, Any] = {
    "any number": {"type": "number"},
    "a share": {"type": "number", "minimum": 0, "maximum": 1},
    "a price": {"type": "number", "minimum": 0, "multipleOf": 0.01},
    "between": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.001},
    "steps": {"type": "integer", "multipleOf": 250, "exclusiveMinimum": 0},
    "a pattern": {"type": "string", "pattern": r"^[A-Z]{2}-\d{3,5}$"},
    "a pattern inside": {"type": "string", "pattern": "[0-9]{2}", "maxLength": 30},
    "no quotes": {"type": "string", "pattern": r'^[^"\\\s]+$', "maxLength": 30},
    "a date": {"type": "string", "format": "date", "pattern": r"^\d{4}-\d\d-\d\d$"},
    "an id": {"type": "string", "format": "uuid", "minLength": 36, "maxLength": 36},
    "a place": {"type": "string", "format": "uri", "pattern": "^[a-z]+:", "maxLength": 60},
    "words": {"type": "array", "items": {"type": "string", "minLength": 3, "maxLength": 20}, "minItems": 2},
    "a tuple": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "minItems": 2},
    "a tuple and more": {"prefixItems": [{"type": "boolean"}], "items": {"type": "integer"}, "minItems": 3},
    "a map": {"type": "object", "additionalProperties": {"type": "boolean"}, "minProperties": 1},
    "names by a pattern": {"type": "object", "patternProperties": {"^x-[a-z]{1,9}$": {"type": "integer"}},
                           "additionalProperties": False},
    "anything": {},
    "an object": {"type": "object"},
    "never": {"type": "object", "properties": {"a": False, "b": {"type": "null"}}},
    "one of two": {"anyOf": [{"type": "string", "maxLength": 9}, {"type": "null"}]},
    "some types": {"type": ["string", "integer"], "minimum": 5, "minLength": 5, "maxLength": 9},
    "a choice": {"enum": ["C", 1.5, None, {"b": [True, -2]}]},
    "shapes": {"oneOf": [CIRCLE, SQUARE]},
    "both": {"allOf": [{"properties": {"a": {"type": "integer"}}, "required": ["a"]}, SQUARE]},
    "some required": {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
                      "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
    "a tree": {"$ref": "#/$defs/node"},
    "odd names": {"type": "object", "properties": {ODD: {"type": "boolean"}}, "required": [ODD]},
}  # fmt: skip
LINKED = {"type": "object", "properties": {"v": {"type": "integer"}, "next": NEXT}, "required": ["v", "next"]}
PROMPTS = ["What is the weather in Paris?", "Write a poem about -0.333333333333333333."]


@pytest.fixture(scope="module")
def client(gateway: GatewayProcess) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=gateway.url, api_key="any", max_retries=0) as made:
        yield made


TOKENS = 400
TRIES = 5


def ended(ask: Callable[[], Message]) -> Message:
    """An answer that the model has ended by itself. Where a schema sets no bound it may go on until its tokens are
    spent, which is no fault: then it is asked again.
    """
    for _ in range(TRIES):
        message = ask()
        if message.stop_reason != "max_tokens":
            return message
        assert message.usage.output_tokens == TOKENS
    pytest.fail(f"{TRIES} answers in turn did not end")


def asked(prompt: str, **fields: Any) -> dict[str, Any]:
    return {"model": "claude", "max_tokens": TOKENS, "messages": [{"role": "user", "content": prompt}], **fields}


def forced(prompt: str, schema: Any, **fields: Any) -> dict[str, Any]:
    return asked(prompt, tools=[{"name": "f", "input_schema": schema}], tool_choice={"type": "any"}, **fields)


def of(schema: Any) -> dict[str, Any]:
    """The schema as that of a property."""
    definitions = {"node": NODE, "nodes": {"type": "array", "items": {"$ref": "#/$defs/node"}, "maxItems": 2}}
    return {"type": "object", "properties": {"x": schema}, "required": ["x"], "$defs": definitions}


@pytest.mark.parametrize(("schema", "prompt"), list(zip(SCHEMAS.values(), cycle(PROMPTS))), ids=SCHEMAS)
def test_a_forced_call_fits_its_schema(client: anthropic.Anthropic, schema: Any, prompt: str) -> None:
    message = ended(lambda: client.messages.create(**forced(prompt, of(schema))))
    assert message.stop_reason == "tool_use"
    (block,) = message.content
    assert block.type == "tool_use"
    assert fits(block.input, of(schema)), block.input


def test_a_schema_that_points_to_itself(client: anthropic.Anthropic) -> None:
    (block,) = ended(lambda: client.messages.create(**forced("Count down from three.", LINKED))).content
    assert block.type == "tool_use"
    assert fits(block.input, LINKED), block.input


@pytest.mark.parametrize("name", ["a price", "a tuple", "shapes"])
def test_an_answer_fits_its_schema(client: anthropic.Anthropic, name: str) -> None:
    form = {"format": {"type": "json_schema", "schema": of(SCHEMAS[name])}}

    def ask() -> Message:
        with client.messages.stream(**asked(PROMPTS[0], output_config=form)) as stream:
            return stream.get_final_message()

    message = ended(ask)
    assert message.stop_reason == "end_turn"
    (block,) = message.content
    assert block.type == "text"
    assert fits(msgspec.json.decode(block.text), of(SCHEMAS[name])), block.text


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        ({"contains": {"type": "string"}}, r"tools\.0\.input_schema\.properties\.x\.contains: "),
        ({"$ref": "#/nowhere"}, r"tools\.0\.input_schema\.properties\.x\.\$ref: "),
        # What only llguidance can tell:
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, r"tools\.0\.input_schema: .*oneOf"),
        ({"type": "string", "pattern": "^(?!a)"}, r"tools\.0\.input_schema: .*pattern"),
        ({"type": "integer", "minimum": 1, "maximum": 4, "multipleOf": 5}, r"tools\.0\.input_schema: .*nothing fits"),
    ],
)
def test_a_schema_that_cannot_be_kept_is_refused(client: anthropic.Anthropic, schema: Any, place: str) -> None:
    with pytest.raises(anthropic.BadRequestError, match=place):
        client.messages.create(**forced(PROMPTS[0], of(schema)))
    with (
        pytest.raises(anthropic.BadRequestError, match=place),
        client.messages.stream(**forced(PROMPTS[0], of(schema))),
    ):
        pass


def test_where_the_model_may_choose_any_schema_is_taken(client: anthropic.Anthropic) -> None:
    tools = [{"name": "f", "input_schema": of({"contains": {}, "pattern": "^(?!a)"})}]
    assert client.messages.create(**asked(PROMPTS[0], tools=tools, max_tokens=4)).stop_reason


def test_an_answer_that_was_begun_is_not_forced(client: anthropic.Anthropic) -> None:
    begun = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Sure"}]
    with pytest.raises(anthropic.BadRequestError, match=r"messages\.1: "):
        client.messages.create(**(forced("", of({})) | {"messages": begun}))
