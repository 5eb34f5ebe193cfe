"""One upstream asked once: opening it, the phases it may take, its settlement.

What is outside an attempt, and why: admission and the request's own record happen once per request, however many
upstreams are asked; the replay of a stale pooled connection happens inside the HTTP client and is no attempt at all,
because nothing of an answer can have been lost (contract 6).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import NamedTuple, TypeVar

from ezai.errors import RequestError, UpstreamError, UpstreamMalformed, UpstreamStalled, UpstreamTimeout
from ezai.pipeline.coming_body import ComingBody
from ezai.pipeline.relay import Relay
from ezai.pipeline.request import GatewayRequest
from ezai.pipeline.waiting import DeadlinePassed, Waiter
from ezai.policy.pricing import Tariff, cost_nanousd
from ezai.policy.routing import Route, Target
from ezai.ports import AttemptIntent, AttemptSettlement, Exchange, Ports, Timeouts, Upstream, UpstreamRequest
from ezai.protocol.anthropic.events import MessagesEvent
from ezai.protocol.anthropic.requests import MessagesRequest
from ezai.protocol.end import End
from ezai.protocol.event import COMMENT
from ezai.protocol.openai.errors import read_error
from ezai.translate.base import Dialect, Headers, UpstreamFacts
from ezai.translate.credentials import fields_without
from ezai.translate.pairs import translator_for
from ezai.translate.refusals import status_named

T = TypeVar("T")


class Deadline(NamedTuple):
    """A moment, and of how many seconds it is the end."""

    at: float
    limit_s: float


MAX_ERROR_BODY_BYTES = 64 * 1024
MAX_UNARY_BODY_BYTES = 64 * 1024 * 1024
MAX_HELD_COMMENT_BYTES = 16 * 1024
MAX_REQUEST_ID_BYTES = 256
AFTER_THE_END_S = 2.0
"""How long an upstream that has told its end is listened to: usage may follow, but some never close."""


class Attempt:
    """One target asked once, until `deadline` at the latest. Begun by `begin`; whoever holds it must `settle` it."""

    def __init__(self, request: GatewayRequest, route: Route, target: Target, ports: Ports, deadline: Deadline) -> None:
        self.upstream: Upstream = ports.upstreams[target.upstream]
        self.upstream_model = target.model or request.message.model
        self.upstream_request_id: str | None = None
        self.relay: Relay | None = None
        self.timeouts: Timeouts = ports.timeouts_of(route, target)
        self._request = request
        self._route = route
        self._ports = ports
        self._translator = translator_for(self._facts(target), self.upstream_model, request.headers)
        self._exchange: Exchange | None = None
        self._intent: AttemptIntent | None = None
        self._tariff: Tariff | None = None
        self.started = ports.clock.now()
        self._end = min(Deadline(self.started + self.timeouts.total, self.timeouts.total), deadline)
        self._stopped_at: float | None = None
        self.first_event_after_s: float | None = None
        self._settled = False

    def _facts(self, target: Target) -> UpstreamFacts:
        facts = self.upstream.facts
        return facts if target.max_output is None else replace(facts, max_output=target.max_output)

    @property
    def is_recorded(self) -> bool:
        """Whether it stands in the ledger, so that it has to be settled there."""
        return self._intent is not None

    @property
    def taps(self) -> bool:
        """Whether the upstream speaks the client's own dialect."""
        return self.upstream.facts.dialect is Dialect.ANTHROPIC

    @property
    def answered_headers(self) -> Headers:
        """Those of the upstream's answer; none where there was no answer."""
        return self._exchange.headers if self._exchange is not None else ()

    def described(self) -> list[tuple[bytes, bytes]]:
        """Who answers, and what of the upstream's own headers goes back."""
        described = [(b"x-ezai-upstream", self.upstream.name.encode())]
        if self.upstream_model.isascii() and self.upstream_model.isprintable():  # it may be the client's word
            described.append((b"x-ezai-upstream-model", self.upstream_model.encode()))
        if self._exchange is not None:
            described += self._translator.answer_headers(self._exchange.headers)
        return described

    # Asking.

    async def begin(self, number: int, waiter: Waiter) -> None:
        """Write the intent, unless `waiter` was interrupted. Nothing has cost anything before this returns."""
        self._tariff = await self._ports.prices.find(self.upstream.name, self.upstream_model)
        key = self._request.key
        intent = AttemptIntent(
            request_id=self._request.id,
            number=number,
            key_id=key.public_id if key else None,
            requested_model=self._request.message.model,
            upstream=self.upstream.name,
            upstream_model=self.upstream_model,
            streamed=self._request.message.streamed,
            account=key.account if key else "",
            dialect=str(Dialect.ANTHROPIC),
            route=self._route.model,
        )
        waiter.check_interruption()
        self._intent = intent  # before the wait: one that is cancelled has been recorded, and has to be settled
        try:
            await waiter.wait(self._ports.ledger.intend(intent))
        except RequestError:  # refused: nothing was recorded
            self._intent = None
            raise

    async def open_stream(self, waiter: Waiter) -> Sequence[MessagesEvent]:
        """Ask, and return the first events, which are no error. Raises the `RequestError` of whatever came instead."""
        asked = await self._asked(self._translator.request, waiter)
        exchange = await self._ask(asked, waiter, "response_headers")
        if not _is_event_stream(exchange):
            raise await self._no_stream(exchange, waiter)
        message_id = "" if self.taps else self._ports.ids.new("msg_")  # a tapped answer has its upstream's own
        self.relay = Relay(
            exchange,
            self._translator.stream(message_id, self._request.message, asked.terms),
            self._ports.event_limit_bytes,
            self._ports.clock.now,
        )
        try:
            first = await waiter.wait(_first_events(self.relay), until=self._deadline("first_event"))
        except DeadlinePassed:
            raise self._overdue("first_event") from None
        self.relay.listen_again()
        self.first_event_after_s = self.relay.heard_at - self.started
        return first

    async def open_unary(self, waiter: Waiter) -> bytes:
        """Ask an upstream of the client's dialect for a whole answer, and return its body, byte for byte."""
        asked = await self._asked(self._translator.request, waiter)
        # Most say nothing before the answer is complete: of the head they take the time of both phases before content.
        exchange = await self._ask(asked, waiter, "response_headers", "first_event")
        return await self._body(exchange, waiter, MAX_UNARY_BODY_BYTES, begins_within="first_event")

    async def count(self, waiter: Waiter) -> bytes:
        """Ask for the number of input tokens, and return the body of the answer."""
        asked = await self._asked(self._translator.count_request, waiter)
        exchange = await self._ask(asked, waiter, "response_headers")
        return await self._body(exchange, waiter, MAX_ERROR_BODY_BYTES)

    async def estimate(self, waiter: Waiter) -> int:
        """About how many input tokens the request has; the upstream is not asked."""
        return await self._asked(self._translator.estimate_tokens, waiter)

    async def _asked(self, make: Callable[[MessagesRequest], T], waiter: Waiter) -> T:
        """What the translator makes of the request, elsewhere where making it would hold up other streams."""
        message = self._request.message
        if message.is_large and self._translator.rewrites(message):
            return await waiter.wait(self._ports.offload.run(make, message))
        return make(message)

    async def _ask(self, request: UpstreamRequest, waiter: Waiter, *phases: str) -> Exchange:
        try:
            exchange = await waiter.wait(self.upstream.open(request, self.timeouts), until=self._deadline(*phases))
        except DeadlinePassed:
            raise self._overdue(*phases) from None
        self._exchange = exchange
        self.upstream_request_id = _request_id(exchange.headers, self.upstream.facts.credentials)
        if exchange.status != 200:
            raise await self._refusal(exchange, waiter)
        return exchange

    async def _refusal(self, exchange: Exchange, waiter: Waiter) -> RequestError:
        if not 400 <= exchange.status < 600:
            return UpstreamMalformed(f"The upstream answered with status {exchange.status}.")
        body = await self._body(exchange, waiter, MAX_ERROR_BODY_BYTES)
        return self._translator.refusal(exchange.status, exchange.headers, body, self._request.message.model)

    async def _no_stream(self, exchange: Exchange, waiter: Waiter) -> RequestError:
        """A 200 that is no stream: servers exist that tell an error so, whose sentence is what the client needs."""
        problem = UpstreamMalformed("The upstream answered a request for a stream with something else.")
        try:
            body = await self._body(exchange, waiter, MAX_ERROR_BODY_BYTES)
        except UpstreamError:
            return problem
        return self.error_told_in(body) or problem

    def error_told_in(self, body: bytes) -> RequestError | None:
        """The upstream's error that came under a 200; None where the body tells none."""
        error = read_error(body)
        if error is None:
            return None
        status = status_named(error)
        if status == 500:  # it told none of its own (row U18)
            status = 502
        return self._translator.refusal(status, self.answered_headers, body, self._request.message.model)

    async def _body(
        self, exchange: Exchange, waiter: Waiter, limit_bytes: int, *, begins_within: str = "idle"
    ) -> bytes:
        """The whole body. Once it has begun a silence that lasts for `idle` is noticed, after twice of it at most."""
        body, phase = ComingBody(exchange, limit_bytes), begins_within
        while not body.is_whole:
            size = body.size
            reading = body.read_all() if size or phase == "idle" else body.read_some()
            try:
                await waiter.wait(reading, until=self._deadline(phase))
            except DeadlinePassed:
                if body.size == size or self._ports.clock.now() >= self._end.at:
                    raise self._overdue(phase) from None
            phase = "idle"
        return body.taken()

    # Phases of a running stream.

    def next_deadline(self) -> float:
        """When the running stream is overdue, unless something arrives before."""
        assert self.relay is not None, "only a running stream has phases"
        overdue = min(self.relay.heard_at + self.timeouts.idle, self._end.at)
        if self.relay.translator.told_end:
            return min(overdue, self.relay.handed_on_at + AFTER_THE_END_S)
        return overdue

    def check_phases(self) -> None:
        """Raise `UpstreamTimeout` or `UpstreamStalled` when a phase of the running stream is over.

        Any byte that arrived counts as life, also of what the client is not sent. An upstream that told its end is
        in no phase: when nothing more of the answer comes of it, its stream is whole.
        """
        assert self.relay is not None, "only a running stream has phases"
        now = self._ports.clock.now()
        if self.relay.translator.told_end:
            if now >= self.next_deadline():
                self.relay.hang_up()
            return
        if now >= self._end.at:
            raise UpstreamTimeout("total", self._end.limit_s)
        if now >= self.relay.heard_at + self.timeouts.idle:
            raise UpstreamStalled("idle", self.timeouts.idle)

    def _deadline(self, *phases: str) -> float:
        return min(self._ports.clock.now() + self._limit_s(phases), self._end.at)

    def _limit_s(self, phases: Sequence[str]) -> float:
        return float(sum(getattr(self.timeouts, phase) for phase in phases))

    def _overdue(self, *phases: str) -> UpstreamTimeout:
        """The error of phases that ran out, or of the total time if that was the nearer end."""
        if self._ports.clock.now() >= self._end.at:
            return UpstreamTimeout("total", self._end.limit_s)
        kind = UpstreamStalled if phases == ("idle",) else UpstreamTimeout
        return kind(" + ".join(phases), self._limit_s(phases))

    # Ending.

    async def settle(self, end: End, *, request_cause: str | None) -> None:
        """Record the end, once: later calls do nothing. Returns when the record is safe.

        `request_cause` is how the request ended with it; None where another attempt follows.
        """
        if self._settled or self._intent is None:
            return
        self._settled = True
        price = self._tariff.price_for(end.usage) if self._tariff else None
        await self._ports.ledger.settle(
            AttemptSettlement(
                intent=self._intent,
                end=end,
                request_cause=request_cause,
                first_event_after_s=self.first_event_after_s,
                duration_s=(self._stopped_at or self._ports.clock.now()) - self.started,
                upstream_request_id=self.upstream_request_id,
                price=price,
                cost_nanousd=None if price is None else cost_nanousd(end.usage, price),
            )
        )

    async def aclose(self) -> None:
        """Let go of the upstream: a finished one may be asked again, one that may go on is told to stop."""
        if self._stopped_at is None:
            self._stopped_at = self._ports.clock.now()
        exchange = self._exchange
        if exchange is None:
            return
        self._exchange = None
        if self.relay is not None and self.relay.over and not self.relay.left_early:
            exchange.release()
        else:
            await exchange.aclose()


async def _first_events(relay: Relay) -> Sequence[MessagesEvent]:
    """The first batch that holds an event, with the comments that came before it.

    A comment says nothing of how the upstream will answer, so a refusal behind it still has its status. Of an
    upstream that says nothing else, so much is held and no more.
    """
    batch = await relay.read()
    held = list(batch)
    while batch and all(event.kind == COMMENT for event in batch) and _size(held) <= MAX_HELD_COMMENT_BYTES:
        batch = await relay.read()
        held += batch
    return held


def _size(events: Sequence[MessagesEvent]) -> int:
    return sum(len(event.raw or b"") for event in events)


def _is_event_stream(exchange: Exchange) -> bool:
    for name, value in exchange.headers:
        if name == b"content-type" and value.lower().startswith(b"text/event-stream"):
            return True
    return False


def _request_id(headers: Headers, credentials: Sequence[str]) -> str | None:
    """What the upstream calls this request, cut as the ledger does: Anthropic's header, or the one most others have."""
    told = [field for field in headers if field[0] in (b"request-id", b"x-request-id")]
    for _, value in sorted(fields_without(told, credentials), key=itemgetter(0)):
        return value[:MAX_REQUEST_ID_BYTES].decode("latin-1")
    return None
