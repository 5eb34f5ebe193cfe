"""The workers as the master has them: started, told, counted, replaced when they die, and ended.

All of them accept on one socket, so a connection waits for none that is busy or gone, and none is lost with one.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from itertools import count
from typing import cast

from ezai.errors import SetupError
from ezai.observe.families import Family, added, without_gauges
from ezai.supervise.backoff import cause_of_death, deaths_in_a_row, restart_delay_s
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
    ToMaster,
)
from ezai.supervise.snapshot import Model, Snapshot
from ezai.supervise.stopping import ENDING_S, Stage, Stopping, first_of

log = logging.getLogger("ezai.supervise")

COMMAND = (sys.executable, "-P", "-m", "ezai.supervise.worker_process")
START_TIMEOUT_S = 60.0
COUNTING_S = 1.0
"""How long one worker is waited for, until what it told the last time counts."""
GOING_S = 4.0
"""How long a worker that has ended its streams may take to go."""


class Workers:
    """So many processes that serve. `start`, any number of `use`, `stop`, and `aclose` however it went.

    `released` is told the number of each snapshot that no worker needs any more.
    """

    def __init__(
        self, listening: socket.socket, environ: Mapping[str, str], released: Callable[[int], None] = lambda _: None
    ) -> None:
        self._listening = listening
        self._environ = environ
        self._released = released
        self._snapshot: Snapshot
        self._needed: set[int] = set()
        self._pinned: set[int] = set()
        self._living: list[_Worker] = []
        self._owners: list[asyncio.Task[None]] = []
        self._changing = asyncio.Lock()
        self._counting: set[asyncio.Task[None]] = set()
        self._past: list[Family] = []

    # Serving.

    async def start(self, snapshot: Snapshot) -> tuple[str, ...]:
        """Start as many as the configuration says; the names of the models that are listed, once all serve.

        Raises `SetupError`; `aclose` ends those that were started.
        """
        self._snapshot = snapshot
        self._pin(snapshot.number)
        places = range(snapshot.config.server.workers)
        begun = await asyncio.gather(*(self._begin() for _ in places), return_exceptions=True)
        workers = []
        for worker in begun:
            if isinstance(worker, BaseException):
                raise worker
            workers.append(worker)
        loop = asyncio.get_running_loop()
        self._owners = [loop.create_task(self._keep(worker)) for worker in workers]
        return workers[0].models

    async def use(self, snapshot: Snapshot) -> tuple[str, ...]:
        """Answer new requests by this snapshot. Raises `SetupError`; then nothing has changed.

        The first worker says whether it can be served. One that refuses what another has accepted is replaced.
        """
        async with self._changing:
            former = self._snapshot
            self._pin(former.number, snapshot.number)
            try:
                await self._tell_all(snapshot)
            except BaseException:
                self._pin(former.number)
                raise
            self._snapshot = snapshot
            self._pin(snapshot.number)
        return next((worker.models for worker in self._living), ())

    async def _tell_all(self, snapshot: Snapshot) -> None:
        """Raises `SetupError` where the first that was asked refuses, or none of them survives it."""
        accepted = False
        for worker in tuple(self._living):
            try:
                accepted = await worker.serve(snapshot) or accepted
            except SetupError as error:
                if not accepted:
                    raise
                log.warning("a worker cannot follow a reload: %s", error)
                worker.kill()
        if not accepted:
            raise SetupError("No worker came to serve by it; their log says why.")

    def moved(self, model: Model) -> None:
        """Tell everybody where an embedded model answers now."""
        for worker in self._living:
            worker.channel.send(Moved(model.number, model.endpoint))

    async def stop(self, stopping: Stopping) -> None:
        """Let every worker drain, each by itself, and return when all have gone or had their time."""
        await self._dismiss_owners()
        self._listening.close()
        limit_s = self._snapshot.config.limits.drain + ENDING_S + GOING_S
        await first_of(self._all_gone(), self._pass_on(stopping), timeout_s=limit_s)

    async def aclose(self) -> None:
        """End whoever is left, without asking."""
        await self._dismiss_owners()
        for worker in self._living:
            worker.kill()
        await self._all_gone()
        if self._counting:
            await asyncio.wait(self._counting)

    async def _all_gone(self) -> None:
        for worker in tuple(self._living):
            await worker.gone()

    async def _pass_on(self, stopping: Stopping) -> None:
        while True:
            stage = stopping.stage
            for worker in self._living:
                worker.channel.send(Stop(stage))
            if stage == Stage.CUTTING:
                await asyncio.sleep(GOING_S)
                return
            await stopping.reached(Stage(stage + 1))

    async def _dismiss_owners(self) -> None:
        owners, self._owners = self._owners, []
        for owner in owners:
            owner.cancel()
        if owners:
            await asyncio.wait(owners)

    # One place each, whoever fills it.

    async def _keep(self, worker: _Worker) -> None:
        """See that there always is a worker in this place."""
        deaths = 0
        while True:
            began_s = time.monotonic()
            await worker.gone()
            deaths = deaths_in_a_row(deaths, time.monotonic() - began_s)
            log.warning("a worker %s; another takes its place", worker.cause_of_death())
            worker = await self._replaced(deaths)
            log.info("a worker took its place", extra={"fields": {"pid": worker.pid}})

    async def _replaced(self, deaths: int) -> _Worker:
        while True:
            await asyncio.sleep(restart_delay_s(deaths))
            try:
                async with self._changing:
                    return await self._begin()
            except SetupError as error:
                deaths += 1
                log.warning("a worker could not be started: %s", error)

    async def _begin(self) -> _Worker:
        """A worker that serves. Raises `SetupError`; then, and when it is cancelled, it is gone."""
        worker = _Worker(self._died, self._look, self._count)
        self._living.append(worker)
        try:
            await worker.spawn(self._listening, self._environ)
            async with asyncio.timeout(START_TIMEOUT_S):
                if not await worker.serve(self._snapshot):
                    raise SetupError(f"A worker {worker.cause_of_death()} before it served; its log says why.")
        except BaseException as failure:
            await worker.end()
            self._died(worker)
            if isinstance(failure, TimeoutError):
                raise SetupError(f"A worker did not serve within {START_TIMEOUT_S:g} s.") from None
            if isinstance(failure, OSError):
                raise SetupError(f"No process could be made for a worker ({failure.strerror}).") from failure
            raise
        return worker

    def _died(self, worker: _Worker) -> None:
        if worker in self._living:
            self._living.remove(worker)
            self._past = added([self._past, without_gauges(worker.counted)])
            self._look()

    def _pin(self, *numbers: int) -> None:
        """These snapshots are needed, whoever serves by them now."""
        self._pinned = set(numbers)
        self._needed |= self._pinned
        self._look()

    def _look(self) -> None:
        """Tell which snapshots are needed no more."""
        over = self._needed - self._pinned - {number for worker in self._living for number in worker.snapshots}
        self._needed -= over
        for number in over:
            self._released(number)

    # Counting.

    def _count(self, asking: _Worker, number: int) -> None:
        task = asyncio.get_running_loop().create_task(self._tell_counts(asking, number))
        self._counting.add(task)
        task.add_done_callback(self._counting.discard)

    async def _tell_counts(self, asking: _Worker, number: int) -> None:
        """Ask everybody, and tell whoever asked the sum; with it what those have counted that are no more."""
        workers = [worker for worker in self._living if worker.snapshots]
        await asyncio.gather(*(worker.count() for worker in workers))
        asking.channel.send(Counted(number, added([*(worker.counted for worker in workers), self._past])))


class _Worker(asyncio.SubprocessProtocol):
    """One process that serves."""

    def __init__(
        self,
        died: Callable[[_Worker], None],
        released: Callable[[], None],
        asked_to_count: Callable[[_Worker, int], None],
    ) -> None:
        self.snapshots: set[int] = set()
        """The numbers of those that it serves requests by."""
        self.models: tuple[str, ...] = ()
        self.counted: list[Family] = []
        """As it was told the last time."""
        self.channel: Channel[ToMaster] = Channel(ToMaster, self._received, lambda: None)
        self._died = died
        self._released = released
        self._asked_to_count = asked_to_count
        self._serving: dict[int, asyncio.Future[str]] = {}
        self._counting: dict[int, asyncio.Event] = {}
        self._numbers = count(1)
        self._transport: asyncio.SubprocessTransport | None = None
        self._exited = asyncio.Event()

    async def spawn(self, listening: socket.socket, environ: Mapping[str, str]) -> None:
        """Make the process. Raises `OSError`."""
        ours, theirs = socket.socketpair()
        with theirs:
            descriptors = (theirs.fileno(), listening.fileno())
            try:
                await asyncio.get_running_loop().subprocess_exec(
                    lambda: self,
                    *(*COMMAND, *map(str, descriptors), str(os.getpid())),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=None,
                    stderr=None,
                    pass_fds=descriptors,
                    env=dict(environ),
                )
            except BaseException:
                ours.close()
                raise
        await self.channel.open(ours)

    async def serve(self, snapshot: Snapshot) -> bool:
        """Have it serve by this snapshot; False where it has died meanwhile. Raises `SetupError` where it refuses."""
        answer = self._serving[snapshot.number] = asyncio.get_running_loop().create_future()
        self.channel.send(Serve(snapshot.number, snapshot.config, _told(snapshot.model)))
        try:
            await first_of(asyncio.wait({answer}), self._exited.wait())
            if not answer.done():
                return False
            if refusal := answer.result():
                raise SetupError(refusal)
            return True
        finally:
            del self._serving[snapshot.number]

    async def count(self) -> None:
        """Bring `counted` up to date; where it does not answer in time, what it told before stays."""
        number = next(self._numbers)
        told = self._counting[number] = asyncio.Event()
        self.channel.send(Count(number))
        await first_of(told.wait(), self._exited.wait(), timeout_s=COUNTING_S)
        del self._counting[number]

    @property
    def pid(self) -> int | None:
        return self._transport.get_pid() if self._transport else None

    async def gone(self) -> None:
        """Return when the process has ended."""
        await self._exited.wait()

    def kill(self) -> None:
        """End it now."""
        if self._transport is not None and self._transport.get_returncode() is None:
            self._transport.kill()

    async def end(self) -> None:
        """End it now, and wait until it is gone. Harmless where there is none."""
        if self._transport is not None:
            self.kill()
            await self._exited.wait()

    def cause_of_death(self) -> str:
        """What a sentence about the process goes on with."""
        return cause_of_death(self._transport.get_returncode() if self._transport else None)

    # Messages.

    def _received(self, message: ToMaster) -> None:
        match message:
            case Serving():
                self.snapshots.add(message.number)
                self.models = message.models
                self._answered(message.number, "")
            case Refused():
                self._answered(message.number, message.sentence)
            case Released():
                self.snapshots.discard(message.number)
                self._released()
            case Count():
                self._asked_to_count(self, message.number)
            case Counted():
                self.counted = message.families
                if told := self._counting.get(message.number):
                    told.set()

    def _answered(self, number: int, refusal: str) -> None:
        answer = self._serving.get(number)
        if answer is not None and not answer.done():
            answer.set_result(refusal)

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.SubprocessTransport", transport)  # uvloop's is none by inheritance

    def process_exited(self) -> None:
        assert self._transport is not None
        self._transport.close()
        self.channel.close()
        self._died(self)
        self._exited.set()


def _told(model: Model | None) -> ToldModel | None:
    if model is None:
        return None
    return ToldModel(model.number, model.local, model.context_tokens, model.endpoint)
