"""How much a client may ask for that is no request.

Each frame of control costs the server work, and some an answer (CVE-2019-9512 and others; CVE-2023-44487), while a
decent client sends few of them beside its requests. So they are paid from an account that refills with time, and with
what the client is sent and asks for in good faith.
"""

from __future__ import annotations

from typing import Final

MOST: Final = 2_000
PER_SECOND: Final = 200
CANCELLED: Final = 10
"""For cancelling an answer that runs: 200 at once, and 20 a second for ever."""
ANSWERED: Final = 10
"""Earned by an answer that went out whole."""
SENT: Final = 4
"""Earned by a frame of an answer, for the windows that are opened again for it."""
HEAD_STEP_BYTES: Final = 1024
"""Every so many bytes of a compressed head cost as much as a frame."""


class FloodBudget:
    """One connection's account."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left: float = MOST

    @property
    def is_overdrawn(self) -> bool:
        return self._left < 0

    def spend(self, cost: int = 1) -> None:
        self._left -= cost

    def earn(self, gain: float) -> None:
        self._left = min(MOST, self._left + gain)

    def wait(self, elapsed_s: float) -> None:
        """Let time pass."""
        self.earn(elapsed_s * PER_SECOND)
