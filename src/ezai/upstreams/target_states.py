"""How the targets of this process have done lately: the port `TargetState`, in memory.

Of a target that does well nothing is kept, so a request that meets no trouble looks into an empty table. Each worker
process learns for itself: what one has seen is not known to the others.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable, Sequence

from ezai.policy.breaker import COOL_DOWN_S, WELL, Conduct, Standing, after, asked
from ezai.policy.routing import Target
from ezai.ports import Clock, TargetReport

logger = logging.getLogger("ezai.targets")

Key = tuple[str, str | None]


class TargetStates:
    """Kept by upstream and configured model, so it never holds more than the configuration does.

    `chance` gives random numbers from 0 to 1.
    """

    def __init__(self, clock: Clock, chance: Callable[[], float] = random.random) -> None:
        self._clock = clock
        self._chance = chance
        self._standings: dict[Key, Standing] = {}
        self._configured: Sequence[Key] = ()

    def configure(self, targets: Iterable[Target]) -> None:
        """These are the targets there are now. What was known is forgotten: a reload may have mended it."""
        self._configured = tuple(dict.fromkeys(target.key for target in targets))
        self._standings.clear()

    def standing(self, target: Target) -> Standing:
        return self._standings.get(target.key, WELL) if self._standings else WELL

    def asking(self, target: Target) -> int:
        standing = self._standings.get(target.key) if self._standings else None
        if standing is None:
            return 0
        self._keep(target.key, asked(standing, self._clock.now()))
        return standing.openings

    def note(self, target: Target, ticket: int, conduct: Conduct, *, cool_s: float = COOL_DOWN_S) -> None:
        if not self._standings and conduct not in _BAD:
            return
        before = self.standing(target)
        standing = after(before, ticket, conduct, self._clock.now(), cool_s=cool_s, chance=self._chance())
        if standing is not before:
            self._keep(target.key, standing)
            self._tell(target, before, standing)

    def report(self) -> Sequence[TargetReport]:
        now = self._clock.now()
        return [_report(key, self._standings.get(key, WELL), now) for key in self._configured]

    def _keep(self, key: Key, standing: Standing) -> None:
        if standing == Standing(cooling_until=standing.cooling_until) and standing.is_ready(self._clock.now()):
            self._standings.pop(key, None)
        else:
            self._standings[key] = standing

    def _tell(self, target: Target, before: Standing, standing: Standing) -> None:
        name = f"{target.upstream}/{target.model}" if target.model else target.upstream
        if standing.openings > before.openings:
            open_s = standing.probe_at - self._clock.now()
            failures = standing.failures
            logger.warning("target %s: %d failures in a row; left to others for %.0f s", name, failures, open_s)
        elif before.is_open and not standing.is_open:
            logger.info("target %s: back", name)
        elif standing.cooling_until > before.cooling_until and before.is_ready(self._clock.now()):
            cool_s = standing.cooling_until - self._clock.now()
            logger.info("target %s: rate-limited; left to others for %.0f s", name, cool_s)


_BAD = frozenset({Conduct.FAILED, Conduct.RATE_LIMITED})


def _report(key: Key, standing: Standing, now: float) -> TargetReport:
    upstream, model = key
    return TargetReport(upstream, model or "", standing.condition(now), standing.failures, standing.ready_in_s(now))
