"""How an ending is told: one `End` for the client, the ledger and the log."""

from __future__ import annotations

from ezai.errors import RequestError
from ezai.pipeline.relay import Relay
from ezai.protocol.end import Cause, End, UsageSource
from ezai.protocol.usage import Usage


def whole(relay: Relay) -> End:
    """The upstream told its end."""
    return End(
        Cause.FINISHED,
        relay.translator.usage,
        relay.translator.usage_source,
        stop_reason=relay.state.stop_reason,
    )


def broken(cause: RequestError | Cause, relay: Relay | None) -> End:
    """Something ended it before: an error that the client is told, or the client's own leaving."""
    usage, source = (relay.translator.usage, relay.translator.usage_source) if relay else (Usage(), UsageSource.NONE)
    if isinstance(cause, RequestError):
        return End(cause.error_code, usage, source, error=cause)
    return End(cause, usage, source)
