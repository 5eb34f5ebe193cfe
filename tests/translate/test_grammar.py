"""Schemas that an answer of the embedded model is held to: narrowed to what llguidance keeps, or refused.

tests/sdk/test_held_answers.py holds that the real one keeps what is made here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezai.errors import InvalidRequest
from ezai.translate.base import LLAMA_CPP, OPENAI_COMPATIBLE
from tests.properties.strategies import cut_text
from tests.translate.chat_stream import DONE, Said, chunk, delta, message
from tests.translate.test_chat_request import USER, asked, assistant, made, refusal, text

HELD = replace(LLAMA_CPP, grammars=True)
START = '%llguidance {}\nstart: "\\u001e" %json '
MOST = 2**53 - 1
INTEGER = {"type": "integer", "minimum": -MOST, "maximum": MOST}
NUMBER = {"type": "number", "minimum": 0, "maximum": MOST, "multipleOf": 1e-6}
STRING = {"type": "string", "maxLength": 89}
NULL = {"type": "null"}


def forced(schema: Any, *others: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """What the upstream is asked when a tool of this schema has to be called."""
    tools = [{"name": "f", "input_schema": schema}, *others]
    return asked(HELD, tools=tools, tool_choice={"type": "any"}, **{"max_tokens": 160, **fields})


def held_to(body: dict[str, Any]) -> dict[str, Any]:
    """The schema of the grammar, and the definitions that it points to."""
    assert body["grammar"].startswith(START)
    schema: dict[str, Any] = msgspec.json.decode(body["grammar"].removeprefix(START))
    assert set(schema) == {"x-guidance", "$defs", "allOf"}
    return schema


def narrowed(schema: Any, **fields: Any) -> Any:
    """What a property of this schema is held to."""
    whole = held_to(forced({"type": "object", "properties": {"a": schema}, "required": ["a"]}, **fields))
    return whole["allOf"][0]["properties"]["a"]


def refused(schema: Any) -> str:
    tools = [{"name": "g", "input_schema": {"type": "object"}}, {"name": "f", "input_schema": schema}]
    return refusal(HELD, tools=tools, tool_choice={"type": "tool", "name": "f"})


def test_a_forced_call_is_held_to_a_grammar_that_begins_with_its_mark() -> None:
    body = forced({"type": "object"}, thinking={"type": "adaptive"})
    assert held_to(body)["allOf"] == [{"type": "object", "properties": {}, "additionalProperties": False}]
    assert not {"response_format", "tools", "tool_choice"} & set(body)
    assert body["reasoning_format"] == "none"
    assert body["chat_template_kwargs"] == {"enable_thinking": False}


def test_several_tools_are_told_apart_by_their_name_which_comes_first() -> None:
    other = {"name": "g", "input_schema": {"type": "object", "properties": {"a": {"$ref": "#/$defs/x"}},
                                           "$defs": {"x": {"type": "boolean"}}}}  # fmt: skip
    schema = {"type": "object", "properties": {"a": {"$ref": "#/$defs/x"}}, "$defs": {"x": NULL}}
    whole = held_to(forced(schema, other))
    (options,) = (call["anyOf"] for call in whole["allOf"])
    assert [list(option["properties"]) for option in options] == [["name", "input"]] * 2
    assert [option["properties"]["name"] for option in options] == [{"const": "f"}, {"const": "g"}]
    found = [option["properties"]["input"]["properties"]["a"]["$ref"].rpartition("/")[2] for option in options]
    assert [whole["$defs"][name]["type"] for name in found] == ["null", "boolean"]


@pytest.mark.parametrize(
    ("given", "narrow"),
    [
        # Whatever would have no end gets one.
        ({}, STRING),
        (True, STRING),
        ({"description": "x", "title": "y", "x-unknown": [1]}, STRING),
        ({"type": "integer"}, INTEGER),
        ({"type": "number"}, {"anyOf": [NUMBER, {"type": "number", "minimum": -MOST, "maximum": -1e-9}]}),
        ({"minimum": 3}, {**NUMBER, "minimum": 3}),
        ({"type": "integer", "minimum": 0, "multipleOf": 5}, {**INTEGER, "minimum": 0, "multipleOf": 5}),
        ({"type": "integer", "multipleOf": 5}, {**INTEGER, "minimum": 0, "multipleOf": 5}),
        ({"type": "integer", "maximum": 10**30}, INTEGER),
        ({"type": "number", "minimum": 0, "maximum": 1}, {**NUMBER, "maximum": 1}),
        ({"type": "number", "minimum": -0.5, "exclusiveMaximum": 0.25},
         {"anyOf": [{**NUMBER, "maximum": 0.249999}, {"type": "number", "minimum": -0.5, "maximum": -1e-9}]}),
        ({"type": "number", "maximum": -2}, {"type": "number", "minimum": -MOST, "maximum": -2}),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 0.001}, {**NUMBER, "minimum": 1e-6, "maximum": 0.001}),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 5, "multipleOf": 0.5},
         {"type": "number", "minimum": 1e-6, "maximum": 4.999999, "multipleOf": 0.5}),
        ({"type": "integer", "exclusiveMinimum": -2.5, "exclusiveMaximum": 7},
         {"type": "integer", "minimum": -2, "maximum": 6}),
        ({"type": "integer", "minimum": 3, "exclusiveMinimum": True, "exclusiveMaximum": False, "maximum": 6},
         {"type": "integer", "minimum": 4, "maximum": 6}),
        ({"type": "number", "exclusiveMinimum": 2e9 + 0.5, "exclusiveMaximum": 3e9},
         {**NUMBER, "minimum": 2e9 + 1, "maximum": 3e9 - 1}),
        ({"type": "integer", "minimum": 5, "exclusiveMinimum": 1}, {**INTEGER, "minimum": 5}),
        ({"type": "number", "minimum": 0.5, "maximum": 0.5}, {"type": "number", "minimum": 0.5, "maximum": 0.5}),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 1e-9},
         {"type": "number", "exclusiveMinimum": 0, "minimum": 0, "maximum": 1e-9}),
        ({"type": ["string", "integer"], "minimum": 2}, {"anyOf": [{**INTEGER, "minimum": 2}, STRING]}),
        ({"type": "array", "items": NULL}, {"type": "array", "items": NULL, "maxItems": 4}),
        ({"type": "array", "items": NULL, "minItems": 9},
         {"type": "array", "items": NULL, "minItems": 9, "maxItems": 9}),
        ({"type": "array", "items": NULL, "maxItems": 10**9}, {"type": "array", "items": NULL, "maxItems": 1000}),
        ({"type": "string", "maxLength": 5000}, {"type": "string", "maxLength": 5000}),
        ({"type": "string", "minLength": 200}, {**STRING, "minLength": 200, "maxLength": 200}),
        ({"pattern": "^(ab{50}){2}$"}, {"type": "string", "pattern": "^(ab{50}){2}$", "maxLength": 1300}),
        ({"type": "string", "format": "date"}, {"type": "string", "format": "date", "maxLength": 64}),
        ({"type": "string", "format": "binary"}, {**STRING, "type": "string"}),
        # Objects are closed, or a map of some names.
        ({"type": "object"}, {"type": "object", "properties": {}, "additionalProperties": False}),
        ({"type": "object", "additionalProperties": True},
         {"type": "object", "properties": {}, "additionalProperties": False}),
        ({"properties": {"b": NULL}, "required": ["b", "c"], "additionalProperties": NULL},
         {"type": "object", "properties": {"b": NULL, "c": NULL}, "required": ["b", "c"],
          "additionalProperties": False, "patternProperties": {'^[^\\x00-\\x1f"\\\\]{1,40}$': NULL},
          "maxProperties": 6}),
        ({"properties": {"b": NULL}, "additionalProperties": NULL},
         {"type": "object", "properties": {"b": NULL}, "additionalProperties": False}),
        ({"type": "object", "patternProperties": {"^x": NULL}, "maxProperties": 2},
         {"type": "object", "properties": {}, "additionalProperties": False,
          "patternProperties": {"^x": NULL}, "maxProperties": 2}),
        ({"properties": {"b": NULL, "c": False}, "minProperties": 1, "maxProperties": 9},
         {"type": "object", "properties": {"b": NULL, "c": False}, "additionalProperties": False,
          "minProperties": 1}),
        ({"type": "object", "properties": {"b": NULL}, "required": ["b"], "patternProperties": {"^x-": NULL}},
         {"type": "object", "properties": {"b": NULL}, "required": ["b"], "additionalProperties": False,
          "patternProperties": {"^x-": NULL}, "maxProperties": 5}),
        ({"type": "object", "properties": {"x-b": NULL}, "patternProperties": {"^x-": {}, "": True}},
         {"type": "object", "properties": {"x-b": NULL}, "additionalProperties": False}),
        # Tuples, as they are written now and as they were.
        ({"prefixItems": [NULL, {"const": 1}]},
         {"type": "array", "prefixItems": [NULL, {"const": 1}], "minItems": 2, "items": False, "maxItems": 4}),
        ({"prefixItems": [NULL, False]},
         {"type": "array", "prefixItems": [NULL, False], "minItems": 1, "items": False, "maxItems": 4}),
        ({"type": "array", "items": [NULL], "additionalItems": False},
         {"type": "array", "prefixItems": [NULL], "minItems": 1, "items": False, "maxItems": 4}),
        ({"type": "array", "items": False}, {"type": "array", "items": False, "maxItems": 4}),
        # Choices stay as they are.
        ({"enum": ["x", 1.5, None, {"a": [1]}], "description": "d"}, {"enum": ["x", 1.5, None, {"a": [1]}]}),
        ({"type": "string", "const": "x"}, {"type": "string", "const": "x"}),
        ({"anyOf": [{"type": "string"}, NULL]}, {"anyOf": [{**STRING, "type": "string"}, NULL]}),
        ({"type": ["string", "null"]}, {**STRING, "type": ["string", "null"]}),
        # What is said in several places is said in one.
        ({"allOf": [{"type": "integer", "minimum": 1}, {"type": "number", "minimum": 3, "maximum": 9}, {}, True]},
         {**INTEGER, "minimum": 3, "maximum": 9}),
        ({"type": "object", "properties": {"b": NULL}, "required": ["b"], "allOf": [
            {"properties": {"c": {"type": "boolean"}}, "required": ["c"]}]},
         {"type": "object", "properties": {"b": NULL, "c": {"type": "boolean"}}, "required": ["b", "c"],
          "additionalProperties": False}),
        ({"type": "object", "properties": {"b": NULL, "c": NULL}, "anyOf": [{"required": ["b"]}, {"required": ["c"]}]},
         {"anyOf": [{"type": "object", "properties": {"b": NULL, "c": NULL},
                     "required": [name], "additionalProperties": False} for name in ("b", "c")]}),
        ({"allOf": [{"anyOf": [NULL, {"type": "boolean"}]}, {"type": "boolean"}]},
         {"anyOf": [False, {"type": "boolean"}]}),
        ({"allOf": [{"properties": {"b": {"minimum": 1}}}, {"properties": {"b": {"type": "integer"}}}]},
         {"type": "object", "properties": {"b": {**INTEGER, "minimum": 1}}, "additionalProperties": False}),
        ({"allOf": [{"title": "t", "type": "null"}], "description": "d"}, NULL),
        ({"allOf": [{"type": "string", "title": "t"}, {"anyOf": [{"minLength": 2}, {"maxLength": 1}]}]},
         {"anyOf": [{**STRING, "minLength": 2}, {"type": "string", "maxLength": 1}]}),
        # What is said is nothing.
        ({"type": "array", "items": NULL, "uniqueItems": False, "maxItems": 1},
         {"type": "array", "items": NULL, "maxItems": 1}),
        ({"type": "null", "unevaluatedProperties": True, "dependentRequired": {}}, NULL),
    ],
)  # fmt: skip
def test_what_a_forced_call_is_held_to(given: Any, narrow: Any) -> None:
    assert narrowed(given) == narrow


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("contains", NULL),
        ("uniqueItems", True),
        ("not", NULL),
        ("if", NULL),
        ("propertyNames", {"pattern": "^a"}),
        ("dependentRequired", {"b": ["c"]}),
        ("dependentSchemas", {"b": {}}),
        ("dependencies", {"b": ["c"]}),
        ("unevaluatedProperties", False),
        ("$dynamicRef", "#x"),
    ],
)
def test_what_no_grammar_keeps_is_refused_by_its_place(keyword: str, value: Any) -> None:
    place = f"tools.1.input_schema.properties.x.items.{keyword}: "
    schema = {"type": "object", "properties": {"x": {"type": "array", "items": {keyword: value}}}}
    assert refused(schema).startswith(place)
    pointed = {"type": "object", "properties": {"x": {"$ref": "#/$defs/d"}}, "$defs": {"d": {keyword: value}}}
    assert refused(pointed).startswith(f"tools.1.input_schema.$defs.d.{keyword}: ")
    form = {"format": {"type": "json_schema", "schema": schema}}
    assert refusal(HELD, output_config=form).startswith("output_config.format.schema.properties.x.items.")
    assert asked(OPENAI_COMPATIBLE, output_config=form), "elsewhere it is the upstream's to refuse"


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ({"$ref": "#/nowhere"}, ".$ref: '#/nowhere' points to nothing"),
        ({"$ref": "http://x/y"}, ".$ref: 'http://x/y' points to nothing"),
        ({"$ref": "#anchor"}, ".$ref: '#anchor' points to nothing"),
        ({"$ref": "#/required/0"}, ".$ref: '#/required/0' points to nothing"),
        ({"allOf": [{"pattern": "a"}, {"pattern": "b"}]}, ".pattern: "),
        ({"allOf": [{"properties": {"b": {}}, "additionalProperties": False}, {"properties": {"c": {}}}]},
         ".additionalProperties: "),
        ({"allOf": [{"type": "object", "additionalProperties": False}, {"patternProperties": {"^x": {}}}]},
         ".additionalProperties: "),
        # Whether a pattern speaks of a name is not tried.
        ({"properties": {"x-a": {}}, "patternProperties": {"^x-": NULL}}, ".patternProperties: "),
        ({"properties": {"b": {}}, "patternProperties": {"^x-|b": NULL}}, ".patternProperties: "),
        ({"properties": {"x": {}}, "patternProperties": {"^x-*": NULL}}, ".patternProperties: "),
        ({"properties": {"a": {}}, "patternProperties": {"(a+)+$": NULL}}, ".patternProperties: "),
        ({"required": ["x-a"], "patternProperties": {"^x-": NULL}}, ".patternProperties: "),
        ({"required": ["x-a"], "patternProperties": {"^x-": {}}, "additionalProperties": NULL}, ".patternProperties: "),
        ({"anyOf": [5]}, ".anyOf.0: must be a JSON schema"),
        ({"allOf": [5, {}]}, ": must be a JSON schema"),
        ({"allOf": [{"contains": {}}]}, ".contains: "),
        ({"type": "string", "anyOf": [{"not": {}}]}, ".not: "),
        ({"items": "x"}, ".items: must be a JSON schema"),
        ({"type": "any"}, ".type: must be of "),
        ({"type": [5]}, ".type: must be of "),
        ({"type": "string", "minLength": 3, "maxLength": 2}, ": minLength 3 is more than maxLength 2"),
        ({"enum": []}, ": enum is empty"),
        ({"const": 10**20}, ": the embedded model cannot be held to numbers beyond 2^53"),
        ({"enum": [[{"a": -1e17}]]}, ": the embedded model cannot be held to numbers beyond 2^53"),
        ({"type": "integer", "maximum": -5, "multipleOf": 5}, ".multipleOf: the embedded model cannot be held to "),
        ({"minimum": 1e17}, ": the embedded model cannot be held to numbers beyond 2^53"),
        ({"enum": [{}], "properties": {}}, ".properties: "),
        ({"type": "object", "minProperties": 2, "additionalProperties": {}}, ".minProperties: "),
        # What would take llguidance minutes, or all memory.
        ({"type": "array", "minItems": 10**9}, ".minItems: the embedded model cannot be held to more than 1000 items"),
        ({"type": "string", "pattern": "(" * 501 + ")" * 501}, ".pattern: "),
        ({"type": "object", "patternProperties": {f"^{n}": NULL for n in range(17)}}, ".patternProperties: "),
    ],
)  # fmt: skip
def test_a_schema_that_cannot_be_kept_is_refused_by_its_place(schema: Any, problem: str) -> None:
    whole = {"type": "object", "properties": {"x": schema}, "required": ["x"]}
    assert refused(whole).startswith(f"tools.1.input_schema.properties.x{problem}")


# References.


def depth(schema: Any, definitions: dict[str, Any]) -> int:
    """How often a list goes on in itself."""
    following = definitions[schema["$ref"].removeprefix("#/$defs/")] if "$ref" in schema else schema
    behind = following["properties"]["next"]
    return 0 if behind is False else 1 + depth(behind, definitions)


@pytest.mark.parametrize(
    "next_one", [{"$ref": "#"}, {"$ref": "#", "description": "the next"}, {"allOf": [{"$ref": "#"}]}]
)
def test_a_schema_stands_in_itself_a_few_times(next_one: Any) -> None:
    whole = held_to(forced({"type": "object", "properties": {"v": NULL, "next": next_one}, "required": ["v"]}))
    assert depth(whole["allOf"][0], whole["$defs"]) == 4


def test_a_definition_that_points_to_nothing_is_refused_where_it_does() -> None:
    given = {"type": "object", "properties": {"x": {"$ref": "#/$defs/d"}}, "$defs": {"d": {"$ref": "nowhere"}}}
    assert refused(given).startswith("tools.1.input_schema.$defs.d.$ref: 'nowhere' points to nothing")


def test_a_definition_that_points_to_itself_through_others() -> None:
    schema = {
        "type": "object",
        "properties": {"root": {"$ref": "#/$defs/A%20b~1c"}},
        "$defs": {
            "A b/c": {"type": "object", "properties": {"many": {"type": "array", "items": {"$ref": "#/$defs/B"}}}},
            "B": {"anyOf": [{"$ref": "#/$defs/A b~1c"}, {"$ref": "#/$defs/leaf"}]},
            "leaf": {"type": "boolean"},
        },
    }
    whole = held_to(forced(schema))
    kinds = [definition.get("type") for definition in whole["$defs"].values()]
    assert kinds.count("object") <= 5
    assert kinds.count("boolean") <= 5


def test_a_chain_of_definitions_is_no_circle() -> None:
    chain: dict[str, Any] = {
        f"d{n}": {"type": "object", "properties": {"a": {"$ref": f"#/$defs/d{n + 1}"}}} for n in range(9)
    }
    schema = {"type": "object", "properties": {"a": {"$ref": "#/$defs/d0"}}, "$defs": {**chain, "d9": NULL}}
    whole = held_to(forced(schema))
    assert NULL in whole["$defs"].values()
    assert False not in whole["$defs"].values()


def test_a_few_lines_that_mean_a_great_deal_are_refused() -> None:
    laughs: dict[str, Any] = {
        f"l{n}": {
            "type": "object",
            "properties": {k: {"$ref": f"#/$defs/l{n + 1}", "title": k, "minProperties": 0} for k in "abcdefgh"},
        }
        for n in range(9)
    }
    schema = {"type": "object", "properties": {"a": {"$ref": "#/$defs/l0"}}, "$defs": {**laughs, "l9": NULL}}
    assert "more than" in refused(schema)
    many = {"allOf": [{"anyOf": [{"minLength": n + 10 * k} for n in range(10)]} for k in range(9)]}
    assert "more than" in refused({"type": "object", "properties": {"a": many}})


def test_schemas_deep_in_one_another_and_in_themselves() -> None:
    deep: dict[str, Any] = {"$ref": "#"}
    for _ in range(90):
        deep = {"type": "object", "properties": {"a": deep}}
    assert "too deeply" in refused(deep) or "more than" in refused(deep)


# How long it may get.


def test_strings_share_what_the_tokens_hold() -> None:
    one = narrowed({"type": "string"}, max_tokens=1000)["maxLength"]
    schema = {"type": "object", "properties": {name: {"type": "string"} for name in "abcd"}}
    whole = held_to(forced(schema, max_tokens=1000))["allOf"][0]
    shares = {value["maxLength"] for value in whole["properties"].values()}
    assert shares == {(int(1000 * 0.75) - 4 * 19 - 12) // 4}
    assert one > 3 * min(shares)
    assert narrowed({"type": "string"}, max_tokens=1)["maxLength"] == 8
    assert narrowed({"type": "string"}, max_tokens=10**6)["maxLength"] == 20_000


def test_strings_of_definitions_and_lists_are_counted_each_time() -> None:
    lists = {"type": "array", "items": {"$ref": "#/$defs/s"}}
    schema = {"type": "object", "properties": {"a": lists, "b": lists}, "$defs": {"s": {"type": "string"}}}
    whole = held_to(forced(schema, max_tokens=1000))
    (string,) = whole["$defs"].values()
    assert string["maxLength"] < 1000 // 8


def test_an_answers_own_strings_have_no_bound() -> None:
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"type": "array", "items": {}}, "c": {}},
    }
    schema["properties"]["d"] = {"type": "array", "items": {}, "maxItems": 10**9}
    body = asked(
        HELD, output_config={"format": {"type": "json_schema", "schema": schema}}, thinking={"type": "adaptive"}
    )
    assert held_to(body)["allOf"] == [{
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"type": "array", "items": {}}, "c": {},
                       "d": {"type": "array", "items": {}, "maxItems": 1000}},
        "additionalProperties": False,
    }]  # fmt: skip
    assert body["chat_template_kwargs"] == {"enable_thinking": False}


# The mark.


def terms(**fields: Any) -> dict[str, Any]:
    return {"mark": "\x1e", "schema_place": "tools.3.input_schema", **fields}


def test_terms_say_what_the_answer_begins_with() -> None:
    tools = [{"name": "f", "input_schema": {"type": "object"}}, {"name": "g", "input_schema": {"type": "object"}}]
    one = made(HELD, tools=tools, tool_choice={"type": "tool", "name": "g"}).terms
    assert (one.mark, one.schema_place) == ("\x1e", "tools.1.input_schema")
    assert made(HELD, tools=tools, tool_choice={"type": "any"}).terms.schema_place == "tools"
    form = {"format": {"type": "json_schema", "schema": {"type": "object"}}}
    assert made(HELD, output_config=form).terms.schema_place == "output_config.format.schema"
    assert made(HELD, tools=tools).terms.mark == made(LLAMA_CPP, output_config=form).terms.mark == ""


@given(st.data())
def test_the_mark_is_taken_away_however_the_text_was_cut(data: st.DataObject) -> None:
    before = data.draw(st.sampled_from(["", "<think>\n", "\n"]))
    pieces = [chunk(piece) for piece in data.draw(cut_text(f'{before}\x1e{{"a": "\x7f"}}'))]
    answer = message(*pieces, delta(finish="stop"), DONE, **terms())
    assert answer["content"] == [{"type": "text", "text": '{"a": "\x7f"}'}]
    answer = message(*pieces, delta(finish="stop"), DONE, **terms(called_in_text=("f",)))
    assert answer["content"][0]["input"] == {"a": "\x7f"}


@pytest.mark.parametrize("called", [{}, {"called_in_text": ("f",)}])
@pytest.mark.parametrize("end", [[delta(finish="stop"), DONE], [DONE]])
def test_no_answer_at_all_is_one_without_the_mark(called: dict[str, Any], end: list[bytes]) -> None:
    answer = Said(**terms(**called))
    with pytest.raises(InvalidRequest, match=r"^tools\.3\.input_schema: the embedded model cannot be held"):
        answer.says(chunk(""), *end)
    assert answer.events == []


def test_a_schema_that_is_too_large_is_refused_by_its_place() -> None:
    large = {"type": "object", "properties": {"x": {"enum": [str(n) for n in range(50_000)]}}}
    assert refused(large) == (
        "tools.1.input_schema: the embedded model cannot be held to schemas of more than 262144 bytes; leave it out, "
        "or let the model choose"
    )


@pytest.mark.parametrize("said", ["Sure, here is a call of", '{"a":1}', "<think>hm</think>", "x" * 5000])
def test_an_answer_without_the_mark_is_refused_before_any_of_it_is_told(said: str) -> None:
    answer, told = Said(**terms(called_in_text=("f",))), list[str]()
    with pytest.raises(InvalidRequest, match=r"^tools\.3\.input_schema: the embedded model cannot be held"):
        told += [event for piece in (*map(chunk, said), delta(finish="stop"), DONE) for event in answer.says(piece)]
    assert told == []
    assert answer.events == []


@pytest.mark.parametrize("pieces", [[], [chunk("\x1e")], [chunk('\x1e{"a":"')]])
def test_an_answer_that_the_limit_cut_is_cut(pieces: list[bytes]) -> None:
    answer = message(*pieces, delta(finish="length"), DONE, **terms(called_in_text=("f",)))
    assert answer["stop_reason"] == "max_tokens"


# An answer to go on with.


@pytest.mark.parametrize("facts", [HELD, LLAMA_CPP, replace(LLAMA_CPP, takes_tools=True)])
@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"tools": [{"name": "f", "input_schema": {"type": "object"}}], "tool_choice": {"type": "any"}}, "tool_choice"),
        ({"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}}, "output_config.format"),
        ({"output_format": {"type": "json_schema", "schema": {"type": "object"}}}, "output_config.format"),
    ],
)
def test_an_answer_is_begun_by_the_client_or_keeps_a_schema(facts: Any, fields: dict[str, Any], name: str) -> None:
    begun = refusal(facts, messages=[USER, assistant(text("Sure: {"))], **fields)
    assert begun.startswith("messages.1: the embedded model cannot both go on with an answer and keep to")
    assert name in begun
    assert asked(OPENAI_COMPATIBLE, messages=[USER, assistant(text("Sure"))], **fields)
    assert asked(facts, messages=[USER, assistant(text("Sure"))])
