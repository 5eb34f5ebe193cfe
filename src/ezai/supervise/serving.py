"""What one process serves with, from its start to its end: the store, the listener, and the present gateway.

A reload puts another gateway in its place. A request is answered by the one it began with, which is let go when its
last request is over.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace

from ezai.app import Embedded, Gateway, RenderMetrics, build
from ezai.server.body import Receive
from ezai.server.edge_settings import EdgeSettings
from ezai.server.exchange import Scope, Send
from ezai.server.listener import Listener
from ezai.store.database import sqlite_path
from ezai.store.opening import Store, open_store
from ezai.supervise.draining import drain
from ezai.supervise.embedded_models import display_name
from ezai.supervise.files import connections_that_fit
from ezai.supervise.heap import HeapTrim, heap_trim
from ezai.supervise.snapshot import Model, Snapshot
from ezai.supervise.stopping import Stopping
from ezai.system import SystemClock

log = logging.getLogger("ezai.supervise")


class Generation:
    """A gateway, and how many requests it answers."""

    def __init__(self, number: int, gateway: Gateway, let_go: Callable[[Generation], None]) -> None:
        self.number = number
        self.gateway = gateway
        self._let_go = let_go
        self._running = 0
        self._retired = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._running += 1
        try:
            await self.gateway.data_plane(scope, receive, send)
        finally:
            self._running -= 1
            self._look()

    def retire(self) -> None:
        """It gets no more requests."""
        self._retired = True
        self._look()

    def _look(self) -> None:
        if self._retired and not self._running:
            self._let_go(self)


class ServingProcess:
    """Serves in this process. `start`, any number of `use`, `stop`, and `aclose` however it went.

    `released` is told the number of each snapshot that no request needs any more.
    """

    def __init__(
        self,
        listening: socket.socket,
        environ: Mapping[str, str],
        released: Callable[[int], None] = lambda _: None,
        render_metrics: RenderMetrics | None = None,
    ) -> None:
        self._listening = listening
        self._environ = environ
        self._released = released
        self._render_metrics = render_metrics
        self._clock = SystemClock()
        self._embedded: dict[tuple[int, str], Embedded] = {}
        self._generations: list[Generation] = []
        self._releasing: set[asyncio.Task[None]] = set()
        self._running = AsyncExitStack()
        self._is_serving = False
        self._store: Store
        self._listener: Listener

    @property
    def is_serving(self) -> bool:
        """Whether `start` has come to its end."""
        return self._is_serving

    @property
    def gateway(self) -> Gateway:
        """The present one."""
        return self._generations[-1].gateway

    # Serving.

    async def start(self, snapshot: Snapshot) -> tuple[str, ...]:
        """Begin to answer; the names of the models that are listed. Raises `SetupError`."""
        config, running = snapshot.config, self._running
        database = sqlite_path(config.store.url, config.data_dir)
        self._store = await open_store(database, config.data_dir, self._clock, self._environ)
        running.push_async_callback(self._store.aclose)
        gateway = self._build(snapshot, None)
        running.push_async_callback(self._release_all)
        self._begin(snapshot.number, gateway)
        await gateway.prices.load()
        self._clock.start()
        running.callback(self._clock.stop)
        self._listener = Listener(self._answer, self._edge(gateway))
        running.push_async_callback(self._listener.stop)
        await self._listener.start(self._listening)
        if (trim := heap_trim()) is not None:
            self._clock.watch(HeapTrim(trim, self._clock.now()))
        gc.freeze()  # what is here now stays: no collection need walk it again (docs/performance.md)
        self._is_serving = True
        return _names(gateway)

    async def use(self, snapshot: Snapshot) -> tuple[str, ...]:
        """Answer new requests by this snapshot. Raises `SetupError`; then nothing has changed."""
        former = self._generations[-1]
        gateway = self._build(snapshot, former.gateway)
        await gateway.prices.load()
        self._listener.edge = self._edge(gateway)
        self._begin(snapshot.number, gateway)
        former.retire()
        return _names(gateway)

    def moved(self, model: Model) -> None:
        """Nothing to do: it is asked where it is, each time."""

    async def stop(self, stopping: Stopping) -> None:
        """Drain; see there."""
        gateway = self.gateway
        await drain(self._listener, gateway.registry, stopping, gateway.config.limits.drain)

    async def aclose(self) -> None:
        """Let go of everything."""
        await self._running.aclose()

    # Generations.

    def _answer(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return self._generations[-1](scope, receive, send)

    def _begin(self, number: int, gateway: Gateway) -> None:
        self._generations.append(Generation(number, gateway, self._let_go))

    def _let_go(self, generation: Generation) -> None:
        self._generations.remove(generation)
        task = asyncio.get_running_loop().create_task(self._release(generation))
        self._releasing.add(task)
        task.add_done_callback(self._releasing.discard)

    async def _release(self, generation: Generation) -> None:
        await generation.gateway.release([other.gateway for other in self._generations])
        self._released(generation.number)

    async def _release_all(self) -> None:
        if self._releasing:
            await asyncio.wait(self._releasing)
        last, *others = [generation.gateway for generation in reversed(self._generations)]
        for gateway in others:
            await gateway.release(())
        await last.aclose()

    # Making them.

    def _build(self, snapshot: Snapshot, former: Gateway | None) -> Gateway:
        return build(
            snapshot.config,
            self._store.keys,
            self._store.ledger,
            self._embedded_of(snapshot),
            self._clock,
            self._store.signing_key,
            former=former,
            render_metrics=self._render_metrics,
        )

    def _embedded_of(self, snapshot: Snapshot) -> Embedded | None:
        """The same value for the same model, by which it is known to be unchanged."""
        model = snapshot.model
        if model is None:
            return None
        place = (model.number, display_name(snapshot.config))
        if place not in self._embedded:
            made = Embedded(model.local, place[1], model.context_tokens, lambda: model.endpoint)
            self._embedded = {place: made}
        return self._embedded[place]

    def _edge(self, gateway: Gateway) -> EdgeSettings:
        return replace(gateway.edge, connection_limit=connections_that_fit(gateway.config))


def _names(gateway: Gateway) -> tuple[str, ...]:
    return tuple(model.id for model in gateway.models)
