"""Lets a thread come to run beside an event loop that is never idle.

Such a loop gives up Python's lock at each poll, but for so short that the thread, woken by it, comes too late, again
and again: at full load a commit of 0.1 ms was seen to take 0.8 s. So where a job is not done after PATIENCE_S, the
loop stands still until one is, which takes no longer than the work itself.
"""

from __future__ import annotations

import asyncio
from queue import Empty, SimpleQueue

PATIENCE_S = 0.002
STANDSTILL_S = 0.005
"""At most. What is not done then waits for a disk, not for the loop, and the loop waits for it ever more rarely."""
_MAX_PATIENCE_S = 0.05


class HandOver:
    """Counts the jobs that were given to one thread by one event loop."""

    def __init__(self) -> None:
        self._given = 0
        self._finished = 0  # written by the thread alone
        self._timer: asyncio.TimerHandle | None = None
        self._loop_waits = False
        self._finished_one: SimpleQueue[None] = SimpleQueue()

    def given(self, loop: asyncio.AbstractEventLoop) -> None:
        """A job was given to the thread. Called on the loop."""
        self._given += 1
        if self._timer is None:
            self._watch(loop, PATIENCE_S)

    def seen(self) -> None:
        """What was finished is known on the loop: nobody needs to look after it. Called there."""
        if self._timer is not None and self._finished >= self._given:
            self._timer.cancel()
            self._timer = None

    def finished(self, jobs: int) -> None:
        """So many jobs are done. Called in the thread."""
        self._finished += jobs
        if self._loop_waits:
            self._loop_waits = False
            self._finished_one.put(None)

    def _watch(self, loop: asyncio.AbstractEventLoop, patience_s: float) -> None:
        self._timer = loop.call_later(patience_s, self._check, loop, self._given, patience_s)

    def _check(self, loop: asyncio.AbstractEventLoop, given: int, patience_s: float) -> None:
        self._timer = None
        in_vain = self._finished < given and not self._stand_still(given)
        if self._finished < self._given:
            self._watch(loop, min(2 * patience_s, _MAX_PATIENCE_S) if in_vain else PATIENCE_S)

    def _stand_still(self, given: int) -> bool:
        """Until the thread has finished something; whether it did."""
        while not self._finished_one.empty():  # told too late the last time
            self._finished_one.get()
        self._loop_waits = True
        if self._finished >= given:  # just now
            return True
        try:
            self._finished_one.get(timeout=STANDSTILL_S)
        except Empty:
            return False
        return True
