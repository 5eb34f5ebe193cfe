"""Both ends of a connection as bytes: a client that reads what comes as it comes, and what bytes say as answers."""

from __future__ import annotations

import http.client
import io
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec

from ezai.protocol.anthropic.events import MessagesEvent, read_event
from ezai.protocol.anthropic.order import StreamState
from ezai.protocol.sse import SseDecoder
from tests import canary

READ_TIMEOUT_S = 60


@dataclass(frozen=True)
class Answer:
    """One HTTP answer. `whole`: its body came to the end that its framing promised."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    whole: bool

    @property
    def is_stream(self) -> bool:
        return self.headers.get("content-type", "").startswith("text/event-stream")

    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    def events(self) -> list[MessagesEvent]:
        """The events of a stream, in an order that the table allows, with nothing incomplete behind them."""
        return read_events(self.body)


def read_events(stream: bytes) -> list[MessagesEvent]:
    """The events of a whole stream body; one that ends inside an event, or breaks the legal order, fails."""
    decoder, state = SseDecoder(), StreamState()
    events = [read_event(frame) for frame in decoder.feed(stream)]
    assert decoder.close() == b""
    for event in events:
        state.process(event)
    assert state.over
    return events


class _Received(io.BytesIO):
    """The bytes of a connection under several answers: the end of one answer does not close it."""

    def makefile(self, _mode: str) -> _Received:
        return self

    def close(self) -> None:
        pass


def read_answers(received: bytes) -> list[Answer]:
    """The answers that came over one connection, in order."""
    source = _Received(received)
    answers = []
    while source.tell() < len(received):
        response = http.client.HTTPResponse(cast(socket.socket, source))
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        try:
            body, whole = response.read(), True
        except http.client.IncompleteRead as cut:
            body, whole = cut.partial, False
        answers.append(Answer(response.status, headers, body, whole))
    return answers


class RawClient:
    """One POST of JSON over a socket of its own; nothing is read that was not asked for."""

    def __init__(self, url: str, path: str, body: Mapping[str, object]) -> None:
        self.reads: list[bytes] = []
        """What each read of the socket brought."""
        self._watched = canary.WATCH.stream("an answer to a client")
        address = urlsplit(url)
        content = msgspec.json.encode(body)
        head = (
            f"POST {path} HTTP/1.1\r\nhost: {address.netloc}\r\nconnection: close\r\n"
            f"x-api-key: {canary.CLIENT_KEY}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
        )
        assert address.hostname is not None
        self._socket = socket.create_connection((address.hostname, address.port or 80), READ_TIMEOUT_S)
        self._socket.sendall(head.encode() + content)

    @property
    def received(self) -> bytes:
        return b"".join(self.reads)

    def read_texts(self, count: int) -> None:
        """Read until so many pieces of text have come, and no further."""
        while self.received.count(b'"text_delta"') < count:
            assert self._read(), f"the answer ended before text {count}: {self.received!r}"

    def read_to_end(self) -> Answer:
        """The answer, once the gateway has closed the connection."""
        while self._read():
            pass
        (answer,) = read_answers(self.received)
        return answer

    def close(self) -> None:
        self._socket.close()

    def _read(self) -> bool:
        data = self._socket.recv(65_536)
        if data:
            self._watched(data)
            self.reads.append(data)
        return bool(data)

    def __enter__(self) -> RawClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
