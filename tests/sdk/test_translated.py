"""Conformance items 21, 24-37 and 52-60 as users of the SDKs notice them: on all four, with what was recorded.

The upstream answers each request with the recording that its model names; what an SDK makes of it, streamed and unary,
is compared with the fold of the golden file that the same recording has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
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
from tests.conformance.gateway import STREAM, TICK_S, hello, serving
from tests.pipeline.fakes import FakeKeys, FakeLedger
from tests.sdk.clients import CLIENTS, PYTHON_OLD, Client
from tests.upstreams.http.scripted import EOF, Script, ScriptedServer, scripted_server

RECORDINGS = Path(__file__).parents[2] / "recordings" / "openai"
REQUESTS = Path(__file__).parents[2] / "recordings" / "requests"
ASKED = {
    "mid-system": 21,
    "tool-result-without-content": 26,
    "tool-loop": 27,
    "tool-required": 28,
    "tools": 29,
    "long-tool-names": 30,
    "images-and-documents": 31,
    "system": 33,
    "structured-output": 34,
    "many-stop-sequences": 35,
    "hosted-tools": 37,
    "thinking-budget": 55,
    "metadata": 13,
    "text": 23,
}
"""Requests that the upstream answers with a plain text."""
ITEMS = {
    "long-tool-name": 30,
    "five-stop-sequences": 35,
    "openai-parallel-tools": 52,
    "empty-arguments": 53,
    "gemini-without-index": 54,
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
Runs = Callable[[Client], dict[str, Any]]


def request(case: str) -> dict[str, Any]:
    """The recording's own request, under a model that names the recording. The SDKs say `stream` themselves."""
    file = REQUESTS / f"{case}.json" if case in ASKED else RECORDINGS / f"{case}.request.json"
    asked: dict[str, Any] = msgspec.json.decode(file.read_bytes())
    return {name: value for name, value in asked.items() if name != "stream"} | {"model": case}


def golden(case: str) -> dict[str, Any]:
    told = (RECORDINGS / f"{case}.told.sse").read_bytes()
    return fold(read_event(frame) for frame in SseDecoder().feed(told))


def playing(upstream: ScriptedServer) -> Script:
    asked = msgspec.json.decode(upstream.requests[-1].partition(b"\r\n\r\n")[2])
    if asked["model"] in ASKED:
        return hello()
    return [STREAM + (RECORDINGS / f"{asked['model']}.sse").read_bytes(), EOF]


async def _run(client: Client) -> dict[str, Any]:
    async with scripted_server() as upstream:
        upstream.otherwise = lambda: playing(upstream)
        config = Config(
            upstreams=[OpenAIUpstream(name="far", base_url=upstream.url)],
            routes=[RouteConfig(model="*", targets=[TargetConfig(upstream="far")])],
        )
        async with serving(config, FakeKeys(), FakeLedger(), SystemClock(TICK_S)) as served:
            asked = msgspec.json.encode({case: request(case) for case in (*ITEMS, *ASKED, BROKEN)}).decode()
            outcome: dict[str, Any] = await asyncio.to_thread(client.run, "asked", served.url, ASKED=asked)
            return outcome


@pytest.fixture(scope="session")
def run_of() -> Runs:
    """One run of each SDK over all recordings, at the first test that asks for it."""

    @cache
    def run(client: Client) -> dict[str, Any]:
        return asyncio.run(_run(client))

    return run


def plain(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Blocks as every SDK has them: without the nulls and extras that one adds and another does not."""
    kept = {"type", "text", "thinking", "signature", "id", "name", "input"}
    return [{name: value for name, value in block.items() if name in kept} for block in blocks]


def unsigned(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Signatures are made with the key of the gateway."""
    return [{**block, "signature": "signed"} if block.get("signature") else block for block in plain(blocks)]


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
@pytest.mark.parametrize("case", ITEMS, ids=[f"item {item} {case}" for case, item in ITEMS.items()])
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
@pytest.mark.parametrize("case", ASKED, ids=[f"item {item} {case}" for case, item in ASKED.items()])
def test_what_the_sdk_asks_is_answered(run_of: Runs, client: Client, case: str) -> None:
    outcome = run_of(client)[case]
    assert "error" not in outcome, outcome
    for way in ("streamed", "unary"):
        assert [block["text"] for block in outcome[way]["content"]] == ["Hello"]
        assert outcome[way]["stop_reason"] == "end_turn"


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_an_error_inside_the_stream_reaches_the_user(run_of: Runs, client: Client) -> None:
    outcome = run_of(client)[BROKEN]
    assert "".join(outcome["text"]) == "Col"
    assert "Provider disconnected" in str(outcome["error"])
    assert client is PYTHON_OLD or "upstream_error" in str(outcome["error"])
