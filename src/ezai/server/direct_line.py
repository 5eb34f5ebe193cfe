"""The short way between an answer that runs and its connection, which our HTTP/1.1 edge offers beside ASGI.

ASGI sends by awaiting, and tells of a client that left to whoever awaits that: an event would cost a switch of tasks
and a request a task of its own. Here both are plain calls. Another server, or another version of HTTP, offers no such
line, and the answer goes the ordinary way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from uvicorn.protocols.http.flow_control import FlowControl

from ezai.protocol.end import Cause

DIRECT_LINE = "ezai.direct_line"
"""Where the edge puts it, in the scope's state."""


class DirectLine:
    """For one request, while it is the one that its connection serves."""

    __slots__ = ("_flow", "_gone", "_hang_up", "_head", "_holds", "_left", "_transport")

    def __init__(self, transport: asyncio.Transport, flow: FlowControl, hang_up: Callable[[], None]) -> None:
        self._transport = transport
        self._hang_up = hang_up
        self._flow = flow
        self._gone: Cause | None = None
        self._left: Callable[[Cause], None] | None = None
        self._holds = False
        self._head = b""

    # What an answer is written to: uvicorn's cycle knows it as its transport.

    def hold_head(self) -> None:
        """Let the next write, which is the head, wait for the one behind it, which follows at once: one system call
        for both, and one packet.
        """
        self._holds = True

    def write(self, data: bytes) -> None:
        """See `asyncio.Transport`."""
        if self._holds:
            self._holds, self._head = False, data
            return
        if self._head:
            data, self._head = self._head + data, b""
        self._transport.write(data)

    def close(self) -> None:
        """See `asyncio.Transport`; a head that still waits is written before. How to hang up is the edge's to know."""
        if self._head:
            self.write(b"")
        self._hang_up()

    def is_closing(self) -> bool:
        """See `asyncio.Transport`."""
        return self._transport.is_closing()

    # What there is beside ASGI.

    def push(self, body: bytes) -> bool:
        """Write bytes as one chunk of an answer that was started without a content-length.

        Returns whether the connection takes more; where not, ASGI's `send` waits until it does, or until it is gone.
        """
        if not self._transport.is_closing():
            self._transport.write(b"%x\r\n%b\r\n" % (len(body), body))
        return not self._flow.write_paused

    def watch(self, left: Callable[[Cause], None]) -> None:
        """Call `left` with the reason once the client is gone, at once if it is."""
        self._flow.resume_reading()  # else its leaving would not be seen
        if self._gone is not None:
            left(self._gone)
        else:
            self._left = left

    def unwatch(self) -> None:
        """Call nobody any more."""
        self._left = None

    def lost(self, cause: Cause) -> None:
        """Told by the edge: the connection is gone."""
        self._gone = cause
        self._hang_up = self._transport.close  # and hold on to the edge no longer
        if self._left is not None:
            self._left(cause)
