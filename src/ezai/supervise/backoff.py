"""Of processes that died: what of, and how long to wait before another takes their place. Pure."""

from __future__ import annotations

import signal

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


def cause_of_death(exit_status: int | None) -> str:
    """What a sentence about the process goes on with; the status is negative for a signal, None while there is none."""
    if exit_status is None:
        return "went silent"
    if exit_status >= 0:
        return f"ended with exit code {exit_status}"
    try:
        return f"was ended by {signal.Signals(-exit_status).name}"
    except ValueError:
        return f"was ended by signal {-exit_status}"
