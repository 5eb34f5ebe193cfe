"""The ports `Clock` and `Ids` on the real system."""

from __future__ import annotations

import asyncio
import logging
import os
import string
import time

from ezai.ports import Watcher

logger = logging.getLogger("ezai.system")

DEFAULT_TICK_S = 0.25
_ID_CHARS = 24
_BASE62 = (string.digits + string.ascii_letters).encode()
# 256 bytes onto 62 characters: eight of them come up a little more often, which costs half a bit of 142.
_TO_BASE62 = (_BASE62 * 5)[:256]


class SystemClock:
    """Monotonic time with one tick per process (contract 10). `start` and `stop` run on the event loop."""

    def __init__(self, tick_s: float = DEFAULT_TICK_S) -> None:
        self._tick_s = tick_s
        self._watchers: set[Watcher] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._running = False

    now = staticmethod(time.monotonic)  # asked for each event: no frame of Python in between
    epoch = staticmethod(time.time)

    def watch(self, watcher: Watcher) -> None:
        self._watchers.add(watcher)

    def unwatch(self, watcher: Watcher) -> None:
        self._watchers.discard(watcher)

    def start(self) -> None:
        """Begin to tick."""
        self._running = True
        self._timer = asyncio.get_running_loop().call_later(self._tick_s, self._tick)

    def stop(self) -> None:
        """Tick a last time, for what waits to be told, and no more. Idempotent."""
        self._running = False
        if self._timer is not None:  # else a watcher stops it, and the others are told in this very tick
            self._timer.cancel()
            self._tick()

    def _tick(self) -> None:
        self._timer = None
        now = self.now()
        for watcher in tuple(self._watchers):
            if watcher in self._watchers:  # a check may end the watch of others
                try:
                    watcher.check(now)
                except Exception:  # one that fails must not stop the time of all others
                    logger.exception("a watcher of the clock failed")
        if self._running:
            self._timer = asyncio.get_running_loop().call_later(self._tick_s, self._tick)


class RandomIds:
    """Unguessable identifiers: 24 base62 characters."""

    def new(self, prefix: str) -> str:
        return prefix + os.urandom(_ID_CHARS).translate(_TO_BASE62).decode()
