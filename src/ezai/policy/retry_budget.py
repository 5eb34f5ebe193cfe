"""How many requests of a process may be asking an upstream again at one time.

Retries help while few fail; when all fail they are load on what is already down. So they are a share of what is going
on, with a floor under it for quiet times. Source: Envoy, `CircuitBreakers.Thresholds.RetryBudget` (20 % of active and
pending requests, at least 3 at a time); Finagle's `RetryBudget` has the same share.
"""

from __future__ import annotations

from collections.abc import Callable

SHARE = 0.2
FLOOR = 3


class RetryBudget:
    """Counts the retries under way. `active` tells how many requests are being served.

    A retry is under way from when it is decided until its outcome is known: its first event, or its error.
    """

    __slots__ = ("_active", "_under_way")

    def __init__(self, active: Callable[[], int]) -> None:
        self._active = active
        self._under_way = 0

    @property
    def under_way(self) -> int:
        """How many retries there are now."""
        return self._under_way

    def take(self) -> bool:
        """Whether there is room for one more retry; then it counts, until `give_back`."""
        if self._under_way >= max(FLOOR, SHARE * self._active()):
            return False
        self._under_way += 1
        return True

    def give_back(self) -> None:
        """The outcome of a retry that was taken is known."""
        assert self._under_way > 0, "given back more often than taken"
        self._under_way -= 1
