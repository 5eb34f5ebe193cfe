"""Calls that a chat template writes as bare JSON: told as calls, and everything else as the text it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezai.translate.base import LLAMA_CPP, UpstreamFacts
from ezai.translate.terms import Thinking
from tests.properties.strategies import cut_text
from tests.translate.chat_stream import DONE, Said, blocks, chunk, delta, message, usage_chunk
from tests.translate.test_chat_request import TOOL, made

CALL = '{"name": "f", "parameters": {"a": [1, {"b": "}"}]}}'
WRAPPED = '{"type": "function", "function": {"name": "f", "arguments": {"a": 1}}, "id": "x"}'
USE = {"type": "tool_use", "name": "f", "input": {"a": [1, {"b": "}"}]}}
WRAPPED_USE = {"type": "tool_use", "name": "f", "input": {"a": 1}}


def parts(*pieces: str, **terms: Any) -> list[dict[str, Any]]:
    """The content of an answer whose text came in these pieces; ids are left out."""
    content = blocks(*map(chunk, pieces), delta(finish="stop"), DONE, bare_calls=True, offered=("f", "g"), **terms)
    return [{name: value for name, value in block.items() if name not in {"id", "citations"}} for block in content]


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


@pytest.mark.parametrize(
    ("call", "use"),
    [
        (CALL, USE),
        (WRAPPED, WRAPPED_USE),
        ('{"type":"function","function":"f","parameters":{"a":1}}', WRAPPED_USE),
        ('{"name":"f","arguments":"{\\"a\\":1}"}', WRAPPED_USE),
        ('{"name":"g","input":{}}', {"type": "tool_use", "name": "g", "input": {}}),
    ],
)
def test_a_call_in_each_of_its_forms(call: str, use: dict[str, Any]) -> None:
    assert parts(call) == [use]
    assert parts(*call) == [use]
    assert parts(f" \n{call}\n") == [use]
    assert parts(f"[{call}]") == [use]


@pytest.mark.parametrize(
    "said",
    [
        "int main() { return f(x); }",
        '```json\n{"city": "Paris", "days": [1]}\n```',
        '{"name": "h", "parameters": {"a": 1}}',
        '{"name": "f"}',
        '{"name": "f", "parameters": [1]}',
        '{"name": "f", "arguments": "{"}',
        '{"name": 1, "parameters": {}}',
        "[1, 2] [ x ](y) [ ",
        "{{{{ }}}} {",
        '{"name": "f", "parameters": {"a": ',
        '["{", {"name"',
        '{"a": "\\ud800"}',
    ],
)
def test_what_is_no_call_is_text_to_the_last_character(said: str) -> None:
    assert parts(said) == [text(said)]
    assert parts(*said) == [text(said)]


def test_text_around_calls_and_calls_in_a_list() -> None:
    assert parts(f"I look: {CALL} and so on") == [text("I look: "), USE, text(" and so on")]
    assert parts(f"[ {CALL} ,\n{WRAPPED}] done") == [USE, WRAPPED_USE, text(" done")]
    assert parts(f"[{CALL}, 7]") == [USE, text(", 7]")]
    assert parts(f"[{CALL}, {{x}}]") == [USE, text(", {x}]")]
    assert parts(f"f({{ {CALL}") == [text("f({ "), USE]


def test_text_is_told_as_it_comes_and_a_call_when_it_is_whole() -> None:
    said = Said(bare_calls=True, offered=("f",))
    assert said.says(chunk("Here: ")) == ["message_start", "+0 text", "Here: "]
    assert "".join(said.says(chunk("{ x"))) == "{ x"
    assert said.says(chunk('{"name": "f", "parameters"')) == []
    assert said.says(chunk(': {"a": 1}}'))[2:] == ['{"a": 1}', "-1"]
    assert said.says(delta(finish="stop"), usage_chunk(3, 4), DONE) == ["tool_use", "message_stop"]


def test_a_call_that_the_limit_cut_is_text() -> None:
    cut = CALL[:-4]
    answer = message(chunk(cut), delta(finish="length"), DONE, bare_calls=True, offered=("f",))
    assert (answer["stop_reason"], answer["content"][0]["text"]) == ("max_tokens", cut)


def test_the_first_call_ends_an_answer_of_one() -> None:
    said = Said(bare_calls=True, offered=("f",), calls_once=True)
    assert said.says(chunk(f"{CALL}{CALL}"))[-2:] == ["tool_use", "message_stop"]
    assert said.stream.cut_short
    assert said.says(chunk("more"), delta(finish="stop"), DONE) == []


def test_text_that_was_held_back_stays_before_the_thinking_behind_it() -> None:
    pieces = [chunk('{"a": '), delta(reasoning="hm"), chunk("so")]
    content = blocks(*pieces, DONE, bare_calls=True, offered=("f",), thinking=Thinking.SHOWN, signing_key=b"k")
    assert content == [text('{"a": '), {"type": "thinking", "thinking": "hm"}, text("so")]


def test_names_go_back_to_what_the_client_calls_them() -> None:
    (use,) = parts(CALL, tool_names={"f": "x" * 100})
    assert use["name"] == "x" * 100


JSON = st.sampled_from(["{", "}", "[", "]", ",", " ", "\n", '"', "a", CALL, WRAPPED, '{"a":1}', '{"name": "f"', ": "])


@given(st.data())
def test_any_cut_of_any_text_gives_the_same(data: st.DataObject) -> None:
    said = "x" + "".join(data.draw(st.lists(JSON, max_size=12)))
    whole = parts(said)
    assert parts(*data.draw(cut_text(said))) == whole
    assert parts(*said) == whole
    if all(block["type"] == "text" for block in whole):
        assert whole == [text(said)]


# What is asked.

BARE = replace(LLAMA_CPP, takes_tools=True, bare_calls=True)


@pytest.mark.parametrize(
    ("choice", "once"),
    [(None, False), ({"type": "auto"}, False), ({"type": "auto", "disable_parallel_tool_use": True}, True)],
)
def test_the_tools_are_in_the_prompt_and_the_calls_are_looked_for_here(choice: Any, once: bool) -> None:
    request = made(BARE, tools=[{**TOOL, "name": "f" * 70}], tool_choice=choice)
    body = msgspec.json.decode(request.body)
    name = body["tools"][0]["function"]["name"]
    assert body["tool_choice"] == "none"
    assert "parallel_tool_calls" not in body
    terms = request.terms
    assert (terms.bare_calls, terms.offered, terms.calls_once) == (True, (name,), once)
    assert request.terms.tool_names == {name: "f" * 70}


@pytest.mark.parametrize("facts", [BARE, replace(BARE, takes_tools=False), replace(BARE, bare_calls=False)])
@pytest.mark.parametrize("choice", [{"type": "none"}, {"type": "any"}])
def test_they_are_looked_for_nowhere_else(facts: UpstreamFacts, choice: Any) -> None:
    terms = made(facts, tools=[TOOL], tool_choice=choice).terms
    assert not (terms.bare_calls and terms.offered)
