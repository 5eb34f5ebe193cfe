"""A script: which request gets which behaviour, which connection is served, and whether the mock can be reached.

A TOML file of `accept`, `[[rules]]` and `[[connections]]`; the first that matches wins. docs/mock.md explains it to
users.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ezai.errors import ConfigurationError
from ezai.lab.mock.asked import Headers
from ezai.lab.mock.behaviour import Behaviour
from ezai.lab.mock.spec import build, parse
from ezai.lab.mock.unreachable import Unreachable
from ezai.protocol.validation import Kind, read_problem

T = TypeVar("T")

_RANGE = re.compile(r"(\d+)(-(\d*))?")


class Accept(StrEnum):
    """What becomes of a connection before anything is read from it."""

    SERVE = "serve"
    RESET = "reset"
    """Reset at once."""
    CLOSE = "close"
    """Closed at once."""
    DEAF = "deaf"
    """Kept, and never read: a TLS handshake stalls, a request is never answered."""


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from `first` to `last`, both within; None is without end."""

    first: int = 1
    last: int | None = None

    def holds(self, number: int) -> bool:
        """Whether the number is one of them."""
        return self.first <= number and (self.last is None or number <= self.last)


ALL = Range()


@dataclass(frozen=True, slots=True)
class Rule:
    """The behaviour of requests that meet every condition.

    `request` counts the requests that meet the other conditions, whichever rule answered them. Without a behaviour
    the choice is the request's own.
    """

    behaviour: Behaviour | None
    model: str = "*"
    path: str = "*"
    headers: Mapping[str, str] = field(default_factory=dict)
    request: Range = ALL

    def suits(self, model: str, path: str, headers: Headers) -> bool:
        """Whether a request meets all conditions but the number."""
        return (
            fnmatchcase(model, self.model)
            and fnmatchcase(path, self.path)
            and all(_has(headers, name, pattern) for name, pattern in self.headers.items())
        )


@dataclass(frozen=True, slots=True)
class ConnectionRule:
    """What becomes of connections of these numbers."""

    accept: Accept
    connection: Range = ALL


@dataclass(frozen=True, slots=True)
class Script:
    """Rules in order. Immutable: the counting is the `Casting`'s."""

    rules: tuple[Rule, ...] = ()
    connections: tuple[ConnectionRule, ...] = ()
    unreachable: Unreachable | None = None
    """Where it is set nobody reaches the mock, and so no rule is ever asked."""

    def accepting(self, kind: str) -> Script:
        """The same rules with this for every connection: an `Accept` or an `Unreachable`.

        Raises `ValueError` with the words that it can be.
        """
        if kind in set(Unreachable):
            return replace(self, unreachable=Unreachable(kind))
        if kind not in set(Accept):
            raise ValueError(", ".join((*Accept, *Unreachable)))
        return replace(self, connections=(ConnectionRule(Accept(kind)),), unreachable=None)


class Casting:
    """A script being followed: counts what came, and says what each gets."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self._counts = [0] * len(script.rules)

    def choose(self, model: str, path: str, headers: Headers) -> Behaviour | None:
        """The behaviour of the next request; None leaves the choice to the request itself."""
        chosen: Rule | None = None
        for place, rule in enumerate(self.script.rules):
            if rule.suits(model, path, headers):
                self._counts[place] += 1
                if chosen is None and rule.request.holds(self._counts[place]):
                    chosen = rule
        return chosen.behaviour if chosen else None

    def accept(self, number: int) -> Accept:
        """What becomes of the connection of this number."""
        rules = (rule.accept for rule in self.script.connections if rule.connection.holds(number))
        return next(rules, Accept.SERVE)


def in_turn(behaviours: Sequence[Behaviour]) -> Script:
    """The behaviours one request after another; the last one for all the rest. None of them is the request's choice."""
    rules = [Rule(given, request=Range(place, place)) for place, given in enumerate(behaviours, 1)]
    if rules:
        rules[-1] = Rule(behaviours[-1])
    return Script(tuple(rules))


def load(path: Path) -> Script:
    """Read a script file. Raises `ConfigurationError` that names the file, the rule and the field."""
    where = str(path)
    try:
        document = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(where, "the file", f"it cannot be read ({error})", "Give another.") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(where, "the file", f"it is not TOML: {error}", "Mend the line it names.") from None
    read = _convert(document, where)
    rules = [_rule(given, where, f"rules[{place}]") for place, given in enumerate(read.rules, 1)]
    connections = [
        _connection(given, where, f"connections[{place}]") for place, given in enumerate(read.connections, 1)
    ]
    otherwise = Script() if read.accept is None else _accepting(read.accept, where)
    return replace(otherwise, rules=tuple(rules), connections=(*connections, *otherwise.connections))


class _RuleTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    behaviour: str | dict[str, Any] | None = None
    model: str = "*"
    path: str = "*"
    headers: dict[str, str] = {}
    request: int | str = "1-"


class _ConnectionTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    accept: str
    connection: int | str = "1-"


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    accept: str | None = None
    rules: list[_RuleTable] = []
    connections: list[_ConnectionTable] = []


def _convert(document: dict[str, Any], where: str) -> _File:
    try:
        return msgspec.convert(document, _File)
    except msgspec.ValidationError as error:
        problem = read_problem(str(error))
        key = re.sub(r"\.(\d*)(?=\.|$)", lambda found: f"[{int(found[1] or 0) + 1}]", problem.path)
        fix = "Leave it out." if problem.kind is Kind.UNKNOWN else "See docs/mock.md."
        raise ConfigurationError(where, key or "the file", problem.text, fix) from None


def _rule(given: _RuleTable, where: str, key: str) -> Rule:
    return Rule(
        _behaviour(given.behaviour, where, f"{key}.behaviour."),
        given.model,
        given.path,
        {name.lower(): pattern for name, pattern in given.headers.items()},
        _range(given.request, where, f"{key}.request"),
    )


def _behaviour(given: str | dict[str, Any] | None, where: str, key: str) -> Behaviour | None:
    if given is None:
        return None
    if isinstance(given, str):
        return parse(given, where, key)
    return build(given, where, key)


def _accepting(kind: str, where: str) -> Script:
    """What a file says of the connections that no rule of it is about."""
    try:
        return Script().accepting(kind)
    except ValueError as error:
        raise ConfigurationError(where, "accept", f"{kind!r} is none", f"Use one of {error}.") from None


def _connection(given: _ConnectionTable, where: str, key: str) -> ConnectionRule:
    if given.accept in set(Unreachable):
        raise ConfigurationError(
            where,
            f"{key}.accept",
            f"{given.accept!r} is of the whole mock, since it lets no connection come about",
            f'Write accept = "{given.accept}" above all tables of the file.',
        )
    try:
        accept = Accept(given.accept)
    except ValueError:
        names = ", ".join(Accept)
        raise ConfigurationError(where, f"{key}.accept", f"{given.accept!r} is none", f"Use one of {names}.") from None
    return ConnectionRule(accept, _range(given.connection, where, f"{key}.connection"))


def _range(given: int | str, where: str, key: str) -> Range:
    found = _RANGE.fullmatch(str(given))
    if found is None or int(found[1]) < 1:
        raise ConfigurationError(where, key, f"{given!r} is no range", 'Write 3, "1-3" or "3-", counted from 1.')
    first = int(found[1])
    last = None if found[2] and not found[3] else int(found[3] or first)
    return Range(first, last)


def _has(headers: Headers, name: str, pattern: str) -> bool:
    wanted = name.encode()
    return any(field == wanted and fnmatchcase(value.decode("latin-1"), pattern) for field, value in headers)
