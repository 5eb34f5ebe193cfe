"""The embedded models that run: the one that is configured, and one that a reload has left while answers still come.

A reload that changes what runs (`model`, `context`, `slots`, `threads`) starts a process beside the present one, so
for as long as an answer of the old one lasts both are in memory.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from itertools import count

from ezai.config import Config, EmbeddedUpstream
from ezai.models.catalogue import CATALOGUE
from ezai.models.reference import LocalModel, resolve
from ezai.supervise.embedded import EmbeddedChild, EmbeddedSettings
from ezai.supervise.snapshot import Model
from ezai.upstreams.embedded import EmbeddedEndpoint

log = logging.getLogger("ezai.supervise")

Wanted = tuple[str, int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class RunningModel:
    """A `Model` and the process that runs it."""

    number: int
    wanted: Wanted
    local: LocalModel
    child: EmbeddedChild

    @property
    def context_tokens(self) -> int:
        return self.child.context_tokens

    @property
    def endpoint(self) -> EmbeddedEndpoint | None:
        return self.child.endpoint


class EmbeddedModels:
    """Starts and ends them. `moved` is called whenever one comes up somewhere, or goes down."""

    def __init__(self, moved: Callable[[RunningModel], None] = lambda _: None) -> None:
        self._moved = moved
        self._numbers = count(1)
        self._running: list[RunningModel] = []

    async def provide(self, config: Config) -> RunningModel | None:
        """The model that the configuration wants, ready to answer; None where it wants none.

        Raises `SetupError`; then, and when it is cancelled, it has started nothing.
        """
        upstream = embedded_upstream(config)
        if upstream is None:
            return None
        wanted = (upstream.model, upstream.context, upstream.slots, upstream.threads)
        for model in self._running:
            if model.wanted == wanted:
                return model
        local = await asyncio.to_thread(resolve, upstream.model, config.data_dir)
        # llama.cpp takes the memory of what is asked before it cuts it to what the model was trained with.
        context = min(upstream.context, local.context_tokens or upstream.context)
        threads = upstream.threads or spare_threads()
        child = EmbeddedChild(EmbeddedSettings(local.path, context, upstream.slots, threads))
        await child.start()
        model = RunningModel(next(self._numbers), wanted, local, child)
        self._running.append(model)
        child.subscribe(lambda: self._moved(model))
        return model

    async def end_others(self, needed: Collection[Model | None]) -> None:
        """End each that is not among these, as they are when its turn comes."""
        for model in tuple(self._running):
            if model not in needed:
                self._running.remove(model)
                await model.child.aclose()

    async def aclose(self) -> None:
        """End them all."""
        await self.end_others(())


def embedded_upstream(config: Config) -> EmbeddedUpstream | None:
    """The one upstream that runs beside the gateway, where one is configured."""
    return next((item for item in config.upstreams if isinstance(item, EmbeddedUpstream)), None)


def display_name(config: Config) -> str:
    """What a person calls the embedded model: its name in the catalogue, else that of its upstream."""
    upstream = embedded_upstream(config)
    assert upstream is not None
    catalogued = CATALOGUE.get(upstream.model)
    return catalogued.display_name if catalogued else upstream.name


def spare_threads() -> int:
    """Every core but one. llama.cpp's threads wait for each other by spinning: beside one busy process two threads on
    two cores were measured at 9 tokens/s, one thread at 52 (of 90 and 51 on a calm machine).
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores - 1)
