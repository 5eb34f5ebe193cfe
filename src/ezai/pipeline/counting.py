"""count_tokens: asked of the upstream that would answer, without generating anything."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from ezai.errors import RequestError, UpstreamMalformed
from ezai.pipeline.attempts import Attempt
from ezai.pipeline.dispatch import Dispatch
from ezai.pipeline.request import GatewayRequest
from ezai.pipeline.stream import CLIENT_CLOSED_REQUEST, JSON
from ezai.pipeline.waiting import Interrupted, Waiter
from ezai.ports import Headers, Outcome, Ports
from ezai.protocol.anthropic.answers import error_body
from ezai.protocol.end import Cause


class _Counted(msgspec.Struct, frozen=True):
    input_tokens: int


class Answer(NamedTuple):
    """The whole answer to a count."""

    status: int
    headers: Headers
    body: bytes


async def count_tokens(request: GatewayRequest, ports: Ports, waiter: Waiter) -> Answer | None:
    """The number of input tokens of the request: exact where the upstream counts, with what else a tapped one says;
    else an estimate, marked as one. Costs nothing, so nothing is recorded; whoever watches is told of it once.

    Targets are asked as for an answer, so a count is there while any of them can give one. But what comes of it is not
    held for or against a target: it says nothing about how that answers.

    A refusal, an upstream's failure and an interruption of `waiter` by an error are the answer, too, and not raised;
    None: the client has left.
    """
    began = ports.clock.now()
    dispatch = Dispatch(request, ports, on_record=False)
    cause: RequestError | Cause = Cause.FINISHED
    answer: Answer | None = None
    try:
        answer = await dispatch.until_answered(waiter, _count)
    except RequestError as error:
        cause = error
    except Interrupted as interrupted:
        cause = interrupted.cause
    finally:
        await dispatch.aclose()
    if isinstance(cause, RequestError):
        answer = Answer(cause.http_status, [*JSON, *cause.headers()], error_body(cause, request.id))
    outcome = _outcome(request, dispatch, answer, cause, ports.clock.now() - began)
    for observer in ports.observers:
        observer.ended(outcome)
    return answer


async def _count(attempt: Attempt, waiter: Waiter) -> Answer:
    if not attempt.upstream.facts.counts_tokens:
        estimated = _Counted(await attempt.estimate(waiter))
        return Answer(200, [*JSON, (b"x-ezai-estimate", b"true")], msgspec.json.encode(estimated))
    body = await attempt.count(waiter)
    try:
        counted = msgspec.json.decode(body, type=_Counted)
    except msgspec.DecodeError:
        raise UpstreamMalformed("The upstream answered a count with something else.") from None
    return Answer(200, JSON, body if attempt.taps else msgspec.json.encode(counted))


def _outcome(
    request: GatewayRequest, dispatch: Dispatch, answer: Answer | None, cause: RequestError | Cause, duration_s: float
) -> Outcome:
    """As of an answer, but without an end, which is what it used, and without the attempts' causes."""
    route, attempt = dispatch.route, dispatch.attempt
    return Outcome(
        request_id=request.id,
        status=answer.status if answer else CLIENT_CLOSED_REQUEST,
        cause=cause.error_code if isinstance(cause, RequestError) else str(cause),
        duration_s=duration_s,
        key_id=request.key.public_id if request.key else None,
        model=request.message.model,
        route=route.model if route else None,
        upstream=attempt.upstream.name if attempt else None,
        upstream_model=attempt.upstream_model if attempt else None,
        upstream_request_id=attempt.upstream_request_id if attempt else None,
        attempts=dispatch.attempts,
    )
