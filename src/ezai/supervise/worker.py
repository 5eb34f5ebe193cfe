"""What a worker does: it serves what it is told over the control channel (`control`), and decides nothing itself."""

from __future__ import annotations

import asyncio
import os
import socket
from itertools import count

from ezai.config import LogConfig
from ezai.errors import Overloaded, SetupError
from ezai.models.reference import LocalModel
from ezai.observe.families import Family, rendered
from ezai.observe.log import start_logging
from ezai.observe.metrics import Metrics
from ezai.supervise.control import (
    Channel,
    Count,
    Counted,
    Moved,
    Refused,
    Released,
    Serve,
    Serving,
    Stop,
    ToldModel,
    ToWorker,
)
from ezai.supervise.serving import ServingProcess
from ezai.supervise.snapshot import Snapshot
from ezai.supervise.stopping import Stage, Stopping, first_of
from ezai.upstreams.embedded import EmbeddedEndpoint

COUNTING_S = 3.0
"""How long /metrics waits for what the other workers have counted."""


class RemoteModel:
    """A model that the master runs; see `embedded_models.Model`."""

    def __init__(self, told: ToldModel) -> None:
        self.number: int = told.number
        self.local: LocalModel = told.local
        self.context_tokens: int = told.context_tokens
        self.endpoint: EmbeddedEndpoint | None = told.endpoint


class Worker:
    """One worker's life."""

    def __init__(self, listening: socket.socket) -> None:
        self._channel: Channel[ToWorker] = Channel(ToWorker, self._received, self._lost)
        self._is_over = False
        self._orders: asyncio.Queue[Serve] = asyncio.Queue()
        self._stopping = Stopping()
        self._log: LogConfig | None = None
        self._models: dict[int, RemoteModel] = {}
        self._numbers = count(1)
        self._counts: dict[int, asyncio.Future[list[Family]]] = {}
        self._serving = ServingProcess(listening, os.environ, self._released, self._render_metrics)

    async def run(self, control: socket.socket) -> None:
        """Serve until the master says otherwise."""
        await self._channel.open(control)
        try:
            if await self._obey(await self._orders.get()):
                await first_of(self._obey_on(), self._stopping.reached(Stage.HANDING_OVER))
                await self._serving.stop(self._stopping)
        finally:
            await self._serving.aclose()
            self._is_over = True
            self._channel.close()

    async def _obey_on(self) -> None:
        while True:
            await self._obey(await self._orders.get())

    async def _obey(self, order: Serve) -> bool:
        """Whether it is served now."""
        snapshot = Snapshot(order.number, order.config, self._model(order.model))
        if order.config.log != self._log:
            self._log = order.config.log
            start_logging(self._log.level, self._log.format)
        serve = self._serving.use if self._serving.is_serving else self._serving.start
        try:
            models = await serve(snapshot)
        except SetupError as error:
            self._channel.send(Refused(order.number, str(error)))
            return False
        self._channel.send(Serving(order.number, models))
        return True

    def _model(self, told: ToldModel | None) -> RemoteModel | None:
        if told is None:
            return None
        model = self._models.setdefault(told.number, RemoteModel(told))
        model.endpoint = told.endpoint
        return model

    # Messages.

    def _received(self, message: ToWorker) -> None:
        match message:
            case Serve():
                self._orders.put_nowait(message)
            case Moved():
                if model := self._models.get(message.model):
                    model.endpoint = message.endpoint
            case Stop():
                self._stopping.advance(Stage(message.stage))
            case Count():
                self._channel.send(Counted(message.number, self._serving.gateway.metrics.families()))
            case Counted():
                if (waiting := self._counts.get(message.number)) and not waiting.done():
                    waiting.set_result(message.families)

    def _lost(self) -> None:
        if not self._is_over:
            os._exit(1)  # the master is gone, and with it whoever could end this process

    def _released(self, number: int) -> None:
        self._channel.send(Released(number))

    async def _render_metrics(self, _: Metrics) -> bytes:
        """The page of all workers: whichever answers, it is the same."""
        number = next(self._numbers)
        self._counts[number] = asyncio.get_running_loop().create_future()
        self._channel.send(Count(number))
        try:
            async with asyncio.timeout(COUNTING_S):
                return rendered(await self._counts[number])
        except TimeoutError:
            raise Overloaded("The other workers do not tell what they have counted.", retry_after_s=1) from None
        finally:
            del self._counts[number]
