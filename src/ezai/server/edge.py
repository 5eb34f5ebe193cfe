"""The HTTP/1.1 protocol (contract 12): a subclass of uvicorn's httptools protocol, which is pinned exactly for it.

What is added to it, and why:

- limits on the head, and times for the receipt of a request: uvicorn has neither (Kludex/uvicorn#157);
- strictness where llhttp is lenient: the hosts, the version, any transfer coding but chunked;
- every answer in our shape: what is refused here is JSON with a `request-id`, not plain text;
- reading goes on, bounded, while an answer runs, so that a client that leaves is seen also behind a request that it
  has pipelined;
- a bound on what waits for a slow reader, whose upstream is not read meanwhile, and the end of one that has stopped.
"""

from __future__ import annotations

import asyncio
import fcntl
import sys
import termios
from dataclasses import dataclass
from typing import Any

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from ezai.errors import HeadersTooLarge, InvalidRequest, RequestError, RequestReceiptTimeout
from ezai.ports import Clock, Ids
from ezai.protocol.anthropic.answers import error_body
from ezai.protocol.end import Cause
from ezai.server.direct_line import DIRECT_LINE, DirectLine
from ezai.server.exchange import OVER_CAPACITY

MAX_FIELDS = 100  # as HAProxy's tune.http.maxhdr; SDKs send about twenty
HEAD_RECEIPT_S = 10.0  # as HAProxy's guide against slow clients; a head is one packet
PIPELINED_BYTES = 64 * 1024
"""What is read behind a running answer before reading pauses after all."""


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

    @property
    def head_receipt_s(self) -> float:
        return min(HEAD_RECEIPT_S, self.receipt_s)


class EdgeProtocol(HttpToolsProtocol):
    """One client connection."""

    def __init__(self, edge: EdgeSettings, **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self._edge = edge
        self._refusal: RequestError | None = None
        self._refused = False
        self._in_head = True
        self._head_bytes = 0
        self._fields_bytes = 0
        self._pipelined_bytes = 0
        self._began = edge.clock.now()
        self._deadline: float | None = None
        self._serving: RequestResponseCycle | None = None
        self._line: DirectLine | None = None
        self._stalled = False
        self._untaken_bytes: int | None = None
        self._taken_at = 0.0

    # The life of a connection.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        self._deadline = self._edge.clock.now() + self._edge.head_receipt_s
        transport.set_write_buffer_limits(high=self._edge.queue_bytes)
        self.app_state[OVER_CAPACITY] = len(self.connections) > self._edge.connection_limit

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        serving = self._serving  # uvicorn tells the newest request alone, which may be one that waits behind it
        if serving is not None and not serving.response_complete:
            serving.disconnected = True
            serving.message_event.set()
        if self._line is not None:
            self._line.lost(Cause.READER_STALLED if self._stalled else Cause.CLIENT_LEFT)

    def eof_received(self) -> None:
        """A half-closed client is gone: what it has not read would keep the connection open for ever."""
        if self._serving is not None and not self._serving.response_complete:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return  # it was told why; what it still sends means nothing
        if self._in_head:
            self._head_bytes += len(data)
        if self.pipeline:
            self._bound_pipeline(len(data))
        super().data_received(data)
        if self._in_head and self._head_bytes > self._edge.head_limit_bytes:
            self._refuse(self._too_large())

    def check(self, now: float) -> None:
        """The clock's tick: a request that takes too long to come is refused, a reader that has stopped is cut off."""
        self._check_reader(now)
        if self._deadline is None or now < self._deadline or self.transport.is_closing():
            return
        self._deadline = None
        asked_nothing = self._in_head and self._head_bytes == 0
        if asked_nothing or self._answering():
            self.transport.close()  # there is nothing to say, or no place to say it
        else:
            self._refuse(RequestReceiptTimeout("The request did not arrive in time; send it without pauses."))

    def resume_writing(self) -> None:
        super().resume_writing()
        self._untaken_bytes = None  # there is room again: the reader took something

    def _check_reader(self, now: float) -> None:
        """Whoever takes a byte now and then is served, however slowly.

        While an answer runs and its queue has room nobody waits for the reader. What the kernel still holds counts
        too: it reports room in large steps, and a slow reader may take minutes for one.
        """
        unsent = self.transport.get_write_buffer_size()
        if not unsent or (self._answering() and not self.flow.write_paused):
            self._untaken_bytes = None
            return
        untaken = unsent + _unacknowledged_bytes(self.transport)
        if self._untaken_bytes is None or untaken < self._untaken_bytes:
            self._untaken_bytes, self._taken_at = untaken, now
        elif now >= self._taken_at + self._edge.reader_stall_s:
            self._stalled = True
            self.transport.abort()

    # One request, as the parser sees it.

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._fields_bytes = True, 0
        self._began = self._edge.clock.now()
        self._deadline = self._began + self._edge.head_receipt_s

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._count(len(name) + len(value) + 4)
        if len(self.headers) > MAX_FIELDS:
            self._stop_parsing(HeadersTooLarge(f"The request has more than {MAX_FIELDS} header fields."))

    def on_headers_complete(self) -> None:
        self._in_head = False
        if problem := _problem_of(self.headers, self.parser.get_http_version(), self.parser.should_upgrade()):
            self._stop_parsing(InvalidRequest(problem))
        self._deadline = self._began + self._edge.receipt_s
        super().on_headers_complete()
        if self.pipeline and self._pipelined_bytes <= PIPELINED_BYTES:
            self.flow.resume_reading()

    def on_message_complete(self) -> None:
        self._in_head, self._head_bytes = True, 0
        self._deadline = None
        super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._serving = cycle
        self._line = cycle.scope["state"][DIRECT_LINE] = DirectLine(self.transport, self.flow)
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.pipeline:
            self._pipelined_bytes = 0

    # Refusing.

    def send_400_response(self, msg: str) -> None:
        """Called by uvicorn for what its parser refuses, or what was refused in one of the parser's callbacks."""
        self._refuse(self._refusal or InvalidRequest("The request is not valid HTTP/1.1."))

    def _stop_parsing(self, refusal: RequestError) -> None:
        self._refusal = refusal
        raise ValueError(refusal.message)  # the parser turns it into the error that ends in send_400_response

    def _refuse(self, error: RequestError) -> None:
        """Answer and hang up: where the next request would begin is unknown."""
        if self._refused or self.transport.is_closing():
            return
        self._refused, self._deadline = True, None
        if self._owes_an_answer():  # to an earlier request, which was good: it is the last one here
            assert self._serving is not None
            self._serving.keep_alive = False
            self.pipeline.clear()
            return
        if self._answering():
            self.transport.close()  # inside an answer there is no place for another
            return
        request_id = self._edge.ids.new("req_")
        body = error_body(error, request_id)
        self.transport.write(
            b"%b%bcontent-type: application/json\r\nrequest-id: %b\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
            % (STATUS_LINE[error.http_status], self._default_fields(), request_id.encode(), len(body), body)
        )
        self.transport.close()

    def _default_fields(self) -> bytes:
        return b"".join(b"%b: %b\r\n" % field for field in self.server_state.default_headers)

    def _answering(self) -> bool:
        return self._serving is not None and self._serving.response_started and not self._serving.response_complete

    def _owes_an_answer(self) -> bool:
        """Whether a request that came whole is still being answered."""
        serving = self._serving
        return serving is not None and not serving.more_body and not serving.response_complete

    def _count(self, size: int) -> None:
        self._fields_bytes += size
        if self._fields_bytes > self._edge.head_limit_bytes:
            self._stop_parsing(self._too_large())

    def _too_large(self) -> HeadersTooLarge:
        return HeadersTooLarge(f"The request's headers are larger than {self._edge.head_limit_bytes} bytes.")

    def _bound_pipeline(self, size: int) -> None:
        self._pipelined_bytes += size
        if self._pipelined_bytes > PIPELINED_BYTES:
            self.flow.pause_reading()


def _unacknowledged_bytes(transport: asyncio.Transport) -> int:
    """What the kernel holds for the other side, sent or not; 0 where the system does not tell."""
    try:
        told = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
    except OSError:
        return 0
    return int.from_bytes(told, sys.byteorder)


def _problem_of(headers: list[tuple[bytes, bytes]], version: str, upgrades: bool) -> str | None:
    """What llhttp takes and a gateway must not, because another reader of the same bytes might see it otherwise."""
    if upgrades:
        return "An upgrade to another protocol is not offered; send plain HTTP/1.1."
    if version not in {"1.0", "1.1"}:
        return f"HTTP/{version} is not offered here; send HTTP/1.1."
    hosts = sum(name == b"host" for name, _ in headers)
    if hosts > 1 or (hosts == 0 and version == "1.1"):
        return f"The request has {hosts} Host headers; send one."
    for name, value in headers:
        if name == b"transfer-encoding" and (value.strip().lower() != b"chunked" or version == "1.0"):
            return "The only transfer coding that is understood is chunked, in HTTP/1.1."
    return None
