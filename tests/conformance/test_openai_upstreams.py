"""Conformance items 13, 22, 38: betas and fields that an OpenAI-compatible upstream does not know, and counts."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest

from ezai.config import OpenAIUpstream
from ezai.protocol.anthropic.requests import LARGE_BYTES
from tests.conformance.gateway import Options, as_json, gateway, hello, run

PNG = {"type": "base64", "media_type": "image/png", "data": "aGk="}
TOOL = {"name": "f", "description": "does f", "input_schema": {"type": "object", "properties": {}}}
ESTIMATED = Options(upstream=lambda url: OpenAIUpstream(name="local", base_url=url))
UNKNOWN: dict[str, Any] = {
    "context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]},
    "diagnostics": {"of": "unknown-field"},
    "speed": "fast",
    "thread": None,
    "unknown-field": [1.5, {"deep": "unknown-field"}],
}
"""Outermost fields that are no part of what is translated."""
PROMPTS: dict[str, dict[str, Any]] = {
    "text": {},
    "tools": {"tools": [TOOL]},
    "image": {"messages": [{"role": "user", "content": [{"type": "image", "source": PNG}]}]},
    "large": {"system": "words " * (LARGE_BYTES // 5)},
}


@pytest.mark.parametrize("prompt", PROMPTS)
def test_item_38_an_estimate_is_marked_and_asks_nobody(prompt: str) -> None:
    async def test() -> None:
        async with gateway(options=ESTIMATED) as running:
            answers = [
                await running.post("/v1/messages/count_tokens", max_tokens=..., **PROMPTS[prompt]) for _ in range(2)
            ]
            assert [answer.status_code for answer in answers] == [200, 200]
            assert answers[0].json() == answers[1].json()
            assert list(answers[0].json()) == ["input_tokens"]
            assert answers[0].json()["input_tokens"] > 0
            assert answers[0].headers["x-ezai-estimate"] == "true"
            assert not running.upstream.requests

    run(test())


def test_item_38_an_exact_count_is_not_marked() -> None:
    async def test() -> None:
        async with gateway(as_json({"input_tokens": 7, "object": "x"})) as running:
            answer = await running.post("/v1/messages/count_tokens", max_tokens=...)
            assert answer.json() == {"input_tokens": 7}
            assert "x-ezai-estimate" not in answer.headers

    run(test())


def test_item_38_the_sdk_gets_its_number() -> None:
    async def test() -> None:
        async with (
            gateway(options=ESTIMATED) as running,
            anthropic.AsyncAnthropic(base_url=running.url, api_key="k") as client,
        ):
            counted = await client.messages.count_tokens(model="claude-x", messages=[{"role": "user", "content": "Hi"}])
            assert counted.input_tokens > 0

    run(test())


def test_item_38_what_cannot_be_asked_cannot_be_counted() -> None:
    async def test() -> None:
        async with gateway(options=ESTIMATED) as running:
            answer = await running.post("/v1/messages/count_tokens", max_tokens=..., tools=[{"name": "a b"}])
            assert (answer.status_code, answer.json()["error"]["message"].partition(":")[0]) == (400, "tools.0.name")

    run(test())


@pytest.mark.parametrize("options", [ESTIMATED, Options()], ids=["openai", "llama.cpp"])
def test_item_13_a_beta_that_nobody_knows_is_no_error(options: Options) -> None:
    async def test() -> None:
        async with gateway(hello(), options=options) as running:
            betas = {"anthropic-beta": "sonata-2031-01-01,,context-1m-2025-08-07 , x y"}
            assert (await running.post(headers=betas)).status_code == 200
            assert b"anthropic-beta" not in running.upstream.requests[0].lower()

    run(test())


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("options", [ESTIMATED, Options()], ids=["openai", "llama.cpp"])
def test_item_22_unknown_fields_are_no_error_and_stay_here(options: Options, stream: bool) -> None:
    async def test() -> None:
        async with gateway(hello(), hello(), options=options) as running:
            for fields in ({}, UNKNOWN):
                assert (await running.post(stream=stream, **fields)).status_code == 200
            assert running.asked(0)["messages"]
            assert running.asked(0) == running.asked(1)
            assert not [name for name in UNKNOWN if name.encode() in running.upstream.requests[1]]

    run(test())


def test_item_22_unknown_fields_change_no_count() -> None:
    async def test() -> None:
        async with gateway(options=ESTIMATED) as running:
            plain, odd = [
                await running.post("/v1/messages/count_tokens", max_tokens=..., **fields) for fields in ({}, UNKNOWN)
            ]
            assert (plain.status_code, odd.status_code) == (200, 200)
            assert plain.json() == odd.json()

    run(test())
