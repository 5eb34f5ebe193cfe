"""count_tokens: asked of the upstream that would answer, without generating anything."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from ezai.errors import UpstreamMalformed
from ezai.pipeline.attempts import Attempt
from ezai.pipeline.dispatch import Dispatch
from ezai.pipeline.request import GatewayRequest
from ezai.pipeline.waiting import Waiter
from ezai.ports import Ports


class _Counted(msgspec.Struct, frozen=True):
    input_tokens: int


class Count(NamedTuple):
    """The body of the answer, and whether its number is an estimate."""

    body: bytes
    is_estimate: bool


async def count_tokens(request: GatewayRequest, ports: Ports, waiter: Waiter) -> Count:
    """The number of input tokens of the request: exact where the upstream counts, with what else a tapped one says;
    else an estimate. Costs nothing, so nothing is recorded.

    Targets are asked as for an answer, so a count is there while any of them can give one. But what comes of it is not
    held for or against a target: it says nothing about how that answers.

    Raises `NotFound` for an unknown model, else as an attempt does, and `Interrupted` when `waiter` is.
    """
    dispatch = Dispatch(request, ports, on_record=False)
    try:
        return await dispatch.until_answered(waiter, _count)
    finally:
        await dispatch.aclose()


async def _count(attempt: Attempt, waiter: Waiter) -> Count:
    if not attempt.upstream.facts.counts_tokens:
        return Count(msgspec.json.encode(_Counted(await attempt.estimate(waiter))), is_estimate=True)
    body = await attempt.count(waiter)
    try:
        counted = msgspec.json.decode(body, type=_Counted)
    except msgspec.DecodeError:
        raise UpstreamMalformed("The upstream answered a count with something else.") from None
    return Count(body if attempt.taps else msgspec.json.encode(counted), is_estimate=False)
