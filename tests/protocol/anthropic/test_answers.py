"""The error shape, and whole messages."""

from __future__ import annotations

import inspect
import json

import msgspec
import pytest

from ezai import errors
from ezai.errors import ContextOverflow, RequestError, UpstreamMalformed, UpstreamRefused, UpstreamTimeout
from ezai.protocol.anthropic.answers import error_body, error_frame, read_answer
from ezai.protocol.sse import parse_frame

NOT_UTF8 = b'{"type":"message","usage":{},"content":"\xff"}'


def every_error() -> list[RequestError]:
    made: list[RequestError] = []
    for kind in vars(errors).values():
        if inspect.isclass(kind) and issubclass(kind, RequestError) and kind is not RequestError:
            if issubclass(kind, ContextOverflow):
                made.append(kind(9, 5))
            elif issubclass(kind, UpstreamTimeout):
                made.append(kind("idle", 5))
            elif issubclass(kind, UpstreamRefused):
                made.append(kind("no", status=400, wire_type="invalid_request_error", upstream_status=422))
            else:
                made.append(kind("It was wrong."))
    return made


@pytest.mark.parametrize("error", every_error(), ids=lambda error: type(error).__name__)
def test_every_error_has_the_one_shape(error: RequestError) -> None:
    body = msgspec.json.decode(error_body(error, "req_1"))
    assert body == {
        "type": "error",
        "error": {"type": error.error_type, "message": error.message, "details": {"error_code": error.error_code}},
        "request_id": "req_1",
    }
    assert 400 <= error.http_status < 600
    name, data = parse_frame(error_frame(error, "req_1"))
    assert (name, msgspec.json.decode(data or b"")) == (b"error", body)


def test_every_error_stands_in_the_printed_tree() -> None:
    tree = errors.__doc__ or ""
    for name, kind in vars(errors).items():
        if inspect.isclass(kind) and issubclass(kind, errors.EzaiError):
            assert name in tree


def test_context_overflow_has_the_words_that_clients_parse() -> None:
    assert ContextOverflow(10031, 8192).message == "prompt is too long: 10031 tokens > 8192 maximum"


def test_an_upstreams_own_error_keeps_its_values_byte_for_byte() -> None:
    body = b'{"type":"error","error":{"type":"x","message":"m","extra":{"a": 1.0}}}'
    error = UpstreamRefused("m", status=400, wire_type="x", upstream_status=400, body=body)
    cause = b',"details":{"error_code":"upstream_error"}'
    assert error_body(error, "req_1") == body[:-2] + cause + b'},"request_id":"req_1"}'


@pytest.mark.parametrize(
    "rest",
    [b',"\xff":1', b',"details":{"\xff":1}', b',"x":' + b"[" * 100_000 + b"]" * 100_000],
    ids=["name", "details", "deep"],
)
def test_an_upstreams_own_error_that_cannot_be_passed_on_is_told_in_our_shape(rest: bytes) -> None:
    body = b'{"type":"error","error":{"type":"x","message":"m"' + rest + b"}}"
    error = UpstreamRefused("m", status=400, wire_type="x", upstream_status=400, body=body)
    assert json.loads(error_body(error, "req_1")) == {
        "type": "error",
        "error": {"type": "x", "message": "m", "details": {"error_code": "upstream_error"}},
        "request_id": "req_1",
    }


def test_retry_advice() -> None:
    error = errors.Overloaded("busy", retry_after_s=3, should_retry=False)
    assert error.headers() == [(b"retry-after", b"3"), (b"x-should-retry", b"false")]


@pytest.mark.parametrize(
    ("usage", "source"),
    [(b'{"output_tokens":4}', "upstream"), (b'{"output_tokens":1.5}', "none"), (b'{"output_tokens":-4}', "none"),
     (b'{"input_tokens":4}', "none"), (b"null", "none"), (b'"x"', "none")],
)  # fmt: skip
def test_usage_is_the_upstreams_where_it_counted_the_output(usage: bytes, source: str) -> None:
    read = read_answer(b'{"type":"message","stop_reason":"end_turn","usage":%b}' % usage)
    assert (read.usage_source, read.stop_reason) == (source, "end_turn")
    assert read.usage.output_tokens == (4 if source == "upstream" else 0)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"{}", b'{"type":"error"}', b'{"type":"message"}', NOT_UTF8, b"[" * 10_000]
)
def test_a_body_that_is_no_message(body: bytes) -> None:
    with pytest.raises(UpstreamMalformed):
        read_answer(body)
