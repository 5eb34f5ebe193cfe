"""Conformance items 1-9: authentication, routing, headers."""

from __future__ import annotations

from typing import Any

import httpx2
import msgspec
import pytest

from tests.conformance.gateway import Options, Running, as_json, gateway, hello, request, run
from tests.pipeline.fakes import FakeKeys

KEYS = Options(keys=FakeKeys(**{"sk-one": "one", "sk-two": "two"}))
STRICT = Options(strict_version=True)


def status_with(headers: dict[str, str], options: Options = KEYS) -> tuple[int, dict[str, Any]]:
    async def test() -> tuple[int, dict[str, Any]]:
        async with gateway(hello(), options=options) as running:
            response = await running.post(headers=headers)
            holds_the_error_shape(response)
            return response.status_code, response.json()

    return run(test())


def holds_the_error_shape(response: httpx2.Response) -> None:
    """Every answer has a request id; an error's body repeats it."""
    assert response.headers["request-id"].startswith("req_")
    if response.status_code >= 400:
        body = response.json()
        assert set(body) == {"type", "error", "request_id"}
        assert body["type"] == "error"
        assert body["request_id"] == response.headers["request-id"]
        assert response.headers["content-type"] == "application/json"


def test_item_01_bearer_is_accepted() -> None:
    assert status_with({"authorization": "Bearer sk-one"})[0] == 200
    assert status_with({"authorization": "bearer sk-one"})[0] == 200


def test_item_02_x_api_key_is_accepted() -> None:
    assert status_with({"x-api-key": "sk-one"})[0] == 200


@pytest.mark.parametrize(
    "headers",
    [{}, {"x-api-key": "wrong"}, {"authorization": "Bearer wrong"}, {"authorization": "Basic sk-one"},
     {"x-api-key": ""}, {"authorization": "Bearer"}, {"x-api-key": "sk-one sk-two"}],
)  # fmt: skip
def test_item_03_no_key_or_a_wrong_one_is_a_401(headers: dict[str, str]) -> None:
    status, body = status_with(headers)
    assert (status, body["error"]["type"]) == (401, "authentication_error")


def test_item_04_one_valid_of_two_is_accepted() -> None:
    assert status_with({"x-api-key": "sk-one", "authorization": "Bearer wrong"})[0] == 200
    assert status_with({"x-api-key": "wrong", "authorization": "Bearer sk-one"})[0] == 200
    assert status_with({"x-api-key": "sk-one", "authorization": "Bearer sk-one"})[0] == 200


def test_item_04_two_different_valid_keys_are_a_401() -> None:
    assert status_with({"x-api-key": "sk-one", "authorization": "Bearer sk-two"})[0] == 401


@pytest.mark.parametrize("version", ["2023-06-01", "2026-10-21", "1999-01-01", None])
def test_item_05_any_version_is_served(version: str | None) -> None:
    headers = {"anthropic-version": version} if version else {}
    assert status_with(headers, Options())[0] == 200


@pytest.mark.parametrize(
    ("version", "fields", "status"),
    [
        ("2023-06-01", {"temperature": 0.5}, 200),
        ("2026-10-21", {}, 200),
        ("2026-10-21", {"temperature": 0.5}, 400),
        ("1999-01-01", {}, 400),
        (None, {}, 400),
    ],
)
def test_item_05_strict_mode_wants_a_known_version_and_holds_its_rules(
    version: str | None, fields: dict[str, Any], status: int
) -> None:
    async def test() -> None:
        async with gateway(hello(), options=STRICT) as running:
            response = await running.post(headers={"anthropic-version": version} if version else {}, **fields)
            assert response.status_code == status
            holds_the_error_shape(response)

    run(test())


def test_item_06_the_beta_query_changes_nothing_of_a_translated_answer() -> None:
    async def test() -> None:
        async with gateway(hello(), hello(), as_json({"input_tokens": 7}), as_json({"input_tokens": 7})) as running:
            plain, beta = await running.post(), await running.post("/v1/messages?beta=true")
            assert plain.json()["content"] == beta.json()["content"]
            for path in ("/v1/messages/count_tokens", "/v1/messages/count_tokens?beta=true"):
                assert (await running.post(path, max_tokens=...)).json() == {"input_tokens": 7}

    run(test())


def test_item_07_a_doubled_v1_is_named() -> None:
    async def test() -> None:
        async with gateway() as running:
            response = await running.post("/v1/v1/messages")
            holds_the_error_shape(response)
            assert response.status_code == 404
            assert "already ends in /v1" in response.json()["error"]["message"]

    run(test())


@pytest.mark.parametrize("options", [Options(), KEYS], ids=["open", "keyed"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("HEAD", "/"),
        ("HEAD", "/api/hello"),
        ("GET", "/api/hello"),
        ("GET", "/healthz"),
        ("GET", "/readyz"),
    ],
)
def test_item_08_probes_need_no_key(method: str, path: str, options: Options) -> None:
    async def test() -> None:
        async with gateway(options=options) as running:
            response = await running.http.request(method, path)
            assert response.status_code == 200
            holds_the_error_shape(response)
            assert bool(response.content) is (method == "GET")

    run(test())


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/complete", "/nothing", "/v1", "/v1/messages/", "//v1/messages",
                                  "/v1/messages%2Fcount_tokens/x", "/v1/../v1/x"])  # fmt: skip
def test_item_09_an_unknown_path_is_a_404(path: str) -> None:
    async def test() -> None:
        async with gateway() as running:
            response = await running.post(path)
            holds_the_error_shape(response)
            assert (response.status_code, response.json()["error"]["type"]) == (404, "not_found_error")

    run(test())


def test_item_09_an_unknown_path_is_told_to_nobody_without_a_key() -> None:
    async def test() -> None:
        async with gateway(options=KEYS) as running:
            assert (await running.post("/v1/nothing")).status_code == 401

    run(test())


@pytest.mark.parametrize(("method", "path", "allow"), [("GET", "/v1/messages", "POST"), ("POST", "/v1/models", "GET"),
                                                       ("DELETE", "/v1/models/x", "GET"), ("POST", "/healthz", "GET"),
                                                       ("PUT", "/v1/messages/count_tokens", "POST")])  # fmt: skip
def test_item_09_a_wrong_method_is_a_405(method: str, path: str, allow: str) -> None:
    async def test() -> None:
        async with gateway() as running:
            response = await running.http.request(method, path)
            holds_the_error_shape(response)
            assert (response.status_code, response.headers["allow"]) == (405, allow)

    run(test())


# The open mode's guards (design: nobody but this machine, and no web page of it).


FOREIGN_HOSTS = [
    "evil.example",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "10.0.0.1",
    "",
    "[::2]",
    "localhost:80:90",
    "0x7f.1",
]


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/models", "/v1/nothing"])
def test_an_open_gateway_answers_to_loopback_names_alone(host: str, path: str) -> None:
    async def test() -> None:
        async with gateway() as running:
            response = await running.http.post(path, json=request(), headers={"host": host})
            expected = 405 if path == "/v1/models" else 403
            assert response.status_code == expected
            if path == "/v1/models":
                response = await running.http.get(path, headers={"host": host})
                assert response.status_code == 403
            holds_the_error_shape(response)
            assert not running.upstream.requests

    run(test())


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.9.9.9:1", "[::1]", "[::1]:8080", "localhost."]
)
def test_loopback_names(host: str) -> None:
    async def test() -> None:
        async with gateway() as running:
            assert (await running.http.get("/v1/models", headers={"host": host})).status_code == 200

    run(test())


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "", "multipart/form-data"])
def test_an_open_gateway_takes_no_simple_request_of_a_web_page(content_type: str) -> None:
    async def test() -> None:
        async with gateway() as running:
            body = msgspec.json.encode(request())
            response = await running.http.post("/v1/messages", content=body, headers={"content-type": content_type})
            holds_the_error_shape(response)
            assert response.status_code == 400
            assert not running.upstream.requests

    run(test())


def test_no_answer_carries_a_cors_permission() -> None:
    async def test() -> None:
        async with gateway(hello()) as running:
            for response in (
                await running.post(headers={"origin": "http://localhost"}),
                await running.http.request("OPTIONS", "/v1/messages", headers={"origin": "http://evil.example"}),
            ):
                assert not [name for name in response.headers if name.startswith("access-control")]

    run(test())


def test_a_keyed_gateway_answers_under_any_name() -> None:
    async def test(running: Running) -> None:
        response = await running.post(headers={"host": "ai.example", "x-api-key": "sk-one"})
        assert response.status_code == 200

    async def main() -> None:
        async with gateway(hello(), options=KEYS) as running:
            await test(running)

    run(main())
