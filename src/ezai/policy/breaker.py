"""How a target has done lately, and whether it may be asked now: the breaker and the cool-down.

    closed     OPENS_AFTER failures in a row           -> open
    open       after a while, one probe is let through
                 its first event                       -> on trial
                 it fails                              -> open, for longer
    on trial   everybody is let through again
                 an answer that ends well              -> closed, and all is forgotten
                 one failure                           -> open, for longer

Only what ends well counts as well: a stream that begins and then breaks is a failure like any other, so a first event
alone forgets nothing. A target that rate-limits is not broken: it cools down for as long as it asked, and nothing is
counted. Each attempt carries a ticket, from when it began; what began before the breaker opened, or closed, says
nothing about the time since then.

Source: Envoy's outlier detection (5 in a row, 30 s times the number of ejections, at most 300 s), Linkerd's
consecutive-failure accrual (one probe), with a share of chance so that processes do not probe together.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from math import inf

OPENS_AFTER = 5
OPEN_S = 30.0
LONGEST_OPEN_S = 300.0
SPREAD = 0.2
PROBE_PATIENCE_S = 30.0
"""A probe that has said nothing for so long holds no other back: it may be a long prompt, or its record lost."""
LAST_RESORT_EVERY_S = 1.0
"""How often a target whose breaker is open is asked all the same while its route has no other."""
COOL_DOWN_S = 5.0
"""Of a target that rate-limits without saying for how long."""
SHORTEST_COOL_DOWN_S = 1.0
LONGEST_COOL_DOWN_S = 60.0


class Conduct(StrEnum):
    """How a target behaved in an attempt, as far as it is known."""

    SPOKE = "spoke"
    """Its first event came, and was no error."""
    FINISHED = "finished"
    """Its answer ended as it should."""
    FAILED = "failed"
    """It could not be reached, stayed silent, broke off, or answered with an error that is its own fault."""
    RATE_LIMITED = "rate_limited"
    """It is asked too much of, and said so."""
    UNTOLD = "untold"
    """Nothing is known: the client left, or was at fault."""


class Condition(StrEnum):
    """A target's state in one word."""

    READY = "ready"
    COOLING = "cooling"
    """It rate-limited, and is left alone for a while."""
    OPEN = "open"
    """Its breaker is open."""
    PROBING = "probing"
    """Its breaker is open, and one request is, or may now be, let through to see."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a target. Immutable: each of the functions below makes the next one. Times are a clock's."""

    failures: int = 0
    """In a row, without an answer that ended well between them."""
    openings: int = 0
    """Of the breaker, since an answer last ended well; the ticket of attempts that begin now."""
    is_open: bool = False
    probe_at: float = -inf
    """While it is open: when one request may be let through."""
    asked_at: float = -inf
    """While it is open: when that last happened, or since when it is open."""
    probing: bool = False
    cooling_until: float = -inf

    def is_ready(self, now: float) -> bool:
        """Whether it may be asked like any other, also as a probe."""
        if now < self.cooling_until:
            return False
        return not self.is_open or (now >= self.probe_at and not self.is_probed(now))

    def is_last_resort(self, now: float) -> bool:
        """Whether it may be asked though its breaker is open, because there is no other."""
        return self.is_open and now >= self._last_resort_at

    def ready_in_s(self, now: float) -> float:
        """How long until it may be asked, be it as the last resort; 0 when it may be now."""
        if self.is_ready(now) or self.is_last_resort(now):
            return 0.0
        return (self._last_resort_at if self.is_open else self.cooling_until) - now

    def condition(self, now: float) -> Condition:
        """The whole in one word."""
        if self.is_open:
            return Condition.PROBING if now >= self.probe_at or self.is_probed(now) else Condition.OPEN
        return Condition.COOLING if now < self.cooling_until else Condition.READY

    def is_probed(self, now: float) -> bool:
        """Whether a probe is under way that others wait for."""
        return self.probing and now < self.asked_at + PROBE_PATIENCE_S

    @property
    def _last_resort_at(self) -> float:
        pause_s = PROBE_PATIENCE_S if self.probing else LAST_RESORT_EVERY_S
        return max(self.cooling_until, self.asked_at + pause_s)


WELL = Standing()
"""Of a target of which nothing bad is known."""


def asked(standing: Standing, now: float) -> Standing:
    """An attempt begins now; at an open breaker it is the probe, unless there is one."""
    if not standing.is_open or standing.is_probed(now):
        return standing
    return replace(standing, asked_at=now, probing=True)


def after(
    standing: Standing, ticket: int, conduct: Conduct, now: float, *, cool_s: float = COOL_DOWN_S, chance: float = 0.5
) -> Standing:
    """The standing after an attempt that began with that ticket.

    `cool_s` is for a rate limit, `chance` a random number from 0 to 1 that spreads the time for which it opens.
    """
    if conduct is Conduct.RATE_LIMITED:
        standing = replace(standing, cooling_until=max(standing.cooling_until, now + cool_s))
        conduct = Conduct.UNTOLD
    if ticket != standing.openings:
        return standing
    match conduct:
        case Conduct.FINISHED:
            return Standing(cooling_until=standing.cooling_until)
        case Conduct.FAILED:
            return _failed(standing, now, chance)
        case Conduct.SPOKE if standing.is_open:
            return replace(standing, is_open=False, probing=False, failures=OPENS_AFTER - 1)
        case Conduct.UNTOLD if standing.probing:
            return replace(standing, probing=False)
    return standing


def cool_down_s(after_s: float | None) -> float:
    """For how long to leave a target alone that rate-limits and advised `after_s`, if anything."""
    if after_s is None:
        return COOL_DOWN_S
    return min(max(after_s, SHORTEST_COOL_DOWN_S), LONGEST_COOL_DOWN_S)


def open_s(openings: int, chance: float) -> float:
    """For how long the breaker stays open, the so many-th time in a row."""
    return min(LONGEST_OPEN_S, OPEN_S * openings * (1 - SPREAD + 2 * SPREAD * chance))


def _failed(standing: Standing, now: float, chance: float) -> Standing:
    failures = standing.failures + 1
    if standing.is_open and now < standing.probe_at:  # it was asked before its time, having no other beside it
        return replace(standing, failures=failures, asked_at=now, probing=False)
    if not standing.is_open and failures < OPENS_AFTER:
        return replace(standing, failures=failures)
    openings = standing.openings + 1
    return replace(
        standing,
        failures=failures,
        openings=openings,
        is_open=True,
        probe_at=now + open_s(openings, chance),
        asked_at=now,
        probing=False,
    )
