"""How far the end of the gateway has come, and the signals that move it on."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from enum import IntEnum
from typing import Any, TypeVar

T = TypeVar("T")

ENDING_S = 2.0
"""How long streams may take to write their last event; a reader that takes none is cut."""


class Stage(IntEnum):
    """The way to the end. Each stage holds what those before it do."""

    SERVING = 0
    HANDING_OVER = 1
    """A successor takes the new connections; here every open one is served, and closed with its answer."""
    DRAINING = 2
    """No request is taken any more; those that run go on, for as long as `[limits] drain` says."""
    ENDING = 3
    """What still runs ends in one error event."""
    CUTTING = 4
    """Readers that take nothing are not waited for."""


class Stopping:
    """The stage that was reached. It only ever goes further."""

    def __init__(self) -> None:
        self.stage = Stage.SERVING
        self._moved = asyncio.Event()

    def advance(self, stage: Stage) -> None:
        """Go on to this stage, if it is not behind already."""
        if stage > self.stage:
            self.stage = stage
            self._moved.set()
            self._moved = asyncio.Event()

    async def reached(self, stage: Stage) -> None:
        """Return once that stage, or one after it, is reached."""
        while self.stage < stage:
            await self._moved.wait()

    async def unless_reached(self, stage: Stage, work: Coroutine[Any, Any, T]) -> T | None:
        """What `work` returns; None, and it was cancelled, when the stage came first."""
        task = asyncio.get_running_loop().create_task(work)
        try:
            await first_of(asyncio.wait({task}), self.reached(stage))
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
        return None if task.cancelled() else task.result()


class Signals:
    """The signals of the gateway, while it is entered.

    SIGTERM, SIGINT   drain; the second ends what runs, the third cuts it
    SIGHUP            `reload` is set; where the terminal went away, it drains as at SIGTERM
    SIGUSR2           `upgrade` is set
    """

    def __init__(self) -> None:
        self.stopping = Stopping()
        self.reload = asyncio.Event()
        self.upgrade = asyncio.Event()
        self._handlers: dict[signal.Signals, Callable[[], None]] = {
            signal.SIGINT: self._stop,
            signal.SIGTERM: self._stop,
            signal.SIGHUP: self._hung_up,
            signal.SIGUSR2: self.upgrade.set,
        }
        # Under nohup the end of the terminal does not concern us.
        self._has_terminal = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN and _is_on_a_terminal()

    def __enter__(self) -> Signals:
        for number, handler in self._handlers.items():
            asyncio.get_running_loop().add_signal_handler(number, handler)
        return self

    def __exit__(self, *_: object) -> None:
        for number in self._handlers:
            asyncio.get_running_loop().remove_signal_handler(number)

    def _stop(self) -> None:
        further = min(self.stopping.stage + 1, Stage.CUTTING)
        self.stopping.advance(max(Stage.DRAINING, Stage(further)))

    def _hung_up(self) -> None:
        if self._has_terminal and not _is_on_a_terminal():
            self.stopping.advance(Stage.DRAINING)
        else:
            self.reload.set()


async def first_of(*waits: Coroutine[Any, Any, object], timeout_s: float | None = None) -> bool:
    """Wait until one of them is done and cancel the others. False when the time ran out before.

    What the first of them raised is raised here.
    """
    tasks = {asyncio.get_running_loop().create_task(wait) for wait in waits}
    try:
        done, _ = await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in done:
        task.result()
    return bool(done)


def _is_on_a_terminal() -> bool:
    """Whether there is a controlling terminal now."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
