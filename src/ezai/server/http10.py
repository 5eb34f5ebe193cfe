"""Answers to clients of HTTP/1.0, which knows no chunks.

One without a content-length lasts until its connection closes (RFC 9112 section 6.3), and a transfer coding is never
sent (section 6.1). uvicorn has only chunks for it; all else, the closing too, is done by uvicorn here as well.
"""

from __future__ import annotations

from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, ASGISendEvent, Scope
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from ezai.server.direct_line import DirectLine


class UnframedLine(DirectLine):
    """The short way to a connection of HTTP/1.0."""

    __slots__ = ()

    def push(self, body: bytes) -> bool:
        """Write bytes of an answer that lasts until the connection closes; returns as `DirectLine.push` does.

        Repeated and not asked of a method, since that is the path of every event.
        """
        if not self._transport.is_closing():
            self._transport.write(body)
        return not self._flow.write_paused


def until_close(cycle: RequestResponseCycle, app: ASGI3Application) -> ASGI3Application:
    """The application for this one request of HTTP/1.0, whose answer is not framed.

    Its `Expect` is taken no notice of, since a 100 would be taken for the answer (RFC 9110 section 10.1.1).
    """
    cycle.waiting_for_100_continue = False
    cycle.chunked_encoding = False

    async def answer(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        async def unframed(message: ASGISendEvent) -> None:
            if message["type"] == "http.response.body":
                # uvicorn holds what is not chunked to a length: to that of each piece, then.
                cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        await app(scope, receive, unframed)

    return answer
