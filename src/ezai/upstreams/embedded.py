"""The model that runs beside the gateway, in a child process that speaks llama.cpp's OpenAI wire on loopback."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from ezai.errors import UpstreamStarting
from ezai.ports import Clock, Exchange, Timeouts, UpstreamFacts, UpstreamRequest
from ezai.translate.base import LLAMA_CPP
from ezai.upstreams.http import HttpClient


class EmbeddedEndpoint(NamedTuple):
    """Where the child listens, and the key it wants, both new at every start of it; and what its model is like."""

    base_url: str
    api_key: str
    bare_calls: bool = False
    grammars: bool = False


class EmbeddedUpstream:
    """The child by its present endpoint. `endpoint` returns None while the child is down or still loading."""

    def __init__(
        self,
        name: str,
        endpoint: Callable[[], EmbeddedEndpoint | None],
        clock: Clock,
        facts: UpstreamFacts = LLAMA_CPP,
    ) -> None:
        self.name = name
        self._facts = facts
        self._endpoint = endpoint
        self._clock = clock
        self._known: EmbeddedEndpoint | None = None
        self._client: HttpClient | None = None

    @property
    def facts(self) -> UpstreamFacts:
        """Those of the model, with the present key."""
        endpoint = self._endpoint()
        if endpoint is not None and self._facts.credentials != (endpoint.api_key,):
            _, api_key, bare_calls, grammars = endpoint
            self._facts = replace(self._facts, credentials=(api_key,), bare_calls=bare_calls, grammars=grammars)
        return self._facts

    async def open(self, request: UpstreamRequest, timeouts: Timeouts) -> Exchange:
        """As the port says; raises `UpstreamStarting` while the child is being restarted."""
        endpoint = self._endpoint()
        if endpoint is None:
            raise UpstreamStarting("The embedded model is being started; try again shortly.", retry_after_s=1)
        if endpoint != self._known or self._client is None:
            await self._reconnect(endpoint)
        assert self._client is not None
        return await self._client.open(request, timeouts)

    async def aclose(self) -> None:
        """Close every connection."""
        if self._client is not None:
            await self._client.aclose()

    async def _reconnect(self, endpoint: EmbeddedEndpoint) -> None:
        stale, self._known = self._client, endpoint
        authorization = (b"authorization", f"Bearer {endpoint.api_key}".encode())
        self._client = HttpClient(f"{endpoint.base_url}/v1", self._clock, headers=[authorization])
        if stale is not None:
            await stale.aclose()
