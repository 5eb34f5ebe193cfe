"""The HTTP/1.1 protocol (contract 12): a subclass of uvicorn's httptools protocol, which is pinned exactly for it.

What is added to it, and why:

- limits on the head, and times for the receipt of a request: uvicorn has neither (Kludex/uvicorn#157);
- strictness where llhttp is lenient: the hosts, the version, any transfer coding but chunked;
- offers of an upgrade are not taken, where uvicorn would lose the request's body;
- a client of HTTP/1.0 is sent no chunks: `ezai.server.http10`;
- a client that speaks HTTP/2 is handed over to `ezai.server.http2` at its first bytes;
- every answer in our shape: what is refused here is JSON with a `request-id`, not plain text, and is told to whoever
  watches, as every request is;
- one answer to a request: behind an early one (a 401 while an SDK still sends its megabyte) the rest of the body is
  thrown away, within the time of a request and a bound in bytes, and the connection serves on; where the rest does not
  come, or is no good, it ends without a word;
- an idle connection ends at the clock's tick, so that a request starts no timer;
- reading goes on, bounded, while an answer runs, so that a client that leaves is seen also behind a request that it
  has pipelined;
- a bound on what waits for a slow reader, whose upstream is not read meanwhile, and the end of one that has stopped.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from ezai.errors import HeadersTooLarge, InvalidRequest, RequestError, RequestReceiptTimeout
from ezai.protocol.end import Cause
from ezai.server.acceptor import Place
from ezai.server.direct_line import DIRECT_LINE, DirectLine
from ezai.server.edge_settings import SHORT_KEEP_ALIVE_S, EdgeSettings
from ezai.server.exchange import REFUSED
from ezai.server.head_check import problem_of
from ezai.server.http10 import UnframedLine, until_close
from ezai.server.lingering import Lingering
from ezai.server.reader_watch import ReaderWatch

MAX_FIELDS = 100  # as HAProxy's tune.http.maxhdr; SDKs send about twenty
PIPELINED_BYTES = 64 * 1024
"""What is read behind a running answer before reading pauses after all."""
HTTP2_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What the bytes of a client begin with that speaks HTTP/2 (RFC 9113 section 3.4)."""


class EdgeProtocol(HttpToolsProtocol):
    """One client connection."""

    def __init__(self, edge: EdgeSettings, place: Place, **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self._edge = edge
        self._place = place
        self._refusal: RequestError | None = None
        self._is_over = False
        self._lingering: Lingering | None = None
        self._rest_bytes: int | None = None
        self._retiring = False
        self._in_head = True
        self._head_bytes = 0
        self._fields_bytes = 0
        self._pipelined_bytes = 0
        self._began = edge.clock.now()
        self._idle_since: float | None = None
        self._deadline: float | None = None
        self._serving: RequestResponseCycle | None = None
        self._line: DirectLine | None = None
        self._stalled = False
        self._reader = ReaderWatch(edge.reader_stall_s)
        self._declines_upgrade = False
        self._opening: bytes | None = None

    def retire(self, linger_s: int) -> None:
        """End the connection with the next answer whose head is not sent yet, or after so long without a request."""
        self._retiring = True
        self.timeout_keep_alive = linger_s
        if self._idle_since is not None:
            self._idle_since = now = self._edge.clock.now()
            self._check_idle(now)
        if self._serving is not None and not self.cycle.response_started:
            self.cycle.keep_alive = False

    # The life of a connection.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        self._deadline = self._edge.clock.now() + self._edge.head_receipt_s
        # Half of the limit: what an upstream has sent by one more read comes on top.
        transport.set_write_buffer_limits(high=self._edge.queue_bytes // 2)
        if self._edge.http2:
            self._choose(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._place.leave()
        serving = self._serving  # uvicorn tells the newest request alone, which may be one that waits behind it
        if serving is not None and not serving.response_complete:
            serving.disconnected = True
            serving.message_event.set()
        if self._line is not None:
            self._line.lost(Cause.READER_STALLED if self._stalled else Cause.CLIENT_LEFT)

    def eof_received(self) -> None:
        """A half-closed client is gone: what it has not read would keep the connection open for ever."""
        if self._lingering is None and self._serving is not None and not self._serving.response_complete:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._is_over:
            if self._lingering is not None:
                self._lingering.take(len(data))
            return  # it has its last answer, or will have it; what it still sends means nothing
        if self._in_head:
            if self._opening is not None and not (data := self._opened(data)):
                return
            self._head_bytes += len(data)
        elif self._rest_bytes is not None:
            self._rest_bytes += len(data)
            if self._rest_bytes > self._edge.rest_bytes:
                self.transport.close()
                return
        if self.pipeline:
            self._bound_pipeline(len(data))
        self._parse(data)
        if self._in_head and self._head_bytes > self._edge.head_limit_bytes:
            self._refuse(self._too_large())

    def check(self, now: float) -> None:
        """The clock's tick: a request that takes too long to come is refused, a reader that has stopped is cut off."""
        self._check_reader(now)
        self._check_idle(now)
        if self._lingering is not None:
            self._lingering.check(now, is_wanted=self._place.is_wanted)
        if self._deadline is None or now < self._deadline or self.transport.is_closing():
            return
        self._deadline = None
        asked_nothing = self._in_head and self._head_bytes == 0
        if asked_nothing or (self._answering() and not self._owes_an_answer()):
            self.transport.close()  # there is nothing to say, or no place to say it
        else:
            self._refuse(RequestReceiptTimeout("The request did not arrive in time; send it without pauses."))

    def _check_idle(self, now: float) -> None:
        if self._idle_since is None:
            return
        kept_s = self.timeout_keep_alive
        idle_s = min(kept_s, SHORT_KEEP_ALIVE_S) if self._place.is_wanted else kept_s
        if now >= self._idle_since + idle_s:
            self.transport.close()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._reader.forget()  # there is room again: the reader took something

    def _check_reader(self, now: float) -> None:
        """While an answer runs and its queue has room nobody waits for the reader."""
        unsent = self.transport.get_write_buffer_size()
        if not unsent or (self._answering() and not self.flow.write_paused):
            self._reader.forget()
        elif self._reader.has_stopped(self.transport, now):
            self._stalled = True
            self.transport.abort()

    # Which version of HTTP: decided once, by what TLS agreed on, or by the first bytes.

    def _choose(self, transport: asyncio.Transport) -> None:
        secured = transport.get_extra_info("ssl_object")
        if secured is None:
            self._opening = b""
        elif secured.selected_alpn_protocol() == "h2":
            self._speak_http2(b"")

    def _opened(self, data: bytes) -> bytes:
        """The first bytes, once it is known that they are HTTP/1.1; nothing while it is not, or when they are not."""
        opening, self._opening = (self._opening or b"") + data, None
        if opening.startswith(HTTP2_PREFACE):
            self._speak_http2(opening)
            return b""
        if HTTP2_PREFACE.startswith(opening):
            self._opening, self._head_bytes = opening, len(opening)
            return b""
        self._head_bytes = 0
        return opening

    def _speak_http2(self, opening: bytes) -> None:
        """Hand the connection over. What HTTP/2 is made of is imported when the first client speaks it."""
        from ezai.server.http2.protocol import Http2Protocol

        self.connections.discard(self)
        successor = Http2Protocol(self._edge, self._place, self.app, self.server_state)
        if self._retiring:
            successor.retire(self.timeout_keep_alive)
        self.transport.set_protocol(successor)
        successor.connection_made(self.transport)
        if opening:
            successor.data_received(opening)

    # Parsing, and upgrades, which are declined by taking no notice (RFC 9110 section 7.8).

    def _parse(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offered:
            self._decline_upgrades(memoryview(data)[offered.args[0] :])
        except httptools.HttpParserError:
            self.send_400_response("")

    def _decline_upgrades(self, rest: memoryview) -> None:
        """Parse from where the parser has stopped, which is behind the head of a request that offers an upgrade."""
        while True:
            try:
                self._begin_again()
                self.parser.feed_data(rest)
            except httptools.HttpParserUpgrade as offered:
                rest = rest[offered.args[0] :]
            except httptools.HttpParserError:
                return self.send_400_response("")
            else:
                return None

    def _begin_again(self) -> None:
        """Show the head that was read to a new parser, less the offer, so that the body is parsed as one."""
        self._declines_upgrade = False
        fields = b"".join(b"%b: %b\r\n" % field for field in self.headers if field[0] != b"upgrade")
        line = b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn has it
        self.parser.feed_data(line + fields + b"\r\n")

    # One request, as the parser sees it.

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._fields_bytes = True, 0
        self._began = self._edge.clock.now()
        self._deadline = self._began + self._edge.head_receipt_s
        self._idle_since = None

    def on_url(self, url: bytes) -> None:
        self.url += url
        self._fields_bytes += len(url)
        if self._fields_bytes > self._edge.head_limit_bytes:
            self._stop_parsing(self._too_large())

    def on_header(self, name: bytes, value: bytes) -> None:
        """As uvicorn's own, but bounded; in one piece, since a request has twenty of them."""
        self._fields_bytes += len(name) + len(value) + 4
        if self._fields_bytes > self._edge.head_limit_bytes:
            self._stop_parsing(self._too_large())
        if len(self.headers) >= MAX_FIELDS:
            self._stop_parsing(HeadersTooLarge(f"The request has more than {MAX_FIELDS} header fields."))
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._in_head = False
        if problem := problem_of(self.headers, self.parser.get_http_version(), self.parser.get_method()):
            self._stop_parsing(InvalidRequest(problem))
        if self.parser.should_upgrade():
            self._declines_upgrade = True
            return
        self._deadline = self._began + self._edge.receipt_s
        super().on_headers_complete()
        if self._retiring or self._place.is_wanted:
            self.cycle.keep_alive = False
        if self.pipeline and self._pipelined_bytes <= PIPELINED_BYTES:
            self.flow.resume_reading()

    def on_message_complete(self) -> None:
        if self._declines_upgrade:
            return
        self._in_head, self._head_bytes = True, 0
        self._deadline = None
        super().on_message_complete()
        if self.cycle.response_complete:  # it was answered before its body had come
            self._idle_since, self._rest_bytes = self._edge.clock.now(), None

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._serving = cycle
        framing = DirectLine
        if cycle.scope["http_version"] == "1.0":
            framing, app = UnframedLine, until_close(cycle, app)
        self._line = cycle.scope["state"][DIRECT_LINE] = framing(self.transport, self.flow, self._hang_up)
        cycle.transport = self._line  # type: ignore[assignment]  # what a cycle uses of it
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """As uvicorn's own, but that the clock's tick ends an idle connection: a timer a request would cost more."""
        self.server_state.total_requests += 1
        if self._is_over or self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._deadline is None:  # else more of this request, or the next one, is on its way
            self._idle_since = self._edge.clock.now()
        elif not self._in_head:
            self._rest_bytes = 0  # so much has come of the rest of a body that is answered already
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
        if self._is_over or self.transport.is_closing():
            return
        self._is_over, self._deadline = True, None
        serving = self._serving
        if self._owes_an_answer():  # to an earlier request, which was good: it is the last one here
            assert serving is not None
            serving.keep_alive = False
            self.pipeline.clear()
            self.flow.resume_reading()  # else the client's leaving would not be seen
        elif self._answering():
            self.transport.close()  # inside an answer there is no place for another
        elif self._rest_bytes is not None:
            self._linger()  # it has its answer
        else:
            if serving is not None and not serving.response_complete:
                serving.scope["state"][REFUSED] = serving.disconnected = True  # it would answer as well
                serving.message_event.set()
            self._answer(error)
            self._linger()

    def _answer(self, error: RequestError) -> None:
        request_id, body = self._edge.refusal(error)
        self.transport.write(
            b"%b%bcontent-type: application/json\r\nrequest-id: %b\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
            % (STATUS_LINE[error.http_status], self._default_fields(), request_id, len(body), body)
        )

    def _hang_up(self) -> None:
        """Called behind an answer that is the last one, or that has failed."""
        assert self._serving is not None
        if self._serving.response_complete and (self._is_over or not self._in_head):
            self._linger()  # more is on its way, and would be unread
        else:
            self.transport.close()

    def _linger(self) -> None:
        if self._lingering is not None:
            return
        self._is_over, self._deadline = True, None
        self.flow.resume_reading()
        self._lingering = Lingering(self.transport, self._edge.rest_bytes, self._edge.clock.now())

    def _default_fields(self) -> bytes:
        return b"".join(b"%b: %b\r\n" % field for field in self.server_state.default_headers)

    def _answering(self) -> bool:
        return self._serving is not None and self._serving.response_started and not self._serving.response_complete

    def _owes_an_answer(self) -> bool:
        """Whether a request that came whole is still being answered."""
        serving = self._serving
        return serving is not None and not serving.more_body and not serving.response_complete

    def _too_large(self) -> HeadersTooLarge:
        return HeadersTooLarge(f"The request's headers are larger than {self._edge.head_limit_bytes} bytes.")

    def _bound_pipeline(self, size: int) -> None:
        self._pipelined_bytes += size
        if self._pipelined_bytes > PIPELINED_BYTES:
            self.flow.pause_reading()
