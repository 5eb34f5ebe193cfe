"""Which proxy stands before an upstream, what it is asked, and what is told of its refusal. No I/O.

A proxy is asked for a tunnel (CONNECT, RFC 9110 section 9.3.6) for https and http alike: it sees neither requests
nor credentials where there is TLS, and there is one way to use it and not two.
"""

from __future__ import annotations

import base64
import ipaddress
import os
import re
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote_to_bytes, urlsplit

from ezai.errors import UpstreamUnreachable
from ezai.policy.openness import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping

ENV: Final = "env"
NONE: Final = "none"

_HOST: Final = re.compile(r"[0-9A-Za-z._:-]+")
_ENTRY: Final = re.compile(r"(?:\[(?P<v6>[^\]]*)\](?P<length>/\d{1,3})?|(?P<name>[^:]*))(?::(?P<port>\d{1,5}))?")


class Proxy(NamedTuple):
    """Where a proxy listens, and the value of `proxy-authorization` that it is sent, if it is sent one."""

    host: str
    port: int
    authorization: bytes | None = None

    def connect_head(self, host: str, port: int) -> bytes:
        """Return the request for a tunnel to `host`."""
        authority = (f"[{host}]:{port}" if ":" in host else f"{host}:{port}").encode("ascii")
        credential = b"proxy-authorization: %b\r\n" % self.authorization if self.authorization else b""
        return b"CONNECT %b HTTP/1.1\r\nhost: %b\r\n%b\r\n" % (authority, authority, credential)


def find_proxy(
    setting: str, *, secure: bool, host: str, port: int, environ: Mapping[str, str] = os.environ
) -> Proxy | None:
    """Return the proxy for one origin, None to connect directly. A loopback host, or a name under localhost, is never
    proxied: the proxy would take it for its own machine.

    `setting` is a proxy's URL; or "none"; or "env" for what the environment says now: HTTPS_PROXY or HTTP_PROXY by
    the origin's scheme, else ALL_PROXY, unless NO_PROXY covers the host. A variable's name in small letters stands
    above the one in capitals. NO_PROXY is for the environment's proxies and not for a URL that was set here.

    Raises `ValueError` for a URL that cannot be used; its text holds nothing of the URL.
    """
    if setting == NONE:
        return None
    if setting != ENV:
        proxy = _parsed(setting, "the proxy")
        return None if _is_here(host) else proxy
    name, url = _named_by(environ, "https_proxy" if secure else "http_proxy", "all_proxy")
    _, exempt = _named_by(environ, "no_proxy")
    if not url or _is_here(host) or _is_exempt(host, port, exempt):
        return None
    return _parsed(url if "://" in url else f"http://{url}", f"the proxy of the environment ({name})")


def refusal(status: int) -> UpstreamUnreachable:
    """Say why there is no tunnel, as a proxy told it by its status.

    A credential or a rule of the proxy is the same the next time: no retry is advised.
    """
    if status == 407:
        wanted = "The proxy wants a user and a password, or others than it was given."
        return UpstreamUnreachable(wanted, should_retry=False)
    if status == 403:
        return UpstreamUnreachable("The proxy does not allow connections to the upstream.", should_retry=False)
    if status >= 500:
        return UpstreamUnreachable("The proxy could not reach the upstream.")
    return UpstreamUnreachable("The proxy refused to connect to the upstream.")


def _is_here(host: str) -> bool:
    """Whether it is this machine; names under localhost are, too (RFC 6761 section 6.3)."""
    return is_loopback(host) or host.lower().rstrip(".").endswith(".localhost")


def _parsed(text: str, what: str) -> Proxy:
    wanted = f"{what} must be http://HOST:PORT, with USER:PASSWORD@ before the host if it wants them"
    try:
        url = urlsplit(text)
        port = url.port or 80
    except ValueError:  # its text would quote a part of the URL
        raise ValueError(wanted) from None
    if url.scheme != "http":
        raise ValueError(f"{wanted}; proxies by https:// or SOCKS are not offered")
    if not _HOST.fullmatch(url.hostname or "") or url.path.strip("/") or url.query or url.fragment:
        raise ValueError(wanted)
    assert url.hostname is not None
    return Proxy(url.hostname, port, _basic(url.username, url.password))


def _basic(user: str | None, password: str | None) -> bytes | None:
    """RFC 7617; what the URL had percent-encoded is decoded first."""
    if user is None:
        return None
    return b"Basic " + base64.b64encode(unquote_to_bytes(user) + b":" + unquote_to_bytes(password or ""))


def _named_by(environ: Mapping[str, str], *names: str) -> tuple[str, str]:
    """Return the first variable that is set to something, and its value; empty ones if none is.

    A name in small letters stands above the one in capitals also when it is empty, as Python's urllib has it.
    """
    for name in names:
        spelled = name if name in environ else name.upper()
        if value := environ.get(spelled, "").strip():
            return spelled, value
    return "", ""


# NO_PROXY.


def _is_exempt(host: str, port: int, no_proxy: str) -> bool:
    return any(_covers(entry, host, port) for entry in re.split(r"[,\s]+", no_proxy.lower()) if entry)


def _covers(entry: str, host: str, port: int) -> bool:
    """Whether an entry is `*`, the host or a domain above it, its address or a network with it; maybe with a port."""
    if entry == "*":
        return True
    name, entry_port = _without_port(entry)
    if entry_port is not None and entry_port != port:
        return False
    try:
        network = ipaddress.ip_network(name, strict=False)
    except ValueError:
        domain = name.removeprefix("*").strip(".")
        return bool(domain) and f".{host.rstrip('.')}".endswith(f".{domain}")
    try:
        return ipaddress.ip_address(host) in network
    except ValueError:
        return False


def _without_port(entry: str) -> tuple[str, int | None]:
    """An IPv6 address stands in brackets where a port follows, and may do so elsewhere; so may that of a network."""
    match = _ENTRY.fullmatch(entry)
    if match is None:
        return entry, None  # an IPv6 address or network as it is
    name = f"{match['v6']}{match['length'] or ''}" if match["v6"] else match["name"]
    return name or "", int(match["port"]) if match["port"] else None
