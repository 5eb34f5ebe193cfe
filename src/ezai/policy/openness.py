"""What a gateway without keys may answer.

It stands on a loopback address, so only programs of its own machine reach it; but a web page in the operator's
browser is such a program. A page can reach a loopback server under a name of its own (DNS rebinding) and can send
"simple" requests anywhere: the Host must be a loopback name, and a body must be declared as JSON, which a page cannot
do without the CORS permission that nobody gave it.
"""

from __future__ import annotations

import ipaddress
import re

from ezai.errors import InvalidRequest, PermissionDenied

_HOST = re.compile(r"^(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<name>[^:\[\]]+))(?::\d{1,5})?$")


def is_loopback(host: str) -> bool:
    """Whether `host`, a name or an address without port, is this machine and nothing else."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_host(host_header: str | None) -> None:
    """Raise `PermissionDenied` unless the Host header names a loopback address."""
    match = _HOST.match(host_header or "")
    if match is None or not is_loopback(match["v6"] or match["name"]):
        raise PermissionDenied(
            "This gateway has no key yet, so it answers only to a loopback name in the Host header, such as "
            "127.0.0.1 or localhost. Create a key to use it under another name."
        )


def check_content_type(content_type: str | None) -> None:
    """Raise `InvalidRequest` unless a body is declared as JSON."""
    media_type = (content_type or "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise InvalidRequest("content-type: must be application/json")
