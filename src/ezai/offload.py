"""The port `Offload` on a process of its own, which is there only while it is needed.

It starts with the first large body, takes one piece of work after the other, ends after a minute without any, and
dies with the gateway, however that dies.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from concurrent.futures import BrokenExecutor
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from ezai.errors import Overloaded
from ezai.ports import Clock

if TYPE_CHECKING:
    from concurrent.futures import ProcessPoolExecutor

T = TypeVar("T")

IDLE_S = 60.0


class ProcessOffload:
    """One worker process. Used on one event loop; `aclose` ends it."""

    def __init__(self, clock: Clock, idle_s: float = IDLE_S) -> None:
        self._clock = clock
        self._idle_s = idle_s
        self._running = 0
        self._last_used = 0.0
        self._workers: ProcessPoolExecutor | None = None
        self._starting = asyncio.Lock()

    async def run(self, work: Callable[..., T], *args: object) -> T:
        self._running += 1
        workers = None
        try:
            workers = await self._started()
            # The first submission starts the process, which takes a while.
            return await asyncio.wrap_future(await asyncio.to_thread(workers.submit, work, *args))
        except (BrokenExecutor, OSError):  # OSError: there is no file or process left to make it of
            if workers is not None and self._workers is workers:
                self._end()
            raise Overloaded("There is no process to read large bodies; try again.", retry_after_s=1) from None
        finally:
            self._running -= 1
            self._last_used = self._clock.now()

    def check(self, now: float) -> None:
        """The clock's tick: an idle worker ends."""
        if not self._running and now >= self._last_used + self._idle_s:
            self._end()

    async def aclose(self) -> None:
        """End the worker; work that has not begun is dropped."""
        if self._workers is not None:
            await self._end()

    async def _started(self) -> ProcessPoolExecutor:
        async with self._starting:
            if self._workers is None:
                self._workers = await asyncio.to_thread(_one_worker)
                self._clock.watch(self)
            return self._workers

    def _end(self) -> asyncio.Future[None]:
        """Begin to end the worker. The next work gets another."""
        assert self._workers is not None, "watched only while there is one"
        end = partial(self._workers.shutdown, cancel_futures=True)
        self._workers = None
        self._clock.unwatch(self)
        return asyncio.get_running_loop().run_in_executor(None, end)


def _one_worker() -> ProcessPoolExecutor:
    from concurrent.futures import ProcessPoolExecutor  # some MiB of modules: not before they are used
    from multiprocessing import get_context

    # Spawned, not forked: this process has threads and an event loop.
    return ProcessPoolExecutor(1, get_context("spawn"), _follow_parent)


def _follow_parent() -> None:
    """Make the worker live exactly as long as the gateway wants it, and take no time that the gateway could use.

    Signals that a terminal or a service manager sends to all processes are for the gateway, which may have streams to
    end first; its death, SIGKILL too, ends the worker.
    """
    from multiprocessing import parent_process
    from threading import Thread

    os.nice(10)  # streams come first, also where there is one core
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None, "runs in a worker"

    def end_with_parent() -> None:
        parent.join()
        os._exit(0)

    Thread(target=end_with_parent, name="ezai-end-with-gateway", daemon=True).start()
