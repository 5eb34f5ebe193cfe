"""The head of one request, written and checked. No I/O.

What a caller may not decide is decided here: where the request goes, who it says it is, and how it is framed.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, urlsplit

if TYPE_CHECKING:
    from ezai.ports import Headers, UpstreamRequest

_PORTS: Final = {"http": 80, "https": 443}
_HOST: Final = re.compile(r"[0-9A-Za-z_][0-9A-Za-z._~-]*|[0-9A-Fa-f:.]+(?:%[0-9A-Za-z._~-]+)?")  # a name, or IPv6
_METHOD: Final = re.compile(r"[A-Z]+")
_TARGET: Final = re.compile(r"/[!\"$-~]*")  # visible ASCII but "#", which never goes over the wire
_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")  # RFC 9110 section 5.6.2, in lower case
_BAD_IN_VALUE: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")  # CR, LF, NUL, and controls but the tab

_OWN_FIELDS: Final = frozenset(
    {
        b"accept-encoding",
        b"connection",
        b"content-length",
        b"expect",
        b"host",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
_REMEMBERED_NAMES: Final = 256
"""The same few come with every request; a name may be as long as a head, so not many are kept."""
_METHODS_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})


class RequestWriter:
    """Writes the heads of the requests to one base URL.

    `headers` are sent with every request; where a request has a field of the same name, the one given here is
    sent and the request's is not, so no request carries two credentials. `host`, `port` and `secure` (https) are the
    origin of the base URL.

    Raises `ValueError` for a base URL or a header that cannot be sent; its text has names and never a value.
    """

    __slots__ = ("_always", "_always_names", "_prefix", "host", "port", "secure")

    def __init__(self, base_url: str, headers: Headers = ()) -> None:
        url, port = _split(base_url)
        if url.scheme not in _PORTS:
            raise ValueError("the base URL must begin with https:// or http://")
        if not url.hostname or not _HOST.fullmatch(url.hostname):
            raise ValueError("the base URL must name a host, in ASCII")
        if url.username is not None or url.password is not None:
            raise ValueError("the base URL must not hold a user or a password")
        if url.query or url.fragment:
            raise ValueError("the base URL must not hold a query or a fragment")
        self.host = url.hostname
        self.secure = url.scheme == "https"
        self.port = port or _PORTS[url.scheme]
        self._prefix = url.path.rstrip("/")
        if self._prefix and not _TARGET.fullmatch(self._prefix):
            raise ValueError("the path of the base URL holds what must be percent-encoded")
        self._always_names = frozenset(name for name, _ in headers)
        self._always = b"host: %b\r\naccept-encoding: identity\r\n%b" % (
            _authority(self.host, self.port, _PORTS[url.scheme]),
            _lines(headers),
        )

    def head(self, request: UpstreamRequest) -> bytes:
        """Return the head, up to and with its empty line, with the length of `request.body` in it.

        Raises `ValueError` for a method, path or header that cannot be sent as it is, or that belongs to the
        framing or the connection.
        """
        if not _METHOD.fullmatch(request.method):
            raise ValueError("the method must be of capital letters")
        if not _TARGET.fullmatch(request.path):
            raise ValueError("the path must begin with / and be percent-encoded")
        own = request.headers
        if self._always_names:
            own = [field for field in own if field[0] not in self._always_names]
        length = b""
        # RFC 9110 section 8.6: no length where the method expects no body and there is none.
        if request.body or request.method in _METHODS_WITH_BODY:
            length = b"content-length: %d\r\n" % len(request.body)
        return b"%b %b HTTP/1.1\r\n%b%b%b\r\n" % (
            request.method.encode("ascii"),
            (self._prefix + request.path).encode("ascii"),
            self._always,
            length,
            _lines(own),
        )


def _split(base_url: str) -> tuple[SplitResult, int | None]:
    """Urllib's own complaints would quote what may be a password."""
    try:
        url = urlsplit(base_url)
        return url, url.port
    except ValueError:
        raise ValueError("the base URL must be https://HOST or http://HOST, with :PORT if it has its own") from None


def _authority(host: str, port: int, default_port: int) -> bytes:
    name = f"[{host}]" if ":" in host else host
    return (name if port == default_port else f"{name}:{port}").encode("ascii")


def _lines(headers: Headers) -> bytes:
    lines: list[bytes] = []
    for name, value in headers:
        _check_name(name)
        if _BAD_IN_VALUE.search(value):
            raise ValueError(f"the value of the header {name.decode()} holds a control character")
        lines.append(b"%b: %b\r\n" % (name, value))
    return b"".join(lines)


@lru_cache(_REMEMBERED_NAMES)
def _check_name(name: bytes) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a header name in lower case")
    if name in _OWN_FIELDS:
        raise ValueError(f"the header {name.decode()} is the client's own")
