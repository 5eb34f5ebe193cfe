"""Server-sent events on bytes.

Lines end in LF, CR or CRLF and in nothing else: U+2028 and its kin are legal inside a JSON string, so text must never
be split by Unicode's idea of a line (https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream).
A frame is everything up to and including the blank line that dispatches an event; its bytes are kept as they came, so
that a relay can hand them on untouched.
"""

from __future__ import annotations

import re

from ezai.errors import UpstreamMalformed

BOM = b"\xef\xbb\xbf"
DEFAULT_EVENT_LIMIT_BYTES = 8 * 1024 * 1024
"""An event larger than this is an error; precedent: the largest events seen (encrypted tool results) are near 1 MiB."""

_LINE_END = rb"(?:\r\n|\n|\r(?!\n))"
_BLANK_LINE = re.compile(_LINE_END + _LINE_END)
_BLANK = b"\r\n"
_CR = 0x0D  # as a number: CPython looks bytes up in bytes by failing to read them as one first, at eight times the cost
_LINE_ENDS = re.compile(rb"[\r\n]+")
_LINES = re.compile(rb"\r\n|\n|\r")


class SseDecoder:
    """Cuts a byte stream into frames: `feed` chunks of any size, `close` at the end.

    However the stream is cut into chunks, the frames hold the same events, and joined they are the stream itself
    less a leading byte order mark and the incomplete tail.
    """

    __slots__ = ("_at_start", "_saw_cr", "limit_bytes", "tail")

    def __init__(self, limit_bytes: int = DEFAULT_EVENT_LIMIT_BYTES) -> None:
        self.limit_bytes = limit_bytes
        self.tail = bytearray()
        """The bytes after the last whole frame; not to be changed by others."""
        self._saw_cr = False
        self._at_start = True

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the frames that `chunk` completes, in order, none held back; often one, possibly none.

        Raises `UpstreamMalformed` when an event is larger than the limit; frames that were whole before it have
        been returned by an earlier call, or are returned now and the next call raises.
        """
        if len(self.tail) > self.limit_bytes:
            raise self._too_large()
        if self._at_start:
            chunk = self._without_bom(chunk)
        if not self._saw_cr and _CR in chunk:
            self._saw_cr = True
        if self.tail or self._saw_cr or len(chunk) > self.limit_bytes or not chunk.endswith(b"\n\n"):
            return self._cut(chunk)
        if 0 < chunk.find(b"\n\n") == len(chunk) - 2:
            return [chunk]  # one event in one read: the usual case of a live stream, no copy made
        if b"\n\n\n" in chunk:
            return self._cut(chunk)
        return [frame + b"\n\n" for frame in chunk.split(b"\n\n")[:-1]]

    def close(self) -> bytes:
        """Return the bytes after the last whole frame: empty where the stream ended cleanly between events."""
        return bytes(self.tail)

    def _cut(self, chunk: bytes) -> list[bytes]:
        tail = self.tail
        scan = max(0, len(tail) - 3)  # a blank line may have begun in the last three bytes seen
        tail += chunk
        frames: list[bytes] = []
        start = 0
        while (end := self._frame_end(scan)) >= 0:
            if end - start > self.limit_bytes:
                break
            if end < len(tail) and tail[end] in _BLANK:  # more blank lines are no events: a flood of them is one frame
                end = _LINE_ENDS.match(tail, end).end()  # type: ignore[union-attr]  # matches at least one
            frames.append(bytes(tail[start:end]))
            start = scan = end
        del tail[:start]
        if len(tail) > self.limit_bytes and not frames:
            raise self._too_large()
        return frames

    def _frame_end(self, scan: int) -> int:
        """Where the frame ends whose blank line lies at or after `scan`, or -1."""
        if not self._saw_cr:
            found = self.tail.find(b"\n\n", scan)
            return found + 2 if found >= 0 else -1
        # A CR at the end of what is here may be half a CRLF. The event is whole all the same and is not held back;
        # the LF, when it comes, leads the next frame as a blank line without effect.
        match = _BLANK_LINE.search(self.tail, scan)
        return match.end() if match else -1

    def _without_bom(self, chunk: bytes) -> bytes:
        """Drop a byte order mark that starts the stream, also one that arrives byte by byte."""
        head = bytes(self.tail) + chunk
        if len(head) < len(BOM) and BOM.startswith(head):
            return chunk
        self._at_start = False
        if not head.startswith(BOM):
            return chunk
        self.tail.clear()
        return head[len(BOM) :]

    def _too_large(self) -> UpstreamMalformed:
        return UpstreamMalformed(f"The upstream sent an event larger than {self.limit_bytes} bytes.")


def parse_frame(frame: bytes) -> tuple[bytes, bytes | None]:
    """Return (event name, data) of a frame as `SseDecoder` cuts them.

    The name is empty where no `event` line stands; data is None where no `data` line stands (a comment, a blank
    line), else the data lines joined by LF. `id`, `retry` and unknown fields are passed over.
    """
    lines = frame.split(b"\n") if _CR not in frame else _LINES.split(frame)
    if len(lines) == 4 and not lines[2]:  # the shape of nearly every event: its name, its data, a blank line
        event, data, _, _ = lines
        if event.startswith(b"event: ") and data.startswith(b"data: "):
            return event[7:], data[6:]
    elif len(lines) == 3 and lines[0].startswith(b"data: ") and not lines[1]:  # or, elsewhere, its data alone
        return b"", lines[0][6:]
    return _parse_lines(lines)


def _parse_lines(lines: list[bytes]) -> tuple[bytes, bytes | None]:
    name = b""
    data: list[bytes] = []
    for line in lines:
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
    return name, b"\n".join(data) if data else None


def encode_frame(name: bytes, data: bytes) -> bytes:
    """The frame of one event; `data` is one line of JSON."""
    return b"event: %b\ndata: %b\n\n" % (name, data)
