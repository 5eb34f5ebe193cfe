"""The record of use as a log: one line per attempt that ended, with everything but what was said."""

from __future__ import annotations

import logging

from ezai.ports import AttemptIntent, AttemptSettlement

logger = logging.getLogger("ezai.requests")


class RequestLog:
    """The port `Ledger`, kept as log lines. A gateway that stores its record uses a store's ledger instead."""

    async def intend(self, intent: AttemptIntent) -> None:
        logger.debug("attempt begun", extra={"fields": {"request_id": intent.request_id, "attempt": intent.number}})

    async def settle(self, settlement: AttemptSettlement) -> None:
        intent, end = settlement.intent, settlement.end
        fields = {
            "request_id": intent.request_id,
            "cause": str(end.cause),
            "key": intent.key_id,
            "model": intent.requested_model,
            "upstream": intent.upstream,
            "attempt": intent.number,
            "streamed": intent.streamed,
            "stop_reason": end.stop_reason,
            "prompt_tokens": end.usage.prompt_tokens,
            "output_tokens": end.usage.output_tokens,
            "usage_source": str(end.usage_source),
            "first_event_ms": _ms(settlement.first_event_after_s),
            "duration_ms": _ms(settlement.duration_s),
        }
        logger.info("request ended" if settlement.final else "attempt ended", extra={"fields": fields})


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)
