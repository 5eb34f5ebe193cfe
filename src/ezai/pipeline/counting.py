"""count_tokens: asked of the upstream that would answer, without generating anything."""

from __future__ import annotations

import msgspec

from ezai.errors import NotFound, UpstreamMalformed
from ezai.pipeline.attempts import Attempt
from ezai.pipeline.request import GatewayRequest
from ezai.pipeline.waiting import Waiter
from ezai.policy.keys import check_model
from ezai.policy.routing import find_route
from ezai.ports import Ports


class _Counted(msgspec.Struct, frozen=True):
    input_tokens: int


async def count_tokens(request: GatewayRequest, ports: Ports, waiter: Waiter) -> bytes:
    """The answer of count_tokens: the exact number of input tokens of the request, and what else a tapped upstream
    says with it. Costs nothing, so nothing is recorded.

    Raises `NotFound` for an unknown model or one whose upstream cannot count, else as an attempt does, and
    `Interrupted` when `waiter` is.
    """
    check_model(request.key, request.message.model)
    route = find_route(ports.routes, request.message.model)
    attempt = Attempt(request, route, route.targets[0], ports)
    if not attempt.upstream.facts.counts_tokens:
        raise NotFound("The upstream of this model does not count tokens.")
    try:
        body = await attempt.count(waiter)
    finally:
        await attempt.aclose()
    try:
        counted = msgspec.json.decode(body, type=_Counted)
    except msgspec.DecodeError:
        raise UpstreamMalformed("The upstream answered a count with something else.") from None
    return body if attempt.taps else msgspec.json.encode(counted)
