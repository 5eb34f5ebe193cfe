"""Conformance items 39-51, 61, 62: whole messages and streams."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from anthropic import Anthropic, AsyncAnthropic

from ezai.config import LimitsConfig
from ezai.ports import Timeouts
from ezai.protocol.anthropic.events import read_event
from ezai.protocol.anthropic.order import StreamState
from ezai.protocol.sse import SseDecoder, encode_frame
from tests.canary import CLIENT_KEY
from tests.conformance.gateway import STREAM, Options, as_json, decoded, gateway, hello, request, run, streamed
from tests.pipeline.fakes import DONE, Dialogue, chunk, usage_chunk
from tests.upstreams.http.scripted import EOF, HOLD

MESSAGE_KEYS: dict[str, Any] = {
    "id": str, "type": str, "role": str, "model": str, "content": list, "stop_reason": str,
    "stop_sequence": (str, type(None)), "stop_details": (dict, type(None)), "container": (dict, type(None)),
    "diagnostics": (dict, type(None)), "usage": dict,
}  # fmt: skip
USAGE_KEYS = {
    "input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "cache_creation", "output_tokens",
    "output_tokens_details", "server_tool_use", "service_tier", "inference_geo", "speed",
}  # fmt: skip

SHAPES: dict[str, list[bytes]] = {
    "text": [chunk(), chunk("Hel"), chunk("lo"), chunk(finish="stop"), usage_chunk(12, 3, cached=4), DONE],
    "empty": [chunk(), chunk(finish="stop"), usage_chunk(12, 0), DONE],
    "cut by max_tokens": [chunk(), chunk("Hel"), chunk(finish="length"), usage_chunk(12, 1), DONE],
    "all at once": [chunk("Hello", finish="stop", usage={"prompt_tokens": 12, "completion_tokens": 3}), DONE],
    "no usage": [chunk("Hello"), chunk(finish="stop"), DONE],
}
each_shape = pytest.mark.parametrize("shape", SHAPES)


def events_of(shape: str) -> list[dict[str, Any]]:
    async def test() -> list[dict[str, Any]]:
        async with gateway(streamed(*SHAPES[shape])) as running:
            return await running.events()

    return run(test())


@each_shape
def test_item_39_a_message_has_every_key(shape: str) -> None:
    async def test() -> None:
        async with gateway(streamed(*SHAPES[shape])) as running:
            message = (await running.post()).json()
            assert set(message) == set(MESSAGE_KEYS)
            for key, kind in MESSAGE_KEYS.items():
                assert isinstance(message[key], kind), key
            assert set(message["usage"]) == USAGE_KEYS
            assert (message["type"], message["role"], message["model"]) == ("message", "assistant", "claude-test")
            assert message["id"].startswith("msg_")

    run(test())


def test_item_40_the_sdk_gets_usable_objects() -> None:
    async def test() -> None:
        async with gateway(hello()) as running:
            async with AsyncAnthropic(base_url=running.url, api_key=CLIENT_KEY) as client:
                message = await client.messages.create(
                    model="claude-test", max_tokens=5, messages=[{"role": "user", "content": "Hi"}]
                )
            assert message.content[0].type == "text"
            assert message.content[0].text == "Hello"
            assert (message._request_id or "").startswith("req_")

    run(test())


@pytest.mark.parametrize("shape", ["text", "all at once"])
def test_item_41_input_excludes_what_was_cached(shape: str) -> None:
    async def test() -> None:
        async with gateway(streamed(*SHAPES[shape])) as running:
            usage = (await running.post()).json()["usage"]
            parts = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
            assert sum(usage[part] for part in parts) == 12
            assert usage["cache_read_input_tokens"] == (4 if shape == "text" else 0)

    run(test())


@pytest.mark.parametrize(
    "script",
    [
        as_json({"error": {"message": "x"}}, "500 Internal Server Error"),
        as_json({"error": {"message": "x"}}),
        streamed(b'data: {"error":{"message":"x"}}\n\n'),
        streamed(),
        streamed(chunk("a")),
        [b"not http at all\r\n\r\n", EOF],
        [EOF],
    ],
    ids=["500", "200 JSON error", "error first", "empty", "cut", "garbage", "hung up"],
)
def test_item_42_an_error_is_never_a_200(script: list[Any]) -> None:
    async def test() -> None:
        async with gateway(script) as running:
            response = await running.post()
            assert response.status_code == 502
            assert response.json()["type"] == "error"

    run(test())


def test_item_43_a_long_unary_answer_is_not_cut() -> None:
    with Dialogue(stream=False, max_tokens=128_000, timeouts=Timeouts()) as talk:
        talk.passes(250)
        talk.upstream_answers()
        for _ in range(20):
            talk.passes(100)
            talk.upstream_says(chunk("word "))
        talk.upstream_says(chunk(finish="stop"), DONE)
        assert talk.client_gets_json(200)["content"][0]["text"] == "word " * 20


def test_item_44_each_event_goes_out_at_once() -> None:
    """The upstream says the next piece only when the client has read the last one."""

    async def test() -> None:
        pieces = [chunk("one"), chunk("two"), chunk("three")]
        script: list[Any] = [STREAM]
        for piece in pieces:
            script += [piece, HOLD]
        async with (
            gateway([*script, chunk(finish="stop") + DONE, EOF]) as running,
            running.http.stream("POST", "/v1/messages", json=request(stream=True)) as response,
        ):
            assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
            assert response.headers["cache-control"] == "no-cache"
            assert response.headers["x-accel-buffering"] == "no"
            seen: list[dict[str, Any]] = []
            texts: list[str] = []
            decoder = SseDecoder()
            async for read in response.aiter_raw():
                seen += decoded(b"".join(decoder.feed(read)))
                texts = [event["delta"]["text"] for event in seen if "text" in event.get("delta", {})]
                if len(texts) < 3 or seen[-1]["type"] == "content_block_delta":
                    assert len(texts) <= 3
                    if seen[-1].get("delta", {}).get("text"):
                        running.upstream.peers[0].go()
            assert texts == ["one", "two", "three"]
            assert seen[-1]["type"] == "message_stop"

    run(test())


@each_shape
def test_item_45_names_blank_lines_and_one_data_line(shape: str) -> None:
    assert events_of(shape)  # `decoded` holds each of them


@each_shape
def test_item_46_the_order_is_legal(shape: str) -> None:
    state = StreamState()
    for payload in events_of(shape):
        state.process(read_event(encode_frame(payload["type"].encode(), msgspec.json.encode(payload))))
    assert state.over


@each_shape
def test_item_47_blocks_are_contiguous_and_one_at_a_time(shape: str) -> None:
    opened, closed = 0, 0
    for event in events_of(shape):
        match event["type"]:
            case "content_block_start":
                assert event["index"] == opened == closed
                opened += 1
            case "content_block_delta":
                assert event["index"] == opened - 1 == closed
            case "content_block_stop":
                assert event["index"] == closed
                closed += 1
            case "message_delta":
                assert opened == closed
    assert opened == closed == (0 if shape == "empty" else 1)


@each_shape
def test_item_48_the_start_is_blank(shape: str) -> None:
    message = events_of(shape)[0]["message"]
    assert (message["content"], message["stop_reason"]) == ([], None)
    assert isinstance(message["usage"]["input_tokens"], int)
    assert isinstance(message["usage"]["output_tokens"], int)


@each_shape
def test_item_49_the_delta_tells_the_end(shape: str) -> None:
    events = events_of(shape)
    delta = events[-2]
    assert delta["type"] == "message_delta"
    assert delta["delta"]["stop_reason"] == ("max_tokens" if shape == "cut by max_tokens" else "end_turn")
    assert "stop_sequence" in delta["delta"]
    assert delta["usage"]["output_tokens"] >= events[0]["message"]["usage"]["output_tokens"]


def test_item_50_final_usage_reaches_the_sdk() -> None:
    async def test() -> None:
        async with gateway(hello()) as running, AsyncAnthropic(base_url=running.url, api_key=CLIENT_KEY) as client:
            messages: list[Any] = [{"role": "user", "content": "Hi"}]
            async with client.messages.stream(model="claude-test", max_tokens=5, messages=messages) as stream:
                final = await stream.get_final_message()
            assert (final.usage.input_tokens, final.usage.cache_read_input_tokens, final.usage.output_tokens) == (
                8,
                4,
                3,
            )

    run(test())


@each_shape
def test_item_51_one_start_one_stop_nothing_after(shape: str) -> None:
    kinds = [event["type"] for event in events_of(shape)]
    assert kinds.count("message_start") == kinds.count("message_stop") == 1
    assert (kinds[0], kinds[-1]) == ("message_start", "message_stop")


def test_item_61_silence_is_kept_alive_after_the_commit() -> None:
    async def test() -> None:
        limits = LimitsConfig(commit_after=0.05, keep_alive=0.05)
        script: list[Any] = [HOLD, STREAM + chunk("a"), HOLD, chunk(finish="stop") + DONE, EOF]
        async with (
            gateway(script, options=Options(limits=limits)) as running,
            running.http.stream("POST", "/v1/messages", json=request(stream=True)) as response,
        ):
            assert response.status_code == 200
            seen: list[dict[str, Any]] = []
            kinds: list[str] = []
            decoder = SseDecoder()
            async for read in response.aiter_raw():
                seen += decoded(b"".join(decoder.feed(read)))
                kinds = [event["type"] for event in seen]
                empties = [event for event in seen if event.get("delta", {}).get("text") == ""]
                if kinds == ["ping", "ping"] or len(empties) == 2:
                    running.upstream.peers[0].go()
            assert kinds[:2] == ["ping", "ping"]
            assert kinds[-1] == "message_stop"

    run(test())


def test_item_61_the_default_is_below_fifteen_seconds() -> None:
    assert LimitsConfig().keep_alive <= 15
    assert LimitsConfig().commit_after <= 15


TEXT = "é 😀 \u2028 \u0301 日本語 \x85 end"


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_item_62_characters_cut_anywhere_arrive_whole(size: int) -> None:
    async def test() -> None:
        raw = b'data: {"choices":[{"index":0,"delta":{"content":"%b"},"finish_reason":null}]}\n\n' % TEXT.encode()
        body = raw + chunk(finish="stop") + DONE
        script: list[Any] = [STREAM, *(body[place : place + size] for place in range(0, len(body), size)), EOF]
        async with gateway(script, script) as running:
            assert (await running.post()).json()["content"][0]["text"] == TEXT
            texts = [event["delta"]["text"] for event in await running.events() if "text" in event.get("delta", {})]
            assert "".join(texts) == TEXT

    run(test())


def test_a_synchronous_sdk_client_is_served_beside_others() -> None:
    async def test() -> None:
        async with gateway(hello(), hello()) as running:

            def ask() -> str:
                with Anthropic(base_url=running.url, api_key=CLIENT_KEY) as client:
                    messages: list[Any] = [{"role": "user", "content": "Hi"}]
                    with client.messages.stream(model="claude-test", max_tokens=5, messages=messages) as stream:
                        return "".join(stream.text_stream)

            answers = await asyncio.gather(asyncio.to_thread(ask), asyncio.to_thread(ask))
            assert [*answers] == ["Hello", "Hello"]

    run(test())
