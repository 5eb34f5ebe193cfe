"""What the pipeline needs of the world: small protocols, and the values that cross them.

The edges (`upstreams`, `store`, `observe`, `app`) implement these; the pipeline knows no other way out. Fakes for
tests stand in `tests/pipeline/fakes.py` and keep the same promises.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import msgspec

from ezai.policy.breaker import COOL_DOWN_S, Condition, Conduct, Standing
from ezai.policy.keys import Credentials, VirtualKey
from ezai.policy.pricing import Price, Tariff
from ezai.policy.retry_budget import RetryBudget
from ezai.policy.routing import Route, Target
from ezai.protocol.end import End
from ezai.protocol.usage import Usage
from ezai.translate.base import Headers, UpstreamFacts, UpstreamRequest

__all__ = [
    "AttemptIntent",
    "AttemptSettlement",
    "Clock",
    "Exchange",
    "Headers",
    "Ids",
    "KeyStore",
    "Ledger",
    "Observer",
    "Offload",
    "Outcome",
    "Ports",
    "Prices",
    "TargetReport",
    "TargetState",
    "Timeouts",
    "Upstream",
    "UpstreamFacts",
    "UpstreamRequest",
    "Watcher",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds that each phase of one exchange may take (`[[upstreams]] timeouts`)."""

    connect: float = 5.0
    response_headers: float = 300.0
    first_event: float = 300.0
    idle: float = 120.0
    total: float = 3600.0

    def overridden(self, phases: Sequence[tuple[str, float]]) -> Timeouts:
        """The same with these phases changed (`[[routes]] timeouts`)."""
        return replace(self, **dict(phases))


class Exchange(Protocol):
    """One request on its way and the answer to it. Owned by whoever opened it, who must `aclose` it."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Headers: ...

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives: non-empty bytes, de-chunked, not decompressed, in order.

        Iteration ends when the body's framing says that it is complete; a connection that ends before raises
        `UpstreamTruncated`, broken framing `UpstreamMalformed`. Cancelling a wait for the next chunk loses no
        byte: iterating may be resumed.
        """
        ...

    async def pour(self, sink: Callable[[bytes], bool]) -> bool:
        """Give the same chunks to `sink`, each in the very call that received it: no task is woken for it.

        Returns True once `sink` has returned False: it has had enough, and gets no more. Returns False when the body
        is complete. Raises as iterating does, and what `sink` raises. Cancelling it loses no byte: iterating or
        pouring may be resumed, and after a cancellation nothing more is given to `sink`.
        """
        ...

    def hold(self) -> None:
        """Take nothing more from the upstream until somebody iterates or pours again: there is no room for it.

        Never waits. What it has sent already may still arrive.
        """
        ...

    def release(self) -> None:
        """Say that all was read that matters: the connection may be used again once its framing ends.

        The exchange is over for the caller. Never waits; calling it after the end, or twice, is harmless.
        """
        ...

    async def aclose(self) -> None:
        """Stop the exchange now. An unfinished one closes its connection, which tells the upstream to stop.

        Idempotent; after `release` it does nothing.
        """
        ...


class Upstream(Protocol):
    """A place that answers requests in one dialect."""

    @property
    def name(self) -> str: ...

    @property
    def facts(self) -> UpstreamFacts:
        """Its dialect, and what the translator has to know about this speaker of it."""
        ...

    async def open(self, request: UpstreamRequest, timeouts: Timeouts) -> Exchange:
        """Send the request and return when the status and headers of the answer are here, whatever the status.

        The phase `connect` is watched here, the others by the caller, who may cancel at any moment: that closes
        the connection and leaves nothing behind. Raises `UpstreamUnreachable` (nothing was sent),
        `UpstreamTimeout` (connect), `UpstreamTruncated` (it hung up after the request was sent),
        `UpstreamMalformed` (not HTTP, or headers over the limit).
        """
        ...


class KeyStore(Protocol):
    """Virtual keys."""

    async def find(self, credentials: Credentials) -> Sequence[VirtualKey]:
        """The distinct keys that the presented credentials stand for; unknown ones are left out."""
        ...

    def has_keys(self) -> bool:
        """Whether any key exists; while none does, a gateway on a loopback address is open."""
        ...


class Admission(msgspec.Struct, frozen=True):
    """A request of a key's, as it asks to be let in. A count of tokens is one, too."""

    request_id: str
    key: VirtualKey
    model: str
    """That was asked for."""


class Limits(Protocol):
    """What a key may do at once and in a while (`VirtualKey.limits`). Its money is the ledger's part."""

    async def admit(self, admission: Admission) -> None:
        """Let a request in, before its first attempt.

        Raises `RateLimited`, with the wait that helps, or `Overloaded` where nobody can tell: then nothing was taken.
        The wait has no deadline but the client's patience, so it is bounded here. Where it is cancelled, at whatever
        moment, what was taken already is given back here too: nobody else knows of it.
        """
        ...

    def release(self, admission: Admission, usage: Usage) -> None:
        """The request is over, its upstream has been let go, and its last attempt used that much.

        Called exactly once for each that was let in. Must not block and must not raise.
        """
        ...


class AttemptIntent(msgspec.Struct, frozen=True):
    """What is written before an attempt is dispatched. `number` counts from 1 within the request."""

    request_id: str
    number: int
    key_id: str | None
    requested_model: str
    upstream: str
    upstream_model: str
    streamed: bool
    account: str
    """Of the key; empty: none."""
    dialect: str
    """That the client speaks."""
    route: str
    """The glob of the route that was taken."""


class AttemptSettlement(msgspec.Struct, frozen=True):
    """How an attempt ended, and with the last one how its request did."""

    intent: AttemptIntent
    end: End
    request_cause: str | None
    """Of the last attempt of a request: what the client was told. None: another attempt follows."""
    first_event_after_s: float | None
    duration_s: float
    upstream_request_id: str | None
    price: Price | None
    """That was applied; None where none is known, and then there is no cost either."""
    cost_nanousd: int | None


class Ledger(Protocol):
    """The record of use. Both calls return when the record is safe."""

    @property
    def waiting(self) -> int:
        """Records that are safe, and not yet where they can be looked up."""
        ...

    async def intend(self, intent: AttemptIntent) -> None:
        """Record an attempt before it costs anything, and with its first attempt the request.

        Raises `Overloaded` where that cannot be done now, or the `RequestError` of what else forbids it, such as a
        budget: then nothing was recorded, there is nothing to settle, and no other target is asked. Cancelling the
        wait does not take the record back.
        """
        ...

    async def settle(self, settlement: AttemptSettlement) -> None:
        """Record the end of an attempt; called exactly once for each intent.

        Raises `Overloaded` where the record cannot be kept. Cancelling the wait does not take it back.
        """
        ...


@dataclass(frozen=True, slots=True)
class TargetReport:
    """A target's state, for those who look: `/metrics`, `ezai check`. `model` is empty where any may be asked for."""

    upstream: str
    model: str
    condition: Condition
    failures: int
    """In a row."""
    ready_in_s: float
    """Until it may be asked; 0 when it may be now."""


class TargetState(Protocol):
    """What is known of how targets do, shared by all requests. Nothing here waits."""

    def standing(self, target: Target) -> Standing:
        """How it does now."""
        ...

    def asking(self, target: Target) -> int:
        """An attempt begins. Returns its ticket, for `note`; at an open breaker it may be the probe."""
        ...

    def note(self, target: Target, ticket: int, conduct: Conduct, *, cool_s: float = COOL_DOWN_S) -> None:
        """What came of it: once at its first event (`SPOKE`), and once at its end. `cool_s` is for `RATE_LIMITED`."""
        ...

    def report(self) -> Sequence[TargetReport]:
        """Every target of the configuration, in its order."""
        ...


class Prices(Protocol):
    """What models cost."""

    async def find(self, upstream: str, model: str) -> Tariff | None:
        """What that model costs now on that upstream; None where nobody knows."""
        ...


class Outcome(msgspec.Struct, frozen=True):
    """How one request ended, for those who watch: what the client was told, and what it took.

    `cause` is that of the ledger and of `error.details.error_code`. A request that was refused before it was admitted
    has no route and no upstream, and no model where its body was not read. Neither that nor a count of tokens has an
    `end` or `tries`.
    """

    request_id: str
    status: int
    cause: str
    duration_s: float
    key_id: str | None = None
    model: str | None = None
    streamed: bool = False
    route: str | None = None
    upstream: str | None = None
    upstream_model: str | None = None
    upstream_request_id: str | None = None
    """What the upstream that answered, or was asked last, calls it."""
    attempts: int = 0
    first_token_after_s: float | None = None
    """From the request's admission to the first content of a streamed answer, as it came from the upstream."""
    upstream_first_token_after_s: float | None = None
    """The same from asking the upstream that answered."""
    end: End | None = None
    tries: tuple[tuple[str, str], ...] = ()
    """Upstream and cause of each attempt, in order."""


class Observer(Protocol):
    """Somebody who is told of every request once, when it is over."""

    def ended(self, outcome: Outcome) -> None:
        """Called on the event loop. Must not block and must not raise."""
        ...


class Watcher(Protocol):
    """Something with deadlines; see `Clock.watch`."""

    def check(self, now: float) -> None:
        """Called once a tick, on the event loop. Must not block and must not raise."""
        ...


class Clock(Protocol):
    """Coarse monotonic time: one tick a process instead of a timer an event (contract 10)."""

    def now(self) -> float:
        """Seconds since some fixed moment, as of the last tick or later; never goes back."""
        ...

    def epoch(self) -> float:
        """Seconds since 1970-01-01 UTC, for records; never used for durations."""
        ...

    def watch(self, watcher: Watcher) -> None:
        """Call `watcher.check` once a tick until `unwatch`."""
        ...

    def unwatch(self, watcher: Watcher) -> None:
        """Stop calling it; harmless when it is not watched."""
        ...


class Offload(Protocol):
    """A place for pure work that would hold up the event loop."""

    async def run(self, work: Callable[..., T], *args: object) -> T:
        """The result of `work(*args)`, or what it raised, without the event loop waiting for it.

        `work` is a function or method that a name leads to; it and its arguments are copied, so what it changes is
        lost. Raises `Overloaded` when the place itself fails. Cancelling the wait does not stop the work.
        """
        ...


class Ids(Protocol):
    """Random identifiers: a prefix and 24 base62 characters, as the hosted API has them."""

    def new(self, prefix: str) -> str: ...


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything that a request meets: one immutable snapshot of configuration and edges (contract 11).

    A reload makes a new one; a request keeps the one it began with.
    """

    routes: tuple[Route, ...]
    upstreams: Mapping[str, Upstream]
    timeouts: Mapping[str, Timeouts]
    keys: KeyStore
    limits: Limits
    ledger: Ledger
    prices: Prices
    clock: Clock
    ids: Ids
    offload: Offload
    target_state: TargetState
    retry_budget: RetryBudget
    event_limit_bytes: int = 8 * 1024 * 1024
    observers: tuple[Observer, ...] = ()
    commit_after_s: float = 10.0
    keep_alive_s: float = 10.0
    chance: Callable[[], float] = random.random
    """Random numbers from 0 to 1, for spreading what would else happen together."""

    def timeouts_of(self, route: Route, target: Target) -> Timeouts:
        """What holds for an attempt at a target of the route: the route's own phases above the upstream's."""
        timeouts = self.timeouts[target.upstream]
        return timeouts.overridden(route.timeouts) if route.timeouts else timeouts
