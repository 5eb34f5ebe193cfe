"""One log line per request, with everything but what was said."""

from __future__ import annotations

import logging

from ezai.ports import Outcome

logger = logging.getLogger("ezai.requests")


class RequestLog:
    """The port `Observer`, kept as log lines."""

    def ended(self, outcome: Outcome) -> None:
        fields: dict[str, object] = {
            "request_id": outcome.request_id,
            "status": outcome.status,
            "cause": outcome.cause,
            "key": outcome.key_id,
            "model": outcome.model,
            "upstream": outcome.upstream,
            "upstream_model": outcome.upstream_model,
            "attempts": outcome.attempts,
            "streamed": outcome.streamed,
            "first_event_ms": _ms(outcome.first_event_after_s),
            "duration_ms": _ms(outcome.duration_s),
        }
        if (end := outcome.end) is not None:
            fields |= {
                "stop_reason": end.stop_reason,
                "prompt_tokens": end.usage.prompt_tokens,
                "output_tokens": end.usage.output_tokens,
                "usage_source": str(end.usage_source),
            }
        logger.info("request ended", extra={"fields": fields})


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)
