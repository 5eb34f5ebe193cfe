"""Any conversation with tools and images survives the way to Chat Completions: read back, it is what it was."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from ezai.protocol.anthropic.requests import read_request
from ezai.translate.anthropic_openai import AnthropicToOpenAI
from ezai.translate.base import OPENAI_COMPATIBLE

Turn = tuple[str, Any]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), min_size=1, max_size=12)
NAMES = st.from_regex(r"\A[A-Za-z0-9_-]{1,128}\Z")
IMAGES = st.binary(min_size=1, max_size=6).map(
    lambda data: "data:image/png;base64," + msgspec.json.encode(data).decode()[1:-1]
)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[list[str], list[Turn]]:
    """Tools, and turns: what each said, with calls and their results in any order, all answered."""
    tools = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
    turns: list[Turn] = []
    calls: list[str] = []
    for number in range(draw(st.integers(1, 4))):
        results = [(call_id, draw(WORDS)) for call_id in draw(st.permutations(calls))]
        said = draw(st.lists(st.tuples(st.just("text"), WORDS) | st.tuples(st.just("image"), IMAGES), max_size=3))
        turns.append(("user", (results, said if said or results else [("text", "Hi")])))
        names = draw(st.lists(st.sampled_from(tools), max_size=3))
        calls = [f"c{number}_{place}" for place in range(len(names))]
        made = [
            (call_id, name, draw(st.dictionaries(WORDS, JSON, max_size=3)))
            for call_id, name in zip(calls, names, strict=True)
        ]
        turns.append(("assistant", (draw(WORDS), made)))
    return tools, [*turns, ("user", ([(call_id, "done") for call_id in calls], [("text", "Go on.")]))]


def written(turn: Turn) -> dict[str, Any]:
    role, (first, second) = turn
    if role == "user":
        blocks = [{"type": "tool_result", "tool_use_id": call_id, "content": text} for call_id, text in first]
        return {"role": role, "content": [*blocks, *map(_said, second)]}
    calls = [{"type": "tool_use", "id": call_id, "name": name, "input": given} for call_id, name, given in second]
    return {"role": role, "content": [{"type": "text", "text": first}, *calls]}


def _said(said: tuple[str, str]) -> dict[str, Any]:
    kind, value = said
    if kind == "text":
        return {"type": "text", "text": value}
    return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": value.partition(",")[2]}}


def read_back(messages: list[dict[str, Any]], names: dict[str, str]) -> list[Turn]:
    """Chat messages as turns."""
    turns: list[Turn] = []
    for message in messages:
        if message["role"] == "assistant":
            functions = [(call["id"], call["function"]) for call in message.get("tool_calls", [])]
            calls = [
                (call_id, names.get(made["name"], made["name"]), msgspec.json.decode(made["arguments"]))
                for call_id, made in functions
            ]
            turns.append(("assistant", (message["content"], calls)))
            continue
        if not turns or turns[-1][0] != "user":
            turns.append(("user", ([], [])))
        if message["role"] == "tool":
            turns[-1][1][0].append((message["tool_call_id"], message["content"]))
        else:
            turns[-1][1][1].extend(_parts(message["content"]))
    return turns


def _parts(content: Any) -> list[tuple[str, str]]:
    if isinstance(content, str):
        return [("text", text) for text in content.split("\n\n")]
    return [
        ("text", part["text"]) if part["type"] == "text" else ("image", part["image_url"]["url"]) for part in content
    ]


@given(conversations())
def test_text_names_ids_inputs_images_and_order_are_kept(conversation: tuple[list[str], list[Turn]]) -> None:
    tools, turns = conversation
    body = {
        "model": "m",
        "max_tokens": 9,
        "messages": [written(turn) for turn in turns],
        "tools": [{"name": name, "input_schema": {"type": "object"}} for name in tools],
    }
    asked = AnthropicToOpenAI("up", OPENAI_COMPATIBLE).request(read_request(msgspec.json.encode(body)))
    chat = msgspec.json.decode(asked.body)
    assert read_back(chat["messages"], dict(asked.terms.tool_names)) == turns
    offered = [tool["function"]["name"] for tool in chat["tools"]]
    assert [asked.terms.tool_names.get(name, name) for name in offered] == tools
