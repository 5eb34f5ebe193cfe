"""What `ezai check` finds out: one value per thing it has looked at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How a thing is."""

    OK = "ok"
    NOTE = "note"
    """Good enough to serve; the operator may want to know."""
    TROUBLE = "trouble"
    """Something to do before it serves, or serves as configured."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One row: what was looked at, how it is, what was found, and what to do about it."""

    subject: str
    state: State
    found: str
    advice: str = ""


def ok(subject: str, found: str) -> Finding:
    return Finding(subject, State.OK, found)


def note(subject: str, found: str, advice: str = "") -> Finding:
    return Finding(subject, State.NOTE, found, advice)


def trouble(subject: str, found: str, advice: str) -> Finding:
    return Finding(subject, State.TROUBLE, found, advice)
