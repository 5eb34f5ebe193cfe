"""An answer as it is played: frames of bytes, and steps between them.

A fault is a function from items to items, so that faults are composed by chaining generators and nothing is made
before it is played: an endless answer costs what was read of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from itertools import chain
from typing import Any

HEAD = "head"
"""The kind of the frame that holds the status line and the headers."""
BODY = "body"
"""The kind of a frame that is a whole body, not an event."""
INTERIM = "interim"
"""The kind of bytes before the head."""
TAIL = "tail"
"""The kind of the last chunk's frame."""


class Frame:
    """Bytes that are played in one piece; of a stream, one event.

    `tokens` is how many tokens of output it carries and `usage` the usage object that it states. `number` counts the
    events of the answer as it would be without faults, from 1; 0 is what a fault put in. `whole` is false for what
    is no whole event.
    """

    __slots__ = ("data", "first_of_kind", "kind", "last", "number", "tokens", "usage", "whole")

    def __init__(self, data: bytes, kind: str, tokens: int = 0, usage: dict[str, Any] | None = None) -> None:
        self.data = data
        self.kind = kind
        self.tokens = tokens
        self.usage = usage
        self.number = 0
        self.first_of_kind = False
        self.last = False
        self.whole = True

    def with_data(self, data: bytes) -> Frame:
        """The same event in other bytes."""
        frame = Frame(data, self.kind, self.tokens, self.usage)
        frame.number, frame.first_of_kind, frame.last, frame.whole = (
            self.number,
            self.first_of_kind,
            self.last,
            self.whole,
        )
        return frame

    def part(self, data: bytes) -> Frame:
        """Some of its bytes, which are no event yet."""
        frame = self.with_data(data)
        frame.tokens, frame.usage, frame.whole = 0, None, False
        return frame


@dataclass(frozen=True, slots=True)
class Wait:
    """So many seconds after the step before was due; a playback that is late catches up."""

    seconds: float


class Step(Enum):
    """What is done between frames."""

    HOLD = "silence until the mock is told to go on, or the peer leaves"
    TURN = "so many turns of the loop that a peer in this process reads what was written, by itself"
    CUT = "a clean close of the connection (FIN)"
    RESET = "a TCP reset (RST)"


HOLD, TURN, CUT, RESET = Step.HOLD, Step.TURN, Step.CUT, Step.RESET

Item = Frame | Wait | Step
Items = Iterator[Item]
Stage = Callable[[Items], Items]


class Framing(StrEnum):
    """How the end of a body is told."""

    CHUNKED = "chunked"
    LENGTH = "length"
    CLOSE = "close"
    NONE = "none"


class KeepAlive(StrEnum):
    """What becomes of the connection after a whole answer."""

    YES = "yes"
    CLOSE = "close"
    """Told in a header, then closed."""
    SILENT = "silent"
    """Closed without having been told."""
    RACE = "race"
    """Closed at the first byte of the next request: to its sender, the close was on its way already."""
    RACE_RESET = "race_reset"
    """The same with a reset."""


@dataclass
class Reply:
    """An answer before it is played; faults of the head change it, the others add stages to it."""

    status: int
    headers: list[tuple[bytes, bytes]]
    source: Iterable[Frame]
    framing: Framing = Framing.LENGTH
    keep_alive: KeepAlive = KeepAlive.YES
    before: list[Item] = field(default_factory=list)
    """Played before the head."""
    event_stages: list[Stage] = field(default_factory=list)
    """Over the events."""
    body_stages: list[Stage] = field(default_factory=list)
    """Over the bytes of the events, before framing: what no event can be read in any more."""
    wire_stages: list[Stage] = field(default_factory=list)
    """Over the head and the framed body."""
    not_applied: list[str] = field(default_factory=list)
    """Faults that have not happened, since their place has not come; it is shorter as the answer is played."""

    def awaits(self, fault: str) -> Callable[[], None]:
        """A fault happens at a place; the callable returned says that the place has come. It may be called again."""
        self.not_applied.append(fault)
        return lambda: self._apply(fault)

    def _apply(self, fault: str) -> None:
        if fault in self.not_applied:
            self.not_applied.remove(fault)

    def items(self) -> Items:
        """Everything that is to be played, made as it is asked for."""
        body: Items = iter(self.source)
        if self.status < 200 or self.status in {204, 304}:
            self.framing, body = Framing.NONE, iter(())
        for stage in (*self.event_stages, *self.body_stages):
            body = stage(body)
        wire: Items = _FRAMINGS[self.framing](self, body)
        for stage in self.wire_stages:
            wire = stage(wire)
        return chain(self.before, wire)

    @property
    def closes(self) -> bool:
        """Whether the connection ends with this answer."""
        return self.framing is Framing.CLOSE or self.keep_alive in {KeepAlive.CLOSE, KeepAlive.SILENT}

    def head(self, *framing: tuple[bytes, bytes]) -> Frame:
        """The status line and the headers, ended by these."""
        lines = [b"HTTP/1.1 %d %b" % (self.status, REASONS.get(self.status, b"Unknown"))]
        lines += [b"%b: %b" % header for header in (*self.headers, *framing)]
        if self.keep_alive is KeepAlive.CLOSE:
            lines.append(b"connection: close")
        frame = Frame(b"\r\n".join(lines) + b"\r\n\r\n", HEAD)
        frame.first_of_kind, frame.whole = True, False
        return frame


def _chunked(reply: Reply, body: Items) -> Items:
    yield reply.head((b"transfer-encoding", b"chunked"))
    for item in body:
        if isinstance(item, Frame):
            if not (data := item.data):
                continue  # an empty chunk would be the last one
            item.data = b"%x\r\n%b\r\n" % (len(data), data)
        yield item
    tail = Frame(b"0\r\n\r\n", TAIL)
    tail.whole = False
    yield tail


def _with_length(reply: Reply, body: Items) -> Items:
    items = list(body)  # the length stands in front, so nothing can be played before all of it is known
    size_bytes = sum(len(item.data) for item in items if isinstance(item, Frame))
    yield reply.head((b"content-length", b"%d" % size_bytes))
    yield from items


def _until_close(reply: Reply, body: Items) -> Items:
    yield reply.head()
    yield from body


def _without_body(reply: Reply, _body: Items) -> Items:
    yield reply.head()


_FRAMINGS: dict[Framing, Callable[[Reply, Items], Items]] = {
    Framing.CHUNKED: _chunked,
    Framing.LENGTH: _with_length,
    Framing.CLOSE: _until_close,
    Framing.NONE: _without_body,
}

REASONS = {
    100: b"Continue",
    101: b"Switching Protocols",
    102: b"Processing",
    103: b"Early Hints",
    200: b"OK",
    204: b"No Content",
    302: b"Found",
    307: b"Temporary Redirect",
    400: b"Bad Request",
    401: b"Unauthorized",
    402: b"Payment Required",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    409: b"Conflict",
    413: b"Content Too Large",
    418: b"I'm a Teapot",
    422: b"Unprocessable Content",
    429: b"Too Many Requests",
    500: b"Internal Server Error",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
    529: b"Overloaded",
}


def numbered(frames: Iterable[Frame]) -> Iterator[Frame]:
    """The same frames, each told its number, whether it is the first of its kind, and whether it is the last."""
    kinds: set[str] = set()
    held: Frame | None = None
    for number, frame in enumerate(frames, 1):
        frame.number = number
        if frame.kind not in kinds:
            kinds.add(frame.kind)
            frame.first_of_kind = True
        if held is not None:
            yield held
        held = frame
    if held is not None:
        held.last = True
        yield held
