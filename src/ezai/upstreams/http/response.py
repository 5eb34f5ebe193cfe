"""The answer to one request: bytes in, status, headers and body out. No I/O and no clock.

The grammar is llhttp's in its strict mode (through httptools), which refuses by itself: Content-Length beside
Transfer-Encoding, a second Content-Length (also an equal one), bare CR or LF, control characters in a header,
folded header lines, spaces around a chunk size. What llhttp lets pass and should not pass is refused here.
Sections named below are those of RFC 9112.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from httptools import HttpParserCallbackError, HttpParserError, HttpResponseParser

from ezai.errors import UpstreamMalformed

if TYPE_CHECKING:
    from collections.abc import Callable

HEADER_LIMIT_BYTES: Final = 64 * 1024
FIELD_LIMIT: Final = 200

_FRAMING_FIELDS: Final = frozenset(
    {b"connection", b"content-encoding", b"content-length", b"keep-alive", b"transfer-encoding"}
)
_KEEP_ALIVE_TIMEOUT: Final = re.compile(rb"(?:^|[,;\s])timeout\s*=\s*\"?(\d{1,9})", re.IGNORECASE)


class _AnswerEnded(Exception):
    """Raised in a parser's callback to keep it from what stands behind the end of the answer."""


class ResponseReader:
    """Reads one final answer, passing over the informational ones (1xx) before it.

    `feed` takes bytes in pieces of any size, and the pieces never change the outcome, but for one thing: an
    empty line (CR LF) behind the answer is passed over when it comes in the piece that ends it, and is data
    after the answer when it comes later.

    `head_complete` comes true once `status` and `headers` are known, `complete` once the framing has ended;
    each stays true. Body bytes gather in `parts`, which is always the same list: who reads clears it.
    """

    __slots__ = (
        "_field_limit",
        "_head_bytes",
        "_header_limit_bytes",
        "_is_head_request",
        "_parser",
        "complete",
        "head_complete",
        "headers",
        "keep_alive_hint_s",
        "on_body",
        "overhead_bytes",
        "parse",
        "parts",
        "reusable",
        "status",
        "until_close",
    )

    def __init__(
        self, method: str, *, header_limit_bytes: int = HEADER_LIMIT_BYTES, field_limit: int = FIELD_LIMIT
    ) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.parts: list[bytes] = []
        self.head_complete = False
        self.complete = False
        self.until_close = False
        self.reusable = False
        self.keep_alive_hint_s: int | None = None
        self._is_head_request = method == "HEAD"
        self._header_limit_bytes = header_limit_bytes
        self._field_limit = field_limit
        self._head_bytes = 0
        self.overhead_bytes = 0
        # The parser looks its callbacks up once, now. This one stays in C: no Python frame per piece of body.
        self.on_body = self.parts.append
        self._parser: HttpResponseParser | None = HttpResponseParser(self)
        self.parse: Callable[[bytes], None] = self._parser.feed_data

    @property
    def begun(self) -> bool:
        """Whether any byte of an answer was seen."""
        return self._head_bytes > 0

    # Taking bytes.

    def feed(self, data: bytes) -> bool:
        """Take the next bytes; return whether there is something to see: the head, body bytes, or the end.

        Bytes behind the end of the answer are not read and make the connection not `reusable`. Raises
        `UpstreamMalformed`, after which nothing more may be fed; body bytes before the fault are in `parts`.
        """
        if not self.head_complete:
            self._feed_head(data)
            return self.head_complete
        if self.complete:
            self.reusable = False
            return False
        try:
            self.parse(data)
        except HttpParserError as error:
            self.stopped(error)
        return self.parsed(len(data))

    # `feed` in its parts, for who feeds a body that flows, which spares each event a frame of Python. First comes
    # `parse`, the parser's own; what it raises goes to `stopped`; then `parsed`, or, where there is body, the caller
    # itself sets `overhead_bytes` to 0.

    def parsed(self, size: int) -> bool:
        """Take note that so many bytes were parsed; return and raise as `feed` does."""
        if self.parts:
            self.overhead_bytes = 0
            return True
        if not self.complete:
            self._count_overhead(size)
        return self.complete

    def stopped(self, error: HttpParserError) -> None:
        """Tell apart why parsing stopped; returns where that was the end of the answer."""
        reason = error.__context__ if isinstance(error, HttpParserCallbackError) else error
        if isinstance(reason, HttpParserError):
            if not self.complete:
                raise UpstreamMalformed("The upstream's answer is not valid HTTP.") from error
            self.reusable = False
        elif reason is not None and not isinstance(reason, _AnswerEnded):
            raise reason

    def feed_eof(self) -> bool:
        """Say that the peer closed its side cleanly; return whether the answer is complete now.

        A body without framing ends this way, and then a cut cannot be told from an end (section 6.3, rule 8).
        """
        if self.head_complete and self.until_close:
            self.complete = True
        return self.complete

    def close(self) -> None:
        """Let go of the parser, which holds this object by its callbacks. Nothing may be fed any more."""
        self._parser = None
        self.parse = _fed_after_close

    def _feed_head(self, data: bytes) -> None:
        """Feed no more than the limit before the head is complete, so that an endless one is cut there."""
        if not self.begun and data[0] != ord("H"):
            # llhttp would pass over empty lines and take RTSP and ICE too.
            raise UpstreamMalformed("The upstream's answer is not HTTP.")
        room = self._header_limit_bytes - self._head_bytes
        self._head_bytes += len(data)
        if len(data) <= room:
            self._parse_head(data)
            return
        self._parse_head(data[:room])
        if not self.head_complete:
            raise UpstreamMalformed("The headers of the upstream's answer are too large.")
        self.feed(data[room:])

    def _parse_head(self, data: bytes) -> None:
        try:
            self.parse(data)
        except HttpParserError as error:
            self.stopped(error)

    def _count_overhead(self, size: int) -> None:
        """Bound chunk extensions and trailers, which llhttp does not: they count until body bytes come."""
        self.overhead_bytes += size
        if self.overhead_bytes > self._header_limit_bytes:
            raise UpstreamMalformed("The upstream's answer has too much framing around its body.")

    # Called by the parser, in this order. An exception stops it and comes out of `stopped`.

    def on_message_begin(self) -> None:
        if self.complete:
            self.reusable = False
            raise _AnswerEnded

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.head_complete:
            return  # a trailer: nobody here has a use for one
        if len(self.headers) >= self._field_limit:
            raise UpstreamMalformed("The upstream's answer has too many header fields.")
        # Spaces behind a value are not part of it (section 5.1); llhttp strips only those before it.
        self.headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        status = self._parser.get_status_code()
        version = self._parser.get_http_version()
        if version not in {"1.1", "1.0"} or not 100 <= status <= 599:
            raise UpstreamMalformed("The upstream's answer is not valid HTTP.")
        fields = self._framing_fields()
        if status < 200:
            _check_informational(status, fields)
            return
        self.status = status
        if self._is_head_request:
            # llhttp cannot be told that no body follows, so it is stopped here, blind to what does follow:
            # such a connection is not used again.
            self.head_complete = self.complete = True
            raise _AnswerEnded
        if status not in {204, 304}:
            _check_codings(version, fields)
            self.until_close = not (b"content-length" in fields or b"transfer-encoding" in fields)
        self.reusable = _is_persistent(version, fields) and not self.until_close
        self.keep_alive_hint_s = _keep_alive_hint(fields)
        self.head_complete = True

    def on_message_complete(self) -> None:
        if self.head_complete:
            self.complete = True
        else:
            self.headers = []  # those of an informational answer

    def _framing_fields(self) -> dict[bytes, list[bytes]]:
        fields: dict[bytes, list[bytes]] = {}
        for name, value in self.headers:
            if name in _FRAMING_FIELDS:
                items = fields.setdefault(name, [])
                for item in value.lower().split(b","):
                    items.append(item.strip(b" \t"))
        return fields


def _fed_after_close(data: bytes) -> None:
    raise RuntimeError("the reader of this answer is closed")


def _check_informational(status: int, fields: dict[bytes, list[bytes]]) -> None:
    """Refuse a switch of protocols, which nobody asked for, and a 1xx with a body (section 6.3, rule 1)."""
    if status == 101 or b"content-length" in fields or b"transfer-encoding" in fields:
        raise UpstreamMalformed("The upstream's answer is not one to this request.")


def _check_codings(version: str, fields: dict[bytes, list[bytes]]) -> None:
    """Refuse every coding but chunked in HTTP/1.1 (section 6.1), and compression, which was not asked for."""
    transfer = fields.get(b"transfer-encoding")
    if transfer is not None and (transfer != [b"chunked"] or version != "1.1"):
        raise UpstreamMalformed("The upstream's answer has a transfer coding that is not supported.")
    if any(coding not in {b"", b"identity"} for coding in fields.get(b"content-encoding", ())):
        raise UpstreamMalformed("The upstream's answer is compressed, which it was asked not to be.")


def _is_persistent(version: str, fields: dict[bytes, list[bytes]]) -> bool:
    """Section 9.3: HTTP/1.1 stays open unless told otherwise, HTTP/1.0 the other way round."""
    options = fields.get(b"connection", ())
    return b"close" not in options and (version == "1.1" or b"keep-alive" in options)


def _keep_alive_hint(fields: dict[bytes, list[bytes]]) -> int | None:
    """The seconds that the peer keeps an idle connection, where it says so: `Keep-Alive: timeout=5`."""
    for parameter in fields.get(b"keep-alive", ()):
        if match := _KEEP_ALIVE_TIMEOUT.search(parameter):
            return int(match[1])
    return None
