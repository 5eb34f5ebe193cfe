"""Error answers of upstreams, as the client is told them."""

from __future__ import annotations

import pytest

from ezai.errors import ContextOverflow, NotFound, RequestError
from ezai.translate.anthropic_anthropic import AnthropicToAnthropic
from ezai.translate.refusals import chat_refusal


def refused(status: int, body: bytes = b'{"error":{"message":"no"}}', *headers: tuple[bytes, bytes]) -> RequestError:
    return chat_refusal(status, headers, body, "asked-model")


@pytest.mark.parametrize(
    ("status", "told", "wire_type"),
    [
        (400, 400, "invalid_request_error"),
        (401, 502, "api_error"),
        (403, 502, "api_error"),
        (404, 404, "not_found_error"),
        (408, 504, "timeout_error"),
        (413, 413, "request_too_large"),
        (418, 400, "invalid_request_error"),
        (422, 400, "invalid_request_error"),
        (429, 429, "rate_limit_error"),
        (500, 502, "api_error"),
        (502, 502, "api_error"),
        (503, 529, "overloaded_error"),
        (504, 504, "timeout_error"),
        (529, 529, "overloaded_error"),
    ],
)
def test_statuses(status: int, told: int, wire_type: str) -> None:
    error = refused(status)
    assert (error.http_status, error.error_type) == (told, wire_type)


@pytest.mark.parametrize("status", [401, 403])
def test_the_gateways_credential_is_no_business_of_the_clients(status: int) -> None:
    error = refused(status, b'{"error":{"message":"Incorrect API key provided: sk-secret"}}')
    assert "sk-secret" not in error.message
    assert error.should_retry is False


@pytest.mark.parametrize(
    "body",
    [
        b'{"error":{"message":"...","type":"exceed_context_size_error","n_prompt_tokens":10031,"n_ctx":4096}}',
        b'{"error":{"message":"This model\'s maximum context length is 4096 tokens. However, your messages resulted in '
        b'10031 tokens. Please reduce the length.","code":"context_length_exceeded"}}',
    ],
    ids=["llama.cpp", "openai"],
)
def test_context_overflow(body: bytes) -> None:
    error = refused(400, body)
    assert isinstance(error, ContextOverflow)
    assert error.message == "prompt is too long: 10031 tokens > 4096 maximum"


def test_an_unknown_model_is_named_as_it_was_asked_for() -> None:
    error = refused(404, b'{"error":{"message":"The model `internal-name` does not exist"}}')
    assert isinstance(error, NotFound)
    assert error.message == "model: asked-model"


@pytest.mark.parametrize("body", [b"<html>secret inside</html>", b"", b"\xff\xfe", b"[" * 5000, b'{"other":1}'])
def test_what_is_no_json_error_is_not_passed_on(body: bytes) -> None:
    assert refused(502, body).message == "The upstream answered with status 502."


def test_a_sentence_is_cut_and_freed_of_control_characters() -> None:
    message = refused(400, b'{"error":{"message":"a\\r\\nb' + b"x" * 1000 + b'"}}').message
    assert message.startswith("a b")
    assert len(message) == 500
    assert message.isprintable()


@pytest.mark.parametrize(
    "body", [b'{"error":"bare sentence"}', b'{"message":"bare sentence"}', b'{"detail":"bare sentence"}']
)
def test_other_shapes_of_an_error(body: bytes) -> None:
    assert refused(400, body).message == "bare sentence"


@pytest.mark.parametrize(
    ("value", "told"), [(b"7", 7), (b"999999999", 3600), (b"-1", None), (b"soon", None), (b"", None)]
)
def test_retry_after(value: bytes, told: int | None) -> None:
    assert refused(429, b"{}", (b"retry-after", value)).retry_after_s == told


def test_a_spent_quota_is_not_worth_a_retry() -> None:
    assert refused(429, b'{"error":{"message":"x","code":"insufficient_quota"}}').should_retry is False


def test_an_anthropic_error_passes_whole() -> None:
    body = b'{"type":"error","error":{"type":"overloaded_error","message":"Busy"}}'
    error = AnthropicToAnthropic().refusal(529, (), body, "m")
    assert (error.http_status, error.error_type, error.message) == (529, "overloaded_error", "Busy")


@pytest.mark.parametrize("status", [401, 403])
def test_an_anthropic_credential_error_does_not(status: int) -> None:
    body = b'{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}'
    error = AnthropicToAnthropic().refusal(status, (), body, "m")
    assert (error.http_status, error.error_type, error.should_retry) == (502, "api_error", False)
