"""Binding a socket, and what is said where that cannot be done."""

from __future__ import annotations

import errno
import socket

from ezai.errors import SetupError

_ADVICE = {
    errno.EADDRINUSE: "stop what uses it, or choose another --port.",
    errno.EADDRNOTAVAIL: "choose a --host that is an address of this machine.",
    errno.EACCES: "choose a --port above 1023.",
}


def bind(host: str, port: int) -> socket.socket:
    """A listening socket's bound half. Raises `SetupError` that says what to do."""
    try:
        if not host:
            raise UnicodeError("it is empty")
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except OSError as error:
        raise SetupError(f"The address {host!r} is not known ({error.strerror}); choose another --host.") from None
    except UnicodeError:
        raise SetupError(f"{host!r} is no name of a host; choose another --host.") from None
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        listening.close()
        advice = _ADVICE.get(error.errno or 0, "choose another --host or --port.")
        raise SetupError(f"{host}:{port} cannot be listened on ({error.strerror}); {advice}") from None
    listening.setblocking(False)
    return listening
