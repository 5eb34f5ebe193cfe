"""One connection that speaks HTTP/2: the event loop's side of it, and the limits and times that hold for it.

What holds for HTTP/1.1 (`ezai.server.edge`) holds here for each stream, which is a request and its answer: a refusal
or a cut ends the stream, and the others go on. The connection itself ends for what concerns it as a whole.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from functools import partial
from typing import Final
from urllib.parse import unquote

from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl
from uvicorn.server import ServerState

from ezai.errors import RequestError, RequestReceiptTimeout
from ezai.ports import Headers
from ezai.server.acceptor import Place
from ezai.server.edge_settings import KEEP_ALIVE_S, SHORT_KEEP_ALIVE_S, EdgeSettings
from ezai.server.exchange import OVER_CAPACITY
from ezai.server.http2.events import BodyArrived, Event, RequestArrived, RequestFaulty, StreamLost
from ezai.server.http2.exchange import App, StreamExchange
from ezai.server.http2.fields import RequestHead
from ezai.server.http2.frames import Code, ConnectionFault
from ezai.server.http2.sending import StreamState
from ezai.server.http2.session import MAX_STREAMS, Session
from ezai.server.reader_watch import ReaderWatch

logger = logging.getLogger("ezai.server")

HANGING_UP_S: Final = 1.0
STEP_BYTES: Final = 16 * 1024
"""Read at a time, with a look at the event loop in between: of empty frames this is some milliseconds."""


class Http2Protocol(asyncio.Protocol):
    """One client connection, from its first byte on. Also the `Line` of its streams."""

    def __init__(self, edge: EdgeSettings, place: Place, app: App, server: ServerState) -> None:
        self.transport: asyncio.Transport = None  # type: ignore[assignment]  # until connection_made
        self.queue_bytes = edge.queue_bytes
        self._edge = edge
        self._place = place
        self._app = app
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._session = Session(edge.head_limit_bytes)
        self._exchanges: dict[int, StreamExchange] = {}
        self._unread: deque[bytes] = deque()
        self._is_reading_paused = False
        self._reader = ReaderWatch(edge.reader_stall_s)
        self._stalls: dict[int, tuple[int, float]] = {}
        self._is_over = False
        self._is_shutting_down = False
        self._hangs_up_at: float | None = None
        self._linger_s: float | None = None
        self._checked_at = self._idle_since = edge.clock.now()
        self._is_used = False
        self._head: tuple[int, float] | None = None

    # The life of a connection.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        self.transport = transport
        self._server.connections.add(self)  # type: ignore[arg-type]  # uvicorn knows its own protocols alone
        self._scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "2",
            "server": get_local_addr(transport),
            "client": get_remote_addr(transport),
            "scheme": "https" if is_ssl(transport) else "http",
            "root_path": "",
        }
        self._session.greet()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)
        self._place.leave()
        self._lose_all()

    def eof_received(self) -> None:
        """A half-closed client is gone, as under HTTP/1.1."""
        if self._exchanges:
            self.transport.abort()

    def shutdown(self) -> None:
        """Take no more requests, and close once the streams that run are over."""
        self._is_shutting_down = True
        if not self._exchanges:
            self._close()

    def retire(self, linger_s: float) -> None:
        """End the connection when no stream runs; requests that come until then are answered.

        The client is told no sooner: some libraries, that of the Python SDK among them, take every GOAWAY for the end
        of the streams that run. It may then have asked already, so it is heard out for `linger_s` seconds.
        """
        self._linger_s = linger_s

    def _close(self) -> None:
        if not self._is_over:
            self._tell_end(Code.NO_ERROR)
            self.transport.close()

    def _fail(self, fault: ConnectionFault) -> None:
        """Say why, and hang up a little later: with something unread, what was said would be lost on the way."""
        logger.info("a connection is ended", extra={"fields": {"reason": fault.message}})
        self._tell_end(fault.code, fault.message)
        self._pause_reading(False)
        self._hangs_up_at = self._edge.clock.now() + HANGING_UP_S

    def _tell_end(self, code: Code, message: str = "") -> None:
        self._session.go_away(code, message)
        self._flush()
        self._lose_all()

    def _lose_all(self, *, stalled: bool = False) -> None:
        self._is_over = True
        for exchange in tuple(self._exchanges.values()):
            exchange.lose(stalled=stalled)

    # Bytes.

    def data_received(self, data: bytes) -> None:
        if self._is_over:
            return  # it was told why; what it still sends means nothing
        is_reading = bool(self._unread)
        self._unread.extend(data[at : at + STEP_BYTES] for at in range(0, len(data), STEP_BYTES))
        if not is_reading:
            self._read()

    def _read(self) -> None:
        if self._is_over:
            return
        try:
            for event in self._session.receive(self._unread.popleft()):
                self._handle(event)
        except ConnectionFault as fault:
            self._fail(fault)
            return
        self._pump()
        if self._unread:
            self._pause_reading(True)
            self._loop.call_soon(self._read)
        else:
            self._pause_reading(False)

    def _pause_reading(self, paused: bool) -> None:
        if paused and not self._is_reading_paused:
            self.transport.pause_reading()
        elif self._is_reading_paused and not paused:
            self.transport.resume_reading()
        self._is_reading_paused = paused

    def pause_writing(self) -> None:
        self._session.sender.is_paused = True

    def resume_writing(self) -> None:
        self._session.sender.is_paused = False
        self._reader.forget()  # there is room again: the reader took something
        self._pump()

    def _flush(self) -> None:
        out = self._session.out
        if out:
            if not self._is_over:
                self.transport.write(b"".join(out))
            out.clear()

    def _pump(self) -> None:
        """Write what is to be written, and of what is pending as much as there is room for."""
        self._flush()
        while (stream := self._session.send_next()) is not None:
            self._flush()
            if exchange := self._exchanges.get(stream.id):
                exchange.move()

    # Streams.

    def _handle(self, event: Event) -> None:
        if event.stream.deadline == math.inf:
            event.stream.deadline = self._edge.clock.now() + self._edge.receipt_s
        match event:
            case BodyArrived(stream, data, is_last):
                if exchange := self._exchanges.get(stream.id):
                    exchange.take(data, is_last=is_last)
            case RequestArrived(stream, head):
                self._begin(stream, head)
            case RequestFaulty(stream, error):
                self._refuse(stream, error)
            case StreamLost(stream):
                if exchange := self._exchanges.get(stream.id):
                    exchange.lose()

    def _begin(self, stream: StreamState, head: RequestHead) -> None:
        self._is_used = True
        if len(self._exchanges) >= MAX_STREAMS:  # some were cut by the client, but have not ended yet
            self._session.cut(stream, Code.REFUSED_STREAM)
            return
        raw_path, _, query = head.target.partition(b"?")
        path = raw_path.decode()
        scope = {
            **self._scope,
            "method": head.method,
            "path": unquote(path) if "%" in path else path,
            "raw_path": raw_path,
            "query_string": query,
            "headers": head.fields,
            "state": {OVER_CAPACITY: len(self._server.tasks) >= self._edge.connection_limit},
        }
        exchange = StreamExchange(self, stream, scope, expects_continue=head.expects_continue)
        self._exchanges[stream.id] = exchange
        task = self._loop.create_task(exchange.run(self._app))
        self._server.tasks.add(task)
        task.add_done_callback(partial(self._ended, stream.id))

    def _ended(self, stream_id: int, task: asyncio.Task[None]) -> None:
        self._server.tasks.discard(task)
        del self._exchanges[stream_id]
        self._idle_since = self._edge.clock.now()
        if self._is_shutting_down and not self._exchanges:
            self._close()

    def _refuse(self, stream: StreamState, error: RequestError) -> None:
        """Answer a request that cannot be served, or cut it where its answer has begun."""
        exchange = self._exchanges.get(stream.id)
        if exchange is not None:
            exchange.lose()
        if exchange is not None and exchange.is_answering:
            self._session.cut(stream, Code.PROTOCOL_ERROR)
            return
        request_id, body = self._edge.refusal(error)
        fields = [
            (b"content-type", b"application/json"),
            (b"request-id", request_id),
            *error.headers(),
            (b"content-length", b"%d" % len(body)),
        ]
        self.answer(stream, error.http_status, fields)
        self._session.send(stream, body, last=True)

    # As its streams call it.

    def answer(self, stream: StreamState, status: int, fields: Headers, *, last: bool = False) -> None:
        dated = [*self._server.default_headers, *fields] if status >= 200 else fields
        self._session.answer(stream, status, dated, last=last)
        self._flush()

    def send(self, stream: StreamState, data: bytes, *, last: bool) -> None:
        self._session.send(stream, data, last=last)
        if stream.pending:
            self._pump()
        else:
            self._flush()

    def consumed(self, stream: StreamState, size: int) -> None:
        self._session.consumed(stream, size)
        self._flush()

    def cut(self, stream: StreamState, code: Code) -> None:
        self._session.cut(stream, code)
        self._flush()

    # The clock's tick.

    def check(self, now: float) -> None:
        """Refill what frames are paid from; cut what has stopped; refuse what does not arrive; close what is idle."""
        self._session.budget.wait(now - self._checked_at)
        self._checked_at = now
        if self._has_stopped(now):
            self._lose_all(stalled=True)
            self.transport.abort()
        if self._is_over:
            if self._hangs_up_at is not None and now >= self._hangs_up_at:
                self.transport.close()
            return
        self._check_stalls(now)
        self._check_receipt(now)
        self._flush()
        self._check_idle(now)

    def _has_stopped(self, now: float) -> bool:
        """Whether the reader of the whole connection takes nothing any more."""
        unsent = self.transport.get_write_buffer_size()
        if not unsent or (self._exchanges and not self._session.sender.is_paused):
            self._reader.forget()
            return False
        return self._reader.has_stopped(self.transport, now)

    def _check_stalls(self, now: float) -> None:
        """Cut the streams whose windows the client leaves closed, while the connection itself takes what it gets."""
        sender, before, self._stalls = self._session.sender, self._stalls, {}
        if sender.is_paused:
            return
        for stream in tuple(sender.waiting.values()):
            sent_bytes, since = before.get(stream.id, (-1, now))
            if sent_bytes != stream.sent_bytes:
                since = now
            if now < since + self._edge.reader_stall_s:
                self._stalls[stream.id] = (stream.sent_bytes, since)
                continue
            if exchange := self._exchanges.get(stream.id):
                exchange.lose(stalled=True)
            self._session.cut(stream, Code.CANCEL)

    def _check_receipt(self, now: float) -> None:
        for stream in tuple(self._session.streams.values()):
            if stream.is_asked or now < stream.deadline:
                continue
            if stream.is_answered:  # what is thrown away of it does not end
                self._session.cut(stream, Code.NO_ERROR)
            elif not stream.last:  # else it has an answer, for which its window is closed: it may still stall
                late = RequestReceiptTimeout("The request did not arrive in time; send it without pauses.")
                self._refuse(stream, late)
        unfinished = self._session.unfinished_head
        if unfinished is None:
            self._head = None
        elif self._head is None or self._head[0] != unfinished:
            self._head = (unfinished, now)
        elif now >= self._head[1] + self._edge.head_receipt_s:
            self._fail(ConnectionFault(Code.ENHANCE_YOUR_CALM, "A head did not arrive in time."))

    def _check_idle(self, now: float) -> None:
        if self._is_over or self._head or self._exchanges or self._session.streams:
            return
        if self._linger_s is not None and not self._session.is_leaving:
            self._session.go_away(Code.NO_ERROR)
            self._flush()
            self._idle_since = now
        if self._session.client_is_leaving or now >= self._idle_since + self._patience_s:
            self._close()

    @property
    def _patience_s(self) -> float:
        """How long the connection may be idle."""
        if self._linger_s is not None:
            return self._linger_s
        if not self._is_used:
            return self._edge.head_receipt_s
        return SHORT_KEEP_ALIVE_S if self._place.is_wanted else KEEP_ALIVE_S
