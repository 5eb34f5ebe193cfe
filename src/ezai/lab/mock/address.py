"""The address that a mock takes: found, bound, and told as a URL."""

from __future__ import annotations

import errno
import socket

from ezai.errors import SetupError

_ADVICE = {
    errno.EADDRINUSE: "stop what uses it, or choose another --port.",
    errno.EADDRNOTAVAIL: "choose a --host that is an address of this machine.",
    errno.EACCES: "choose a --port above 1023.",
}


def bound(host: str, port: int) -> socket.socket:
    """A socket that has taken the address, and does not listen. Port 0 is a free one.

    Raises `SetupError` where that cannot be.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except OSError as error:
        raise SetupError(f"The address {host!r} is not known ({error.strerror}); choose another --host.") from None
    except UnicodeError:
        raise SetupError(f"{host!r} is no name of a host; choose another --host.") from None
    taken = socket.socket(family, socket.SOCK_STREAM)
    try:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(address)
    except OSError as error:
        taken.close()
        raise _not_free(host, port, error) from None
    return taken


def listening(host: str, port: int, backlog: int) -> socket.socket:
    """A socket that listens at the address, and does not block. Raises `SetupError` where that cannot be."""
    taken = bound(host, port)
    try:
        taken.listen(backlog)
    except OSError as error:  # somebody holds the address without listening
        taken.close()
        raise _not_free(host, port, error) from None
    taken.setblocking(False)
    return taken


def address_of(taken: socket.socket) -> tuple[str, int]:
    """The host and the port that a socket has taken."""
    host, port = taken.getsockname()[:2]
    return str(host), int(port)


def base_url(address: tuple[str, int], scheme: str = "http") -> str:
    """The URL of an address, an IPv6 one in its brackets."""
    host, port = address
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _not_free(host: str, port: int, error: OSError) -> SetupError:
    advice = _ADVICE.get(error.errno or 0, "choose another --host or --port.")
    return SetupError(f"{host}:{port} cannot be listened on ({error.strerror}); {advice}")
