"""A model name to its targets: order only; whether and when the next one is tried is the pipeline's question."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import translate as glob_to_regex
from functools import lru_cache

from ezai.errors import NotFound


@dataclass(frozen=True, slots=True)
class Target:
    """One place a route leads to; `model` None keeps the name that was asked for.

    It is not asked for more than `max_output` tokens.
    """

    upstream: str
    model: str | None = None
    max_output: int | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """Targets for the models that match a glob. A plain name with a display name is listed in /v1/models."""

    model: str
    targets: tuple[Target, ...]
    display_name: str = ""

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


def matches(glob: str, model: str) -> bool:
    """Whether the glob is one for this model, case included."""
    return _compiled(glob).match(model) is not None


@lru_cache(maxsize=1024)
def _compiled(glob: str) -> re.Pattern[str]:
    return re.compile(glob_to_regex(glob))
