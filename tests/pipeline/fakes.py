"""Fakes of the ports, and the dialogue that drives the pipeline with them: upstream says, client gets.

A `Dialogue` owns its event loop. Every step runs it until nothing is left to do, so a step's effects are all there
when it returns and nothing depends on timing; time itself passes only in `passes`.
"""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar

import msgspec

from ezai.errors import RequestError
from ezai.pipeline.client import Head
from ezai.pipeline.driver import StreamRegistry, run_plain
from ezai.pipeline.relay import Push
from ezai.pipeline.request import GatewayRequest
from ezai.policy.keys import Credentials, KeyLimits, VirtualKey
from ezai.policy.pricing import Price, Tariff
from ezai.policy.retry_budget import RetryBudget
from ezai.policy.routing import Route, Target
from ezai.ports import (
    Admission,
    AttemptIntent,
    AttemptSettlement,
    Headers,
    Outcome,
    Ports,
    Timeouts,
    UpstreamRequest,
    Watcher,
)
from ezai.protocol.anthropic.events import read_event
from ezai.protocol.anthropic.order import StreamState
from ezai.protocol.anthropic.requests import read_request
from ezai.protocol.end import Cause
from ezai.protocol.sse import SseDecoder, parse_frame
from ezai.protocol.usage import Usage
from ezai.translate.base import ANTHROPIC, LLAMA_CPP, OPENAI_COMPATIBLE, UpstreamFacts
from ezai.upstreams.target_states import TargetStates

T = TypeVar("T")

EVENT_STREAM: Headers = ((b"content-type", b"text/event-stream"),)
JSON: Headers = ((b"content-type", b"application/json"),)


class FakeClock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.watchers: list[Watcher] = []

    def now(self) -> float:
        return self.time

    def epoch(self) -> float:
        return 1_800_000_000 + self.time

    def watch(self, watcher: Watcher) -> None:
        self.watchers.append(watcher)

    def unwatch(self, watcher: Watcher) -> None:
        if watcher in self.watchers:
            self.watchers.remove(watcher)

    def advance(self, seconds: float) -> None:
        self.time += seconds
        for watcher in tuple(self.watchers):
            watcher.check(self.time)


class FakeOffload:
    """Does the work where it is, on copies as another process would have them; `works` are its names.

    One that is `held` never comes to an end.
    """

    def __init__(self, *, held: bool = False) -> None:
        self.works: list[str] = []
        self._held = held

    async def run(self, work: Callable[..., T], *args: object) -> T:
        self.works.append(work.__name__)
        if self._held:
            await asyncio.Event().wait()
        there, given = pickle.loads(pickle.dumps((work, args)))
        result: T = pickle.loads(pickle.dumps(there(*given)))
        return result


class FakeIds:
    """1, 2, 3, ..."""

    def __init__(self) -> None:
        self.made = 0

    def new(self, prefix: str) -> str:
        self.made += 1
        return f"{prefix}{self.made}"


class FakeKeys:
    """A key store of given keys; with none the gateway is open."""

    def __init__(self, **public_ids: str) -> None:
        self.public_ids = public_ids

    async def find(self, credentials: Credentials) -> Sequence[VirtualKey]:
        known = dict.fromkeys(self.public_ids[secret] for secret in credentials.secrets if secret in self.public_ids)
        return [VirtualKey(public_id) for public_id in known]

    def has_keys(self) -> bool:
        return bool(self.public_ids)


class FakeLimits:
    """Keeps whom it lets in and who is gone again. `refusal` is what it says to the next; while it is `held`, whoever
    asks waits."""

    def __init__(self, *, refusal: RequestError | None = None, held: bool = False) -> None:
        self.refusal = refusal
        self.held = held
        self.let_in: list[Admission] = []
        self.released: list[tuple[Admission, Usage]] = []

    async def admit(self, admission: Admission) -> None:
        if self.refusal is not None:
            raise self.refusal
        if self.held:
            await asyncio.get_running_loop().create_future()
        self.let_in.append(admission)

    def release(self, admission: Admission, usage: Usage) -> None:
        self.released.append((admission, usage))


class FakeLedger:
    """Keeps what it is told, and refuses a second settlement. A record is queued at once, as in a real one: whoever
    waits for it may be cancelled.

    While it is `held`, nobody is told that a record is safe. `refusal` is what it says to the next intent.
    """

    def __init__(self, *, held: bool = False) -> None:
        self.intents: list[AttemptIntent] = []
        self.settlements: list[AttemptSettlement] = []
        self.held = held
        self.refusal: RequestError | None = None
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def waiting(self) -> int:
        return 0

    async def intend(self, intent: AttemptIntent) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.intents.append(intent)
        await self._is_safe()

    async def settle(self, settlement: AttemptSettlement) -> None:
        assert settlement.intent in self.intents, "settled without an intent"
        assert all(settlement.intent != earlier.intent for earlier in self.settlements), "settled twice"
        self.settlements.append(settlement)
        await self._is_safe()

    def let_go(self) -> None:
        self.held = False
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)

    async def _is_safe(self) -> None:
        if self.held:
            self._waiting.append(asyncio.get_running_loop().create_future())
            await self._waiting[-1]
        await asyncio.sleep(0)  # a real store lets others run


class FakePrices:
    """The same price for everything, or none."""

    def __init__(self, price: Price | None = None) -> None:
        self.tariff = None if price is None else Tariff(price)

    async def find(self, upstream: str, model: str) -> Tariff | None:
        return self.tariff


class FakeExchange:
    """The upstream's side of one exchange, said step by step."""

    def __init__(self, status: int, headers: Headers) -> None:
        self.status = status
        self.headers = headers
        self.released = False
        self.closed = False
        self.held = False
        self._said: list[bytes | RequestError | None] = []
        self._news: asyncio.Future[None] | None = None

    def say(self, said: bytes | RequestError | None) -> None:
        """Bytes, an end (None), or a break."""
        self._said.append(said)
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def chunks(self) -> AsyncIterator[bytes]:
        return self

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        self.held = False
        while not self._said:
            self._news = asyncio.get_running_loop().create_future()
            await self._news
        said = self._said[0]
        if isinstance(said, bytes):
            del self._said[0]
            return said
        if said is None:
            raise StopAsyncIteration
        raise said

    async def pour(self, sink: Callable[[bytes], bool]) -> bool:
        async for chunk in self:
            if not sink(chunk):
                return True
        return False

    def hold(self) -> None:
        self.held = True

    def release(self) -> None:
        self.released = True

    async def aclose(self) -> None:
        self.closed = not self.released


class FakeCall:
    """One request to an upstream, on its way until `resolve` says what comes of it."""

    def __init__(self, upstream: str, request: UpstreamRequest) -> None:
        self.upstream = upstream
        self.request = request
        self.exchange: FakeExchange | None = None
        self.cancelled = False
        self.answer: asyncio.Future[FakeExchange] = asyncio.get_running_loop().create_future()

    def resolve(self, outcome: FakeExchange | RequestError) -> None:
        if isinstance(outcome, FakeExchange):
            self.exchange = outcome
            self.answer.set_result(outcome)
        else:
            self.answer.set_exception(outcome)

    def has_stopped(self) -> bool:
        """Whether it was told to stop, in whatever state it was."""
        return self.cancelled or (self.exchange is not None and self.exchange.closed)

    @property
    def is_over(self) -> bool:
        """Whether nothing of it is left: it failed, was told to stop, or was read to its end."""
        if self.exchange is not None:
            return self.exchange.closed or self.exchange.released
        return self.answer.done()


class FakeUpstream:
    """One upstream; `calls` are what it was asked."""

    def __init__(self, name: str, facts: UpstreamFacts, calls: list[FakeCall]) -> None:
        self.name = name
        self.facts = facts
        self._calls = calls

    async def open(self, request: UpstreamRequest, timeouts: Timeouts) -> FakeExchange:
        call = FakeCall(self.name, request)
        self._calls.append(call)
        try:
            return await call.answer
        except asyncio.CancelledError:
            call.cancelled = True
            raise


class FakeClient:
    """The side that asked: keeps what it gets, reads as fast as it is told, and may leave.

    `pushes` says whether clients can be sent to without waiting; every dialogue is held both ways (conftest.py).
    """

    pushes = False

    def __init__(self) -> None:
        self.head: Head | None = None
        self.batches: list[bytes] = []
        self.finished = False
        self.pushed = 0
        self._left: Callable[[Cause], None] | None = None
        self.may_send = asyncio.Event()
        self.may_send.set()
        self.why_gone = Cause.CLIENT_LEFT

    async def start(self, head: Head) -> None:
        self.head = head

    async def send(self, batch: bytes) -> None:
        self.batches.append(batch)
        await self.may_send.wait()

    async def finish(self, last: bytes) -> None:
        if last:
            await self.send(last)
        self.finished = True

    def watch(self, left: Callable[[Cause], None]) -> None:
        self._left = left

    async def unwatch(self) -> None:
        self._left = None

    def leave(self) -> None:
        if self._left is not None:
            self._left(self.why_gone)

    @property
    def push(self) -> Push | None:
        return self._push if FakeClient.pushes else None

    def _push(self, batch: bytes) -> bool:
        assert batch
        self.pushed += 1
        self.batches.append(batch)
        return self.may_send.is_set()


class Outcomes:
    """The observer: keeps what it is told."""

    def __init__(self, outcomes: list[Outcome]) -> None:
        self._outcomes = outcomes

    def ended(self, outcome: Outcome) -> None:
        self._outcomes.append(outcome)


class World:
    """What several requests have in common: the time, what is known of targets, the budget for retries."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.states = TargetStates(self.clock, chance=lambda: 0.5)
        self.budget = RetryBudget(lambda: 1)
        self.requests = 0
        self.running = 0


KEY = VirtualKey("someone", account="acme", limits=KeyLimits(requests_per_minute=60))


class Dialogue:
    """One request, told as a dialogue. At the exit everything the client got must have been expected.

    Without `targets` there is one, which is asked once. Each of them is on an upstream of its own name, whose dialect
    is that of `facts`, or of its name in them. All chances are at their worst: every backoff is as long as it can be.
    """

    def __init__(
        self,
        facts: UpstreamFacts | Mapping[str, UpstreamFacts] = LLAMA_CPP,
        *,
        targets: Sequence[Target] = (Target("fake", max_retries=0),),
        world: World | None = None,
        stream: bool = True,
        timeouts: Timeouts | Mapping[str, Timeouts] | None = None,
        price: Price | None = None,
        offload: FakeOffload | None = None,
        ledger: FakeLedger | None = None,
        limits: FakeLimits | None = None,
        key: VirtualKey | None = KEY,
        **fields: Any,
    ) -> None:
        body = {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}], **fields}
        self.body = msgspec.json.encode(body | {"stream": stream})
        self.loop = asyncio.new_event_loop()
        self.world = world or World()
        self.clock = self.world.clock
        self.ledger = ledger or FakeLedger()
        self.limits = limits or FakeLimits()
        self.offload = offload or FakeOffload()
        self.calls: list[FakeCall] = []
        self.outcomes: list[Outcome] = []
        self.client = FakeClient()
        self.registry = StreamRegistry()
        names = dict.fromkeys(target.upstream for target in targets)
        self.ports = Ports(
            routes=(Route("*", tuple(targets)),),
            upstreams={name: FakeUpstream(name, _of(facts, name), self.calls) for name in names},
            timeouts={name: _of(timeouts or Timeouts(), name) for name in names},
            keys=FakeKeys(),
            limits=self.limits,
            ledger=self.ledger,
            prices=FakePrices(price),
            clock=self.clock,
            ids=FakeIds(),
            offload=self.offload,
            target_state=self.world.states,
            retry_budget=self.world.budget,
            observers=(Outcomes(self.outcomes),),
            chance=lambda: 1.0,
        )
        self.world.requests += 1
        self.request = GatewayRequest(f"req_{self.world.requests}", key, read_request(self.body))
        self.run = self.loop.create_task(run_plain(self.request, self.ports, self.registry, self.client))
        self._decoder = SseDecoder()
        self._legality, self._order = SseDecoder(), StreamState()
        self._read = 0
        self._settle()

    def __enter__(self) -> Dialogue:
        self.world.running += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.world.running -= 1
        try:
            if kind is None:
                self._check()
        finally:
            self.run.cancel()
            self._settle()
            self.loop.close()

    def _check(self) -> None:
        """What holds of every request that is over."""
        assert self._unread() == b"", "the client got more than was expected"
        assert self.run.done(), "the request is still running"
        self.run.result()
        assert self.world.running or not self.clock.watchers, "something still watches the clock"
        assert len(self.registry) == 0
        assert all(call.is_over for call in self.calls), "an upstream still works on it"
        settled = sorted(self.ledger.settlements, key=lambda settlement: settlement.intent.number)
        assert [item.intent for item in settled] == self.ledger.intents, "an attempt was not settled"
        assert [admission for admission, _ in self.limits.released] == self.limits.let_in, "its place is still taken"
        (told,) = self.outcomes
        assert self._order.over or not self.is_stream or told.cause in set(Cause) - {Cause.FINISHED}, "it tells no end"
        assert told.tries == tuple((item.intent.upstream, str(item.end.cause)) for item in settled)
        assert told.attempts == len(settled)
        ends = [item.request_cause for item in settled]
        assert ends == [None] * (len(ends) - 1) + [told.cause] * bool(ends), "the request's record tells of one end"

    # The upstream's side.

    @property
    def upstream(self) -> FakeCall:
        """The last request to an upstream; the one that speaks now."""
        return self.calls[-1]

    @property
    def asked(self) -> list[str]:
        """The upstreams that were asked, in order."""
        return [call.upstream for call in self.calls]

    def upstream_answers(self, status: int = 200, headers: Headers = EVENT_STREAM) -> None:
        self.upstream.resolve(FakeExchange(status, headers))
        self._settle()

    def upstream_fails(self, error: RequestError) -> None:
        self.upstream.resolve(error)
        self._settle()

    def upstream_refuses(self, status: int, *headers: tuple[bytes, bytes], body: bytes = b"{}") -> None:
        self.upstream_answers(status, (*JSON, *headers))
        self.upstream_says(body)
        self.upstream_ends()

    def upstream_says(self, *said: bytes) -> None:
        assert self.upstream.exchange is not None, "it has not answered"
        for piece in said:
            self.upstream.exchange.say(piece)
            self._settle()

    def upstream_ends(self, error: RequestError | None = None) -> None:
        assert self.upstream.exchange is not None, "it has not answered"
        self.upstream.exchange.say(error)
        self._settle()

    # The client's side.

    def client_gets(self, *expected: object) -> None:
        """The events since the last look: a kind, or ("text", "Hi"), or ("error", code)."""
        got = [_told(frame) for frame in self._decoder.feed(self._unread())]
        assert self._decoder.close() == b"", "half an event was sent"
        wanted = [item if isinstance(item, tuple) else (item,) for item in expected]
        shown = [event[: len(want)] for event, want in zip(got, wanted, strict=False)]
        assert (shown, len(got)) == (wanted, len(wanted)), f"got {got}"

    def client_gets_bytes(self, expected: bytes) -> None:
        assert self._unread() == expected

    def client_gets_json(self, status: int) -> Any:
        assert self.status() == status
        assert self.client.head is not None
        assert (b"content-type", b"application/json") in self.client.head.headers
        return msgspec.json.decode(self._unread())

    def client_leaves(self) -> None:
        self.client.leave()
        self._settle()

    def header(self, name: str) -> str | None:
        assert self.client.head is not None
        values = [value.decode() for known, value in self.client.head.headers if known == name.encode()]
        assert len(values) <= 1
        return values[0] if values else None

    def client_stops_reading(self) -> None:
        self.client.may_send.clear()

    def client_reads_again(self) -> None:
        self.client.may_send.set()
        self._settle()

    @property
    def is_stream(self) -> bool:
        """Whether the answer has begun, as a stream."""
        head = self.client.head
        return head is not None and dict(head.headers)[b"content-type"].startswith(b"text/event-stream")

    def status(self) -> int | None:
        return self.client.head.status if self.client.head else None

    # The world's side.

    def passes(self, seconds: float) -> None:
        """Time, in ticks of a quarter second as the real clock has them."""
        for _ in range(round(seconds * 4)):
            self.loop.call_soon(self.clock.advance, 0.25)  # the clock ticks on the event loop
            self._settle()

    def gateway_drains(self) -> None:
        self.registry.close()
        self._settle()

    def ended(self, cause: str) -> AttemptSettlement:
        """The settlement of the one attempt, which must have ended so."""
        assert [settlement.end.cause for settlement in self.ledger.settlements] == [cause]
        return self.ledger.settlements[0]

    def tried(self, *attempts: tuple[str, str]) -> None:
        """The attempts of the record, by upstream and cause, in order; the rest is checked at the exit."""
        settled = sorted(self.ledger.settlements, key=lambda settlement: settlement.intent.number)
        assert [(item.intent.upstream, str(item.end.cause)) for item in settled] == list(attempts)

    def _unread(self) -> bytes:
        new = b"".join(self.client.batches[self._read :])
        self._read = len(self.client.batches)
        if self.is_stream:
            for frame in self._legality.feed(new):
                assert not self._order.over, "nothing follows the end"
                self._order.process(read_event(frame))
        return new

    def _settle(self) -> None:
        """Run the loop until only something from outside could make a difference."""
        while True:
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()
            if not self.loop._ready:  # type: ignore[attr-defined]  # asyncio offers no other way to see idleness
                return


def _of(given: T | Mapping[str, T], name: str) -> T:
    return given[name] if isinstance(given, Mapping) else given


def _told(frame: bytes) -> tuple[object, ...]:
    name, data = parse_frame(frame)
    if data is None:
        return ("comment",)
    payload = msgspec.json.decode(data)
    assert payload["type"] == name.decode()
    match payload:
        case {"delta": {"text": text}}:
            return ("text", text)
        case {"type": "error", "error": {"details": {"error_code": code}, "type": wire_type}}:
            return ("error", code, wire_type)
        case {"delta": {"stop_reason": reason}}:
            return ("message_delta", reason)
    return (payload["type"],)


def chunk(text: str | None = None, *, finish: str | None = None, **more: Any) -> bytes:
    """One Chat Completions chunk as its frame."""
    delta = {} if text is None else {"content": text}
    value = {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
    return b"data: " + msgspec.json.encode(value | more) + b"\n\n"


def usage_chunk(prompt: int, completion: int, cached: int = 0) -> bytes:
    """The last chunk of an upstream that was asked to include usage."""
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "prompt_tokens_details": {"cached_tokens": cached},
    }
    return b"data: " + msgspec.json.encode({"choices": [], "usage": usage}) + b"\n\n"


DONE = b"data: [DONE]\n\n"

__all__ = [
    "ANTHROPIC",
    "DONE",
    "EVENT_STREAM",
    "JSON",
    "LLAMA_CPP",
    "OPENAI_COMPATIBLE",
    "Dialogue",
    "FakeClock",
    "FakeExchange",
    "FakeIds",
    "FakeKeys",
    "FakeLedger",
    "FakePrices",
    "FakeUpstream",
    "World",
    "chunk",
    "usage_chunk",
]
