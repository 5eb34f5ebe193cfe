"""Conformance items 75, 77-81: failures and models."""

from __future__ import annotations

from typing import Any

import pytest
from anthropic import AsyncAnthropic

from ezai.app import build
from ezai.config import Config, LimitsConfig, OpenAIUpstream, RouteConfig, TargetConfig, TimeoutsConfig, UpstreamConfig
from ezai.policy.key_format import RANDOM_BYTES, make_key
from ezai.protocol.anthropic.requests import LARGE_BYTES
from ezai.system import SystemClock
from tests.canary import CLIENT_KEY
from tests.conformance.gateway import STREAM, Options, gateway, run
from tests.conformance.test_routing_and_headers import holds_the_error_shape
from tests.pipeline.fakes import FakeKeys, FakeLedger
from tests.upstreams.http.scripted import EOF, HOLD

ANTHROPIC = {"anthropic-version": "2023-06-01"}


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
def test_item_75_an_unknown_model_is_a_404(path: str) -> None:
    async def test() -> None:
        async with gateway() as running:
            response = await running.post(path, model="gpt-nothing")
            holds_the_error_shape(response)
            assert response.status_code == 404
            assert response.json()["error"]["type"] == "not_found_error"
            assert response.json()["error"]["message"] == "model: gpt-nothing"

    run(test())


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
def test_a_key_in_place_of_a_model_goes_nowhere(path: str, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        key = make_key(bytes(range(RANDOM_BYTES)))
        async with gateway() as running:
            response = await running.post(path, model=key)
            holds_the_error_shape(response)
            assert response.status_code == 400
            assert key not in response.text
            assert not running.upstream.peers
        assert key not in caplog.text

    with caplog.at_level("DEBUG"):
        run(test())


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
@pytest.mark.parametrize("characters", [257, LARGE_BYTES])
def test_a_models_name_that_is_too_long_goes_nowhere(
    path: str, characters: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        async with gateway() as running:
            response = await running.post(path, model="claude-".ljust(characters, "m"))
            holds_the_error_shape(response)
            assert response.status_code == 400
            assert response.json()["error"]["message"].startswith("model: a name has 256 characters at most")
            assert "mmmm" not in response.text
            assert not running.upstream.peers
        assert "mmmm" not in caplog.text

    with caplog.at_level("DEBUG"):
        run(test())


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
def test_a_member_given_twice_reaches_no_upstream(path: str) -> None:
    async def test() -> None:
        async with gateway() as running:
            messages = b'"messages":[{"role":"user","content":"Hi"}]'
            body = b'{"model":"claude-dear","model":"claude-cheap","max_tokens":5,' + messages + b"}"
            response = await running.http.post(path, content=body, headers={"content-type": "application/json"})
            holds_the_error_shape(response)
            assert response.status_code == 400
            assert response.json()["error"]["message"].startswith("model: given twice")
            assert not running.upstream.peers

    run(test())


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("phase", ["response_headers", "first_event", "total"])
def test_item_77_an_upstream_timeout_is_a_504(phase: str, stream: bool) -> None:
    async def test() -> None:
        changed: dict[str, Any] = {phase: 0.05}
        script: list[Any] = [STREAM, HOLD] if phase == "first_event" else [HOLD]
        async with gateway(script, options=Options(timeouts=TimeoutsConfig(**changed))) as running:
            response = await running.post(stream=stream)
            holds_the_error_shape(response)
            assert (response.status_code, response.json()["error"]["type"]) == (504, "timeout_error")
            await running.upstream.until(lambda: running.upstream.peers[0].lost)

    run(test())


def test_item_77_a_timeout_after_the_commit_is_an_error_event() -> None:
    async def test() -> None:
        options = Options(timeouts=TimeoutsConfig(response_headers=0.2), limits=LimitsConfig(commit_after=0.05))
        async with gateway([HOLD], options=options) as running:
            events = await running.events()
            assert events[-1]["error"]["type"] == "timeout_error"
            assert events[-1]["error"]["details"]["error_code"] == "upstream_timeout"

    run(test())


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("status", ["502 Bad Gateway", "200 OK", "404 Not Found"])
def test_item_78_an_html_page_is_not_passed_on(status: str, stream: bool) -> None:
    async def test() -> None:
        page = b"<html><body>nginx at 10.0.0.7 has failed</body></html>"
        head = f"HTTP/1.1 {status}\r\ncontent-type: text/html\r\ncontent-length: {len(page)}\r\n\r\n".encode()
        async with gateway([head + page]) as running:
            response = await running.post(stream=stream)
            holds_the_error_shape(response)
            assert response.status_code == (404 if status.startswith("404") else 502)
            assert b"10.0.0.7" not in response.content
            assert b"html" not in response.content

    run(test())


def test_item_79_both_shapes() -> None:
    async def test() -> None:
        async with gateway() as running:
            anthropic = (await running.http.get("/v1/models", headers=ANTHROPIC)).json()
            assert set(anthropic) == {"data", "has_more", "first_id", "last_id"}
            assert anthropic["data"][0] == {
                "type": "model",
                "id": "small",
                "display_name": "Small one",
                "created_at": "1970-01-01T00:00:00Z",
                "lifecycle": "active",
                "line": None,
                "max_input_tokens": None,
                "max_tokens": None,
                "deprecated_at": None,
                "retires_at": None,
                "capabilities": None,
                "price": {"input": 0.0, "output": 0.0},
            }
            openai = (await running.http.get("/v1/models")).json()
            assert openai["object"] == "list"
            assert [model["id"] for model in openai["data"]] == [model["id"] for model in anthropic["data"]]

    run(test())


@pytest.mark.parametrize(
    ("headers", "shape"),
    [
        ({"x-api-key": "k"}, "anthropic"),
        ({"authorization": "Bearer k", "anthropic-version": "2023-06-01"}, "anthropic"),
        ({"user-agent": "claude-code/2.1.330"}, "anthropic"),
        ({"user-agent": "Anthropic/Python 2.12.0"}, "anthropic"),
        ({"authorization": "Bearer k", "user-agent": "OpenAI/Python 3.54"}, "openai"),
    ],
)
def test_item_79_which_shape_for_whom(headers: dict[str, str], shape: str) -> None:
    async def test() -> None:
        async with gateway() as running:
            for path in ("/v1/models", "/v1/models/small"):
                body = (await running.http.get(path, headers=headers)).json()
                assert ("object" in body) is (shape == "openai")

    run(test())


def targets(**models: str | None) -> list[TargetConfig]:
    return [TargetConfig(upstream=upstream, model=model or "") for upstream, model in models.items()]


@pytest.mark.parametrize(
    ("routes", "listed"),
    [
        ([RouteConfig(model="*", targets=targets(ollama="llama3.3"))], [("llama3.3", "llama3.3")]),
        ([RouteConfig(model="*", display_name="Ours", targets=targets(ollama="llama3.3"))], [("llama3.3", "Ours")]),
        ([RouteConfig(model="*", targets=targets(far=None))], []),  # whatever it knows, by any name
        ([RouteConfig(model="claude-*", targets=targets(ollama="llama3.3"))], []),  # not to be asked for by its name
        ([RouteConfig(model="llama*", targets=targets(far="x")),
          RouteConfig(model="*", targets=targets(ollama="llama3.3"))], []),  # its name leads elsewhere
        ([RouteConfig(model="llama3.3", display_name="Plain", targets=targets(ollama="llama3.3")),
          RouteConfig(model="*", targets=targets(ollama="llama3.3", far="y"))], [("llama3.3", "Plain")]),
    ],
)  # fmt: skip
def test_models_behind_patterns_are_listed_by_the_names_that_lead_to_them(
    routes: list[RouteConfig], listed: list[tuple[str, str]]
) -> None:
    upstreams: list[UpstreamConfig] = [
        OpenAIUpstream(name=name, base_url="http://127.0.0.1:1/v1") for name in ("ollama", "far")
    ]
    gateway = build(Config(upstreams=upstreams, routes=routes), FakeKeys(), FakeLedger(), None, SystemClock())
    assert [(model.id, model.display_name) for model in gateway.models] == listed


def test_item_80_the_shape_of_openai_has_no_pages() -> None:
    async def test() -> None:
        async with gateway() as running:
            everything = (await running.http.get("/v1/models")).json()
            for query in ("limit=1", "limit=x", "after_id=small"):
                assert (await running.http.get(f"/v1/models?{query}")).json() == everything

    run(test())


def test_item_80_paging() -> None:
    async def test() -> None:
        async with gateway() as running:

            async def page(query: str) -> tuple[list[str], bool]:
                body = (await running.http.get(f"/v1/models?{query}", headers=ANTHROPIC)).json()
                ids = [model["id"] for model in body["data"]]
                assert (body["first_id"], body["last_id"]) == ((ids[0], ids[-1]) if ids else (None, None))
                return ids, body["has_more"]

            everything = (await page(""))[0]
            assert everything == ["small", "org/model", "claude-alias", "smollm2-135m"]
            assert await page("limit=2") == (everything[:2], True)
            assert await page(f"limit=2&after_id={everything[1]}") == (everything[2:], False)
            assert await page(f"limit=2&before_id={everything[3]}") == (everything[1:3], True)
            assert await page(f"before_id={everything[0]}") == ([], False)
            assert await page(f"after_id={everything[3]}") == ([], False)
            for bad in ("limit=0", "limit=1001", "limit=x", "after_id=nothing", "before_id=nothing", "limit=%C2%B2"):
                response = await running.http.get(f"/v1/models?{bad}", headers=ANTHROPIC)
                assert response.status_code == 400
                holds_the_error_shape(response)

    run(test())


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 20])
def test_item_80_the_sdks_own_paging_ends(limit: int) -> None:
    async def test() -> None:
        async with gateway() as running, AsyncAnthropic(base_url=running.url, api_key=CLIENT_KEY) as client:
            ids = [model.id async for model in client.models.list(limit=limit)]
            assert ids == ["small", "org/model", "claude-alias", "smollm2-135m"]

    run(test())


def test_item_81_an_id_with_a_slash_resolves() -> None:
    async def test() -> None:
        async with gateway() as running, AsyncAnthropic(base_url=running.url, api_key=CLIENT_KEY) as client:
            assert (await client.models.retrieve("org/model")).id == "org/model"
            for path in ("/v1/models/org%2Fmodel", "/v1/models/org/model"):
                assert (await running.http.get(path)).json()["id"] == "org/model"

    run(test())


@pytest.mark.parametrize("model", ["nothing", "claude-unlisted", "", "org%2F", "..%2Fsmall", "%00"])
def test_item_81_an_unknown_id_is_a_404(model: str) -> None:
    async def test() -> None:
        async with gateway() as running:
            response = await running.http.get(f"/v1/models/{model}", headers=ANTHROPIC)
            holds_the_error_shape(response)
            assert response.status_code == 404

    run(test())


def test_no_path_or_file_name_of_the_model_leaves() -> None:
    async def test() -> None:
        async with gateway([STREAM, EOF]) as running:
            for response in (await running.http.get("/v1/models"), await running.post(), await running.http.get("/")):
                assert b"secret" not in response.content
                assert "secret" not in str(response.headers)

    run(test())
