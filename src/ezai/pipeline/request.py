"""A request as the pipeline takes it."""

from __future__ import annotations

import msgspec

from ezai.policy.keys import VirtualKey
from ezai.protocol.anthropic.requests import MessagesRequest
from ezai.translate.base import Headers


class GatewayRequest(msgspec.Struct, frozen=True):
    """Read and authenticated, not yet admitted. `id` is the request id that the client is told."""

    id: str
    key: VirtualKey | None
    message: MessagesRequest
    headers: Headers = ()
    """The client's own, of which a few cross to an upstream of its dialect."""
