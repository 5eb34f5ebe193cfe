"""The HTTP/1.1 protocol (contract 12): a subclass of uvicorn's httptools protocol, which is pinned exactly for it.

uvicorn answers what it refuses itself in plain text; here every answer is JSON in the one error shape, with a
`request-id`.
"""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from ezai.errors import InvalidRequest
from ezai.protocol.anthropic.answers import error_body
from ezai.system import RandomIds


class EdgeProtocol(HttpToolsProtocol):
    """One client connection."""

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP, and hang up: where the next request would begin is unknown."""
        cycle: RequestResponseCycle | None = getattr(self, "cycle", None)
        if cycle is not None and cycle.response_started and not cycle.response_complete:
            self.transport.close()  # inside an answer there is no place for another
            return
        request_id = RandomIds().new("req_")
        body = error_body(InvalidRequest("The request is not valid HTTP/1.1."), request_id)
        self.transport.write(
            b"%bcontent-type: application/json\r\nrequest-id: %b\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
            % (STATUS_LINE[400], request_id.encode(), len(body), body)
        )
        self.transport.close()
