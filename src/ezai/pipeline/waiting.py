"""Waiting that a deadline or an interruption can end.

The technique is that of `asyncio.timeout`: cancel the task where it waits, then take the cancellation back. But the
deadlines are checked by the process's one coarse tick instead of by a timer each (contract 10), and the same door
serves for what comes from outside: the client left, the gateway drains, somebody stopped the stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from ezai.errors import RequestError
from ezai.protocol.end import Cause

if TYPE_CHECKING:
    from ezai.ports import Clock

T = TypeVar("T")
NEVER = float("inf")


class DeadlinePassed(Exception):
    """What was awaited did not come by its deadline."""


class Interrupted(Exception):
    """Somebody ended the stream from outside; `cause` says who and what the client is told."""

    def __init__(self, cause: Cause | RequestError) -> None:
        super().__init__(cause)
        self.cause = cause


class Waiter:
    """The waits of one task, one at a time. A context manager: it is on the clock's list while it is open.

    The task is the one that enters it.
    """

    __slots__ = ("_call", "_call_at", "_clock", "_deadline", "_interruption", "_task", "_waiting", "_woken")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._deadline = NEVER
        self._call_at = NEVER
        self._call: Callable[[], None] | None = None
        self._interruption: Cause | RequestError | None = None
        self._task: asyncio.Task[object] | None = None
        self._waiting = False
        self._woken = False

    def __enter__(self) -> Waiter:
        self._task = asyncio.current_task()
        self._clock.watch(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clock.unwatch(self)
        self._task = None

    @property
    def interruption(self) -> Cause | RequestError | None:
        """What the stream was interrupted with, if it was."""
        return self._interruption

    def check_interruption(self) -> None:
        """Raise `Interrupted` if it was."""
        if self._interruption is not None:
            raise Interrupted(self._interruption)

    def call_at(self, moment: float, call: Callable[[], None]) -> None:
        """Have `call` called at the first tick from that moment on, once, unless `call_off`; whatever is waited for."""
        self._call_at, self._call = moment, call

    def call_off(self) -> None:
        """Nothing is called any more. Harmless after it was."""
        self._call_at, self._call = NEVER, None

    async def wait(self, awaited: Awaitable[T], until: float = NEVER) -> T:
        """Await it until the clock passes `until`.

        Raises `DeadlinePassed`, or `Interrupted` from the first interruption on. What was awaited has then been
        cancelled. A cancellation from elsewhere passes through.
        """
        if self._interruption is not None:
            _discard(awaited)
            raise Interrupted(self._interruption)
        task = self._task
        assert task is not None, "waited outside of its context"
        cancelling = task.cancelling()
        self._waiting, self._deadline, self._woken = True, until, False
        try:
            return await awaited
        except asyncio.CancelledError:
            if not self._woken or task.uncancel() > cancelling:
                raise
            if self._interruption is not None:
                raise Interrupted(self._interruption) from None
            raise DeadlinePassed from None
        finally:
            self._waiting, self._deadline = False, NEVER

    def interrupt(self, cause: Cause | RequestError) -> None:
        """End the present wait, or the next one, with `Interrupted`; the first cause stays."""
        if self._interruption is None:
            self._interruption = cause
            self._wake()

    def check(self, now: float) -> None:
        """The clock's tick."""
        if now >= self._call_at and (call := self._call) is not None:
            self.call_off()
            call()
        if now >= self._deadline:
            self._wake()

    def _wake(self) -> None:
        if self._waiting and self._task is not None and not self._woken:
            self._woken = True
            self._task.cancel()


def _discard(awaited: Awaitable[object]) -> None:
    """A coroutine that will never run is closed, so that it does not warn; a future is left to its owner."""
    if asyncio.iscoroutine(awaited):
        awaited.close()
