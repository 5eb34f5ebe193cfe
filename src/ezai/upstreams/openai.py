"""An OpenAI-compatible server: vLLM, Ollama, llama.cpp and the like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urlsplit

from ezai.ports import Clock, Exchange, Timeouts, UpstreamFacts, UpstreamRequest
from ezai.translate.base import OPENAI_COMPATIBLE
from ezai.upstreams.credentials import credentials_of
from ezai.upstreams.http import DIRECT, Egress, HttpClient


class OpenAIUpstream:
    """One server by its base URL, which is read as the OpenAI SDKs read it; without a path, /v1 is meant.

    Raises `ValueError` for what `HttpClient` cannot use.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        clock: Clock,
        facts: UpstreamFacts = OPENAI_COMPATIBLE,
        *,
        api_key: str = "",
        headers: Mapping[str, str] | None = None,
        egress: Egress = DIRECT,
    ) -> None:
        self.name = name
        self.facts: UpstreamFacts = replace(facts, credentials=credentials_of(api_key, headers))
        if not urlsplit(base_url).path.strip("/"):
            base_url = base_url.rstrip("/") + "/v1"
        fields = [(key.lower().encode(), value.encode()) for key, value in (headers or {}).items()]
        if api_key:
            fields.append((b"authorization", f"Bearer {api_key}".encode()))
        self._client = HttpClient(base_url, clock, headers=fields, egress=egress)

    async def open(self, request: UpstreamRequest, timeouts: Timeouts) -> Exchange:
        return await self._client.open(request, timeouts)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()


def is_openai_itself(base_url: str) -> bool:
    """Whether it is the vendor's own service, which differs from all that are compatible with it."""
    return urlsplit(base_url).hostname == "api.openai.com"
