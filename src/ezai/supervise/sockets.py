"""The listening socket: bound here, or inherited from a predecessor (an upgrade) or from systemd.

An inherited socket stands above `[server] host` and `port`. Its queue of connections outlives every process that
listens on it, which is why an upgrade loses none.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass

from ezai.errors import SetupError
from ezai.server.binding import bind

SUCCESSION = "EZAI_SUCCESSION"
"""Set by an upgrade for its successor alone: LISTENING:READY, two descriptors."""
_SYSTEMD_FIRST_FD = 3  # sd_listen_fds(3)
_SYSTEMD = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


@dataclass(slots=True)
class Inheritance:
    """What this process was given at its start."""

    listening: socket.socket | None = None
    predecessor: socket.socket | None = None
    """Told once this process serves; its end before that says that it never will."""

    def tell_ready(self) -> None:
        """Tell the predecessor that its time is over. Harmless when there is none."""
        if self.predecessor is not None:
            with suppress(OSError):  # it has gone by itself
                self.predecessor.send(b"ready\n")
            self.predecessor.close()
            self.predecessor = None

    def close(self) -> None:
        """Let go of it all."""
        for end in (self.listening, self.predecessor):
            if end is not None:
                end.close()


def take_inheritance(environ: MutableMapping[str, str]) -> Inheritance:
    """What the environment says was left open for this process; it is said no more afterwards, to nobody's child.

    Raises `SetupError` for what cannot be served on.
    """
    succession = environ.pop(SUCCESSION, "")
    told = {name: environ.pop(name, "") for name in _SYSTEMD}
    if found := re.fullmatch(r"(\d{1,9}):(\d{1,9})", succession):
        return Inheritance(adopted(int(found[1])), adopted(int(found[2])))
    if told["LISTEN_PID"] == str(os.getpid()) and told["LISTEN_FDS"]:
        if told["LISTEN_FDS"] != "1":
            raise SetupError(f"{told['LISTEN_FDS']} sockets were passed by LISTEN_FDS: pass one (one ListenStream).")
        return Inheritance(_checked(adopted(_SYSTEMD_FIRST_FD)))
    return Inheritance()


def inherits(environ: Mapping[str, str]) -> bool:
    """Whether the environment says that a listening socket was left open for this process."""
    return SUCCESSION in environ or environ.get("LISTEN_PID") == str(os.getpid())


def listening_socket(inheritance: Inheritance, host: str, port: int) -> socket.socket:
    """The inherited one, else one bound to that address. Raises `SetupError`."""
    if inheritance.listening is not None:
        return inheritance.listening
    return bind(host, port)


def succession(environ: Mapping[str, str], listening: socket.socket, ready: socket.socket) -> dict[str, str]:
    """The environment of a successor that inherits these two."""
    return {**environ, SUCCESSION: f"{listening.fileno()}:{ready.fileno()}"}


def adopted(descriptor: int) -> socket.socket:
    """The inherited socket of that number, which goes to no child. Raises `SetupError` where it is none."""
    try:
        os.set_inheritable(descriptor, False)
        inherited = socket.socket(fileno=descriptor)
    except OSError as error:
        raise SetupError(f"The descriptor {descriptor} that was passed is no socket ({error.strerror}).") from None
    inherited.setblocking(False)
    return inherited


def _checked(listening: socket.socket) -> socket.socket:
    if listening.family in {socket.AF_INET, socket.AF_INET6} and listening.type == socket.SOCK_STREAM:
        return listening
    listening.close()
    raise SetupError("The socket that was passed by LISTEN_FDS is not one of TCP: pass ListenStream=HOST:PORT.")
