"""What the connections of clients are held to, whichever HTTP they speak."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ezai.errors import RequestError
from ezai.ports import Clock, Ids, Observer, Outcome
from ezai.protocol.anthropic.answers import error_body

if TYPE_CHECKING:
    import ssl

HEAD_RECEIPT_S = 10.0  # as HAProxy's guide against slow clients; a head is one packet
KEEP_ALIVE_S = 75  # as nginx, which SDKs' pools expect
SHORT_KEEP_ALIVE_S = 6
"""While others wait, or a successor serves. httpx hangs up on its own after 5 s, undici after 4: so theirs is not
closed under a request that is on its way."""


@dataclass(frozen=True, slots=True)
class EdgeSettings:
    """What a connection is held to, and what it needs of the world."""

    clock: Clock
    ids: Ids
    head_limit_bytes: int = 32 * 1024
    receipt_s: float = 60.0
    connection_limit: int = 4000
    queue_bytes: int = 256 * 1024
    reader_stall_s: float = 60.0
    http2: bool = False
    tls: ssl.SSLContext | None = None
    rest_bytes: int = 64 * 1024 * 1024
    """What is read and thrown away of a request that is answered already."""
    observers: tuple[Observer, ...] = ()
    """Who is told of the requests that are refused here."""

    @property
    def head_receipt_s(self) -> float:
        return min(HEAD_RECEIPT_S, self.receipt_s)

    def refusal(self, error: RequestError) -> tuple[bytes, bytes]:
        """The request id and the body of an answer that the edge gives by itself. Whoever watches is told."""
        request_id = self.ids.new("req_")
        outcome = Outcome(request_id, error.http_status, error.error_code, duration_s=0.0)  # never admitted, as yet
        for observer in self.observers:
            observer.ended(outcome)
        return request_id.encode(), error_body(error, request_id)
