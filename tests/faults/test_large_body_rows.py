"""Row C8 and conformance item 16: bodies up to the limit, and JSON made to be dear."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Any

import anthropic
import msgspec
import pytest

from ezai.app import MIB
from ezai.config import AnthropicUpstream, LimitsConfig, UpstreamConfig
from ezai.protocol.anthropic.requests import LARGE_BYTES
from ezai.server.body import MAX_VALUES
from tests.conformance.gateway import Options, Running, as_json, gateway, hello, request, run

ITEM_16_BYTES = 31_000_000
ANSWER = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn",
    "content": [{"type": "text", "text": "Hi"}], "usage": {"input_tokens": 3, "output_tokens": 4},
}  # fmt: skip


def tapped(**fields: Any) -> Options:
    def upstream(url: str) -> UpstreamConfig:
        return AnthropicUpstream(name="local", base_url=url, api_key="k", **fields)

    return Options(upstream=upstream)


def large(size: int = ITEM_16_BYTES, **fields: Any) -> bytes:
    """A request of exactly so many bytes, of which a part is not ASCII."""
    body = msgspec.json.encode(request(messages=[{"role": "user", "content": "é!"}], **fields))
    return body.replace(b"!", b"x" * (size - len(body) + 1))


async def posted(running: Running, body: bytes, **headers: str) -> Any:
    return await running.http.post("/v1/messages", content=body, headers={"content-type": "application/json"} | headers)


def sent_body(running: Running) -> bytes:
    return running.upstream.requests[-1].partition(b"\r\n\r\n")[2]


# Item 16: the largest body.


def test_item_16_31_mb_cross_a_tap_byte_for_byte() -> None:
    async def test() -> None:
        async with gateway(as_json(ANSWER), options=tapped()) as running:
            body = large()
            assert (await posted(running, body)).status_code == 200
            assert sent_body(running) == body

    run(test())


def test_item_16_31_mb_cross_a_tap_that_takes_something_out() -> None:
    async def test() -> None:
        async with gateway(as_json(ANSWER), options=tapped(strip_fields=["metadata"])) as running:
            assert (await posted(running, large(metadata={"user_id": "u"}))).status_code == 200
            sent = msgspec.json.decode(sent_body(running))
            assert set(sent) == {"model", "max_tokens", "messages"}
            assert len(sent_body(running)) == ITEM_16_BYTES - len(b',"metadata":{"user_id":"u"}')

    run(test())


def test_item_16_31_mb_are_translated() -> None:
    async def test() -> None:
        async with gateway(hello()) as running:
            assert (await posted(running, large())).status_code == 200
            content = running.asked()["messages"][0]["content"]
            assert (content[0], set(content[1:])) == ("é", {"x"})

    run(test())


@pytest.mark.parametrize("strict", [False, True])
def test_item_16_a_large_body_is_held_to_the_same_rules(strict: bool) -> None:
    async def test() -> None:
        async with gateway(hello(), options=Options(strict_version=strict)) as running:
            size = LARGE_BYTES + 1
            answers = [
                await posted(running, body, **{"anthropic-version": "2026-10-21"})
                for body in (
                    large(size, temperature=1),
                    large(size, model=...),
                    large(size, max_tokens=-1),
                    b"[" + b"1" * LARGE_BYTES,
                )
            ]
            problems = [answer.json()["error"]["message"] for answer in answers if answer.status_code == 400]
            assert len(problems) == (4 if strict else 3)
            assert [problem.partition(":")[0] for problem in problems[-3:-1]] == ["model", "max_tokens"]

    run(test())


def test_item_16_above_the_limit_the_sdk_says_content_too_large() -> None:
    async def test() -> None:
        async with (
            gateway(hello(), options=Options(limits=LimitsConfig(body_mib=2))) as running,
            anthropic.AsyncAnthropic(base_url=running.url, api_key="k", max_retries=0) as client,
        ):
            asked: dict[str, Any] = msgspec.json.decode(large(2 * MIB + 1))
            with pytest.raises(anthropic.APIStatusError) as refused:
                await client.messages.create(**asked)
            assert type(refused.value).__name__ == "ContentTooLargeError"
            assert refused.value.status_code == 413
            assert not running.upstream.requests

    run(test())


# C8: bodies that cost more than they look.

BOMBS: dict[str, Callable[[], bytes]] = {
    "a million messages": lambda: b'{"model":"m","max_tokens":1,"messages":[' + b"{}," * 1_000_000 + b"{}]}",
    "empty arrays": lambda: b'{"model":"m","max_tokens":1,"messages":[' + b"[]," * MAX_VALUES + b"[]]}",
    "a million tools": lambda: b'{"model":"m","max_tokens":1,"messages":[{}],"tools":[' + b"{}," * MAX_VALUES + b"{}]}",
    "deep arrays": lambda: b'{"model":"m","max_tokens":1,"messages":' + b"[" * 4 * MIB,
    "deep objects": lambda: b'{"model":"m","max_tokens":1,"messages":' + b'{"a":' * MAX_VALUES + b"{",
    "a million members": lambda: b'{"model":"m",' + b",".join(b'"%d":0' % n for n in range(MAX_VALUES)) + b"}",
    "the same member": lambda: b'{"model":"m",' + b'"max_tokens":1,' * MAX_VALUES + b'"x":1}',
    "numbers": lambda: b'{"model":"m","max_tokens":1,"messages":[' + b"0," * MAX_VALUES + b"0]}",
}
NO_REQUESTS: dict[str, bytes] = {
    "depth 10,000": b'{"model":"m","max_tokens":1,"messages":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "a depth in what is kept as it is": b'{"model":"m","max_tokens":1,"messages":[{}],"x":' + b"[" * 100_000,
    "a depth in a large body": b'{"model":"m","max_tokens":1,"messages":' + b'{"a":' * 400_000,
    "NaN": b'{"model":"m","max_tokens":NaN,"messages":[{}]}',
    "a huge integer": b'{"model":"m","max_tokens":' + b"9" * 100_000 + b',"messages":[{}]}',
    "a huge exponent": b'{"model":"m","max_tokens":1e999999999,"messages":[{}]}',
    "lone surrogates": b'{"model":"' + rb"\ud800" * 1000 + b'","max_tokens":1,"messages":"x"}',
    "control characters": b'{"model":"' + b"\x00" * 1000 + b'","max_tokens":1,"messages":[{}]}',
    "half a character": b'{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"\xf0\x9f"}]}',
    "a byte order mark": b'\xef\xbb\xbf{"model":"m","max_tokens":1,"messages":[{}]}',
    "UTF-16": '{"model":"m","max_tokens":1,"messages":[{}]}'.encode("utf-16"),
    "two values": b'{"model":"m","max_tokens":1,"messages":[{}]}{}',
}


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_c8_too_many_values_are_a_413_before_anything_is_decoded(bomb: str, coding: str) -> None:
    async def test() -> None:
        async with gateway(hello()) as running:
            body = BOMBS[bomb]()
            answer = await posted(
                running, body if coding == "identity" else gzip.compress(body, 1), **{"content-encoding": coding}
            )
            assert answer.status_code == 413
            error = answer.json()["error"]
            assert (error["type"], error["details"]["error_code"]) == (
                "request_too_large", "request_body_too_many_values",
            )  # fmt: skip
            assert not running.upstream.requests

    run(test())


@pytest.mark.parametrize("bomb", NO_REQUESTS)
def test_c8_what_is_no_request_is_a_400_that_says_why(bomb: str) -> None:
    async def test() -> None:
        async with gateway(hello()) as running:
            answer = await posted(running, NO_REQUESTS[bomb])
            assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
            assert len(answer.json()["error"]["message"]) < 300
            assert not running.upstream.requests

    run(test())
