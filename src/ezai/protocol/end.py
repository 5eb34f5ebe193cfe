"""The typed end of a stream: one value that the client, the ledger and the log are all told."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from ezai.errors import RequestError
from ezai.protocol.usage import Usage


class Cause(StrEnum):
    """Why a stream ended, where that is not an error with a code of its own."""

    FINISHED = "finished"
    """The upstream told its end, and the client was told the same."""
    CLIENT_LEFT = "client_left"
    """The client hung up first; nobody was told anything."""
    READER_STALLED = "reader_stalled"
    """The client stayed but read nothing for too long; it was cut off."""


class UsageSource(StrEnum):
    """How the usage of an attempt is known."""

    UPSTREAM = "upstream"
    """The upstream's own final count."""
    PARTIAL_UPSTREAM = "partial_upstream"
    """The upstream's count as of some event before the end."""
    ESTIMATED = "estimated"
    """Counted here."""
    NONE = "none"
    """Nothing was produced, or nothing is known."""


class End(msgspec.Struct, frozen=True):
    """How a stream, or a unary answer, ended.

    `cause` is a `Cause` or the `error_code` of `error`; where `error` is set the client was told exactly it, unless
    it had left. `stop_reason` is the model's, None when the model did not get to say one.
    """

    cause: str
    usage: Usage
    usage_source: UsageSource
    stop_reason: str | None = None
    error: RequestError | None = None

    @property
    def finished(self) -> bool:
        """Whether the answer is whole."""
        return self.cause == Cause.FINISHED
