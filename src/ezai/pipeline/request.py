"""A request as the pipeline takes it."""

from __future__ import annotations

from dataclasses import dataclass

from ezai.policy.keys import VirtualKey
from ezai.protocol.anthropic.requests import MessagesRequest
from ezai.translate.base import Headers


@dataclass(frozen=True, slots=True)
class GatewayRequest:
    """Read and authenticated, not yet admitted. `id` is the request id that the client is told."""

    id: str
    key: VirtualKey | None
    message: MessagesRequest
    headers: Headers = ()
    """The client's own, of which a few cross to an upstream of its dialect."""
