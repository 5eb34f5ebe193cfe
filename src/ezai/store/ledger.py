"""The record of use in the database: the port `Ledger`.

A request has a row from its admission on, and a row for each attempt. An attempt is `intended` before it is
dispatched and `settled` once; that it happens once is held in SQL, for other processes too.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Any

from ezai.policy.pricing import Price
from ezai.ports import AttemptIntent, AttemptSettlement
from ezai.store.writer import Writer

logger = logging.getLogger("ezai.store")

MAX_TEXT_CHARS = 256
"""Names that come from outside are cut to this: a model name may be as long as a body."""


class SqliteLedger:
    """The port `Ledger` over the writer's database. `epoch` tells the time in seconds since 1970."""

    def __init__(self, writer: Writer, epoch: Callable[[], float]) -> None:
        self._writer = writer
        self._epoch = epoch

    async def intend(self, intent: AttemptIntent) -> None:
        """Record the attempt, and with the first one its request.

        Raises `Overloaded` where that cannot be done now; then there is nothing to settle.
        """
        now_ms = round(self._epoch() * 1000)
        request = None
        if intent.number == 1:
            request = (
                intent.request_id,
                intent.key_id,
                intent.account,
                intent.dialect,
                intent.requested_model[:MAX_TEXT_CHARS],
                intent.route[:MAX_TEXT_CHARS],
                int(intent.streamed),
                now_ms,
            )
        attempt = (
            intent.request_id,
            intent.number,
            intent.upstream,
            intent.upstream_model[:MAX_TEXT_CHARS],
            now_ms,
        )
        await self._writer.write(partial(_intend, request, attempt))

    async def settle(self, settlement: AttemptSettlement) -> None:
        """Record the end of the attempt, and with the last one that of its request.

        Never refused for what waits already: there is at most one for each intent. An attempt that is not open, for
        it was settled before, is left as it is. Raises `Overloaded` where the database fails.
        """
        intent, end = settlement.intent, settlement.end
        usage, price = end.usage, settlement.price
        cause = str(end.cause)
        upstream_id = settlement.upstream_request_id
        attempt = (
            _ms(settlement.first_event_after_s),
            _ms(settlement.duration_s),
            usage.input_tokens,
            usage.cache_read_input_tokens,
            usage.cache_creation_input_tokens,
            usage.cache_creation_1h_input_tokens,
            usage.output_tokens,
            usage.thinking_tokens,
            str(end.usage_source),
            cause,
            end.stop_reason and end.stop_reason[:MAX_TEXT_CHARS],
            upstream_id and upstream_id[:MAX_TEXT_CHARS],
            *(_NO_PRICE if price is None else _columns(price)),
            settlement.cost_nanousd,
            intent.request_id,
            intent.number,
        )
        request = None
        if settlement.request_cause is not None:
            request = (round(self._epoch() * 1000), settlement.request_cause, intent.request_id)
        if not await self._writer.write(partial(_settle, attempt, request), bounded=False):
            logger.warning(
                "an attempt was not open any more when it was settled",
                extra={"fields": {"request_id": intent.request_id, "attempt": intent.number}},
            )


# The jobs. Each statement is a constant, so that the driver keeps it prepared.

_INSERT_REQUEST = """
INSERT INTO request (id, key_id, account, dialect, requested_model, route, streamed, admitted_at_ms)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""

_INSERT_ATTEMPT = """
INSERT INTO attempt (request_id, n, upstream, upstream_model, state, started_at_ms)
VALUES (?, ?, ?, ?, 'intended', ?)
"""

_SETTLE_ATTEMPT = """
UPDATE attempt SET state = 'settled', first_event_ms = ?, duration_ms = ?,
    input_tokens = ?, cache_read_input_tokens = ?, cache_creation_input_tokens = ?,
    cache_creation_1h_input_tokens = ?, output_tokens = ?, thinking_tokens = ?,
    usage_source = ?, cause = ?, stop_reason = ?, upstream_request_id = ?,
    input_picousd = ?, output_picousd = ?, cache_read_picousd = ?, cache_write_picousd = ?,
    cache_write_1h_picousd = ?, cost_nanousd = ?
WHERE request_id = ? AND n = ? AND state = 'intended'
"""

_END_REQUEST = "UPDATE request SET ended_at_ms = ?, cause = ? WHERE id = ? AND ended_at_ms IS NULL"


def _intend(request: tuple[Any, ...] | None, attempt: tuple[Any, ...], cursor: sqlite3.Cursor) -> None:
    if request is not None:
        cursor.execute(_INSERT_REQUEST, request)
    cursor.execute(_INSERT_ATTEMPT, attempt)


def _settle(attempt: tuple[Any, ...], request: tuple[Any, ...] | None, cursor: sqlite3.Cursor) -> bool:
    """Whether there was an open attempt to settle."""
    if cursor.execute(_SETTLE_ATTEMPT, attempt).rowcount == 0:
        return False
    if request is not None:
        cursor.execute(_END_REQUEST, request)
    return True


# Values.

_NO_PRICE = (None,) * 5


def _columns(price: Price) -> tuple[int, ...]:
    return (
        price.input_picousd,
        price.output_picousd,
        price.cache_read_picousd,
        price.cache_write_picousd,
        price.cache_write_1h_picousd,
    )


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)
