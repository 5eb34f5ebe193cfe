"""Conformance items 17-20, 23, 38: handling of requests."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.gateway import as_json, gateway, hello, run
from tests.conformance.test_routing_and_headers import holds_the_error_shape


@pytest.mark.parametrize("body", [b"", b"{", b"not json", b"[]", b'"x"', b"\xff", b'{"model":"m",}'])
def test_item_17_invalid_json_is_a_400(body: bytes) -> None:
    async def test() -> None:
        async with gateway() as running:
            headers = {"content-type": "application/json"}
            response = await running.http.post("/v1/messages", content=body, headers=headers)
            holds_the_error_shape(response)
            assert (response.status_code, response.json()["error"]["type"]) == (400, "invalid_request_error")

    run(test())


@pytest.mark.parametrize("field", ["max_tokens", "model", "messages"])
def test_item_18_a_missing_field_is_named(field: str) -> None:
    async def test() -> None:
        async with gateway() as running:
            missing: dict[str, Any] = {field: ...}
            response = await running.post(**missing)
            assert response.status_code == 400
            assert response.json()["error"]["message"] == f"{field}: Field required"

    run(test())


def test_item_19_system_as_string_and_as_blocks() -> None:
    async def test() -> None:
        blocks = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
        async with gateway(hello(), hello()) as running:
            for system in ("Be brief.", blocks):
                assert (await running.post(system=system)).status_code == 200
            assert running.asked(0) == running.asked(1)
            assert running.asked()["messages"][0] == {"role": "system", "content": "Be brief."}

    run(test())


def test_item_20_content_as_string_and_as_blocks() -> None:
    async def test() -> None:
        async with gateway(hello(), hello()) as running:
            for content in ("Hi", [{"type": "text", "text": "Hi"}]):
                response = await running.post(messages=[{"role": "user", "content": content}])
                assert response.status_code == 200
            assert running.asked(0) == running.asked(1)

    run(test())


def test_item_23_sampling_reaches_the_upstream() -> None:
    async def test() -> None:
        async with gateway(hello()) as running:
            sampling: dict[str, Any] = {"temperature": 0.25, "top_p": 0.5, "top_k": 3}
            await running.post(headers={"anthropic-version": "2023-06-01"}, **sampling)
            assert {name: running.asked()[name] for name in sampling} == sampling

    run(test())


def test_item_38_counting_generates_nothing() -> None:
    async def test() -> None:
        counted = as_json({"input_tokens": 32, "object": "response.input_tokens"})
        async with gateway(counted, counted) as running:
            for _ in range(2):
                response = await running.post("/v1/messages/count_tokens", max_tokens=..., system="s")
                assert (response.status_code, response.json()) == (200, {"input_tokens": 32})
            assert b"POST /v1/chat/completions/input_tokens " in running.upstream.requests[0]
            assert "stream" not in running.asked()

    run(test())


def test_item_38_a_count_that_fails_is_an_error() -> None:
    async def test() -> None:
        refusal = as_json({"error": {"message": "bad", "code": 400}}, "400 Bad Request")
        async with gateway(refusal, as_json({"other": 1})) as running:
            for status in (400, 502):
                response = await running.post("/v1/messages/count_tokens", max_tokens=...)
                holds_the_error_shape(response)
                assert response.status_code == status

    run(test())


def test_a_body_over_the_limit_is_a_413() -> None:
    from ezai.config import LimitsConfig
    from tests.conformance.gateway import Options

    async def test() -> None:
        async with gateway(options=Options(limits=LimitsConfig(body_mib=1))) as running:
            response = await running.post(system="x" * (1 << 20))
            holds_the_error_shape(response)
            assert (response.status_code, response.json()["error"]["type"]) == (413, "request_too_large")
            assert not running.upstream.requests

    run(test())
