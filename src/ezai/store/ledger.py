"""The record of use: the port `Ledger`, kept in a journal and filed in the database.

A request has a row from its admission on, and a row for each attempt; they are there within a tick of the clock. An
attempt is `intended` before it is dispatched and `settled` once; that it happens once is held in SQL, for other
processes too.
"""

from __future__ import annotations

from collections.abc import Callable

from ezai.policy.pricing import Price
from ezai.ports import AttemptIntent, AttemptSettlement
from ezai.store.journal import Journal
from ezai.store.records import IntentRecord, SettlementRecord

MAX_TEXT_CHARS = 256
"""Names that come from outside are cut to this: a model name may be as long as a body."""


class SqliteLedger:
    """The port `Ledger` over a journal. `epoch` tells the time in seconds since 1970."""

    def __init__(self, journal: Journal, epoch: Callable[[], float]) -> None:
        self._journal = journal
        self._epoch = epoch

    @property
    def waiting(self) -> int:
        return self._journal.waiting

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
        self._journal.append(IntentRecord(intent.request_id, attempt, request), bounded=True)

    async def settle(self, settlement: AttemptSettlement) -> None:
        """Record the end of the attempt, and with the last one that of its request.

        Never refused for what waits already: there is at most one for each intent. An attempt that is not open, for
        it was settled before, is left as it is. Raises `Overloaded` where the disk fails.
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
        self._journal.append(SettlementRecord(intent.request_id, attempt, request), bounded=False)


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
