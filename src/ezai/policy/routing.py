"""A model name to its targets, and which of them is asked, in their order; when the next one is: `walk.py`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import translate as glob_to_regex
from functools import lru_cache

from ezai.errors import NotFound
from ezai.policy.breaker import Standing


@dataclass(frozen=True, slots=True)
class Target:
    """One place a route leads to; `model` None keeps the name that was asked for.

    It is not asked for more than `max_output` tokens, and up to `max_retries` times again after a first attempt.
    `context` is how many tokens its model holds, where that is declared.
    """

    upstream: str
    model: str | None = None
    max_output: int | None = None
    context: int | None = None
    max_retries: int = 2

    @property
    def key(self) -> tuple[str, str | None]:
        """What its standing is kept under: routes that lead to the same place share what is known of it."""
        return self.upstream, self.model


@dataclass(frozen=True, slots=True)
class Route:
    """Targets for the models that match a glob. A plain name with a display name is listed in /v1/models.

    `timeouts` are seconds by phase, above those of each target's upstream.
    """

    model: str
    targets: tuple[Target, ...]
    display_name: str = ""
    timeouts: tuple[tuple[str, float], ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether `model` is one name, not a pattern."""
        return not any(char in self.model for char in "*?[")


def find_route(routes: Sequence[Route], model: str) -> Route:
    """The first route whose glob matches, case included. Raises `NotFound`, in the words that clients parse."""
    for route in routes:
        if matches(route.model, model):
            return route
    raise NotFound(f"model: {model}")


def choose(targets: Sequence[Target], standing_of: Callable[[Target], Standing], now: float) -> Target | None:
    """Whom of several to ask: the first that is ready. None where none may be asked now.

    Where all breakers are open, one is asked now and then all the same: when everything fails at once it is often the
    way out that failed, and then each is back as soon as that is.
    """
    for target in targets:
        if standing_of(target).is_ready(now):
            return target
    return next((target for target in targets if standing_of(target).is_last_resort(now)), None)


def matches(glob: str, model: str) -> bool:
    """Whether the glob is one for this model, case included."""
    return _compiled(glob).match(model) is not None


@lru_cache(maxsize=1024)
def _compiled(glob: str) -> re.Pattern[str]:
    return re.compile(glob_to_regex(glob))
