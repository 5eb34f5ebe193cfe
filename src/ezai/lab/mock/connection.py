"""One accepted connection: requests in, answers out, one after another."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, cast

import httptools

from ezai.lab.mock.asked import Headers, HttpRequest
from ezai.lab.mock.journal import ConnectionRecord, Ended
from ezai.lab.mock.playback import Playback, reset
from ezai.lab.mock.reply import KeepAlive

if TYPE_CHECKING:
    from ezai.lab.mock.server import Mock

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class MockConnection(asyncio.Protocol):
    """Reads requests, also pipelined ones, and plays the answers in order."""

    def __init__(self, mock: Mock, record: ConnectionRecord) -> None:
        self._mock = mock
        self.record = record
        self._parser = httptools.HttpRequestParser(self)
        self._queue: deque[HttpRequest] = deque()
        self._playback: Playback | None = None
        self._after = KeepAlive.YES
        self._is_paused = False
        self._target = b""
        self._headers: Headers = []
        self._body: list[bytes] = []
        self.transport: asyncio.Transport | None = None

    def release(self) -> bool:
        """Let a stalled answer go on; whether there was one."""
        return self._playback is not None and self._playback.release()

    def end(self, ended: Ended) -> None:
        """Close at once."""
        if self.record.ended is Ended.OPEN:
            self.record.ended = ended
        if self.transport is not None:
            self.transport.abort()

    # Called by the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._mock.opened(self)

    def data_received(self, data: bytes) -> None:
        if self._after is not KeepAlive.YES and self._playback is None:
            self._lose_race()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # answered like any other request
        except httptools.HttpParserError:
            self._refuse()

    def pause_writing(self) -> None:
        self._is_paused = True
        if self._playback is not None:
            self._playback.pause_writing()

    def resume_writing(self) -> None:
        self._is_paused = False
        if self._playback is not None:
            self._playback.resume_writing()

    def eof_received(self) -> None:
        self.record.saw_eof = True
        self._stop_playing(Ended.PEER_CLOSED)

    def connection_lost(self, exc: Exception | None) -> None:
        ended = Ended.PEER_RESET if isinstance(exc, ConnectionError) else Ended.PEER_CLOSED
        self._stop_playing(Ended.STOPPED if self.record.ended is Ended.STOPPED else ended)
        self._mock.closed(self, ended)

    # Called by the parser.

    def on_message_begin(self) -> None:
        self._target, self._headers, self._body = b"", [], []

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        expects = any(name == b"expect" and value.lower() == b"100-continue" for name, value in self._headers)
        if expects and self.transport is not None:
            self.transport.write(_CONTINUE)

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        request = HttpRequest(
            self._parser.get_method().decode("latin-1"),
            self._target.decode("latin-1"),
            self._headers,
            b"".join(self._body),
            self._parser.should_keep_alive(),  # known only here and now
        )
        self._queue.append(request)
        if self._playback is None:
            self._answer_next()

    # Answering.

    def _answer_next(self) -> None:
        if not self._queue or self.transport is None or self.transport.is_closing():
            return
        request = self._queue.popleft()
        reply, record = self._mock.reply_to(request, self.record)
        if not request.keeps_connection and reply.keep_alive is KeepAlive.YES:
            reply.keep_alive = KeepAlive.SILENT
        playback = Playback(reply, self.transport, record, self._mock.journal, self._answered)
        self._playback = playback
        playback.start(is_paused=self._is_paused)

    def _answered(self, ended: Ended) -> None:
        playback, self._playback = self._playback, None
        assert playback is not None
        self._mock.answered(playback.record, ended)
        if ended in {Ended.CUT, Ended.RESET} and self._is_closing:
            self.record.ended = ended
        elif ended in {Ended.WHOLE, Ended.CUT}:
            self._after_answer(playback)

    def _after_answer(self, playback: Playback) -> None:
        assert self.transport is not None
        if playback.reply.closes:
            self.record.ended = Ended.CUT
            self.transport.close()
            return
        self._after = playback.reply.keep_alive
        if self._queue:
            asyncio.get_running_loop().call_soon(self._answer_next)

    @property
    def _is_closing(self) -> bool:
        return self.transport is None or self.transport.is_closing()

    def _stop_playing(self, ended: Ended) -> None:
        if self._playback is not None:
            self._playback.stop(ended)

    def _lose_race(self) -> None:
        """The connection was closed, as its client sees it, before this request came."""
        self.record.raced += 1
        assert self.transport is not None
        if self._after is KeepAlive.RACE_RESET:
            self.record.ended = Ended.RESET
            reset(self.transport)
        else:
            self.end(Ended.CUT)

    def _refuse(self) -> None:
        self.record.ended = Ended.BAD_REQUEST
        assert self.transport is not None
        self.transport.write(_BAD_REQUEST)
        self.transport.close()
