"""The table of dialect pairs: which translator stands between Messages and an upstream."""

from __future__ import annotations

from ezai.translate.anthropic_anthropic import AnthropicToAnthropic
from ezai.translate.anthropic_openai import AnthropicToOpenAI
from ezai.translate.base import Dialect, Headers, Translator, UpstreamFacts


def translator_for(facts: UpstreamFacts, upstream_model: str, client_headers: Headers = ()) -> Translator:
    """The translator from Messages to an upstream, which calls the model `upstream_model`."""
    if facts.dialect is Dialect.ANTHROPIC:
        return AnthropicToAnthropic(upstream_model, facts, client_headers)
    return AnthropicToOpenAI(upstream_model, facts, client_headers)
