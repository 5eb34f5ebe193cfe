"""What of an upstream's configuration is a credential, and whose facts know it."""

from __future__ import annotations

import pytest

from ezai.translate.base import ANTHROPIC, LLAMA_CPP
from ezai.upstreams.anthropic import AnthropicUpstream
from ezai.upstreams.credentials import credentials_of
from ezai.upstreams.embedded import EmbeddedEndpoint, EmbeddedUpstream
from ezai.upstreams.openai import OpenAIUpstream
from tests.upstreams.http.fakes import FakeClock

KEY = "sk-of-the-gateway"


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({}, ()),
        ({"Authorization": "Bearer token-of-the-gateway"}, ("token-of-the-gateway",)),
        ({"x-goog-api-key": "another-key", "Cookie": "session=secret"}, ("another-key", "session=secret")),
        ({"x-title": "My application", "http-referer": "https://app.example"}, ()),
        ({"x-key": "short"}, ()),
    ],
)
def test_headers_that_hold_one(headers: dict[str, str], found: tuple[str, ...]) -> None:
    assert credentials_of(KEY, headers) == (KEY, *found)


@pytest.mark.parametrize("word", ["", "any", "EMPTY", "ollama"])
def test_a_word_that_protects_nothing_is_none(word: str) -> None:
    assert credentials_of(word) == ()


def test_each_upstream_knows_its_own() -> None:
    clock, headers = FakeClock(), {"x-token": "token-of-the-gateway"}
    for upstream in (
        AnthropicUpstream("a", "http://h", clock, ANTHROPIC, api_key=KEY, headers=headers),
        OpenAIUpstream("o", "http://h", clock, api_key=KEY, headers=headers),
    ):
        assert upstream.facts.credentials == (KEY, "token-of-the-gateway")
        assert KEY not in repr(upstream.facts)


def test_the_embedded_models_key_is_the_present_one() -> None:
    endpoints = [EmbeddedEndpoint("http://h", "first-key"), None, EmbeddedEndpoint("http://h", "second-key")]
    upstream = EmbeddedUpstream("e", lambda: endpoints[0], FakeClock())
    told = []
    while endpoints:
        told.append(upstream.facts.credentials)
        endpoints.pop(0)
    assert told == [("first-key",), ("first-key",), ("second-key",)]


def test_what_the_embedded_model_can_is_what_its_process_found_out() -> None:
    endpoint = EmbeddedEndpoint("http://h", "some-key", bare_calls=True, grammars=True)
    facts = EmbeddedUpstream("e", lambda: endpoint, FakeClock()).facts
    assert (facts.bare_calls, facts.grammars) == (True, True)
    assert EmbeddedUpstream("e", lambda: None, FakeClock()).facts == LLAMA_CPP
