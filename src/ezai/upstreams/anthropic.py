"""An Anthropic or Anthropic-compatible server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from ezai.ports import Clock, Exchange, Headers, Timeouts, UpstreamFacts, UpstreamRequest
from ezai.upstreams.credentials import credentials_of
from ezai.upstreams.http import DIRECT, Egress, HttpClient

Auth = Literal["auto", "x-api-key", "bearer"]

_BEARER_SINCE = b"2026-10-21"


class AnthropicUpstream:
    """One server by its base URL, without /v1 as the Anthropic SDKs take it.

    `auth` says how the credential is sent; "auto" does as the SDKs of the request's own version do: x-api-key up to
    2023-06-01, a bearer token from 2026-10-21 on.

    Raises `ValueError` for what `HttpClient` cannot use.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        clock: Clock,
        facts: UpstreamFacts,
        *,
        api_key: str = "",
        auth: Auth = "auto",
        headers: Mapping[str, str] | None = None,
        egress: Egress = DIRECT,
    ) -> None:
        self.name = name
        self.facts: UpstreamFacts = replace(facts, credentials=credentials_of(api_key, headers))
        self._api_key = api_key
        self._auth = auth
        fields = [(key.lower().encode(), value.encode()) for key, value in (headers or {}).items()]
        self._client = HttpClient(base_url, clock, headers=fields, egress=egress)

    async def open(self, request: UpstreamRequest, timeouts: Timeouts) -> Exchange:
        signed = UpstreamRequest(request.method, request.path, self._signed(request.headers), request.body)
        return await self._client.open(signed, timeouts)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    def _signed(self, headers: Headers) -> Headers:
        if not self._api_key:
            return headers
        if self._auth == "bearer" or (self._auth == "auto" and (b"anthropic-version", _BEARER_SINCE) in headers):
            return (*headers, (b"authorization", f"Bearer {self._api_key}".encode()))
        return (*headers, (b"x-api-key", self._api_key.encode()))
