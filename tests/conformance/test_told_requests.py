"""What the log tells of requests: one line each, with all that was known, for counts of tokens and refusals too."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from ezai.config import AnthropicUpstream, OpenAIUpstream, UpstreamConfig
from tests.canary import CLIENT_KEY, UPSTREAM_KEY
from tests.conformance.gateway import Options, Running, as_json, gateway, hello, request, run, streamed
from tests.conformance.test_key_models import LimitedKeys
from tests.conformance.test_tap import ANSWER, WHOLE
from tests.pipeline.fakes import FakeKeys
from tests.raw_client import head, raw_client
from tests.upstreams.http.scripted import HOLD, Script

COUNT = "/v1/messages/count_tokens"
KEYED = {"status": 400, "cause": "invalid_request", "key": "someone", "attempts": 0, "upstream": None}
ASKED = {
    "key": "someone",
    "model": "claude-test",
    "route": "claude-*",
    "upstream": "local",
    "upstream_model": "claude-test",
    "upstream_request_id": None,
    "attempts": 1,
    "streamed": False,
    "first_token_ms": None,
}
FAILING = as_json({"error": {"type": "api_error", "message": "no"}}, "500 Internal Server Error")
CACHE_USED = {"input_tokens": 3, "cache_read_input_tokens": 20, "cache_creation_input_tokens": 100, "output_tokens": 5}
Ask = Callable[[Running], Awaitable[object]]


def upstream(made: type[AnthropicUpstream | OpenAIUpstream], name: str = "local") -> Callable[[str], UpstreamConfig]:
    return lambda url: made(name=name, base_url=url, api_key=UPSTREAM_KEY)


def options(**changed: Any) -> Options:
    return Options(**{"keys": FakeKeys(**{CLIENT_KEY: "someone"}), "upstream": upstream(AnthropicUpstream), **changed})


def told(caplog: pytest.LogCaptureFixture, ask: Ask, *scripts: Script, options: Options) -> list[dict[str, Any]]:
    """The fields of each line of the request log, when the gateway has ended."""

    async def test() -> None:
        async with gateway(*scripts, options=options) as running:
            await ask(running)
            await running.until_idle()

    with caplog.at_level("INFO", "ezai.requests"):
        run(test())
    return [record.__dict__["fields"] for record in caplog.records if record.name == "ezai.requests"]


async def count(running: Running) -> None:
    await running.post(COUNT, max_tokens=...)


def shown(line: dict[str, Any], *names: str) -> tuple[object, ...]:
    return tuple(line[name] for name in names)


def test_a_count_is_told_like_an_answer(caplog: pytest.LogCaptureFixture) -> None:
    (line,) = told(caplog, count, as_json({"input_tokens": 7}), options=options())
    assert line["request_id"].startswith("req_")
    assert line["duration_ms"] >= 0
    rest = {name: value for name, value in line.items() if name not in {"request_id", "duration_ms"}}
    assert rest == {**ASKED, "status": 200, "cause": "finished"}


def test_an_estimate_is_told(caplog: pytest.LogCaptureFixture) -> None:
    (line,) = told(caplog, count, options=options(upstream=upstream(OpenAIUpstream)))
    assert shown(line, "status", "cause", "upstream", "attempts") == (200, "finished", "local", 1)


def test_a_count_that_an_upstream_refuses_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    chosen = options(next_upstream=upstream(AnthropicUpstream, "next"))
    answers: list[Any] = []

    async def ask(running: Running) -> None:
        answers.append(await running.post(COUNT, max_tokens=...))

    (line,) = told(caplog, ask, FAILING, FAILING, options=chosen)
    assert shown(line, "key", "route", "upstream", "attempts") == ("someone", "claude-*", "next", 2)
    (answer,) = answers
    assert shown(line, "status", "cause") == (502, answer.json()["error"]["details"]["error_code"])
    assert answer.status_code == 502


def test_a_count_of_a_model_that_the_key_may_not_ask_for_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    (line,) = told(caplog, count, options=options(keys=LimitedKeys("sm*")))
    assert shown(line, "status", "cause", "key", "model", "attempts") == (
        403,
        "permission_denied",
        "limited",
        "claude-test",
        0,
    )


def test_a_count_whose_client_leaves_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def leave(running: Running) -> None:
        body = msgspec.json.encode(request(max_tokens=...))
        async with raw_client(running.url) as client:
            fields = (f"x-api-key: {CLIENT_KEY}", "content-type: application/json", f"content-length: {len(body)}")
            client.send(head(*fields, path=COUNT) + body)
            await running.upstream.until(lambda: len(running.upstream.requests) == 1)
        await running.upstream.until(lambda: running.upstream.peers[-1].lost)

    (line,) = told(caplog, leave, [HOLD], options=options())
    assert shown(line, "status", "cause", "key", "upstream", "attempts") == (499, "client_left", "someone", "local", 1)


def test_a_count_that_the_end_of_the_gateway_breaks_is_answered_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    async def drained(running: Running) -> None:
        asked = asyncio.create_task(running.post(COUNT, max_tokens=...))
        await running.upstream.until(lambda: len(running.upstream.requests) == 1)
        running.registry.close()
        answer = await asked
        assert (answer.status_code, answer.json()["error"]["details"]["error_code"]) == (529, "draining")

    (line,) = told(caplog, drained, [HOLD], options=options())
    assert shown(line, "status", "cause", "upstream") == (529, "draining", "local")


@pytest.mark.parametrize("path", ["/v1/messages", COUNT])
def test_a_refused_request_is_told_with_its_key(path: str, caplog: pytest.LogCaptureFixture) -> None:
    async def ask(running: Running) -> None:
        assert (await running.post(path, messages=[])).status_code == 400

    (line,) = told(caplog, ask, options=options())
    assert line.items() >= KEYED.items()
    assert line["model"] is None


def test_a_refused_request_whose_body_was_read_is_told_with_its_model(caplog: pytest.LogCaptureFixture) -> None:
    (line,) = told(caplog, lambda running: running.post(), options=options(strict_version=True))
    assert line.items() >= {**KEYED, "model": "claude-test"}.items()


def test_a_wrong_key_is_told_without_one(caplog: pytest.LogCaptureFixture) -> None:
    wrong = FakeKeys(**{"sk-other": "other"})
    (line,) = told(caplog, lambda running: running.post(), options=options(keys=wrong))
    assert shown(line, "status", "key", "model", "upstream_request_id") == (401, None, None, None)
    assert "cache_read_tokens" not in line


@pytest.mark.parametrize(
    "path", ["/healthz", "/readyz", "/metrics", "/api/hello", "/", "/v1/models", "/v1/models/small"]
)
def test_what_is_no_use_of_a_model_is_not_told(path: str, caplog: pytest.LogCaptureFixture) -> None:
    async def ask(running: Running) -> None:
        assert (await running.http.get(path)).status_code == 200

    assert told(caplog, ask, options=options()) == []


def test_an_answer_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    (line,) = told(caplog, lambda running: running.post(), hello(), options=options(upstream=None))
    assert shown(line, "status", "key", "usage_source") == (200, "someone", "upstream")


# The upstream's own id, and what of the prompt was in its cache.


def named(script: list[Any], *fields: str) -> list[Any]:
    """The script with these fields in the head of its answer."""
    head = "".join(f"\r\n{field}" for field in fields).encode()
    return [script[0].replace(b"\r\n\r\n", head + b"\r\n\r\n", 1), *script[1:]]


STARTED = WHOLE[0].replace(b'{"input_tokens":7,"output_tokens":1}', msgspec.json.encode(CACHE_USED))
TAPPED = {False: as_json({**ANSWER, "usage": CACHE_USED}), True: streamed(STARTED, *WHOLE[1:])}


@pytest.mark.parametrize("stream", [False, True])
def test_a_tapped_answer_is_told_with_the_upstreams_id_and_cache(
    stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def ask(running: Running) -> None:
        answer = await running.post(stream=stream)
        assert answer.headers["x-ezai-upstream-request-id"] == "req_theirs"

    script = named(TAPPED[stream], "x-request-id: of-a-proxy", "request-id: req_theirs")
    (line,) = told(caplog, ask, script, options=options())
    assert shown(line, "streamed", "upstream_request_id") == (stream, "req_theirs")
    assert shown(line, "prompt_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens") == (123, 20, 100, 5)


@pytest.mark.parametrize("stream", [False, True])
def test_a_translated_answer_is_told_with_the_upstreams_id_and_cache(
    stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    chosen = options(upstream=upstream(OpenAIUpstream))
    script = named(hello(), "x-request-id: theirs")
    (line,) = told(caplog, lambda running: running.post(stream=stream), script, options=chosen)
    assert shown(line, "streamed", "upstream_request_id") == (stream, "theirs")
    assert shown(line, "prompt_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens") == (12, 4, 0, 3)


@pytest.mark.parametrize(
    ("fields", "expected"), [(["request-id: req_second"], "req_second"), ([], None)], ids=["named", "nameless"]
)
def test_after_a_failover_the_id_is_of_the_one_that_answered(
    fields: list[str], expected: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    chosen = options(next_upstream=upstream(AnthropicUpstream, "next"))
    scripts = named(FAILING, "request-id: req_first"), named(as_json(ANSWER), *fields)
    (line,) = told(caplog, lambda running: running.post(), *scripts, options=chosen)
    assert shown(line, "upstream", "attempts", "upstream_request_id") == ("next", 2, expected)


def test_an_upstreams_error_is_told_with_its_id(caplog: pytest.LogCaptureFixture) -> None:
    script = named(FAILING, "request-id: req_theirs")
    (line,) = told(caplog, lambda running: running.post(), script, options=options())
    assert shown(line, "attempts", "upstream_request_id") == (1, "req_theirs")


def test_a_count_is_told_with_the_upstreams_id(caplog: pytest.LogCaptureFixture) -> None:
    script = named(as_json({"input_tokens": 7}), "request-id: req_theirs")
    (line,) = told(caplog, count, script, options=options())
    assert line["upstream_request_id"] == "req_theirs"


@pytest.mark.parametrize(
    ("value", "expected"), [("r" * 1000, "r" * 256), (f"for {UPSTREAM_KEY}", None)], ids=["long", "with a credential"]
)
def test_an_id_is_told_as_the_ledger_keeps_it(
    value: str, expected: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    script = named(as_json(ANSWER), f"request-id: {value}")
    (line,) = told(caplog, lambda running: running.post(), script, options=options())
    assert line["upstream_request_id"] == expected
