"""Closing behind a last answer without destroying it: what nginx calls `lingering_close` (RFC 9112 section 9.6).

A socket that is closed with something unread in it sends a reset, and a reset may wipe out of the client's own buffer
the answer that it has not read yet. So nothing more is sent, but what still comes is read for a while, and thrown away.
"""

from __future__ import annotations

import asyncio
from typing import Final

QUIET_S: Final = 5.0  # as nginx's lingering_timeout
SHORT_QUIET_S: Final = 1.0
"""While others wait for its place."""
MOST_S: Final = 30.0  # as nginx's lingering_time


class Lingering:
    """The rest of one connection, which it closes itself: after so much time, so much silence, or so many bytes.

    A client that takes notice closes sooner, since it sees the end at once. Under TLS, which cannot end in one
    direction, it is the `connection: close` of the answer that tells; there a close would wait for the client's own
    for another 30 s (uvloop), so at the end the connection is cut.
    """

    __slots__ = ("_close", "_ends_at", "_heard_at", "_left_bytes")

    def __init__(self, transport: asyncio.Transport, most_bytes: int, now: float) -> None:
        self._close = transport.close if transport.can_write_eof() else transport.abort
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
            self._close()

    def check(self, now: float, *, is_wanted: bool = False) -> None:
        """The clock's tick. With `is_wanted` somebody waits for the connection's place."""
        if self._heard_at is None:
            self._heard_at = now
        quiet_s = SHORT_QUIET_S if is_wanted else QUIET_S
        if now >= min(self._ends_at, self._heard_at + quiet_s):
            self._close()
