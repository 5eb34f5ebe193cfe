"""How long to wait before a process that died is started again. Pure."""

from __future__ import annotations

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 30.0
HEALTHY_AFTER_S = 60.0
"""A process that ran this long was well, so its death begins a new count."""


def deaths_in_a_row(deaths_before: int, ran_for_s: float) -> int:
    """The count that includes a death now, after `ran_for_s` of service (0 where it never came to serve)."""
    return 1 if ran_for_s >= HEALTHY_AFTER_S else deaths_before + 1


def restart_delay_s(deaths: int) -> float:
    """The wait after that many deaths in a row, at least one: doubling, up to a limit."""
    # Beyond 2^16 the limit has long been reached; a power without bound would overflow.
    return min(FIRST_DELAY_S * 2.0 ** min(deaths - 1, 16), LONGEST_DELAY_S)
