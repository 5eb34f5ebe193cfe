"""How long to wait before an upstream is asked again.

Exponential with full jitter: clients that failed together do not come back together. Source: M. Brooker, "Exponential
Backoff And Jitter", AWS Architecture Blog, 2015, where full jitter did the least work of all.
"""

from __future__ import annotations

BASE_S = 0.5
LONGEST_BACKOFF_S = 8.0
"""These two are what the official SDKs take, so an upstream sees no other pace than theirs."""

LONGEST_WAIT_S = 30.0
"""An upstream that wants a longer wait is not waited for: what it said goes to the client, with its `retry-after`. The
proxies in front of us give up a silent answer after 60 s (nginx, HAProxy's examples), and the attempt has to fit too.
"""
PATIENCE_S = 1.0
"""The longest wait while another target is ready: longer than two backoffs, and shorter than a reader notices."""


def backoff_s(repeat: int, chance: float) -> float:
    """The wait before the repeat of that number, from 1; `chance` is a random number from 0 to 1."""
    # Beyond 2^16 the limit has long been reached; a power without bound would overflow.
    return chance * min(LONGEST_BACKOFF_S, BASE_S * 2.0 ** min(repeat - 1, 16))


def wait_s(repeat: int, after_s: float | None, chance: float) -> float:
    """The same, but never earlier than the upstream advised: what it told many at once is spread behind its moment."""
    return (after_s or 0.0) + backoff_s(repeat, chance)
