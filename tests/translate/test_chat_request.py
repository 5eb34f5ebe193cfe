"""Conformance items 13, 21, 24-34, 36 and 37: what an OpenAI-compatible upstream is asked, block by block."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezai.errors import InvalidRequest
from ezai.protocol.anthropic.requests import read_request
from ezai.translate.anthropic_anthropic import AnthropicToAnthropic
from ezai.translate.anthropic_openai import AnthropicToOpenAI
from ezai.translate.anthropic_openai.signed_ids import signed_id
from ezai.translate.base import LLAMA_CPP, OPENAI_COMPATIBLE, OPENAI_ITSELF, MidSystem, UpstreamFacts, UpstreamRequest
from ezai.translate.pairs import translator_for
from ezai.translate.signatures import sign
from ezai.translate.terms import Thinking

USER = {"role": "user", "content": "Hi"}
PNG = {"type": "base64", "media_type": "image/png", "data": "aGk="}
IMAGE_PART = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}
TOOL = {"name": "f", "description": "does f", "input_schema": SCHEMA}
KEY = b"key"


def made(facts: UpstreamFacts = OPENAI_COMPATIBLE, **fields: Any) -> UpstreamRequest:
    body = {"model": "m", "max_tokens": 9, "messages": [USER], **fields}
    return AnthropicToOpenAI("up", facts).request(read_request(msgspec.json.encode(body)))


def asked(facts: UpstreamFacts = OPENAI_COMPATIBLE, **fields: Any) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.json.decode(made(facts, **fields).body)
    return body


def turns(*messages: dict[str, Any], facts: UpstreamFacts = OPENAI_COMPATIBLE, **fields: Any) -> list[dict[str, Any]]:
    written: list[dict[str, Any]] = asked(facts, messages=list(messages), **fields)["messages"]
    return written


def user(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def call(call_id: str = "c1", name: str = "f", **given: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": name, "input": given}


def result(call_id: str = "c1", **fields: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": call_id, **fields}


def refusal(facts: UpstreamFacts = OPENAI_COMPATIBLE, **fields: Any) -> str:
    with pytest.raises(InvalidRequest) as refused:
        made(facts, **fields)
    return refused.value.message


# Turns.


@pytest.mark.parametrize(
    ("mid_system", "roles"),
    [
        (MidSystem.FOLD, ["user", "assistant", "user"]),
        (MidSystem.NATIVE, ["user", "system", "assistant", "user", "system"]),
        (MidSystem.HOIST, ["system", "user", "assistant", "user"]),
    ],
)
def test_item_21_a_system_message_in_mid_conversation(mid_system: MidSystem, roles: list[str]) -> None:
    note = {"role": "system", "content": "be brief"}
    facts = replace(OPENAI_COMPATIBLE, mid_system=mid_system)
    written = turns(USER, note, assistant(text("a")), USER, note, facts=facts)
    assert [turn["role"] for turn in written] == roles
    assert sum("be brief" in turn["content"] for turn in written) == (1 if mid_system is MidSystem.HOIST else 2)


def test_item_21_a_reminder_behind_results_of_tools_stands_behind_them() -> None:
    note = {"role": "system", "content": "be brief"}
    written = turns(USER, assistant(call()), user(result(content="r")), note)
    assert [turn["role"] for turn in written] == ["user", "assistant", "tool", "user"]
    assert written[-1]["content"] == "<system-reminder>\nbe brief\n</system-reminder>"


@pytest.mark.parametrize("mid_system", MidSystem)
def test_item_21_results_stand_right_behind_their_calls(mid_system: MidSystem) -> None:
    note = {"role": "system", "content": "be brief"}
    facts = replace(OPENAI_COMPATIBLE, mid_system=mid_system)
    roles = [turn["role"] for turn in turns(USER, assistant(call()), note, user(result()), facts=facts)]
    assert roles[roles.index("assistant") + 1] == "tool"


def test_item_24_results_come_before_the_text_beside_them() -> None:
    written = turns(USER, assistant(call()), user(text("and?"), result(content="r")))
    assert written[2:] == [
        {"role": "tool", "tool_call_id": "c1", "content": "r"},
        {"role": "user", "content": "and?"},
    ]


def test_item_25_several_results_keep_their_order_and_ids() -> None:
    calls = [call(f"c{number}") for number in range(4)]
    results = [result(f"c{number}", content=str(number)) for number in (2, 0, 3, 1)]
    written = turns(USER, assistant(*calls), user(*results))
    assert [(turn["tool_call_id"], turn["content"]) for turn in written[2:]] == [
        ("c2", "2"), ("c0", "0"), ("c3", "3"), ("c1", "1"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "content"),
    [
        ({}, ""),
        ({"content": None}, ""),
        ({"content": ""}, ""),
        ({"content": []}, ""),
        ({"content": "words"}, "words"),
        ({"content": [text("a"), text(""), text("b")]}, "a\n\nb"),
        ({"content": [{"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "d"}}]},
         "<document>\nd\n</document>"),
        ({"content": [{"type": "search_result", "source": "s", "title": "t", "content": [text("found")]}]},
         '<search_result source="s" title="t">\nfound\n</search_result>'),
    ],
)  # fmt: skip
def test_item_26_a_result_of_any_content(fields: dict[str, Any], content: str) -> None:
    assert turns(USER, assistant(call()), user(result(**fields)))[2:] == [
        {"role": "tool", "tool_call_id": "c1", "content": content}
    ]


def test_item_26_an_image_of_a_result_is_shown_in_the_users_message() -> None:
    blocks = [text("before"), {"type": "image", "source": PNG}]
    written = turns(USER, assistant(call()), user(result(content=blocks), text("see?")))
    assert written[2]["content"] == "before\n\n[shown in the next message]"
    assert written[3]["content"] == [IMAGE_PART, text("see?")]


def test_a_signature_goes_back_to_gemini_and_to_nobody_else() -> None:
    signed = signed_id("call-1", "CpwBAb4+/vs==")
    loop = [USER, assistant(call(signed), call("c2")), user(result("c2"), result(signed))]
    body = read_request(msgspec.json.encode({"model": "m", "max_tokens": 9, "messages": loop}))
    for model, expected in (("models/Gemini-3-pro", {"google": {"thought_signature": "CpwBAb4+/vs=="}}), ("up", None)):
        written = msgspec.json.decode(AnthropicToOpenAI(model, OPENAI_COMPATIBLE).request(body).body)["messages"]
        first, second = written[1]["tool_calls"]
        assert (first["id"], first.get("extra_content")) == ("call-1", expected)
        assert (second["id"], second.get("extra_content")) == ("c2", None)
        assert [message["tool_call_id"] for message in written[2:]] == ["c2", "call-1"]


def test_calls_that_another_model_made_are_told_to_gemini_as_unsigned() -> None:
    loop = [USER, assistant(call("c1"), call("c2")), user(result("c1"), result("c2")), assistant(text("ok")), USER]
    body = read_request(msgspec.json.encode({"model": "m", "max_tokens": 9, "messages": loop}))
    written = msgspec.json.decode(AnthropicToOpenAI("google/gemini-3-flash", OPENAI_COMPATIBLE).request(body).body)
    first, second = written["messages"][1]["tool_calls"]
    assert first["extra_content"] == {"google": {"thought_signature": "skip_thought_signature_validator"}}
    assert "extra_content" not in second


def test_item_27_the_model_sees_that_a_call_failed() -> None:
    failed = result(content="no such file", is_error=True)
    assert turns(USER, assistant(call()), user(failed))[2]["content"] == "Error: no such file"


@pytest.mark.parametrize(
    "before", [[], [assistant(call("c2"))], [assistant(call()), user(result()), assistant(text("a"))]]
)
def test_a_result_without_its_call_is_refused_by_its_place(before: list[dict[str, Any]]) -> None:
    message = refusal(messages=[USER, *before, user(text("x"), result())])
    assert message.startswith(f"messages.{1 + len(before)}.content.1.tool_use_id: no tool_use")


@pytest.mark.parametrize("facts", [OPENAI_COMPATIBLE, LLAMA_CPP])
def test_a_conversation_that_ends_in_a_call_is_refused(facts: UpstreamFacts) -> None:
    problem = "messages.1: no tool_result answers the tool_use c1"
    assert refusal(facts, messages=[USER, assistant(text("a"), call())]) == problem


@pytest.mark.parametrize(
    ("results", "problem"),
    [
        ([text("and?")], "messages.2.content: no tool_result answers the tool_use c1, c2"),
        ([result("c2")], "messages.2.content: no tool_result answers the tool_use c1"),
        ([result("c1"), result("c2"), result("c1")], "messages.2.content: more than one tool_result answers .* c1"),
    ],
)
def test_calls_that_are_not_answered_once_are_refused(results: list[dict[str, Any]], problem: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^{problem}$"):
        turns(USER, assistant(call("c1"), call("c2")), user(*results))


def test_two_tools_of_one_name_are_refused() -> None:
    assert refusal(tools=[TOOL, TOOL]) == "tools.1.name: there is a tool 'f' already"


def test_calls_and_text_are_one_message_and_inputs_stay_as_they_came() -> None:
    raw = b'{"n":1.50,"big":123456789012345678901,"z":{"y":[]}}'
    body = msgspec.json.encode(
        {
            "model": "m",
            "max_tokens": 9,
            "messages": [USER, assistant(text("a"), text("b"), call(x="INPUT")), user(result())],
        }
    ).replace(b'{"x":"INPUT"}', raw)
    written = msgspec.json.decode(AnthropicToOpenAI("up", OPENAI_COMPATIBLE).request(read_request(body)).body)
    message = written["messages"][1]
    assert message["content"] == "ab"
    assert message["tool_calls"] == [
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": raw.decode()}}
    ]


def test_a_call_without_text_has_no_content() -> None:
    assert turns(USER, assistant(call()), user(result()))[1]["content"] is None


def test_item_33_the_billing_note_stays_here() -> None:
    system = [text("x-anthropic-billing-header: cc_version=1;"), text("You are Claude Code.")]
    assert turns(USER, system=system)[0] == {"role": "system", "content": "You are Claude Code."}
    assert turns(USER, system=system[::-1])[0]["content"].endswith("cc_version=1;")
    assert turns(USER, system="x-anthropic-billing-header: a;\nBe brief.")[0]["content"] == "Be brief."


# Images and documents.


def test_item_31_images_become_parts() -> None:
    linked = {"type": "image", "source": {"type": "url", "url": "https://a/b.png"}}
    written = turns(user(text("look"), {"type": "image", "source": PNG}, linked))
    assert written == [
        {
            "role": "user",
            "content": [text("look"), IMAGE_PART, {"type": "image_url", "image_url": {"url": "https://a/b.png"}}],
        }
    ]


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ({"type": "base64", "media_type": "image/bmp", "data": ""}, "messages.0.content.0.source.media_type: "),
        ({"type": "file", "file_id": "f"}, "messages.0.content.0.source.type: files are kept by Anthropic"),
        ({"type": "tape"}, "messages.0.content.0.source.type: "),
        ({"type": "base64", "media_type": "image/png"}, "messages.0.content.0.source.data: Field required"),
        ({**PNG, "data": "aGk"}, "messages.0.content.0.source.data: is not valid base64"),
        ({**PNG, "data": "a-_="}, "messages.0.content.0.source.data: is not valid base64"),
        ({**PNG, "data": "é"}, "messages.0.content.0.source.data: is not valid base64"),
        ({**PNG, "data": "data:image/png;base64,aGk="}, "messages.0.content.0.source.data: is not valid base64"),
        ({**PNG, "data": ""}, "messages.0.content.0.source.data: is empty"),
        ({"type": "url", "url": "file:///etc/passwd"}, "messages.0.content.0.source.url: must be an http or https"),
        ({"type": "url", "url": "data:image/png;base64,aGk="}, "messages.0.content.0.source.url: must be an http"),
        ({"type": "url", "url": ""}, "messages.0.content.0.source.url: must be an http or https URL"),
    ],
)
def test_an_image_that_cannot_be_sent_is_refused_by_its_place(source: Any, problem: str) -> None:
    assert refusal(messages=[user({"type": "image", "source": source})]).startswith(problem)


def test_a_document_that_is_no_base64_is_refused_by_its_place() -> None:
    pdf = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "%PDF-"}}
    assert refusal(messages=[user(text("see"), pdf)]).startswith("messages.0.content.1.source.data: ")


@pytest.mark.parametrize("stop", ["", " ", "\n\t"])
def test_a_stop_sequence_of_nothing_is_refused(stop: str) -> None:
    problem = "stop_sequences.1: must contain something other than whitespace"
    assert refusal(stop_sequences=["END", stop]) == refusal(LLAMA_CPP, stop_sequences=["END", stop]) == problem


def test_stop_sequences_that_would_hold_up_every_piece_are_refused() -> None:
    stops = ["a" * 100 + str(number) for number in range(650)]
    assert refusal(stop_sequences=stops).startswith("stop_sequences: at most 65536 characters in all, got ")
    assert made(stop_sequences=stops[:600]).terms.stop_sequences


@pytest.mark.parametrize("budget", [1024, 5000])
def test_a_budget_that_leaves_nothing_for_the_answer_is_refused(budget: int) -> None:
    fields: dict[str, Any] = {"max_tokens": 1024, "thinking": {"type": "enabled", "budget_tokens": budget}}
    assert refusal(**fields).startswith("thinking.budget_tokens: must be less than max_tokens, which is 1024, got ")
    assert asked(**{**fields, "max_tokens": budget + 1})
    body = read_request(msgspec.json.encode({"model": "m", "messages": [USER], **fields}))
    betas = [(b"anthropic-beta", b"a-2025-01-01,interleaved-thinking-2025-05-14")]
    assert translator_for(OPENAI_COMPATIBLE, "up", betas).request(body).body, "then it is for more than one answer"
    assert AnthropicToAnthropic("m").request(body).body, "what an Anthropic upstream takes is its own to say"


def test_an_upstream_that_sees_nothing_says_so() -> None:
    message = refusal(LLAMA_CPP, messages=[user({"type": "image", "source": PNG})])
    assert message == "messages.0.content.0: the upstream of this model takes no images"


def test_documents() -> None:
    plain = {"type": "text", "media_type": "text/plain", "data": "words"}
    parts = {"type": "content", "content": [text("one"), {"type": "image", "source": PNG}]}
    pdf = {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="}
    written = turns(
        user(
            {"type": "document", "source": plain, "title": 'A "title"', "context": "c"},
            {"type": "document", "source": parts, "title": "B"},
            {"type": "document", "source": pdf, "title": "c.pdf"},
        )
    )[0]["content"]
    assert written == [
        text('<document title="A \\"title\\"" context="c">\nwords\n</document>'),
        text('<document title="B"/>'), text("one"), IMAGE_PART,
        {"type": "file", "file": {"filename": "c.pdf", "file_data": "data:application/pdf;base64,JVBERg=="}},
    ]  # fmt: skip
    linked = {"type": "document", "source": {"type": "url", "url": "https://a/b.pdf"}}
    assert refusal(messages=[user(linked)]).startswith("messages.0.content.0.source.type: ")


@pytest.mark.parametrize(
    ("message", "place"),
    [
        (user({"type": "hologram"}), "messages.0.content.0.type: "),
        (user(text("a"), call()), "messages.0.content.1.type: tool_use has no place in a user's message"),
        (assistant(result()), "messages.0.content.0.type: tool_result has no place in an assistant's message"),
        ({"role": "tool", "content": "x"}, "messages.0.role: "),
        (assistant({**call(), "input": "x"}), "messages.0.content.0.input: must be a JSON object"),
        (assistant(call(name="")), "messages.0.content.0.name: must not be empty"),
        (assistant(call("")), "messages.0.content.0.id: must be an id that no other"),
        (assistant(call(), text("a"), call()), "messages.0.content.2.id: must be an id that no other"),
    ],
)
def test_a_block_that_has_no_place_is_refused_by_it(message: dict[str, Any], place: str) -> None:
    assert refusal(messages=[message, USER]).startswith(place)


@pytest.mark.parametrize("field", ["mcp_servers", "compaction", "thread"])
def test_what_only_the_hosted_api_does_is_refused(field: str) -> None:
    given: dict[str, Any] = {field: [{"type": "url"}]}
    assert refusal(**given).startswith(f"{field}: ")
    absent: dict[str, Any] = {field: None}
    assert asked(**absent) == asked()


# Thinking.


@pytest.mark.parametrize(
    "blocks",
    [
        [{"type": "thinking", "thinking": "t", "signature": "EuYBfromAnthropic"}],
        [{"type": "thinking", "thinking": "t", "signature": ""}],
        [{"type": "redacted_thinking", "data": "x"}],
        [{"type": "thinking", "thinking": "t", "signature": sign(b"another key", "t", "reasoning")}],
        [{"type": "thinking", "thinking": "changed", "signature": sign(KEY, "t", "reasoning")}],
        [{"type": "thinking", "thinking": "t", "signature": sign(KEY, "t", "think")}],
        [{"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
         {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}],
    ],
)  # fmt: skip
def test_item_32_foreign_thinking_does_not_reach_the_upstream(blocks: list[dict[str, Any]]) -> None:
    facts = replace(OPENAI_COMPATIBLE, signing_key=KEY)
    written = turns(USER, assistant(*blocks, text("a"), call()), user(result()), facts=facts)
    assert written == turns(USER, assistant(text("a"), call()), user(result()))
    assert turns(USER, assistant(*blocks), USER, facts=facts) == turns(USER, USER), "a turn of nothing else is none"


@pytest.mark.parametrize(
    ("came_in", "field"),
    [("reasoning", "reasoning"), ("reasoning_content", "reasoning_content"), ("reasoning_details", "reasoning")],
)
def test_item_32_a_models_own_thinking_goes_back_between_its_calls(came_in: str, field: str) -> None:
    facts = replace(OPENAI_COMPATIBLE, signing_key=KEY)
    thought = {"type": "thinking", "thinking": "hm", "signature": sign(KEY, "hm", came_in)}
    loop = [USER, assistant(thought, call()), user(result())]
    assert turns(*loop, facts=facts)[1][field] == "hm"
    over = turns(*loop, assistant(text("done")), USER, facts=facts)
    assert not [turn for turn in over if field in turn], "once the user has said something new it has served"


@pytest.mark.parametrize(
    ("asked_for", "expected"),
    [
        (None, Thinking.DROPPED),
        ({"type": "disabled"}, Thinking.DROPPED),
        ({"type": "enabled", "budget_tokens": 2000}, Thinking.SHOWN),
        ({"type": "adaptive"}, Thinking.SHOWN),
        ({"type": "adaptive", "display": "summarized"}, Thinking.SHOWN),
        ({"type": "adaptive", "display": "omitted"}, Thinking.OMITTED),
        ({"type": "between_tools"}, Thinking.SHOWN),
    ],
)
def test_what_becomes_of_thinking(asked_for: Any, expected: Thinking) -> None:
    assert made(thinking=asked_for, max_tokens=4000).terms.thinking is expected
    assert asked(LLAMA_CPP, thinking=asked_for, max_tokens=4000)["chat_template_kwargs"] == {
        "enable_thinking": expected is not Thinking.DROPPED
    }


@pytest.mark.parametrize(
    ("fields", "effort"),
    [
        ({}, None),
        ({"thinking": {"type": "adaptive"}}, None),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "low"),
        ({"thinking": {"type": "enabled", "budget_tokens": 4000}}, "medium"),
        ({"thinking": {"type": "enabled", "budget_tokens": 32000}}, "high"),
        ({"thinking": {"type": "enabled", "budget_tokens": 32000}, "output_config": {"effort": "low"}}, "low"),
        ({"output_config": {"effort": "max"}}, "high"),
        ({"output_config": {"effort": None}}, None),
    ],
)
def test_effort(fields: dict[str, Any], effort: str | None) -> None:
    assert asked(max_tokens=64000, **fields).get("reasoning_effort") == effort


def test_the_vendors_own_service_differs() -> None:
    body = asked(OPENAI_ITSELF, output_config={"effort": "max"})
    assert (body["max_completion_tokens"], body["reasoning_effort"]) == (9, "xhigh")
    assert "max_tokens" not in body
    message = refusal(OPENAI_ITSELF, messages=[USER, assistant(text("1, 2,"))])
    assert message.startswith("messages.1: the upstream of this model cannot go on with an answer")


# Tools.


def test_a_tool_is_a_function() -> None:
    body = asked(tools=[{**TOOL, "cache_control": {"type": "ephemeral"}, "eager_input_streaming": True}])
    assert body["tools"] == [
        {"type": "function", "function": {"name": "f", "description": "does f", "parameters": SCHEMA}}
    ]
    assert not {"tool_choice", "parallel_tool_calls"} & set(body)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, None),
        ({"type": "auto"}, None),
        ({"type": "any"}, "required"),
        ({"type": "tool", "name": "f"}, {"type": "function", "function": {"name": "f"}}),
        ({"type": "none"}, "none"),
    ],
)
def test_item_28_tool_choice(choice: Any, expected: Any) -> None:
    assert asked(tools=[TOOL], tool_choice=choice).get("tool_choice") == expected


@pytest.mark.parametrize(
    ("choice", "tools", "problem"),
    [
        ({"type": "any"}, [], "tool_choice: "),
        ({"type": "tool", "name": "g"}, [TOOL], "tool_choice.name: .*'g'"),
        ({"type": "every"}, [TOOL], "tool_choice.type: "),
        ({"type": "any"}, [{"type": "web_search_20260318", "name": "web_search"}], "tool_choice: "),
    ],
)
@pytest.mark.parametrize("facts", [OPENAI_COMPATIBLE, LLAMA_CPP])
def test_a_call_that_cannot_be_forced_is_refused(facts: UpstreamFacts, choice: Any, tools: Any, problem: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^{problem}"):
        made(facts, tools=tools, tool_choice=choice)


def test_item_29_one_call_at_a_time() -> None:
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    assert asked(tools=[TOOL], tool_choice=choice)["parallel_tool_calls"] is False
    assert "parallel_tool_calls" not in asked(tool_choice=choice)
    assert "parallel_tool_calls" not in asked(tools=[TOOL], tool_choice={"type": "any"})


def test_item_30_long_names_are_shortened_everywhere_and_told_apart() -> None:
    long, other = "mcp__" + "x" * 100 + "_one", "mcp__" + "x" * 100 + "_two"
    tools = [{**TOOL, "name": long}, {**TOOL, "name": other}, TOOL]
    request = made(
        tools=tools,
        tool_choice={"type": "tool", "name": long},
        messages=[USER, assistant(call(name=long)), user(result())],
    )
    body = msgspec.json.decode(request.body)
    names = [tool["function"]["name"] for tool in body["tools"]]
    assert len(set(names)) == 3
    assert all(len(name) <= 64 for name in names)
    assert body["tool_choice"]["function"]["name"] == names[0]
    assert body["messages"][1]["tool_calls"][0]["function"]["name"] == names[0]
    assert request.terms.tool_names == {names[0]: long, names[1]: other}


@pytest.mark.parametrize(
    "model", ["mistral-large", "open-mixtral-8x22b", "mistralai/Ministral-8B", "devstral", "pixtral"]
)
def test_ids_are_such_as_mistrals_templates_take(model: str) -> None:
    # vllm#38738: a conversation that had begun elsewhere was refused for the ids of its calls.
    loop = [USER, assistant(call("toolu_01A"), call("abc123XYZ")), user(result("abc123XYZ"), result("toolu_01A"))]
    body = {"model": "m", "max_tokens": 9, "messages": loop}
    request = AnthropicToOpenAI(model, OPENAI_COMPATIBLE).request(read_request(msgspec.json.encode(body)))
    written = msgspec.json.decode(request.body)["messages"]
    (first, second), results = written[1]["tool_calls"], written[2:]
    assert re.fullmatch("[A-Za-z0-9]{9}", first["id"])
    assert second["id"] == "abc123XYZ"
    assert [message["tool_call_id"] for message in results] == ["abc123XYZ", first["id"]]
    assert [one["id"] for one in turns(*loop)[1]["tool_calls"]] == ["toolu_01A", "abc123XYZ"], "elsewhere as they are"
    native = turns(*loop, facts=replace(LLAMA_CPP, takes_tools=True))
    assert [one["id"] for one in native[1]["tool_calls"]] == [first["id"], "abc123XYZ"]


def test_item_37_what_only_the_hosted_api_runs_is_left_out() -> None:
    tools = [
        {"type": "web_search_20260318", "name": "web_search"},
        {"type": "code_execution_20260521", "name": "code_execution"},
        {"type": "tool_search_tool_regex_20251119", "name": "tool_search_tool_regex"},
        {**TOOL, "name": "later", "defer_loading": True},
        {**TOOL, "defer_loading": False},
    ]
    assert [tool["function"]["name"] for tool in asked(tools=tools)["tools"]] == ["f"]
    assert "tools" not in asked(tools=tools[:4])


def test_item_37_a_deferred_tool_is_there_once_it_was_found() -> None:
    tools = [{**TOOL, "name": "ToolSearch"}, {**TOOL, "name": "later", "defer_loading": True}]
    found = user(result(content=[{"type": "tool_reference", "tool_name": "later"}]))
    body = asked(tools=tools, messages=[USER, assistant(call(name="ToolSearch")), found])
    assert [tool["function"]["name"] for tool in body["tools"]] == ["ToolSearch", "later"]


@pytest.mark.parametrize("kind", ["bash_20250124", "text_editor_20250728", "memory_20250818"])
def test_client_tools_that_the_hosted_api_defines_get_their_schema(kind: str) -> None:
    (tool,) = asked(tools=[{"type": kind, "name": "named_so"}])["tools"]
    assert tool["function"]["name"] == "named_so"
    assert tool["function"]["parameters"]["properties"]["command"]["type"] == "string"


@pytest.mark.parametrize(
    ("tool", "problem"),
    [
        ({"type": "computer_20251124", "name": "computer"}, "tools.1.type: "),
        ({"type": "browser_toolset_20260801"}, "tools.1.type: "),
        ({**TOOL, "name": "a b"}, "tools.1.name: "),
        ({**TOOL, "name": "x" * 129}, "tools.1.name: "),
        ({**TOOL, "name": ""}, "tools.1.name: "),
        ({"name": "g"}, "tools.1.input_schema: Field required"),
        ({"name": "g", "input_schema": []}, "tools.1.input_schema: "),
        ({"name": "g", "input_schema": "x"}, "tools.1.input_schema: "),
        ({"name": "g", "input_schema": {"type": "string"}}, "tools.1.input_schema: "),
    ],
)
def test_a_tool_that_is_none_is_refused_by_its_place(tool: dict[str, Any], problem: str) -> None:
    assert refusal(tools=[TOOL, tool]).startswith(problem)


def test_strict_is_kept_only_for_schemas_that_are() -> None:
    closed = {**SCHEMA, "additionalProperties": False, "required": ["a"]}
    (kept,) = asked(tools=[{**TOOL, "strict": True, "input_schema": closed}])["tools"]
    (dropped,) = asked(tools=[{**TOOL, "strict": True}])["tools"]
    assert kept["function"]["strict"] is True
    assert "strict" not in dropped["function"]


# The form of the answer.


@pytest.mark.parametrize("alias", [False, True])
def test_item_34_a_schema_for_the_answer(alias: bool) -> None:
    form = {"type": "json_schema", "schema": {**SCHEMA, "additionalProperties": False, "required": ["a"]}}
    body = asked(output_format=form) if alias else asked(output_config={"format": form})
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "output", "schema": form["schema"], "strict": True},
    }
    loose = asked(output_config={"format": {"type": "json_schema", "schema": SCHEMA}})
    assert "strict" not in loose["response_format"]["json_schema"]


@pytest.mark.parametrize(("max_output", "expected"), [(None, 9), (5, 5), (100, 9)])
def test_item_36_max_tokens_is_lowered_to_what_the_model_can(max_output: int | None, expected: int) -> None:
    assert asked(replace(OPENAI_COMPATIBLE, max_output=max_output))["max_tokens"] == expected


@pytest.mark.parametrize("facts", [OPENAI_COMPATIBLE, OPENAI_ITSELF, LLAMA_CPP])
def test_item_36_nobody_is_asked_for_more_than_32_bits_hold(facts: UpstreamFacts) -> None:
    body = asked(facts, max_tokens=10**30)
    assert body.get("max_tokens", body.get("max_completion_tokens")) == 2**31 - 1


def test_fields_that_an_upstream_refuses_are_taken_out() -> None:
    facts = replace(OPENAI_COMPATIBLE, strip_fields=(("reasoning_effort",), ("stream_options",)))
    assert not {"reasoning_effort", "stream_options"} & set(asked(facts, output_config={"effort": "low"}))


def test_the_clients_user_is_named_but_not_told() -> None:
    user_id = '{"device_id":"d","account_uuid":"a","session_id":"s"}'
    name = asked(metadata={"user_id": user_id})["user"]
    assert len(name) == 32
    assert name == asked(metadata={"user_id": user_id})["user"] != asked(metadata={"user_id": "other"})["user"]
    assert "user" not in asked(metadata={"user_id": None})


# A model whose template knows no tools.


def test_without_tools_in_the_template_none_are_offered_and_history_is_told_in_words() -> None:
    written = asked(
        LLAMA_CPP, tools=[TOOL], messages=[USER, assistant(text("a"), call(x=1)), user(result(content="r"))]
    )
    assert not {"tools", "tool_choice", "response_format"} & set(written)
    assert written["messages"] == [
        USER,
        {"role": "assistant", "content": 'a\n<tool_call>{"name":"f","input":{"x":1}}</tool_call>'},
        {"role": "user", "content": '<tool_result id="c1">\nr\n</tool_result>'},
    ]


@pytest.mark.parametrize("takes_tools", [False, True])
@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "f"}])
def test_a_call_is_forced_on_llama_cpp_by_a_schema_whatever_its_template_knows(choice: Any, takes_tools: bool) -> None:
    facts = replace(LLAMA_CPP, takes_tools=takes_tools)
    request = made(facts, tools=[TOOL], tool_choice=choice, system="s", thinking={"type": "adaptive"})
    body = msgspec.json.decode(request.body)
    schema = body["response_format"]["json_schema"]["schema"]
    assert schema == {"type": "object", "properties": {"a": {"type": "string", "maxLength": 9}}}
    assert request.terms.called_in_text == ("f",)
    assert not {"tools", "tool_choice"} & set(body)
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    assert body["messages"][0]["content"].startswith("s\n\n")
    assert "does f" in body["messages"][0]["content"]


def test_without_tools_in_the_template_one_of_several_is_named_first() -> None:
    loose = {"type": "object", "properties": {"pattern": {"type": "string", "pattern": "a", "format": "email"}}}
    tools = [TOOL, {"name": "g", "input_schema": {**loose, "$schema": "x", "default": {}}}]
    request = made(LLAMA_CPP, tools=tools, tool_choice={"type": "any"})
    schema = msgspec.json.decode(request.body)["response_format"]["json_schema"]["schema"]
    assert request.terms.called_in_text == ("f", "g")
    assert schema["anyOf"][1]["properties"] == {
        "name": {"const": "g"},
        "input": {"type": "object", "properties": {"pattern": {"type": "string", "maxLength": 9}}},
    }


def test_a_forced_call_fits_in_its_tokens() -> None:
    strings = {"type": "array", "items": {"type": "string"}}
    named = {name: {"type": "string"} for name in ("a", "maxItems")}
    schema = {"type": "object", "properties": {**named, "c": strings, "d": {"type": "string", "enum": ["long" * 9]}}}
    tool = {"name": "f", "input_schema": schema}
    body = asked(LLAMA_CPP, tools=[tool], tool_choice={"type": "any"}, max_tokens=600)
    properties = body["response_format"]["json_schema"]["schema"]["properties"]
    assert properties == {
        "a": {"type": "string", "maxLength": 100},
        "maxItems": {"type": "string", "maxLength": 100},
        "c": {"type": "array", "items": {"type": "string", "maxLength": 100}, "maxItems": 4},
        "d": {"type": "string", "enum": ["long" * 9]},
    }


def test_stop_sequences_do_not_cut_a_forced_call() -> None:
    request = made(LLAMA_CPP, tools=[TOOL], tool_choice={"type": "any"}, stop_sequences=["}", "a"])
    assert "stop" not in msgspec.json.decode(request.body)
    assert request.terms.stop_sequences == ()


@pytest.mark.parametrize(
    ("given", "grammar"),
    [
        ({"type": "number", "minimum": 0.5, "maximum": 3.5}, {"type": "integer", "minimum": 1, "maximum": 3}),
        ({"type": "number", "minimum": 0.1, "maximum": 0.9}, {"enum": [0.1]}),
        ({"type": "string", "maxLength": 10**6}, {"type": "string", "maxLength": 9}),
        ({"type": "object"}, {"type": "object", "properties": {}, "additionalProperties": False}),
        ({}, {"type": "string", "maxLength": 9}),
        (True, {"type": "string", "maxLength": 9}),
        ({"type": "array", "items": {"type": "null"}}, {"type": "array", "items": {"type": "null"}, "maxItems": 4}),
        ({"type": "object", "properties": {"b": {"type": "null"}}, "anyOf": [{"required": ["b"]}, {"required": []}]},
         {"type": "object", "properties": {"b": {"type": "null"}}, "required": ["b"]}),
        ({"type": "object", "properties": {}, "allOf": [{"properties": {"b": {"type": "null"}}, "required": ["b"]}]},
         {"type": "object", "properties": {"b": {"type": "null"}}, "required": ["b"]}),
    ],
)  # fmt: skip
def test_what_a_forced_call_is_held_to(given: Any, grammar: Any) -> None:
    tool = {"name": "f", "input_schema": {"type": "object", "properties": {"a": given}}}
    body = asked(LLAMA_CPP, tools=[tool], tool_choice={"type": "any"})
    assert body["response_format"]["json_schema"]["schema"]["properties"]["a"] == grammar


@pytest.mark.parametrize(
    "bounds",
    [
        {"type": "string", "minLength": 5, "maxLength": 3},
        {"type": "array", "items": {}, "minItems": 5, "maxItems": 3},
        {"type": "integer", "minimum": 5, "maximum": 3},
        {"type": "string", "minLength": 3000},
    ],
)
def test_a_schema_that_nothing_fits_is_refused_before_a_grammar_grows_of_it(bounds: Any) -> None:
    schema = {"type": "object", "properties": {"a": bounds}}
    form = {"format": {"type": "json_schema", "schema": schema}}
    assert refusal(LLAMA_CPP, output_config=form).startswith("output_config.format.schema: min")
    tool = {"name": "f", "input_schema": schema}
    message = refusal(LLAMA_CPP, tools=[tool], tool_choice={"type": "any"})
    assert message.startswith("tools.0.input_schema: min")


DEEP: Any = {"type": "string"}
for _ in range(400):
    DEEP = {"type": "object", "properties": {"a": DEEP}}


@pytest.mark.parametrize("facts", [LLAMA_CPP, replace(LLAMA_CPP, takes_tools=True), OPENAI_COMPATIBLE])
@pytest.mark.parametrize(
    "schema",
    [
        {"allOf": 5},
        {"properties": [1]},
        {"properties": {}, "anyOf": {"a": 1}},
        {"properties": {}, "required": "abc"},
        {"properties": {}, "required": [{}], "additionalProperties": False},
        {"properties": {}, "allOf": [{"properties": 3}]},
        {"properties": {"n": {"type": "number", "minimum": "x", "maximum": "y"}}},
        {"properties": {"n": {"type": "string", "minLength": True}}},
        {"properties": {"n": {"type": "array", "items": {"minItems": "x"}}}},
        {"properties": {"n": {"format": {}}}},
        {"properties": {"n": {"pattern": 5}}},
        {"properties": {"d": DEEP}},
    ],
)
def test_a_schema_that_is_none_is_refused_by_its_place(facts: UpstreamFacts, schema: Any) -> None:
    given = {"type": "object", **schema}
    form = {"format": {"type": "json_schema", "schema": given}}
    assert refusal(facts, output_config=form).startswith("output_config.format.schema: ")
    tools = [TOOL, {"name": "g", "input_schema": given, "strict": True}]
    assert refusal(facts, tools=tools, tool_choice={"type": "any"}).startswith("tools.1.input_schema: ")


def test_values_in_a_schema_are_no_schemas() -> None:
    values = {"properties": 5, "title": "kept", "x": {}}
    schema = {"type": "object", "properties": {"a": {"enum": [values]}, "title": {"const": values}}}
    body = asked(LLAMA_CPP, tools=[{"name": "f", "input_schema": schema}], tool_choice={"type": "any"})
    assert body["response_format"]["json_schema"]["schema"] == schema


def test_with_tools_in_the_template_they_are_offered() -> None:
    facts = replace(LLAMA_CPP, takes_tools=True)
    loop = [USER, assistant(call()), user(result(content="r"))]
    body = asked(facts, tools=[{**TOOL, "input_schema": {**SCHEMA, "$schema": "x"}}], messages=loop)
    assert body["tools"][0]["function"]["parameters"] == SCHEMA
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "tool"]


# The estimate.


@given(st.lists(st.text(max_size=50), min_size=1, max_size=5))
def test_the_estimate_grows_with_the_prompt(texts: list[str]) -> None:
    def estimate(words: list[str]) -> int:
        return made(messages=[{"role": "user", "content": word} for word in words]).terms.prompt_tokens

    assert 1 <= estimate(texts) <= estimate([*texts, "and some more words than there were before"])


def test_images_and_tools_are_estimated_too() -> None:
    plain = made().terms.prompt_tokens
    assert made(messages=[user({"type": "image", "source": PNG})]).terms.prompt_tokens > plain + 1000
    assert made(tools=[TOOL]).terms.prompt_tokens > plain + 10
