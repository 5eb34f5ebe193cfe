"""Whether the reader of a connection has stopped: what slow and stopped readers are told apart by."""

from __future__ import annotations

import asyncio
import fcntl
import sys
import termios


class ReaderWatch:
    """Looks at one connection whose reader is waited for.

    Whoever takes a byte now and then is served, however slowly. What the kernel still holds counts too: it reports
    room in large steps, and a slow reader may take minutes for one. Under TLS there is a buffer in between that cannot
    be looked at, so either of the two that can is enough.
    """

    __slots__ = ("_last", "_stall_s", "_taken_at")

    def __init__(self, stall_s: float) -> None:
        self._stall_s = stall_s
        self._last: tuple[int, int] | None = None
        self._taken_at = 0.0

    def forget(self) -> None:
        """Nobody waits for the reader now."""
        self._last = None

    def has_stopped(self, transport: asyncio.Transport, now: float) -> bool:
        """Whether it has taken nothing for too long; to be asked at every tick while it is waited for."""
        unsent, unacknowledged = transport.get_write_buffer_size(), _unacknowledged_bytes(transport)
        last, self._last = self._last, (unsent, unacknowledged)
        if last is None or unsent < last[0] or unacknowledged < last[1]:
            self._taken_at = now
        return now >= self._taken_at + self._stall_s


def _unacknowledged_bytes(transport: asyncio.Transport) -> int:
    """What the kernel holds for the other side, sent or not; 0 where the system does not tell."""
    try:
        told = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
    except OSError:
        return 0
    return int.from_bytes(told, sys.byteorder)
