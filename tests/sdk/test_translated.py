"""Conformance items 21, 24-42, 52-60 and 74 as users of the SDKs notice them: on all four, with what was recorded.

The upstream answers each request with the recording that its model names; what an SDK makes of it, streamed and unary,
is compared with the fold of the golden file that the same recording has.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ezai.config import Config, OpenAIUpstream, RouteConfig, TargetConfig
from ezai.protocol.anthropic.events import read_event
from ezai.protocol.anthropic.fold import fold
from ezai.protocol.sse import SseDecoder
from ezai.system import SystemClock
from tests.conformance.gateway import STREAM, TICK_S, as_json, hello, serving
from tests.pipeline.fakes import FakeKeys, FakeLedger
from tests.sdk.clients import CLIENTS, PYTHON_OLD, Client
from tests.upstreams.http.scripted import EOF, Script, ScriptedServer, scripted_server

RECORDINGS = Path(__file__).parents[2] / "recordings" / "openai"
REQUESTS = Path(__file__).parents[2] / "recordings" / "requests"
ASKED = {
    "mid-system": "item_21",
    "tool-result-without-content": "item_26",
    "tool-loop": "item_24 item_25 item_26 item_27 item_32",
    "tool-required": "item_28",
    "tools": "item_29",
    "long-tool-names": "item_30",
    "images-and-documents": "item_31",
    "system": "item_33",
    "structured-output": "item_34",
    "many-stop-sequences": "item_35",
    "hosted-tools": "item_37",
    "thinking-budget": "item_55",
    "metadata": "item_13",
    "text": "item_23",
}
"""Requests that the upstream answers with a plain text."""
MAX_OUTPUT = 1000
"""Of the target; most of the requests ask for more."""
ITEMS = {
    "long-tool-name": 30,
    "five-stop-sequences": 35,
    "openai-parallel-tools": 52,
    "empty-arguments": 53,
    "gemini-without-index": 54,
    "gemini-thought-signature": 54,
    "interleaved-tools": 54,
    "kimi-odd-ids": 54,
    "tool-name-in-pieces": 54,
    "vllm-arguments-told-twice": 54,
    "characters-cut-in-two": 52,
    "mistral-content-parts": 58,
    "vllm-reasoning-and-tool": 55,
    "omitted-thinking": 56,
    "deepseek-reasoning-not-asked-for": 57,
    "deepseek-reasoning": 58,
    "openrouter-comments-and-details": 58,
    "think-tags": 58,
    "ollama-tools-at-once": 59,
    "usage-on-every-chunk": 60,
    "no-finish-reason": 60,
    "length-inside-a-call": 52,
    "openai-refusal": 39,
}
BROKEN = "openrouter-error-in-the-middle"
TOO_LONG = "too-long"
OVERFLOW = as_json(
    {"error": {"message": "This model's maximum context length is 4096 tokens. However, your messages resulted in 10031"
               " tokens. Please reduce the length.", "code": "context_length_exceeded"}},
    "400 Bad Request",
)  # fmt: skip
Runs = Callable[[Client], dict[str, Any]]


def request(case: str) -> dict[str, Any]:
    """The recording's own request, under a model that names the recording. The SDKs say `stream` themselves."""
    if case == TOO_LONG:
        return {"model": case, "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    file = REQUESTS / f"{case}.json" if case in ASKED else RECORDINGS / f"{case}.request.json"
    asked: dict[str, Any] = msgspec.json.decode(file.read_bytes())
    return {name: value for name, value in asked.items() if name != "stream"} | {"model": case}


def golden(case: str) -> dict[str, Any]:
    told = (RECORDINGS / f"{case}.told.sse").read_bytes()
    return fold(read_event(frame) for frame in SseDecoder().feed(told))


def body_of(request: bytes) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.json.decode(request.partition(b"\r\n\r\n")[2])
    return body


def playing(upstream: ScriptedServer) -> Script:
    case = body_of(upstream.requests[-1])["model"]
    if case == TOO_LONG:
        return OVERFLOW
    return hello() if case in ASKED else [STREAM + (RECORDINGS / f"{case}.sse").read_bytes(), EOF]


async def _run(client: Client) -> dict[str, Any]:
    async with scripted_server() as upstream:
        upstream.otherwise = lambda: playing(upstream)
        config = Config(
            upstreams=[OpenAIUpstream(name="far", base_url=upstream.url)],
            routes=[RouteConfig(model="*", targets=[TargetConfig(upstream="far", max_output=MAX_OUTPUT)])],
        )
        async with serving(config, FakeKeys(), FakeLedger(), SystemClock(TICK_S)) as served:
            cases = (*ITEMS, *ASKED, BROKEN, TOO_LONG)
            asked = msgspec.json.encode({case: request(case) for case in cases}).decode()
            outcome: dict[str, Any] = await asyncio.to_thread(client.run, "asked", served.url, ASKED=asked)
            for body in map(body_of, upstream.requests):
                outcome[body["model"]].setdefault("upstream_got", []).append(body)
            return outcome


@pytest.fixture(scope="session")
def run_of() -> Runs:
    """One run of each SDK over all recordings, at the first test that asks for it."""

    @cache
    def run(client: Client) -> dict[str, Any]:
        return asyncio.run(_run(client))

    return run


def meant(body: dict[str, Any]) -> dict[str, Any]:
    """A chat request with the arguments of its calls decoded: each SDK has its own white space."""
    body = deepcopy(body)
    for message in body["messages"]:
        for call in message.get("tool_calls", ()):
            call["function"]["arguments"] = msgspec.json.decode(call["function"]["arguments"])
    return body


def plain(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Blocks as every SDK has them: without the nulls and extras that one adds and another does not."""
    kept = {"type", "text", "thinking", "signature", "id", "name", "input"}
    return [{name: value for name, value in block.items() if name in kept} for block in blocks]


def unsigned(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Signatures are made with the key of the gateway."""
    return [{**block, "signature": "signed"} if block.get("signature") else block for block in plain(blocks)]


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
@pytest.mark.parametrize("case", ITEMS, ids=[f"item_{item} {case}" for case, item in ITEMS.items()])
@pytest.mark.parametrize("way", ["streamed", "unary"])
def test_what_the_sdk_makes_of_a_translated_stream(run_of: Runs, client: Client, case: str, way: str) -> None:
    outcome, expected = run_of(client)[case], golden(case)
    assert "error" not in outcome, outcome
    message = outcome[way]
    assert unsigned(message["content"]) == unsigned(expected["content"])
    assert (message["stop_reason"], message["stop_sequence"]) == (expected["stop_reason"], expected["stop_sequence"])
    counts = ["cache_read_input_tokens", "output_tokens"]
    if b"prompt_tokens" in (RECORDINGS / f"{case}.sse").read_bytes():  # else it is estimated, from other white space
        counts.append("input_tokens")
    for count in counts:
        assert message["usage"][count] == expected["usage"][count], count
    assert message["model"] == case


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
@pytest.mark.parametrize("case", ITEMS)
def test_what_the_sdk_says_on_the_way(run_of: Runs, client: Client, case: str) -> None:
    outcome, content = run_of(client)[case], golden(case)["content"]
    assert "".join(outcome["text"]) == "".join(block.get("text", "") for block in content)
    assert "".join(outcome["thinking"]) == "".join(block.get("thinking", "") for block in content)


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
@pytest.mark.parametrize("case", ASKED, ids=[f"{items} {case}" for case, items in ASKED.items()])
def test_what_the_sdk_asks_is_asked_and_answered(run_of: Runs, client: Client, case: str) -> None:
    outcome = run_of(client)[case]
    assert "error" not in outcome, outcome
    for way in ("streamed", "unary"):
        assert [block["text"] for block in outcome[way]["content"]] == ["Hello"]
        assert outcome[way]["stop_reason"] == "end_turn"
    expected = meant(msgspec.json.decode((REQUESTS / "openai-compatible" / f"{case}.json").read_bytes()))
    lowered = {"model": case, "max_tokens": min(MAX_OUTPUT, expected["max_tokens"])}
    assert [*map(meant, outcome["upstream_got"])] == [expected | lowered] * 2, "streamed and unary"


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_item_36_the_upstream_is_asked_for_as_much_as_it_can(run_of: Runs, client: Client) -> None:
    assert request("thinking-budget")["max_tokens"] > MAX_OUTPUT
    assert [body["max_tokens"] for body in run_of(client)["thinking-budget"]["upstream_got"]] == [MAX_OUTPUT] * 2


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_item_38_the_sdk_counts_any_prompt_and_nothing_is_generated(run_of: Runs, client: Client) -> None:
    counted = {case: run_of(client)[case]["counted"] for case in ASKED}
    assert counted["images-and-documents"] > counted["tools"] > counted["text"] > 0
    assert all(len(run_of(client)[case]["upstream_got"]) == 2 for case in ASKED)
    assert counted == {case: run_of(CLIENTS[0])[case]["counted"] for case in ASKED}


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_item_41_input_and_cache_are_the_prompt(run_of: Runs, client: Client) -> None:
    recorded = (RECORDINGS / "openai-parallel-tools.sse").read_bytes()
    (told,) = re.findall(rb'"prompt_tokens": ?([0-9]+)', recorded)
    for way in ("streamed", "unary"):
        usage = run_of(client)["openai-parallel-tools"][way]["usage"]
        assert usage["cache_read_input_tokens"] > 0
        assert usage["input_tokens"] + usage["cache_read_input_tokens"] == int(told)


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
@pytest.mark.parametrize("way", ["error", "unary_error"])
def test_item_42_item_74_a_prompt_that_does_not_fit_is_raised(run_of: Runs, client: Client, way: str) -> None:
    error = run_of(client)[TOO_LONG][way]
    assert (error["status"], error["class"]) == (400, "BadRequestError")
    assert error["body"]["error"]["type"] == "invalid_request_error"
    assert error["body"]["error"]["message"] == "prompt is too long: 10031 tokens > 4096 maximum"


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_item_42_an_error_inside_the_stream_reaches_the_user(run_of: Runs, client: Client) -> None:
    outcome = run_of(client)[BROKEN]
    assert (outcome["unary_error"]["status"], outcome["unary_error"]["class"]) == (502, "InternalServerError")
    assert "".join(outcome["text"]) == "Col"
    assert "Provider disconnected" in str(outcome["error"])
    assert client is PYTHON_OLD or "upstream_error" in str(outcome["error"])
