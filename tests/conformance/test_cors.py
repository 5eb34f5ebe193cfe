"""A browser's page of another origin: let in where it is listed, and told nothing where it is not."""

from __future__ import annotations

import pytest

from tests.conformance.gateway import Options, gateway, hello, run
from tests.pipeline.fakes import FakeKeys

PAGE = "https://app.example.com"
OTHER = "https://other.example.com"
LISTED = Options(cors_origins=[PAGE, "http://localhost:8001"])
PREFLIGHT = {
    "origin": PAGE,
    "access-control-request-method": "POST",
    "access-control-request-headers": "anthropic-dangerous-direct-browser-access,anthropic-version,x-api-key",
}


def allowed(headers: object) -> dict[str, str]:
    """What an answer says to a browser."""
    return {name: value for name, value in dict(headers).items() if name.startswith("access-control")}  # type: ignore[call-overload]


def test_a_preflight_of_a_listed_page() -> None:
    async def test() -> None:
        async with gateway(options=Options(keys=FakeKeys(**{"sk-one": "one"}), cors_origins=[PAGE])) as running:
            answer = await running.http.request("OPTIONS", "/v1/messages", headers=PREFLIGHT)
        assert (answer.status_code, answer.content) == (204, b"")
        assert allowed(answer.headers) == {
            "access-control-allow-origin": PAGE,
            "access-control-allow-methods": "GET, POST, DELETE",
            "access-control-allow-headers": PREFLIGHT["access-control-request-headers"],
            "access-control-expose-headers": "*",
            "access-control-max-age": "600",
        }
        assert answer.headers["vary"] == "origin"
        assert "content-length" not in answer.headers

    run(test())


def test_a_public_page_may_reach_a_gateway_at_home() -> None:
    async def test() -> None:
        async with gateway(options=LISTED) as running:
            asked = {**PREFLIGHT, "access-control-request-private-network": "true"}
            answer = await running.http.request("OPTIONS", "/v1/messages", headers=asked)
        assert answer.headers["access-control-allow-private-network"] == "true"

    run(test())


@pytest.mark.parametrize(
    ("path", "headers", "origins"),
    [
        ("/v1/messages", {**PREFLIGHT, "origin": OTHER}, LISTED.cors_origins),
        ("/v1/messages", {**PREFLIGHT, "origin": "null"}, LISTED.cors_origins),
        ("/v1/messages", {**PREFLIGHT, "origin": PAGE + ".evil.example"}, LISTED.cors_origins),
        ("/v1/messages", PREFLIGHT, []),
        ("/metrics", PREFLIGHT, LISTED.cors_origins),
        ("/healthz", PREFLIGHT, LISTED.cors_origins),
    ],
)
def test_nobody_else_is_let_in(path: str, headers: dict[str, str], origins: list[str]) -> None:
    async def test() -> None:
        async with gateway(options=Options(cors_origins=origins)) as running:
            answer = await running.http.request("OPTIONS", path, headers=headers)
        assert answer.status_code == 405
        assert allowed(answer.headers) == {}

    run(test())


def test_an_answer_can_be_read_by_the_page() -> None:
    async def test() -> None:
        async with gateway(hello(), hello(), options=LISTED) as running:
            listed = await running.post(stream=True, headers={"origin": PAGE})
            other = await running.post(stream=True, headers={"origin": OTHER})
        for answer in (listed, other):
            assert (answer.status_code, answer.headers["vary"]) == (200, "origin")
        assert allowed(listed.headers) == {
            "access-control-allow-origin": PAGE,
            "access-control-expose-headers": "*",
        }
        assert allowed(other.headers) == {}

    run(test())


def test_a_refusal_can_be_read_too() -> None:
    async def test() -> None:
        async with gateway(options=Options(keys=FakeKeys(**{"sk-one": "one"}), cors_origins=[PAGE])) as running:
            answer = await running.post(headers={"origin": PAGE, "authorization": "Bearer wrong"})
        assert answer.status_code == 401
        assert answer.headers["access-control-allow-origin"] == PAGE

    run(test())


def test_without_origins_nothing_is_said() -> None:
    async def test() -> None:
        async with gateway(hello()) as running:
            answer = await running.post(headers={"origin": PAGE})
        assert allowed(answer.headers) == {}
        assert "vary" not in answer.headers

    run(test())


def test_no_cookie_is_ever_asked_for() -> None:
    async def test() -> None:
        async with gateway(hello(), options=LISTED) as running:
            answers = [
                await running.http.request("OPTIONS", "/v1/messages", headers=PREFLIGHT),
                await running.post(headers={"origin": PAGE}),
            ]
        assert not [answer for answer in answers if "access-control-allow-credentials" in answer.headers]

    run(test())
