"""What `Connection` names ends at the gateway, in both directions (RFC 9110 section 7.6.1)."""

from __future__ import annotations

from ezai.config import AnthropicUpstream
from tests.canary import UPSTREAM_KEY
from tests.conformance.gateway import Options, as_json, gateway, run

ANSWER = {
    "id": "msg_u", "type": "message", "role": "assistant", "model": "real", "stop_reason": "end_turn",
    "content": [{"type": "text", "text": "Hi"}], "usage": {"input_tokens": 3, "output_tokens": 4},
}  # fmt: skip
OPTIONS = Options(upstream=lambda url: AnthropicUpstream(name="local", base_url=url, api_key=UPSTREAM_KEY))


def test_what_the_clients_connection_names_does_not_reach_the_upstream() -> None:
    async def test() -> None:
        async with gateway(as_json(ANSWER), options=OPTIONS) as running:
            named = {"connection": "X-Claude-Code-Session", "x-claude-code-session": "s", "x-app": "cli"}
            assert (await running.post(headers=named)).status_code == 200
            head = running.upstream.requests[0].partition(b"\r\n\r\n")[0].lower()
            assert b"x-claude-code-session" not in head
            assert b"\r\nx-app: cli" in head

    run(test())


def test_what_the_upstreams_connection_names_does_not_reach_the_client() -> None:
    async def test() -> None:
        lines = (
            b"connection: anthropic-ratelimit-tokens-remaining\r\nanthropic-ratelimit-tokens-remaining: 7\r\n"
            b"anthropic-organization-id: o\r\n"
        )
        answer = as_json(ANSWER)[0].replace(b"\r\n\r\n", b"\r\n" + lines + b"\r\n", 1)
        async with gateway([answer], options=OPTIONS) as running:
            response = await running.post()
            assert response.status_code == 200
            assert "anthropic-ratelimit-tokens-remaining" not in response.headers
            assert response.headers["anthropic-organization-id"] == "o"

    run(test())
