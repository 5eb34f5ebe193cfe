"""What was used, added up: `ezai usage`. Works on a SQLAlchemy connection (`engine.py`)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from sqlalchemy import ColumnElement, Connection, Row, and_, func, literal, or_, select

from ezai.store.schema import attempt, request, virtual_key

Grouping = Literal["key", "account", "model", "upstream", "day"]
GROUPINGS: tuple[str, ...] = get_args(Grouping)

_DAY_MS = 24 * 60 * 60 * 1000


@dataclass(frozen=True, slots=True)
class UsageRow:
    """What one group used. The cost is that of the attempts whose price is known: `unpriced` says of how many of those
    that used tokens (`used`) it is not. One that used none, such as a refused one, costs nothing at any price.

    `group` is a key's public id, an account, a model as it was asked for, an upstream, or a day in UTC; None is what
    belongs to none: the requests of an open gateway, or of a key without account. `open` attempts have not ended yet.
    """

    group: str | None
    name: str
    requests: int
    attempts: int
    open: int
    used: int
    unpriced: int
    input_tokens: int
    cache_read_input_tokens: int
    cache_creation_input_tokens: int
    output_tokens: int
    cost_nanousd: int


def add_up(connection: Connection, by: Grouping, since_ms: int | None) -> list[UsageRow]:
    """One row for each group that was used, of the requests admitted since then; days in order, else the dearest first.

    Summing the rows gives the whole, but for `requests`: with `by="upstream"` a request counts on each it went to.
    """
    group = _group(by)
    name = func.coalesce(func.max(virtual_key.c.name), "") if by == "key" else literal("")
    used = or_(*(column > 0 for column in _TOKENS))
    columns = (
        func.count(request.c.id.distinct()),
        func.count(),
        func.count().filter(attempt.c.state == "intended"),
        func.count().filter(used),
        func.count().filter(and_(used, attempt.c.cost_nanousd.is_(None))),
        *(func.coalesce(func.sum(column), 0) for column in _SUMMED),
    )
    source = attempt.join(request).outerjoin(virtual_key, virtual_key.c.public_id == request.c.key_id)
    query = select(group, name, *columns).select_from(source).group_by(group)
    if since_ms is not None:
        query = query.where(request.c.admitted_at_ms >= since_ms)
    rows = [_row(by, row) for row in connection.execute(query)]
    if by == "day":
        return sorted(rows, key=lambda row: row.group or "")
    return sorted(rows, key=lambda row: (-row.cost_nanousd, -row.output_tokens, row.group or ""))


def total(rows: list[UsageRow], requests: int) -> UsageRow:
    """All rows as one."""
    fields = ("attempts", "open", "used", "unpriced", *(column.name for column in _SUMMED))
    return UsageRow(None, "", requests, *(sum(getattr(row, field) for row in rows) for field in fields))


def count_requests(connection: Connection, since_ms: int | None) -> int:
    """How many requests were admitted since then."""
    query = select(func.count()).select_from(request)
    if since_ms is not None:
        query = query.where(request.c.admitted_at_ms >= since_ms)
    return int(connection.execute(query).scalar_one())


_TOKENS = (
    attempt.c.input_tokens,
    attempt.c.cache_read_input_tokens,
    attempt.c.cache_creation_input_tokens,
    attempt.c.output_tokens,
)
_SUMMED = (*_TOKENS, attempt.c.cost_nanousd)


def _group(by: Grouping) -> ColumnElement[Any]:
    match by:
        case "key":
            return request.c.key_id
        case "account":
            return request.c.account
        case "model":
            return request.c.requested_model
        case "upstream":
            return attempt.c.upstream
        case "day":
            return request.c.admitted_at_ms // _DAY_MS


def _row(by: Grouping, row: Row[Any]) -> UsageRow:
    group, name, *counts = tuple(row)
    if by == "day":
        group = datetime.fromtimestamp(int(group) * _DAY_MS / 1000, UTC).date().isoformat()
    return UsageRow(group or None, name, *(int(count) for count in counts))
