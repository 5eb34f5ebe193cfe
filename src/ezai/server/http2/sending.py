"""What goes out: how much each window lets through, and whose turn it is when not everything can go."""

from __future__ import annotations

import math

from ezai.server.http2 import frames
from ezai.server.http2.flood import SENT, FloodBudget
from ezai.server.http2.frames import DEFAULT_WINDOW, MAX_PAYLOAD, MAX_WINDOW, Code, ConnectionFault


class StreamState:
    """What is known of one stream that is open: a request and its answer."""

    __slots__ = (
        "deadline",
        "expected",
        "id",
        "is_answered",
        "is_asked",
        "last",
        "pending",
        "receive_window",
        "send_window",
        "sent_bytes",
        "unreturned",
    )

    def __init__(self, stream_id: int, send_window: int, receive_window: int) -> None:
        self.id = stream_id
        self.is_asked = False
        """Whether the request is whole."""
        self.is_answered = False
        """Whether the answer's last frame was sent."""
        self.send_window = send_window
        self.pending = bytearray()
        """Of the answer's body, what its windows or the connection have no room for yet."""
        self.last = False
        """Whether the answer ends with what is pending."""
        self.sent_bytes = 0
        self.receive_window = receive_window
        self.unreturned = 0
        """Of the request's body, what was taken in and the client not yet allowed to send again."""
        self.expected: int | None = None
        """What is still to come of a body whose length was declared."""
        self.deadline = math.inf
        """When the request has to be whole; kept by whoever knows the time."""

    @property
    def is_told(self) -> bool:
        """Whether it has its whole answer, sent or pending: there is no place for another."""
        return self.is_answered or self.last


class Sender:
    """The bodies of all answers of one connection. It writes into `out`."""

    def __init__(self, out: list[bytes], budget: FloodBudget) -> None:
        self._out = out
        self._budget = budget
        self._initial_window = DEFAULT_WINDOW
        self.window = DEFAULT_WINDOW
        self.is_paused = False
        """Whether the connection takes no more; said by whoever writes `out` to it."""
        self.waiting: dict[int, StreamState] = {}
        """The streams that have something pending; the next one's turn comes first."""

    @property
    def initial_window(self) -> int:
        """What the client takes of a new stream unasked."""
        return self._initial_window

    def send(self, stream: StreamState, data: bytes, *, last: bool) -> None:
        """Take a piece of a stream's body: what has room goes out, the rest is pending."""
        size = len(data)
        if stream.pending or self.is_paused or size > min(stream.send_window, self.window, MAX_PAYLOAD):
            stream.pending += data
            stream.last = last
            self.waiting[stream.id] = stream
        else:
            self._budget.earn(SENT)
            self._write(stream, data, last=last)

    def send_next(self) -> StreamState | None:
        """Send one frame of the stream whose turn it is, and return that; None where nothing can go."""
        if self.is_paused:
            return None
        for stream in self.waiting.values():
            size = min(len(stream.pending), stream.send_window, self.window, MAX_PAYLOAD)
            if size > 0 or not stream.pending:
                self._write_pending(stream, max(size, 0))
                return stream
        return None

    def forget(self, stream: StreamState) -> None:
        """Send no more of a stream."""
        stream.pending.clear()
        self.waiting.pop(stream.id, None)

    def open(self, stream: StreamState, increment: int) -> bool:
        """The client takes more of a stream. False: more than a window can be."""
        stream.send_window += increment
        return stream.send_window <= MAX_WINDOW

    def open_connection(self, increment: int) -> None:
        """The client takes more of all streams together. Raises `ConnectionFault` at more than a window can be."""
        self.window += increment
        if self.window > MAX_WINDOW:
            raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "The connection's window is too large.")

    def resize(self, initial_window: int, streams: dict[int, StreamState]) -> None:
        """The client takes another amount of each stream unasked, also of those that are open."""
        by = initial_window - self._initial_window
        self._initial_window = initial_window
        for stream in streams.values():
            if not self.open(stream, by):
                raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "A stream's window is too large.")

    def _write_pending(self, stream: StreamState, size: int) -> None:
        data = bytes(stream.pending[:size])
        del stream.pending[:size]
        del self.waiting[stream.id]
        if stream.pending:
            self.waiting[stream.id] = stream  # behind all others
        if size == MAX_PAYLOAD or not stream.pending:  # a window that is opened by crumbs earns nothing
            self._budget.earn(SENT)
        self._write(stream, data, last=stream.last and not stream.pending)

    def _write(self, stream: StreamState, data: bytes, *, last: bool) -> None:
        size = len(data)
        stream.send_window -= size
        self.window -= size
        stream.sent_bytes += size
        stream.is_answered = last
        self._out.append(frames.frame(frames.DATA, frames.END_STREAM if last else 0, stream.id, data))
