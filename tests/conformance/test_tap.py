"""Conformance items 10-12, 14, 22, 63, 67-69, 71: what crosses to an Anthropic upstream and back, what never does."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ezai.config import AnthropicUpstream, UpstreamConfig
from tests.canary import CLIENT_KEY, UPSTREAM_KEY
from tests.conformance.gateway import STREAM, Options, Running, as_json, gateway, request, run, streamed
from tests.conformance.test_routing_and_headers import holds_the_error_shape
from tests.pipeline.test_dialogues import CLOSE, DELTA, HI, OPEN, START, STOP
from tests.raw_client import raw_client
from tests.raw_client import request as raw_request
from tests.upstreams.http.scripted import EOF, HOLD

WHOLE = (START, OPEN, HI, CLOSE, DELTA, STOP)
ANSWER: dict[str, Any] = {
    "id": "msg_u", "type": "message", "role": "assistant", "model": "real", "stop_reason": "end_turn",
    "content": [{"type": "text", "text": "Hi"}], "usage": {"input_tokens": 3, "output_tokens": 4},
}  # fmt: skip


def anthropic(**fields: Any) -> Options:
    def upstream(url: str) -> UpstreamConfig:
        return AnthropicUpstream(name="local", base_url=url, api_key=UPSTREAM_KEY, **fields)

    return Options(upstream=upstream)


def sent_headers(running: Running) -> dict[str, str]:
    lines = running.upstream.requests[-1].partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


def sent_body(running: Running) -> bytes:
    return running.upstream.requests[-1].partition(b"\r\n\r\n")[2]


def test_item_10_every_answer_has_our_request_id_and_tells_the_upstreams() -> None:
    async def test() -> None:
        head = STREAM.replace(b"\r\n\r\n", b"\r\nrequest-id: req_upstream\r\n\r\n")
        async with gateway([head + b"".join(WHOLE), EOF], as_json(ANSWER), options=anthropic()) as running:
            for response in (await running.post(stream=True), await running.post()):
                holds_the_error_shape(response)
                assert response.status_code == 200
            streamed_answer = await running.post(stream=True)
            holds_the_error_shape(streamed_answer)

    run(test())


def test_item_10_the_upstreams_request_id_goes_under_its_own_name() -> None:
    async def test() -> None:
        head = STREAM.replace(b"\r\n\r\n", b"\r\nrequest-id: req_upstream\r\n\r\n")
        async with gateway([head + b"".join(WHOLE), EOF], options=anthropic()) as running:
            response = await running.post(stream=True)
            assert response.headers["x-ezai-upstream-request-id"] == "req_upstream"
            assert response.headers["request-id"] != "req_upstream"
            assert (response.headers["x-ezai-upstream"], response.headers["x-ezai-attempts"]) == ("local", "1")

    run(test())


def test_item_11_the_clients_credentials_stay_here() -> None:
    async def test() -> None:
        async with gateway(as_json(ANSWER), options=anthropic()) as running:
            secrets = {
                "x-api-key": CLIENT_KEY,
                "authorization": f"Bearer {CLIENT_KEY}",
                "cookie": "a=canary",
            }
            await running.post(headers=secrets)
            assert CLIENT_KEY.encode() not in running.upstream.requests[0]
            assert "cookie" not in sent_headers(running)

    run(test())


@pytest.mark.parametrize(
    ("version", "auth", "name", "value"),
    [
        ("2023-06-01", "auto", "x-api-key", UPSTREAM_KEY),
        (None, "auto", "x-api-key", UPSTREAM_KEY),
        ("2026-10-21", "auto", "authorization", f"Bearer {UPSTREAM_KEY}"),
        ("2026-10-21", "x-api-key", "x-api-key", UPSTREAM_KEY),
        ("2023-06-01", "bearer", "authorization", f"Bearer {UPSTREAM_KEY}"),
    ],
)
def test_the_gateways_credential_is_sent_as_the_version_wants_it(
    version: str | None, auth: str, name: str, value: str
) -> None:
    async def test() -> None:
        async with gateway(as_json(ANSWER), options=anthropic(auth=auth)) as running:
            await running.post(headers={"anthropic-version": version} if version else {})
            sent = sent_headers(running)
            assert sent[name] == value
            assert len({"x-api-key", "authorization"} & set(sent)) == 1
            assert sent["anthropic-version"] == (version or "2023-06-01")

    run(test())


CROSSING = {
    "anthropic-version": "2026-10-21",
    "anthropic-beta": "a-2025-01-01,b-2025-02-02 , c",
    "anthropic-dangerous-direct-browser-access": "true",
    "x-claude-code-session-id": "s",
    "x-app": "cli",
    "user-agent": "claude-cli/2.1.330 (external, cli)",
    "x-stainless-retry-count": "1",
}
STAYING = {
    "anthropic-workspace-id": "w",
    "anthropic-user-profile-id": "u",
    "x-forwarded-for": "10.0.0.1",
    "traceparent": "00-x",
    "x-custom": "1",
    "origin": "http://localhost",
    "accept-encoding": "gzip",
}


def test_item_12_headers_cross_by_pattern_and_byte_for_byte() -> None:
    async def test() -> None:
        async with gateway(as_json(ANSWER), options=anthropic()) as running:
            await running.post(headers=CROSSING | STAYING)
            sent = sent_headers(running)
            assert {name: sent.get(name) for name in CROSSING} == CROSSING
            assert not (set(STAYING) - {"accept-encoding"}) & set(sent)
            assert sent["accept-encoding"] == "identity"

    run(test())


@pytest.mark.parametrize(
    ("query", "crossing"),
    [
        ("", b""),
        ("?beta=true", b"?beta=true"),
        ("?api_key=secret&beta=true", b"?beta=true"),
        ("?beta=false", b""),
        ("?alphabeta=true", b""),
    ],
)
@pytest.mark.parametrize("large", [False, True])
def test_item_06_the_beta_query_crosses_and_no_other(query: str, crossing: bytes, large: bool) -> None:
    async def test() -> None:
        options = anthropic(strip_fields=["context_management"])  # so that a large body is rewritten elsewhere
        async with gateway(as_json(ANSWER), as_json({"input_tokens": 7}), options=options) as running:
            fields: dict[str, Any] = {"context_management": {}, "odd": "x" * (2 * 1024 * 1024 if large else 1)}
            for path in ("/v1/messages", "/v1/messages/count_tokens"):
                await running.post(path + query, **fields)
                line = running.upstream.requests[-1].partition(b"\r\n")[0]
                assert line == b"POST " + path.encode() + crossing + b" HTTP/1.1"

    run(test())


@pytest.mark.parametrize(
    ("strip", "expected"),
    [
        (["b-2025-02-02"], "a-2025-01-01, c"),
        (["a-*", "c"], "b-2025-02-02"),
        (["*"], None),
        (["z"], CROSSING["anthropic-beta"]),
    ],
)
def test_item_12_betas_are_stripped_where_configured(strip: list[str], expected: str | None) -> None:
    async def test() -> None:
        async with gateway(as_json(ANSWER), options=anthropic(strip_betas=strip)) as running:
            await running.post(headers=CROSSING)
            assert sent_headers(running).get("anthropic-beta") == expected

    run(test())


def test_item_14_limits_of_the_upstream_come_back_and_nothing_else() -> None:
    async def test() -> None:
        back = {
            "anthropic-ratelimit-requests-remaining": "7",
            "anthropic-organization-id": "o",
            "retry-after": "3",
            "x-should-retry": "true",
        }
        staying = {"set-cookie": "a=b", "location": "http://x", "x-internal": "1", "server": "u", "via": "x"}
        lines = "".join(f"{name}: {value}\r\n" for name, value in (back | staying).items()).encode()
        ok = as_json(ANSWER)[0].replace(b"\r\n\r\n", b"\r\n" + lines + b"\r\n", 1)
        refused = ok.replace(b"200 OK", b"429 Too Many Requests")
        async with gateway([ok], [refused], options=anthropic()) as running:
            for status in (200, 429):
                response = await running.post()
                assert response.status_code == status
                for name, value in back.items():
                    assert response.headers.get_list(name) == [value]
                assert not set(staying) & set(response.headers)

    run(test())


def test_item_22_unknown_fields_go_on_verbatim() -> None:
    async def test() -> None:
        odd = (
            b'{"model":"claude-x" , "max_tokens":5,"messages":[{"role":"user","content":"\\u00e9"}],'
            b'"context_management":{"edits":[ ]},"diagnostics":null,"n":1.50,"stream":false}'
        )
        async with gateway(as_json(ANSWER), options=anthropic()) as running:
            response = await running.http.post(
                "/v1/messages", content=odd, headers={"content-type": "application/json"}
            )
            assert response.status_code == 200
            assert sent_body(running) == odd

    run(test())


@pytest.mark.parametrize(
    ("strip", "gone"),
    [
        (["context_management"], {"context_management"}),
        (["tools.*.cache_control.scope"], set[str]()),
        (["nothing.here", "tools.*.nothing"], set[str]()),
    ],
)
def test_fields_are_stripped_where_configured(strip: list[str], gone: set[str]) -> None:
    tools = [{"name": "f", "cache_control": {"type": "ephemeral", "scope": "global"}}, {"name": "g"}]

    async def test() -> None:
        async with gateway(as_json(ANSWER), options=anthropic(strip_fields=strip)) as running:
            given = request(context_management={"edits": []}, tools=tools)
            await running.post(context_management={"edits": []}, tools=tools)
            sent = msgspec.json.decode(sent_body(running))
            assert set(given) - set(sent) == gone
            if strip[0].startswith("tools"):
                assert sent["tools"] == [{"name": "f", "cache_control": {"type": "ephemeral"}}, {"name": "g"}]
            else:
                assert sent["tools"] == tools

    run(test())


def test_item_63_a_tapped_stream_is_identical() -> None:
    future = b': note\n\nevent: future\ndata: {"type":"future", "x" :[1]}\n\n'
    odd = future + b'id: 7\nevent: ping\r\ndata: {"type":"ping"}\r\n\r\n'
    payload = b'{"type":"content_block_delta","index":0,"delta":{"type":"odd_delta","y":1}}'
    delta = b"event: content_block_delta\ndata: %b\n\n" % payload
    whole = START + odd + OPEN + HI + delta + CLOSE + DELTA + STOP

    async def test() -> None:
        async with gateway(streamed(whole), options=anthropic()) as running:
            assert (await running.post(stream=True)).content == whole

    run(test())


def test_a_unary_answer_is_the_upstreams_body() -> None:
    async def test() -> None:
        body = msgspec.json.format(msgspec.json.encode(ANSWER), indent=3)
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
        async with gateway([head + body], options=anthropic()) as running:
            assert (await running.post()).content == body

    run(test())


def test_counting_is_forwarded() -> None:
    async def test() -> None:
        async with gateway(
            as_json({"input_tokens": 7, "context_management": {"x": 1}}), options=anthropic()
        ) as running:
            response = await running.post("/v1/messages/count_tokens", max_tokens=...)
            assert response.json() == {"input_tokens": 7, "context_management": {"x": 1}}
            assert running.upstream.requests[0].startswith(b"POST /v1/messages/count_tokens ")

    run(test())


ERROR: dict[str, Any] = {
    "type": "error",
    "error": {"type": "overloaded_error", "message": "Busy", "extra": 1},
    "request_id": "req_u",
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    "status", ["400 Bad Request", "404 Not Found", "413 Too Large", "429 Too Many", "500 Oh", "529 Busy"]
)
def test_item_67_a_refusal_is_a_status_and_keeps_its_body(status: str, stream: bool) -> None:
    async def test() -> None:
        async with gateway(as_json(ERROR, status), options=anthropic()) as running:
            response = await running.post(stream=stream)
            holds_the_error_shape(response)
            assert response.status_code == int(status[:3])
            assert response.json()["error"] == {**ERROR["error"], "details": {"error_code": "upstream_error"}}

    run(test())


DETAILS: dict[str, tuple[object, object]] = {
    "none": (None, {"error_code": "upstream_error"}),
    "its own code": ({"error_code": "tool_name_conflict", "x": [1]}, {"error_code": "tool_name_conflict", "x": [1]}),
    "no code": ({"x": [1]}, {"x": [1], "error_code": "upstream_error"}),
    "no object": ("text", "text"),
    "a list": ([], []),
}


@pytest.mark.parametrize(("details", "told"), DETAILS.values(), ids=DETAILS)
def test_item_67_a_refusal_tells_the_cause_beside_its_own_details(details: object, told: object) -> None:
    """An SDK looks first at the upstream's code for its class of error, so that one stays."""

    async def test() -> None:
        error = {**ERROR, "error": {**ERROR["error"], "details": details}}
        async with gateway(as_json(error, "400 Bad Request"), options=anthropic()) as running:
            assert (await running.post()).json()["error"] == {**error["error"], "details": told}

    run(test())


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden"])
def test_item_67_the_gateways_own_trouble_is_a_502_not_worth_a_retry(status: str) -> None:
    async def test() -> None:
        refused = {"type": "error", "error": {"type": "authentication_error", "message": f"invalid {UPSTREAM_KEY}"}}
        async with gateway(as_json(refused, status), options=anthropic()) as running:
            response = await running.post()
            holds_the_error_shape(response)
            assert (response.status_code, response.headers["x-should-retry"]) == (502, "false")
            assert UPSTREAM_KEY not in response.text

    run(test())


@pytest.mark.parametrize("after", range(1, 5))
def test_item_68_an_upstream_that_dies_is_an_error_event(after: int) -> None:
    async def test() -> None:
        async with gateway(streamed(*WHOLE[:after]), options=anthropic()) as running:
            events = await running.events()
            assert [event["type"] for event in events[:-1]] == [
                msgspec.json.decode(frame.partition(b"data: ")[2])["type"] for frame in WHOLE[:after]
            ]
            assert events[-1]["error"]["details"]["error_code"] == "upstream_truncated"
            assert events[-1]["error"]["type"] == "api_error"

    run(test())


def test_item_69_an_end_without_message_stop_is_no_end() -> None:
    async def test() -> None:
        async with gateway(streamed(*WHOLE[:-1]), streamed(*WHOLE[:-1], STOP[:-1]), options=anthropic()) as running:
            for _ in range(2):
                events = await running.events()
                assert [event["type"] for event in events[-2:]] == ["message_delta", "error"]

    run(test())


@pytest.mark.parametrize("after", range(6))
def test_item_71_leaving_stops_the_upstream(after: int) -> None:
    async def test() -> None:
        script: list[Any] = [STREAM + b"".join(WHOLE[:after]), HOLD] if after else [HOLD]
        async with gateway(script, options=anthropic()) as running:
            async with raw_client(running.url) as client:
                client.send(raw_request(stream=True))
                await running.upstream.until(lambda: len(running.upstream.requests) == 1)
                if after:
                    await client.until(b"\n\n")
            await running.upstream.until(lambda: running.upstream.peers[0].lost)
            await running.until_idle()

    run(test())
