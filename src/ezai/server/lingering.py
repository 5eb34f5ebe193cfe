"""Closing behind a last answer without destroying it: what nginx calls `lingering_close` (RFC 9112 section 9.6).

A socket that is closed with something unread in it sends a reset, and a reset may wipe out of the client's own buffer
the answer that it has not read yet. So nothing more is sent, but what still comes is read for a while, and thrown away.
"""

from __future__ import annotations

import asyncio
from typing import Final

QUIET_S: Final = 5.0  # as nginx's lingering_timeout
MOST_S: Final = 30.0  # as nginx's lingering_time


class Lingering:
    """The rest of one connection, which it closes itself: after so much time, so much silence, or so many bytes.

    A client that takes notice closes sooner, since it sees the end at once. Under TLS, which cannot end in one
    direction, it is the `connection: close` of the answer that tells.
    """

    __slots__ = ("_ends_at", "_heard_at", "_left_bytes", "_transport")

    def __init__(self, transport: asyncio.Transport, most_bytes: int, now: float) -> None:
        self._transport = transport
        self._left_bytes = most_bytes
        self._heard_at: float | None = now
        self._ends_at = now + MOST_S
        if transport.can_write_eof():
            transport.write_eof()

    def take(self, size: int) -> None:
        """So much came."""
        self._heard_at = None
        self._left_bytes -= size
        if self._left_bytes < 0:
            self._transport.close()

    def check(self, now: float) -> None:
        """The clock's tick."""
        if self._heard_at is None:
            self._heard_at = now
        if now >= min(self._ends_at, self._heard_at + QUIET_S):
            self._transport.close()
