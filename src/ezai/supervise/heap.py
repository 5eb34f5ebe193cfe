"""Giving back the memory that a burst has left free in the heap of the C library.

glibc keeps what is freed between blocks that are still in use. Of 500 readers that have stopped each holds 210 KiB, and
with 250 KiB more for each, free and unused, the process was twice as large (row C5, measured). `malloc_trim` gives
whole free pages back, and holds the process up meanwhile: 13 ms for 94 MiB, 0.1 s for a GiB in small blocks, and then a
quarter of that each time for as long as these stay scattered. So the next time waits for as long as the last one took,
`PATIENCE` times.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from typing import cast

TRIM_EVERY_S = 2.0
PATIENCE = 200
KEPT_BYTES = 1024 * 1024
"""Left at the heap's end for what comes next, so that it is not asked back from the system at once."""

Trim = Callable[[int], object]


class HeapTrim:
    """The port `Watcher`: calls `trim` with `KEPT_BYTES` every `TRIM_EVERY_S` seconds or less often, so that it takes
    no more than one part in `PATIENCE` of the time.
    """

    def __init__(self, trim: Trim, now: float, timer: Callable[[], float] = time.perf_counter) -> None:
        self._trim = trim
        self._timer = timer
        self._next_at = now + TRIM_EVERY_S

    def check(self, now: float) -> None:
        if now < self._next_at:
            return
        began = self._timer()
        self._trim(KEPT_BYTES)
        self._next_at = now + max(TRIM_EVERY_S, PATIENCE * (self._timer() - began))


def heap_trim() -> Trim | None:
    """The C library's `malloc_trim`; None where it has none, as on musl, macOS and Windows."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # no such function; no such library; no name for it, on Windows
        return None
    trim.argtypes = [ctypes.c_size_t]
    return cast("Trim", trim)
