"""What a client's frames mean (RFC 9113), without input or output: bytes go in, events and bytes come out.

Decided where the standard leaves a choice: no push, no priorities, no dynamic table on our side, no larger frames than
one has to take; credit for the connection's window comes back at once, for a stream's when its body was taken; a
request that is no good HTTP is answered, not reset, since people read answers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import ClassVar, Final, NamedTuple

from ezai.errors import InvalidRequest, RequestError
from ezai.ports import Headers
from ezai.server.edge import HTTP2_PREFACE
from ezai.server.http2 import frames
from ezai.server.http2.events import BodyArrived, Event, RequestArrived, RequestFaulty, StreamLost
from ezai.server.http2.fields import (
    FORGET_TABLE,
    Field,
    FieldReader,
    check_trailers,
    read_request,
    write_answer,
)
from ezai.server.http2.flood import ANSWERED, CANCELLED, HEAD_STEP_BYTES, FloodBudget
from ezai.server.http2.frames import MAX_PAYLOAD, MAX_WINDOW, Code, ConnectionFault, Frame, Setting
from ezai.server.http2.sending import Sender, StreamState

STREAM_WINDOW: Final = 256 * 1024
"""What a client may send of one body before it was taken; as much as it has on its way at 40 Mbit/s over 50 ms."""
CONNECTION_WINDOW: Final = 1024 * 1024
MAX_STREAMS: Final = 128  # as nginx's http2_max_concurrent_streams
REMEMBERED_CUTS: Final = 128
"""Streams that were ended here, of which more may be on its way."""


class _OpenBlock(NamedTuple):
    """A header block whose end has not come."""

    stream_id: int
    ends_stream: bool
    received: bytearray


class Session:
    """The server's side of one connection. `out` is to be written after every call that may have filled it."""

    def __init__(self, head_limit_bytes: int) -> None:
        self.out: list[bytes] = []
        self.budget = FloodBudget()
        self.sender = Sender(self.out, self.budget)
        self.streams: dict[int, StreamState] = {}
        self.is_leaving = False
        """Whether no more requests are taken."""
        self.client_is_leaving = False
        """Whether the client wants the connection closed once its streams are over."""
        self._head_limit_bytes = head_limit_bytes
        self._preface = HTTP2_PREFACE
        self._is_greeted = False
        self._frames = frames.FrameReader()
        self._fields = FieldReader(head_limit_bytes)
        self._block: _OpenBlock | None = None
        self._ended_heads = 0
        self._highest = 0
        self._cut: deque[int] = deque(maxlen=REMEMBERED_CUTS)
        self._receive_window = CONNECTION_WINDOW
        self._unreturned = 0
        self._block_start = FORGET_TABLE

    @property
    def unfinished_head(self) -> int | None:
        """None, unless something has begun that is no body; then a number that stays until that has ended."""
        return self._ended_heads if self._block is not None or self._frames.has_begun_head else None

    def greet(self) -> None:
        """Say what is offered; before anything else."""
        offered = (
            (Setting.MAX_CONCURRENT_STREAMS, MAX_STREAMS),
            (Setting.INITIAL_WINDOW_SIZE, STREAM_WINDOW),
            (Setting.MAX_HEADER_LIST_SIZE, self._head_limit_bytes),
        )
        self.out.append(frames.settings(offered))
        self.out.append(frames.window_update(0, CONNECTION_WINDOW - frames.DEFAULT_WINDOW))

    # Sending.

    def answer(self, stream: StreamState, status: int, fields: Headers, *, last: bool = False) -> None:
        """Send the head of an answer, or one before it (status 1xx). Raises `ValueError`, and then nothing was sent."""
        block = self._block_start + write_answer(status, fields)
        self._block_start = b""
        flags = frames.END_STREAM if last else 0
        self.out.append(frames.header_block(stream.id, block, flags))
        stream.is_answered = last
        self._close_if_over(stream)

    def send(self, stream: StreamState, data: bytes, *, last: bool) -> None:
        """Send a piece of an answer's body, now or when there is room."""
        self.sender.send(stream, data, last=last)
        self._close_if_over(stream)

    def send_next(self) -> StreamState | None:
        """Send one frame of what is pending, and return its stream; None where nothing can go."""
        stream = self.sender.send_next()
        if stream is not None:
            self._close_if_over(stream)
        return stream

    def consumed(self, stream: StreamState, size: int) -> None:
        """So much of a request's body was taken: the client may send as much again."""
        stream.unreturned += size
        if stream.unreturned >= STREAM_WINDOW // 2 and not stream.is_asked and stream.id in self.streams:
            self.out.append(frames.window_update(stream.id, stream.unreturned))
            stream.receive_window += stream.unreturned
            stream.unreturned = 0

    def cut(self, stream: StreamState, code: Code) -> None:
        """End a stream on both sides, here and now. Harmless when it is closed."""
        if self.streams.pop(stream.id, None) is not None:
            self.sender.forget(stream)
            self._cut.append(stream.id)
            self.out.append(frames.reset(stream.id, code))

    def go_away(self, code: Code, message: str = "") -> None:
        """Say that no more requests are taken; streams that are open go on."""
        self.is_leaving = True
        self.out.append(frames.goaway(self._highest, code, message))

    def _close_if_over(self, stream: StreamState) -> None:
        """Forget a stream that both sides have ended.

        An answer may be over before its request is. The rest of that is taken in and thrown away: to reset the stream
        would be allowed (section 8.1), but the Python SDK's library then waits for a window that never opens.
        """
        if stream.is_answered and stream.is_asked and self.streams.pop(stream.id, None) is not None:
            self.budget.earn(ANSWERED)

    # Receiving.

    def receive(self, data: bytes) -> Iterator[Event]:
        """What these bytes bring. Raises `ConnectionFault`, after which nothing more may be received."""
        if self._preface:
            size = min(len(data), len(self._preface))
            if not self._preface.startswith(data[:size]):
                raise ConnectionFault(Code.PROTOCOL_ERROR, "The connection does not begin as HTTP/2.")
            self._preface, data = self._preface[size:], data[size:]
        for frame in self._frames.read(data):
            event = self._take_in(frame)
            if self._block is None and frame.kind != frames.DATA:
                self._ended_heads += 1
            if self.budget.is_overdrawn:
                raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "Too many frames beside those of requests.")
            if event is not None:
                yield event

    def _take_in(self, frame: Frame) -> Event | None:
        if self._block is not None and frame.kind != frames.CONTINUATION:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "A header block is interrupted.")
        if not self._is_greeted and (frame.kind != frames.SETTINGS or frame.flags & frames.ACK):
            raise ConnectionFault(Code.PROTOCOL_ERROR, "The first frame is not SETTINGS.")
        handle = self._HANDLERS.get(frame.kind)
        if handle is None:  # section 4.1: what is not known is ignored
            self.budget.spend()
            return None
        return handle(self, frame)

    def _open_stream(self, stream_id: int) -> StreamState | None:
        """The stream; None where it is closed, or was not taken. Raises `ConnectionFault` where it was never opened."""
        stream = self.streams.get(stream_id)
        if stream is None and ((stream_id > self._highest and not self.is_leaving) or not stream_id % 2):
            raise ConnectionFault(Code.PROTOCOL_ERROR, "A frame is for a stream that was never opened.")
        return stream

    # Requests.

    def _data(self, frame: Frame) -> Event | None:
        stream = self._open_stream(frame.stream_id)
        size = len(frame.payload)
        self._receive_window -= size
        if self._receive_window < 0:
            raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "More was sent than the connection's window takes.")
        self._return_credit(size)
        if stream is None:
            self.budget.spend()
            return None
        if stream.is_asked:
            return self._lose(stream, Code.STREAM_CLOSED)
        stream.receive_window -= size
        if stream.receive_window < 0:
            return self._lose(stream, Code.FLOW_CONTROL_ERROR)
        data = frame.unpadded()
        self.consumed(stream, size - len(data))
        is_last = bool(frame.flags & frames.END_STREAM)
        if not data and not is_last:
            self.budget.spend()
        return self._body(stream, data, is_last=is_last)

    def _body(self, stream: StreamState, data: bytes, *, is_last: bool) -> Event | None:
        stream.is_asked = is_last
        if stream.is_told:
            self.consumed(stream, len(data))
            self._close_if_over(stream)
            return None
        if stream.expected is not None:
            stream.expected -= len(data)
            if stream.expected < 0 or (is_last and stream.expected):
                return RequestFaulty(stream, InvalidRequest("The request's body is not as long as it says."))
        return BodyArrived(stream, data, is_last)

    def _return_credit(self, size: int) -> None:
        self._unreturned += size
        if self._unreturned >= CONNECTION_WINDOW // 2:
            self.out.append(frames.window_update(0, self._unreturned))
            self._receive_window += self._unreturned
            self._unreturned = 0

    def _headers(self, frame: Frame) -> Event | None:
        if not frame.stream_id % 2:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "A client's streams have odd numbers.")
        part = frame.unpadded()
        if frame.flags & frames.WITH_PRIORITY:
            if len(part) < 5:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, "HEADERS are shorter than their priority.")
            part = part[5:]
        self._block = _OpenBlock(frame.stream_id, bool(frame.flags & frames.END_STREAM), bytearray())
        return self._block_part(part, frame.flags)

    def _continuation(self, frame: Frame) -> Event | None:
        if self._block is None or self._block.stream_id != frame.stream_id:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "CONTINUATION continues nothing.")
        self.budget.spend()
        return self._block_part(frame.payload, frame.flags)

    def _block_part(self, part: bytes, flags: int) -> Event | None:
        block = self._block
        assert block is not None
        block.received.extend(part)
        size = len(block.received)
        if size > self._fields.most_bytes:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "A head is far too large.")
        if not flags & frames.END_HEADERS:
            return None
        self._block = None
        self.budget.spend(1 + size // HEAD_STEP_BYTES)
        fields = self._fields.read(bytes(block.received))
        stream = self.streams.get(block.stream_id)
        if stream is not None:
            return self._trailers(stream, fields, ends_stream=block.ends_stream)
        return self._request(block.stream_id, fields, is_whole=block.ends_stream)

    def _trailers(self, stream: StreamState, fields: list[Field], *, ends_stream: bool) -> Event | None:
        if stream.is_asked:
            return self._lose(stream, Code.STREAM_CLOSED)
        if stream.is_told:
            return self._body(stream, b"", is_last=ends_stream)
        if not ends_stream:
            return RequestFaulty(stream, InvalidRequest("The request has a second head."))
        try:
            check_trailers(fields, self._head_limit_bytes)
        except RequestError as error:
            return RequestFaulty(stream, error)
        return self._body(stream, b"", is_last=True)

    def _request(self, stream_id: int, fields: list[Field], *, is_whole: bool) -> Event | None:
        if stream_id <= self._highest:
            if stream_id in self._cut:
                return None  # trailers that were on their way
            raise ConnectionFault(Code.STREAM_CLOSED, "A stream is opened again.")
        if self.is_leaving:
            return None  # section 6.8: the client knows from GOAWAY that it was not taken
        self._highest = stream_id
        stream = StreamState(stream_id, self.sender.initial_window, STREAM_WINDOW)
        stream.is_asked = is_whole
        self.streams[stream_id] = stream
        if len(self.streams) > MAX_STREAMS:
            self.cut(stream, Code.REFUSED_STREAM)
            return None
        try:
            head = read_request(fields, self._head_limit_bytes)
        except RequestError as error:
            return RequestFaulty(stream, error)
        stream.expected = head.length
        if is_whole and head.length:
            return RequestFaulty(stream, InvalidRequest("The request's body is not as long as it says."))
        return RequestArrived(stream, head, is_whole)

    def _reset(self, frame: Frame) -> Event | None:
        _check_size(frame, 4)
        stream = self._open_stream(frame.stream_id)
        if stream is None:
            self.budget.spend()
            return None
        self.budget.spend(1 if stream.is_answered else CANCELLED)
        del self.streams[stream.id]
        self.sender.forget(stream)
        return StreamLost(stream)

    def _lose(self, stream: StreamState, code: Code) -> StreamLost:
        self.budget.spend(CANCELLED)
        self.cut(stream, code)
        return StreamLost(stream)

    # Control.

    def _settings(self, frame: Frame) -> None:
        _check_connection(frame)
        self.budget.spend()
        if frame.flags & frames.ACK:
            _check_size(frame, 0)
            return
        self._is_greeted = True
        window = None
        for name, value in frames.read_settings(frame.payload):
            _check_setting(name, value)
            if name == Setting.INITIAL_WINDOW_SIZE:
                window = value
        if window is not None:
            self.sender.resize(window, self.streams)
        self.out.append(frames.frame(frames.SETTINGS, frames.ACK, 0))

    def _ping(self, frame: Frame) -> None:
        _check_connection(frame)
        _check_size(frame, 8)
        self.budget.spend()
        if not frame.flags & frames.ACK:
            self.out.append(frames.frame(frames.PING, frames.ACK, 0, frame.payload))

    def _goaway(self, frame: Frame) -> None:
        _check_connection(frame)
        if len(frame.payload) < 8:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "GOAWAY is too short.")
        self.budget.spend()
        self.client_is_leaving = True

    def _window_update(self, frame: Frame) -> Event | None:
        _check_size(frame, 4)
        self.budget.spend()
        increment = frames.read_word(frame.payload)
        if not frame.stream_id:
            if not increment:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "A window is opened by nothing.")
            self.sender.open_connection(increment)
            return None
        stream = self._open_stream(frame.stream_id)
        if stream is None:
            return None
        if not increment:
            return self._lose(stream, Code.PROTOCOL_ERROR)
        return None if self.sender.open(stream, increment) else self._lose(stream, Code.FLOW_CONTROL_ERROR)

    def _priority(self, frame: Frame) -> None:
        _check_size(frame, 5)
        if not frame.stream_id:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "PRIORITY is for no stream.")
        self.budget.spend()

    def _push_promise(self, frame: Frame) -> None:
        raise ConnectionFault(Code.PROTOCOL_ERROR, "Clients do not push.")

    _HANDLERS: ClassVar[dict[int, Callable[[Session, Frame], Event | None]]] = {
        frames.DATA: _data,
        frames.HEADERS: _headers,
        frames.PRIORITY: _priority,
        frames.RST_STREAM: _reset,
        frames.SETTINGS: _settings,
        frames.PUSH_PROMISE: _push_promise,
        frames.PING: _ping,
        frames.GOAWAY: _goaway,
        frames.WINDOW_UPDATE: _window_update,
        frames.CONTINUATION: _continuation,
    }


def _check_size(frame: Frame, size: int) -> None:
    if len(frame.payload) != size:
        raise ConnectionFault(Code.FRAME_SIZE_ERROR, "A frame is not as long as its kind is.")


def _check_connection(frame: Frame) -> None:
    if frame.stream_id:
        raise ConnectionFault(Code.PROTOCOL_ERROR, "A frame of the connection is for a stream.")


def _check_setting(name: int, value: int) -> None:
    if name == Setting.ENABLE_PUSH and value > 1:
        raise ConnectionFault(Code.PROTOCOL_ERROR, "ENABLE_PUSH is neither 0 nor 1.")
    if name == Setting.INITIAL_WINDOW_SIZE and value > MAX_WINDOW:
        raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE is too large.")
    if name == Setting.MAX_FRAME_SIZE and not MAX_PAYLOAD <= value < 2**24:
        raise ConnectionFault(Code.PROTOCOL_ERROR, "MAX_FRAME_SIZE is out of its range.")
