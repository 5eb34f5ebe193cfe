"""One gateway process, from its start to its end: the listening socket, the embedded child, the signals."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from typing import Any, TypeVar

from ezai.app import Embedded, Gateway, build
from ezai.config import Config, EmbeddedUpstream
from ezai.errors import SetupError
from ezai.models.catalogue import CATALOGUE
from ezai.models.reference import resolve
from ezai.policy.openness import is_loopback
from ezai.ports import KeyStore
from ezai.server.listener import Listener, bind
from ezai.store.database import sqlite_path
from ezai.store.opening import open_store
from ezai.supervise.embedded import EmbeddedChild, EmbeddedSettings
from ezai.system import SystemClock

logger = logging.getLogger("ezai.supervise")

T = TypeVar("T")
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

ENDING_S = 5.0
"""How long streams may take to write their last event; a reader that takes none is cut."""


@dataclass(frozen=True, slots=True)
class Ready:
    """What is announced once the gateway answers."""

    url: str
    models: tuple[str, ...]
    is_open: bool


def event_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's where there is one."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def run(config: Config, announce: Callable[[Ready], None], environ: Mapping[str, str] = os.environ) -> None:
    """Serve until SIGINT or SIGTERM; a second one cuts short. Leaves nothing running, however it ends.

    Raises `SetupError` when it cannot start. `announce` is called when the first request would be answered.
    """
    clock = SystemClock()
    async with AsyncExitStack() as running:
        signals = running.enter_context(StopSignals())
        store = await open_store(sqlite_path(config.store.url, config.data_dir), config.data_dir, clock, environ)
        running.push_async_callback(store.aclose)
        _check_exposure(config, store.keys)
        listening = running.enter_context(closing(bind(config.server.host, config.server.port)))
        started = await signals.unless_stopped(_start_child(config))
        if started is None:
            return
        child, embedded = started
        if child is not None:
            running.push_async_callback(child.aclose)
        gateway = build(config, store.keys, store.ledger, embedded, clock, store.signing_key)
        running.push_async_callback(gateway.aclose)
        await gateway.prices.load()
        clock.start()
        running.callback(clock.stop)
        listener = Listener(gateway.data_plane, gateway.edge)
        await listener.start(listening)
        running.push_async_callback(listener.stop)
        announce(_ready(config, listening.getsockname()[1], gateway, store.keys))
        await signals.stopping.wait()
        await _end_streams(gateway, signals)


class StopSignals:
    """SIGINT and SIGTERM while it is entered: the first asks to stop, the second to hurry."""

    def __init__(self) -> None:
        self.stopping = asyncio.Event()
        self.hurrying = asyncio.Event()

    def __enter__(self) -> StopSignals:
        for number in STOP_SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, self._received)
        return self

    def __exit__(self, *_: object) -> None:
        for number in STOP_SIGNALS:
            asyncio.get_running_loop().remove_signal_handler(number)

    def _received(self) -> None:
        (self.hurrying if self.stopping.is_set() else self.stopping).set()

    async def unless_stopped(self, starting: Coroutine[Any, Any, T]) -> T | None:
        """What `starting` returns; None, and it was cancelled, when a signal came first."""
        task = asyncio.get_running_loop().create_task(starting)
        await first_of(asyncio.wait({task}), self.stopping.wait())
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
        return None if task.cancelled() else task.result()


async def first_of(*waits: Coroutine[Any, Any, object], timeout_s: float | None = None) -> bool:
    """Wait until one of them is done and cancel the others. False when the time ran out before."""
    tasks = {asyncio.get_running_loop().create_task(wait) for wait in waits}
    try:
        done, _ = await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    return bool(done)


def _check_exposure(config: Config, keys: KeyStore) -> None:
    """Without a key everybody is served, so everybody must be this machine."""
    if not keys.has_keys() and not is_loopback(config.server.host):
        raise SetupError(
            f"There is no key yet, and {config.server.host} is open to other machines: "
            "make one with `ezai keys create`, set EZAI_ADMIN_KEY, or listen on 127.0.0.1."
        )


async def _start_child(config: Config) -> tuple[EmbeddedChild, Embedded] | tuple[None, None]:
    """The child that runs the embedded upstream's model, ready to answer; none where none is configured."""
    upstream = next((item for item in config.upstreams if isinstance(item, EmbeddedUpstream)), None)
    if upstream is None:
        return None, None
    model = await asyncio.to_thread(resolve, upstream.model, config.data_dir)
    # llama.cpp takes the memory of what is asked before it cuts it to what the model was trained with.
    context = min(upstream.context, model.context_tokens or upstream.context)
    child = EmbeddedChild(EmbeddedSettings(model.path, context, upstream.slots, upstream.threads or _spare_threads()))
    await child.start()
    catalogued = CATALOGUE.get(upstream.model)
    name = catalogued.display_name if catalogued else upstream.name
    return child, Embedded(model, name, child.context_tokens, lambda: child.endpoint)


def _spare_threads() -> int:
    """Every core but one. llama.cpp's threads wait for each other by spinning: beside one busy process two threads on
    two cores were measured at 9 tokens/s, one thread at 52 (of 90 and 51 on a calm machine).
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores - 1)


def _ready(config: Config, port: int, gateway: Gateway, keys: KeyStore) -> Ready:
    host = f"[{config.server.host}]" if ":" in config.server.host else config.server.host
    return Ready(f"http://{host}:{port}", tuple(model.id for model in gateway.models), not keys.has_keys())


async def _end_streams(gateway: Gateway, signals: StopSignals) -> None:
    """End every stream in one error event. Returns when all are told, or when a reader takes too long to be told."""
    registry = gateway.registry
    logger.info("stopping", extra={"fields": {"open_streams": len(registry)}})
    registry.close()
    await first_of(registry.wait_empty(), signals.hurrying.wait(), timeout_s=ENDING_S)
    if len(registry):
        logger.warning("streams whose readers take nothing are cut", extra={"fields": {"streams": len(registry)}})
