"""Error answers of upstreams, as the client is told them."""

from __future__ import annotations

import msgspec
import pytest

from ezai.errors import ContentRefused, ContextOverflow, ContextRefused, NotFound, RequestError, UpstreamRefused
from ezai.protocol.anthropic.events import read_event
from ezai.protocol.openai.errors import ErrorObject
from ezai.translate.anthropic_anthropic import AnthropicToAnthropic, MessagesTap
from ezai.translate.refusals import chat_refusal, in_stream_refusal


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
def test_item_74_context_overflow(body: bytes) -> None:
    error = refused(400, body)
    assert isinstance(error, ContextOverflow)
    assert error.message == "prompt is too long: 10031 tokens > 4096 maximum"


def test_an_unknown_model_is_named_as_it_was_asked_for() -> None:
    error = refused(404, b'{"error":{"message":"The model `internal-name` does not exist"}}')
    assert isinstance(error, NotFound)
    assert error.message == "model: asked-model"


@pytest.mark.parametrize(
    "body",
    [b"<html>secret inside</html>", b"", b"\xff\xfe", b"[" * 5000, b'{"other":1}', b"[]", b"5", b'{"error":null}',
     b'{"error":{"message":null}}', b'{"message":[]}', b'{"message":{"role":"assistant","content":"Hi"}}'],
)  # fmt: skip
def test_what_is_no_json_error_is_not_passed_on(body: bytes) -> None:
    assert refused(502, body).message == "The upstream answered with status 502."


def test_a_sentence_is_cut_and_freed_of_control_characters() -> None:
    message = refused(400, b'{"error":{"message":"a\\r\\nb' + b"x" * 1000 + b'"}}').message
    assert message.startswith("a b")
    assert len(message) == 500
    assert message.isprintable()


@pytest.mark.parametrize(
    "body",
    [
        b'{"error":"bare sentence"}',
        b'{"message":"bare sentence"}',
        b'{"detail":"bare sentence"}',
        b'{"error":{"message":"bare sentence","type":null,"code":{"x":1}}}',
        b'[{"error":{"code":400,"message":"bare sentence","status":"INVALID_ARGUMENT"}}]',  # Gemini
        b'{"code":"Client specified an invalid argument","error":"bare sentence"}',  # xAI
        b'{"object":"error","message":"bare sentence","type":"invalid_request_error","code":null}',  # Mistral
    ],
)
def test_other_shapes_of_an_error(body: bytes) -> None:
    assert refused(400, body).message == "bare sentence"


@pytest.mark.parametrize(
    "body",
    [
        b'{"detail":[{"loc":["body","stop"],"msg":"Input should be a list"}]}',  # FastAPI
        b'{"object":"error","message":{"detail":[{"loc":["body","stop"],"msg":"Input should be a list"}]}}',  # Mistral
        b'{"error":{"message":[{"loc":["body","stop"],"msg":"Input should be a list"}]}}',
    ],
)
def test_what_a_validation_found_is_told(body: bytes) -> None:
    message = refused(422, body).message
    assert '"stop"' in message
    assert "Input should be a list" in message


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


# What no other target is asked for, or only one that holds more.

FLAGGED = 'some-model requires moderation on its provider. Your input was flagged for "harassment"'
BLOCKED = "Output blocked by content filtering policy"
TOO_LONG = "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000, decrease input length"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (403, {"message": FLAGGED, "code": 403}),
        (400, {"message": "no", "code": "content_policy_violation"}),
        (400, {"message": "no", "code": "content_filter", "param": "prompt"}),
        (400, {"message": "The response was filtered due to Azure OpenAI's content management policy.", "code": None}),
        (400, {"message": "Invalid prompt: it may violate our usage policy.", "code": "invalid_prompt"}),
        (500, {"message": "Your request was rejected as a result of our safety system.", "type": "server_error"}),
    ],
)
def test_a_refusal_for_content_is_told_as_one(status: int, error: dict[str, object]) -> None:
    refusal = refused(status, msgspec.json.encode({"error": error}))
    assert isinstance(refusal, ContentRefused)
    assert (refusal.http_status, refusal.error_type) == (400, "invalid_request_error")
    assert (refusal.message, refusal.upstream_status, refusal.should_retry) == (error["message"], status, None)


def test_a_refusal_for_content_inside_a_stream() -> None:
    refusal = in_stream_refusal(ErrorObject(FLAGGED, code=403), "m")
    assert isinstance(refusal, ContentRefused)
    assert (refusal.http_status, refusal.upstream_status, refusal.message) == (400, None, FLAGGED)


@pytest.mark.parametrize("said", ["content", "policy", "The model is overloaded", "moderation", "unsafe redirect"])
def test_other_words_are_no_refusal_for_content(said: str) -> None:
    assert type(refused(400, msgspec.json.encode({"error": {"message": said}}))) is UpstreamRefused


def from_anthropic(status: int, wire_type: str, message: str) -> RequestError:
    body = msgspec.json.encode({"type": "error", "error": {"type": wire_type, "message": message}})
    refusal = AnthropicToAnthropic().refusal(status, (), body, "m")
    assert isinstance(refusal, UpstreamRefused)
    assert refusal.body == (None if status == 403 else body), "it passes whole, whatever it is about"
    return refusal


def in_tap(wire_type: str, message: str) -> UpstreamRefused:
    body = msgspec.json.encode({"type": "error", "error": {"type": wire_type, "message": message}})
    with pytest.raises(UpstreamRefused) as caught:
        MessagesTap().feed(read_event(b"event: error\ndata: " + body + b"\n\n"))
    assert (caught.value.error_type, caught.value.upstream_status) == (wire_type, None)
    return caught.value


def test_content_that_an_anthropic_upstream_refuses() -> None:
    refusal = from_anthropic(400, "invalid_request_error", BLOCKED)
    assert isinstance(refusal, ContentRefused)
    assert (refusal.http_status, refusal.message) == (400, BLOCKED)
    assert isinstance(in_tap("invalid_request_error", BLOCKED), ContentRefused)
    assert isinstance(in_tap("api_error", BLOCKED), ContentRefused)
    assert isinstance(from_anthropic(403, "permission_error", FLAGGED), ContentRefused)
    assert type(from_anthropic(403, "permission_error", "Your key may not")) is UpstreamRefused
    assert type(in_tap("overloaded_error", "Overloaded")) is UpstreamRefused


@pytest.mark.parametrize(
    ("message", "fits"),
    [
        ("prompt is too long: 210000 tokens > 200000 maximum", 200_000),
        (TOO_LONG, 200_000),
        ("This model's maximum context length is 4096 tokens and your request has 20 input tokens", 4096),
        ("the model's context length is only 4096 tokens", 4096),
        ("the request exceeds the available context size, try increasing it", None),
        ("Your input exceeds the context window of this model", None),
    ],
)
def test_a_prompt_that_does_not_fit_in_the_upstreams_own_words(message: str, fits: int | None) -> None:
    body = msgspec.json.encode({"error": {"message": message, "code": 400}})
    for refusal in (refused(400, body), from_anthropic(400, "invalid_request_error", message)):
        assert isinstance(refusal, ContextRefused)
        assert (refusal.http_status, refusal.error_type) == (400, "invalid_request_error")
        assert (refusal.message, refusal.error_code, refusal.context_tokens) == (message, "context_overflow", fits)
    assert isinstance(in_tap("invalid_request_error", message), ContextRefused)


def test_a_code_for_it_is_enough() -> None:
    error = {"message": "no", "code": "context_length_exceeded"}
    refusal = refused(400, msgspec.json.encode({"error": error}))
    assert isinstance(refusal, ContextRefused)
    assert refusal.context_tokens is None


@pytest.mark.parametrize("status", [429, 500, 529])
def test_words_about_the_context_in_other_errors_are_only_words(status: int) -> None:
    body = b'{"error":{"message":"no room for a context window of this size now"}}'
    assert type(refused(status, body)) is UpstreamRefused
