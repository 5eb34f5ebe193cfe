"""Conformance items 70, 72, 73 and 76: what an SDK sees of targets that fail, and of a gateway that is full."""

from __future__ import annotations

from typing import Any

import anthropic
import msgspec
import pytest
from anthropic import AsyncAnthropic

from ezai.config import AnthropicUpstream, LimitsConfig, OpenAIUpstream, TimeoutsConfig, UpstreamConfig
from ezai.errors import RateLimited
from tests.canary import CLIENT_KEY, UPSTREAM_KEY
from tests.conformance.gateway import STREAM, Options, Running, as_json, gateway, hello, run, streamed
from tests.conformance.test_tap import ANSWER
from tests.pipeline.fakes import chunk
from tests.pipeline.test_dialogues import CLOSE, DELTA, HI, OPEN, START, STOP
from tests.raw_client import head, raw_client
from tests.raw_client import request as raw_request
from tests.upstreams.http.scripted import EOF, HOLD, RESET, Script

KINDS = ("anthropic", "openai")
ASKED: dict[str, Any] = {
    "model": "claude-test",
    "max_tokens": 50,
    "messages": [{"role": "user", "content": "Hi"}],
}
FAILURES: dict[str, Script] = {
    "503": as_json({"error": {"message": "Busy"}}, "503 Service Unavailable"),
    "500": as_json({"error": {"message": "Oh"}}, "500 Internal Server Error"),
    "429": as_json({"error": {"message": "Slow down"}}, "429 Too Many Requests"),
    "401": as_json({"error": {"message": "No"}}, "401 Unauthorized"),
    "a page": [b"HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>"],
    "a hang-up": [EOF],
    "a reset": [RESET],
    "headers alone": [STREAM, EOF],
    "no HTTP": [b"SMTP ready\r\n\r\n"],
    "an error first": streamed(
        b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Busy"}}\n\n'
    ),
    "silence": [HOLD],
}


def kind(name: str, url: str, chosen: str) -> UpstreamConfig:
    made = AnthropicUpstream if chosen == "anthropic" else OpenAIUpstream
    # Long for a busy machine, and short for the silent one among the failures.
    return made(name=name, base_url=url, api_key=UPSTREAM_KEY, timeouts=TimeoutsConfig(response_headers=0.6))


def options(first: str, then: str | None = None, **fields: Any) -> Options:
    return Options(
        upstream=lambda url: kind("local", url, first),
        next_upstream=None if then is None else lambda url: kind("next", url, then),
        **fields,
    )


def whole(chosen: str, *, stream: bool = True) -> Script:
    """A small answer on that wire."""
    if chosen == "openai":
        return hello("Hi")
    return streamed(START, OPEN, HI, CLOSE, DELTA, STOP) if stream else as_json(ANSWER)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """For how long the SDK would have waited between its attempts; it does not."""
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr("anthropic._base_client.anyio.sleep", sleep)
    return waited


def sdk(running: Running, **fields: Any) -> AsyncAnthropic:
    return AsyncAnthropic(base_url=running.url, api_key=CLIENT_KEY, **fields)


# Item 70.


@pytest.mark.parametrize("then", KINDS)
@pytest.mark.parametrize("first", KINDS)
@pytest.mark.parametrize("failure", FAILURES)
def test_item_70_failover_before_the_first_event_is_not_seen(failure: str, first: str, then: str) -> None:
    async def test() -> None:
        async with (
            gateway(FAILURES[failure], whole(then), options=options(first, then)) as running,
            sdk(running, max_retries=0) as client,
            client.messages.stream(**ASKED) as stream,
        ):
            events = [event.type async for event in stream]
            message = await stream.get_final_message()
            assert events.count("message_start") == events.count("message_stop") == 1
            assert [(block.type, getattr(block, "text", None)) for block in message.content] == [("text", "Hi")]
            assert message.stop_reason == "end_turn"
            assert (stream.response.headers["x-ezai-upstream"], stream.response.headers["x-ezai-attempts"]) == (
                "next", "2",
            )  # fmt: skip
            await running.until_idle()
            assert len(running.upstream.requests) == 2

    run(test())


@pytest.mark.parametrize("then", KINDS)
@pytest.mark.parametrize("first", KINDS)
@pytest.mark.parametrize("failure", sorted(set(FAILURES) - {"an error first", "headers alone", "silence"}))
def test_item_70_nor_in_a_unary_answer(failure: str, first: str, then: str) -> None:
    async def test() -> None:
        answer = whole(then, stream=False)
        async with (
            gateway(FAILURES[failure], answer, options=options(first, then)) as running,
            sdk(running, max_retries=0) as client,
        ):
            message = await client.messages.create(**ASKED)
            assert [block.type for block in message.content] == ["text"]
            assert len(running.upstream.requests) == 2

    run(test())


@pytest.mark.parametrize("then", KINDS)
@pytest.mark.parametrize("first", KINDS)
def test_item_70_nor_behind_the_200(first: str, then: str) -> None:
    """Pings, and then one answer."""

    async def test() -> None:
        chosen = options(first, then, limits=LimitsConfig(commit_after=0.02, keep_alive=0.02))
        async with gateway(FAILURES["silence"], whole(then), options=chosen) as running:
            told = [event["type"] for event in await running.events()]
            assert told[0] == "ping"
            assert [item for item in told if item != "ping"][0::5] == ["message_start", "message_stop"]
            assert told.count("message_start") == 1

    run(test())


@pytest.mark.parametrize("first", KINDS)
def test_the_same_upstream_again_is_not_seen_either(first: str) -> None:
    async def test() -> None:
        chosen = options(first, max_retries=1)
        async with (
            gateway(FAILURES["503"], whole(first), options=chosen) as running,
            sdk(running, max_retries=0) as client,
            client.messages.stream(**ASKED) as stream,
        ):
            assert (await stream.get_final_message()).content
            assert stream.response.headers["x-ezai-attempts"] == "2"

    run(test())


# Item 72.


def rate_limited(retry_after_s: int) -> Script:
    return as_json({"error": {"message": "Slow down"}}, f"429 Too Many Requests\r\nretry-after: {retry_after_s}")


@pytest.mark.parametrize("first", KINDS)
@pytest.mark.parametrize("stream", [True, False])
def test_item_72_a_429_has_a_retry_after_that_the_sdk_obeys(first: str, waits: list[float], stream: bool) -> None:
    """An upstream's own, once it is for the client to decide upon."""

    async def test() -> None:
        limited = rate_limited(3)
        async with (
            gateway(limited, limited, whole(first, stream=stream), options=options(first)) as running,
            sdk(running, max_retries=2) as client,
        ):
            await asks(client, stream=stream)
            assert waits == [3, 3]

    run(test())


@pytest.mark.parametrize("stream", [True, False])
def test_item_72_the_gateways_own_429_is_one_that_the_sdk_retries(
    waits: list[float], stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = [RateLimited("The key's limit of requests per minute is reached.", retry_after_s=2)]

    def check(*_: object) -> None:
        if limits:
            raise limits.pop()

    async def test() -> None:
        async with gateway(whole("openai"), whole("openai")) as running, sdk(running, max_retries=1) as client:
            monkeypatch.setattr("ezai.pipeline.dispatch.check_model", check)
            refused = await running.post(stream=stream)
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "2")
            assert refused.json()["error"]["type"] == "rate_limit_error"
            limits.append(RateLimited("The key's limit of requests per minute is reached.", retry_after_s=2))
            await asks(client, stream=stream)
            assert (waits, len(running.upstream.requests)) == ([2], 1)

    run(test())


async def asks(client: AsyncAnthropic, *, stream: bool) -> None:
    if stream:
        async with client.messages.stream(**ASKED) as answer:
            assert (await answer.get_final_message()).content
    else:
        assert (await client.messages.create(**ASKED)).content


# Item 73.


@pytest.mark.parametrize("first", KINDS)
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden"])
def test_item_73_a_credential_that_fails_for_good_is_asked_once(
    status: str, stream: bool, first: str, waits: list[float]
) -> None:
    async def test() -> None:
        refused = as_json({"type": "error", "error": {"type": "authentication_error", "message": "no"}}, status)
        async with (
            gateway(*[refused] * 5, options=options(first, max_retries=2)) as running,
            sdk(running, max_retries=2) as client,
        ):
            with pytest.raises(anthropic.InternalServerError) as caught:
                await asks(client, stream=stream)
            assert (caught.value.status_code, caught.value.response.headers["x-should-retry"]) == (502, "false")
            assert (len(running.upstream.requests), waits) == (1, []), "neither here nor by the SDK"

    run(test())


@pytest.mark.parametrize("first", KINDS)
def test_item_73_but_another_target_may_have_a_better_one(first: str) -> None:
    async def test() -> None:
        scripts = FAILURES["401"], whole("openai")
        async with gateway(*scripts, options=options(first, "openai")) as running, sdk(running) as client:
            await asks(client, stream=True)

    run(test())


# Item 76.


@pytest.mark.parametrize("first", KINDS)
@pytest.mark.parametrize("stream", [True, False])
def test_item_76_over_capacity_is_an_overloaded_error(first: str, stream: bool) -> None:
    async def test() -> None:
        chosen = options(first, limits=LimitsConfig(streams=1))
        script: Script = [BEGUN[first], HOLD]
        async with (
            gateway(script, options=chosen) as running,
            raw_client(running.url) as held,
            sdk(running, max_retries=0) as client,
        ):
            held.send(raw_request(stream=True))
            await held.until(b"message_start")
            with pytest.raises(anthropic.OverloadedError) as caught:
                await asks(client, stream=stream)
            assert is_overloaded(caught.value, "overloaded")

    run(test())


BEGUN = {"anthropic": STREAM + START, "openai": STREAM + chunk()}


@pytest.mark.parametrize("first", KINDS)
@pytest.mark.parametrize("stream", [True, False])
def test_item_76_so_is_an_upstream_that_is_over_its_own(first: str, stream: bool, waits: list[float]) -> None:
    """The SDK asks again, and is answered once there is room."""

    async def test() -> None:
        busy = {"type": "error", "error": {"type": "overloaded_error", "message": "Busy"}}
        full = as_json(busy, "529 Overloaded")
        async with gateway(full, full, whole(first, stream=stream), options=options(first)) as running:
            async with sdk(running, max_retries=0) as client:
                with pytest.raises(anthropic.OverloadedError):
                    await asks(client, stream=stream)
            async with sdk(running, max_retries=1) as client:
                await asks(client, stream=stream)
            assert len(waits) == 1

    run(test())


@pytest.mark.parametrize("stream", [True, False])
def test_item_76_so_is_a_route_of_which_every_target_is_out(stream: bool) -> None:
    async def test() -> None:
        limited = rate_limited(50)
        async with (
            gateway(limited, limited, options=options("anthropic", "openai")) as running,
            sdk(running, max_retries=0) as client,
        ):
            with pytest.raises(anthropic.RateLimitError):
                await asks(client, stream=stream)
            with pytest.raises(anthropic.OverloadedError) as caught:
                await asks(client, stream=stream)
            assert is_overloaded(caught.value, "no_target_ready")
            assert len(running.upstream.requests) == 2

    run(test())


def is_overloaded(error: anthropic.OverloadedError, code: str) -> bool:
    told = msgspec.json.decode(error.response.content)["error"]
    is_told = (told["type"], told["details"]["error_code"]) == ("overloaded_error", code)
    return is_told and int(error.response.headers["retry-after"]) in range(1, 61)


# count_tokens.

COUNTED = as_json({"input_tokens": 7})


@pytest.mark.parametrize("failure", ["503", "500", "429", "401", "a page", "a hang-up", "a reset", "no HTTP"])
def test_a_count_comes_from_whoever_can_give_one(failure: str) -> None:
    async def test() -> None:
        async with gateway(FAILURES[failure], COUNTED, options=options("anthropic", "anthropic")) as running:
            answer = await running.post("/v1/messages/count_tokens", max_tokens=...)
            assert answer.json() == {"input_tokens": 7}
            assert "x-ezai-estimate" not in answer.headers
            assert len(running.upstream.requests) == 2

    run(test())


def test_a_count_of_a_target_that_cannot_count_is_an_estimate_that_says_so() -> None:
    async def test() -> None:
        async with gateway(FAILURES["500"], options=options("anthropic", "openai")) as running:
            answer = await running.post("/v1/messages/count_tokens", max_tokens=...)
            assert answer.json()["input_tokens"] > 0
            assert answer.headers["x-ezai-estimate"] == "true"

    run(test())


def test_a_count_is_asked_again_of_the_same_upstream_too() -> None:
    async def test() -> None:
        async with gateway(FAILURES["503"], COUNTED, options=options("anthropic", max_retries=1)) as running:
            assert (await running.post("/v1/messages/count_tokens", max_tokens=...)).json() == {"input_tokens": 7}

    run(test())


@pytest.mark.parametrize("status", ["400 Bad Request", "404 Not Found", "413 Too Large"])
def test_a_count_that_is_refused_for_the_clients_fault_is_refused(status: str) -> None:
    async def test() -> None:
        refused = as_json({"type": "error", "error": {"type": "invalid_request_error", "message": "no"}}, status)
        async with gateway(refused, options=options("anthropic", "anthropic")) as running:
            assert (await running.post("/v1/messages/count_tokens", max_tokens=...)).status_code == int(status[:3])
            assert len(running.upstream.requests) == 1

    run(test())


def test_counts_that_fail_say_nothing_of_how_a_target_answers() -> None:
    """Ten of them open no breaker, and one that succeeds forgets no failure."""

    async def test() -> None:
        scripts = [script for _ in range(10) for script in (FAILURES["500"], COUNTED)]
        async with gateway(*scripts, whole("anthropic"), options=options("anthropic", "anthropic")) as running:
            for _ in range(10):
                await running.post("/v1/messages/count_tokens", max_tokens=...)
            answer = await running.post(stream=True)
            assert (answer.headers["x-ezai-upstream"], answer.headers["x-ezai-attempts"]) == ("local", "1")

    run(test())


def test_a_count_passes_over_a_target_that_is_out() -> None:
    async def test() -> None:
        scripts = [script for _ in range(5) for script in (FAILURES["500"], whole("anthropic"))]
        async with gateway(*scripts, COUNTED, options=options("anthropic", "anthropic")) as running:
            for _ in range(5):
                await running.post(stream=True)
            await running.post("/v1/messages/count_tokens", max_tokens=...)
            assert len(running.upstream.requests) == 11

    run(test())


def test_leaving_stops_a_count() -> None:
    async def test() -> None:
        async with gateway(FAILURES["500"], [HOLD], options=options("anthropic", "anthropic")) as running:
            async with raw_client(running.url) as client:
                body = msgspec.json.encode({name: ASKED[name] for name in ("model", "messages")})
                client.send(head(f"content-length: {len(body)}", path="/v1/messages/count_tokens") + body)
                await running.upstream.until(lambda: len(running.upstream.requests) == 2)
            await running.upstream.until(lambda: running.upstream.peers[-1].lost)
            await running.until_idle()

    run(test())
