"""One stream as its client sees it, and the connection it comes over."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import cast

import httptools

from ezai.errors import UpstreamMalformed
from ezai.lab.load.dialect import Told, read_answer, read_event
from ezai.lab.load.plan import LoadPlan
from ezai.lab.load.sequence import Sequence
from ezai.protocol.sse import SseDecoder

EVENT_LIMIT_BYTES = 64 * 1024 * 1024


class StreamEnd(StrEnum):
    """How a stream ended, as its client sees it."""

    RUNNING = "running"
    WHOLE = "whole"
    REFUSED = "refused"
    """An error answer; `detail` is its status."""
    ERROR_EVENT = "error event"
    """`detail` is the error's type."""
    TRUNCATED = "truncated"
    """It stopped without having told its end."""
    RESET = "reset"
    MALFORMED = "malformed"
    """`detail` is what of it: http, event."""
    UNANSWERED = "unanswered"
    """The connection closed before a byte of an answer."""
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    LEFT = "left"
    """We hung up."""
    STOPPED_READING = "stopped reading"
    """We read no more."""


@dataclass(slots=True)
class StreamResult:
    """What is known of one stream. Times are seconds since it was due to start."""

    name: str
    ended: StreamEnd = StreamEnd.RUNNING
    detail: str = ""
    status: int = 0
    events: int = 0
    tokens: int = 0
    """Numbered words of its own, each counted once."""
    received_bytes: int = 0
    late_s: float = 0.0
    """How much later it was started than it was due: the load's own fault."""
    first_byte_s: float | None = None
    first_token_s: float | None = None
    ended_s: float | None = None
    gaps_s: array[float] = field(default_factory=lambda: array("d"), repr=False)
    """Between events that carry text, as they were read: those of one read have none between them."""
    lost: int = 0
    """Numbers that did not come, of a whole stream also those behind the last that came."""
    cut_off: int = 0
    """Numbers that were still to come when a stream broke off."""
    doubled: int = 0
    reordered: int = 0
    foreign: int = 0
    is_numbered: bool = False
    output_tokens: int | None = None
    """As the usage states."""


class Stream:
    """A running stream: takes what comes, keeps the time, and ends once."""

    def __init__(self, plan: LoadPlan, name: str, due_s: float, words_due: int | None, *, leaves: bool) -> None:
        self.result = StreamResult(name)
        self.due_s = due_s
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._plan = plan
        self._words_due = words_due
        self._read = read_event(plan.wire)
        self._sequence = Sequence(name)
        self._decoder = SseDecoder(EVENT_LIMIT_BYTES)
        self._body: list[bytes] = []
        self._last_text_s: float | None = None
        self._leave_after = plan.leave_after if leaves else 0
        self.has_told_end = False

    # Taking what comes. Called by the connection.

    def received(self, size_bytes: int, now_s: float) -> None:
        """Bytes came."""
        self.result.received_bytes += size_bytes
        if self.result.first_byte_s is None:
            self.result.first_byte_s = now_s - self.due_s

    def body(self, data: bytes, now_s: float) -> None:
        """Bytes of the body."""
        if self.result.status != 200 or not self._plan.is_streamed:
            self._body.append(data)
            return
        try:
            frames = self._decoder.feed(data)
        except UpstreamMalformed:
            self.end(StreamEnd.MALFORMED, now_s, "event")
            return
        for frame in frames:
            self._take(self._read(frame), now_s)

    def message_over(self, now_s: float) -> None:
        """The framing of the answer is complete."""
        if self.result.status != 200:
            self.end(StreamEnd.REFUSED, now_s, str(self.result.status))
            return
        if not self._plan.is_streamed:
            self._take(read_answer(self._plan.wire, b"".join(self._body)), now_s)
        self.end(StreamEnd.WHOLE if self.has_told_end else StreamEnd.TRUNCATED, now_s)

    def end(self, ended: StreamEnd, now_s: float, detail: str = "") -> None:
        """The stream is over; what comes later changes nothing."""
        result = self.result
        if result.ended is not StreamEnd.RUNNING:
            return
        result.ended, result.detail, result.ended_s = ended, detail, now_s - self.due_s
        self._count()
        if not self.done.done():
            self.done.set_result(None)

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.result.ended is not StreamEnd.RUNNING

    @property
    def is_stopping(self) -> bool:
        """Whether its client reads no more."""
        return 0 < self._plan.stop_after <= self.result.events

    def again(self) -> None:
        """Forget an attempt over a connection that turned out to be closed: nothing had come."""
        self.result.ended, self.result.ended_s = StreamEnd.RUNNING, None
        self.done = asyncio.get_running_loop().create_future()

    def _take(self, told: Told, now_s: float) -> None:
        result = self.result
        if not told.is_event or self.is_over:
            return
        result.events += 1
        if told.text:
            self._sequence.feed(told.text)
            if self._last_text_s is None:
                result.first_token_s = now_s - self.due_s
            else:
                result.gaps_s.append(now_s - self._last_text_s)
            self._last_text_s = now_s
        if told.output_tokens is not None:
            result.output_tokens = told.output_tokens
        if told.is_end:
            self.has_told_end = True
        if told.error:
            self.end(StreamEnd.ERROR_EVENT, now_s, told.error)
        elif told.is_malformed:
            self.end(StreamEnd.MALFORMED, now_s, "event")
        elif result.events == self._leave_after:
            self.end(StreamEnd.LEFT, now_s)

    def _count(self) -> None:
        """What the numbers say."""
        sequence, result = self._sequence, self.result
        sequence.close()
        result.is_numbered = sequence.is_numbered
        result.tokens, result.lost = sequence.words, sequence.missing
        result.doubled, result.reordered, result.foreign = sequence.doubled, sequence.reordered, sequence.foreign
        behind = max(0, self._words_due - sequence.next) if self._words_due is not None else 0
        if result.ended is StreamEnd.WHOLE:
            result.lost += behind
        elif result.status == 200:
            result.cut_off = behind


class LoadConnection(asyncio.Protocol):
    """A connection and at most one stream at a time."""

    def __init__(self, plan: LoadPlan, idle: Callable[[LoadConnection], None]) -> None:
        self._plan = plan
        self._idle = idle
        self._parser: httptools.HttpResponseParser | None = None
        self._stream: Stream | None = None
        self._now_s = 0.0
        self._is_reusable = False
        """Whether the answer is, and the connection may carry another."""
        self._until_close = True
        self._resume: asyncio.TimerHandle | None = None
        self.is_closed = False
        self.is_reused = False

    def start(self, stream: Stream, request: bytes) -> None:
        """Send a request; what comes is the stream's."""
        self._parser = httptools.HttpResponseParser(self)
        self._stream = stream
        self._is_reusable = False
        self.transport.write(request)

    def leave(self, stream: Stream) -> None:
        """Close, where it still carries this stream."""
        if self._stream is stream:
            self._stream = None
            self.abort()

    def abort(self) -> None:
        """Close at once."""
        if not self.is_closed:
            self.transport.abort()

    # Called by the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        stream = self._stream
        if stream is None or self._parser is None:
            self.transport.abort()  # nobody asked
            return
        self._now_s = now_s = time.perf_counter()
        stream.received(len(data), now_s)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            stream.end(StreamEnd.MALFORMED, now_s, "http")
        self._settle(stream, len(data))

    def _settle(self, stream: Stream, size_bytes: int) -> None:
        """After a read: end, wait, or read on."""
        if stream.is_over:
            self._stream = None
            if self._is_reusable:
                self.is_reused = True
                self._idle(self)
            else:
                self.transport.abort()
        elif stream.is_stopping:
            self.transport.pause_reading()
        elif self._plan.read_bytes_per_s:
            self.transport.pause_reading()
            loop = asyncio.get_running_loop()
            self._resume = loop.call_later(size_bytes / self._plan.read_bytes_per_s, self.transport.resume_reading)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_closed = True
        if self._resume is not None:
            self._resume.cancel()
        stream, self._stream = self._stream, None
        if stream is None:
            return
        now_s = time.perf_counter()
        if stream.result.first_byte_s is None:
            stream.end(StreamEnd.UNANSWERED, now_s)
        elif isinstance(exc, ConnectionError):
            stream.end(StreamEnd.RESET, now_s)
        else:
            self._end_by_close(stream, now_s)

    def _end_by_close(self, stream: Stream, now_s: float) -> None:
        """A body without length or chunks ends with its connection; any other is cut."""
        stream.end(StreamEnd.WHOLE if stream.has_told_end and self._until_close else StreamEnd.TRUNCATED, now_s)

    # Called by the parser.

    def on_header(self, name: bytes, _value: bytes) -> None:
        if name.lower() in {b"content-length", b"transfer-encoding"}:
            self._until_close = False

    def on_message_begin(self) -> None:
        self._until_close = True

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        if self._stream is not None:
            self._stream.result.status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        if self._stream is not None:
            self._stream.body(data, self._now_s)

    def on_message_complete(self) -> None:
        assert self._parser is not None
        if self._stream is not None and self._parser.get_status_code() >= 200:
            self._is_reusable = self._parser.should_keep_alive()  # known only here and now
            self._stream.message_over(self._now_s)
