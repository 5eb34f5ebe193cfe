"""Which target is asked next: the walk of one request over the targets of its route, until one of them answers.

Bounds, whatever happens (design, contract 6): at most `MAX_ATTEMPTS` attempts, none after the deadline; a target is
asked again only where the verdict allows it, up to its `max_retries`, and never returned to once another was asked.

Asking an upstream again that this request has asked already takes from the process's retry budget. Going on to another
upstream does not: each is asked once for a request, which is the load that it is there for, and a budget that denied it
would let requests fail that a healthy target can answer, just when the first one breaks for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, inf
from typing import NamedTuple

from ezai.errors import NoTargetReady
from ezai.policy.backoff import LONGEST_WAIT_S, PATIENCE_S, wait_s
from ezai.policy.breaker import Standing
from ezai.policy.retry_budget import RetryBudget
from ezai.policy.routing import Target, choose
from ezai.policy.verdicts import Elsewhere, Verdict

MAX_ATTEMPTS = 4
PROBE_ADVICE_S = 2.0
"""What a client is told to wait while somebody else's request is finding out whether a target is back."""


class Step(NamedTuple):
    """The next attempt: whom to ask, and how long to wait before."""

    target: Target
    wait_s: float = 0.0


class Walk:
    """The walk of one request. `first`, then `onward` after each attempt that brought an error; `close` at its end.

    `standing_of` tells how a target does now. No attempt begins at or after `deadline`; no wait lasts past
    `commits_at`, which is when the answer has to begin. Once it has, waiting costs its reader nothing more.
    """

    __slots__ = (
        "_attempts", "_budget", "_commits_at", "_deadline", "_repeats", "_standing_of", "_takes", "_targets",
        "_too_small", "_tried",
    )  # fmt: skip

    def __init__(
        self,
        targets: Sequence[Target],
        standing_of: Callable[[Target], Standing],
        budget: RetryBudget,
        *,
        deadline: float,
        commits_at: float = inf,
    ) -> None:
        self._targets = targets
        self._standing_of = standing_of
        self._budget = budget
        self._deadline = deadline
        self._commits_at = commits_at
        self._tried: list[Target] = []
        self._attempts = 0
        self._repeats = 0
        self._too_small = -1.0
        self._takes = False

    def first(self, now: float) -> Target:
        """Whom to ask first. Raises `NoTargetReady`, but not where the route has one target alone: that is asked
        whatever is known of it, since leaving it out would leave no answer at all.
        """
        targets = self._targets
        target = targets[0] if len(targets) == 1 else choose(targets, self._standing_of, now)
        if target is None:
            raise _none_ready(targets, self._standing_of, now)
        self._ask(target)
        return target

    def onward(self, verdict: Verdict, now: float, chance: float) -> Step | None:
        """What to do after the present attempt brought an error; None: tell the client that error.

        `chance` is a random number from 0 to 1. The target's standing has to know of the error already.
        """
        self.close()
        if self._attempts >= MAX_ATTEMPTS or now >= self._deadline:
            return None
        self._note_size(verdict)
        other = self._other(verdict, now)
        again = self._again(verdict, other, now, chance)
        if again is not None and self._granted(again.target):
            self._repeats += 1
            self._attempts += 1
            return again
        if other is None or not self._granted(other):
            return None
        self._ask(other)
        return Step(other)

    def close(self) -> None:
        """The present attempt's outcome is known: its first event, an error, or nobody waits for it any more.

        Idempotent; `onward` does it.
        """
        if self._takes:
            self._takes = False
            self._budget.give_back()

    def _ask(self, target: Target) -> None:
        self._tried.append(target)
        self._repeats = 0
        self._attempts += 1

    def _granted(self, target: Target) -> bool:
        if all(target.upstream != tried.upstream for tried in self._tried):
            return True
        self._takes = self._budget.take()
        return self._takes

    def _note_size(self, verdict: Verdict) -> None:
        """Where the prompt did not fit: what another target's context has to be larger than."""
        if verdict.elsewhere is Elsewhere.LARGER:
            known = [tokens for tokens in (self._tried[-1].context, verdict.larger_than) if tokens is not None]
            self._too_small = max(known, default=inf)

    def _other(self, verdict: Verdict, now: float) -> Target | None:
        if verdict.elsewhere is Elsewhere.NOWHERE:
            return None
        left = [target for target in self._targets if target not in self._tried and self._holds_enough(target)]
        return choose(left, self._standing_of, now)

    def _holds_enough(self, target: Target) -> bool:
        return self._too_small < 0 or (target.context is not None and target.context > self._too_small)

    def _again(self, verdict: Verdict, other: Target | None, now: float, chance: float) -> Step | None:
        """The same target once more, after a wait: a short one only, and only a target that is well, where another
        is ready.
        """
        target = self._tried[-1]
        if not verdict.same or self._repeats >= target.max_retries:
            return None
        wait = wait_s(self._repeats + 1, verdict.after_s, chance)
        if self._is_too_late(now, now + wait) or wait > (LONGEST_WAIT_S if other is None else PATIENCE_S):
            return None
        if other is not None and not self._standing_of(target).is_ready(now + wait):
            return None
        return Step(target, wait)

    def _is_too_late(self, now: float, until: float) -> bool:
        return until >= self._deadline or now < self._commits_at <= until


def _none_ready(targets: Sequence[Target], standing_of: Callable[[Target], Standing], now: float) -> NoTargetReady:
    wait = min(_worth_trying_in_s(standing_of(target), now) for target in targets)
    return NoTargetReady(
        "Every upstream of this model is failing or rate-limited for now; try again.", retry_after_s=max(1, ceil(wait))
    )


def _worth_trying_in_s(standing: Standing, now: float) -> float:
    """A probe may end at any moment, so nobody is sent away for as long as it is given."""
    wait = standing.ready_in_s(now)
    return min(wait, PROBE_ADVICE_S) if standing.is_probed(now) and now >= standing.cooling_until else wait
