"""Web pages of other origins that may call /v1 from a browser (the Fetch standard, "CORS protocol").

Only listed origins are told that they may, and never with cookies, of which /v1 knows none: a page needs a key as any
client does. To all others an answer is what it is without this, which their browser keeps from them.
"""

from __future__ import annotations

from collections.abc import Iterable

from ezai.ports import Headers

MAX_AGE_S = 600
"""How long a browser need not ask again; Chromium takes no more than two hours, Safari ten minutes."""

_VARY = (b"vary", b"origin")
_METHODS = (b"access-control-allow-methods", b"GET, POST, DELETE")


class Cors:
    """The headers that let pages of these origins in; without any origin, none."""

    def __init__(self, origins: Iterable[str]) -> None:
        self._origins = frozenset(origin.encode() for origin in origins)

    def headers(self, path: str, asked: Headers) -> Headers:
        """What an answer on this path has beside its own headers. All that it has may be read by the page."""
        if not self._origins or not path.startswith("/v1/"):
            return ()
        origin = _first(asked, b"origin")
        if origin not in self._origins:
            return (_VARY,)
        return (_VARY, (b"access-control-allow-origin", origin), (b"access-control-expose-headers", b"*"))

    def preflight(self, method: str, path: str, asked: Headers) -> Headers | None:
        """What else answers a browser that asks before it sends a page's request; None for any other request.

        Any header may be sent: the SDKs have many, and what a request may do hangs on its key.
        """
        wanted = _first(asked, b"access-control-request-method")
        if method != "OPTIONS" or not wanted or len(self.headers(path, asked)) < 2:
            return None
        allowed = [_METHODS, (b"access-control-max-age", str(MAX_AGE_S).encode())]
        if names := _first(asked, b"access-control-request-headers"):
            allowed.append((b"access-control-allow-headers", names))
        if _first(asked, b"access-control-request-private-network") == b"true":  # a public page, a gateway at home
            allowed.append((b"access-control-allow-private-network", b"true"))
        return allowed


def _first(headers: Headers, name: bytes) -> bytes:
    return next((value for key, value in headers if key == name), b"")
