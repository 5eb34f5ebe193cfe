"""Addresses at which nobody answers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum

from ezai.lab.mock.address import address_of, base_url, bound, listening

_FILLERS = 4


class Unreachable(StrEnum):
    """How it is that nobody answers. It is of an address: no connection comes about that it could be chosen for."""

    REFUSE = "refuse"
    """The port is taken and not listened on: the system refuses every connection."""
    BLACK_HOLE = "black_hole"
    """The port completes no handshake: its queue is full, and Linux drops what comes."""


@contextmanager
def nobody_at(kind: Unreachable, host: str = "127.0.0.1", port: int = 0) -> Iterator[tuple[str, int]]:
    """Take an address so that nobody answers at it; gives the host and the port that were taken.

    Raises `SetupError` where it cannot be taken.
    """
    with ExitStack() as taken:
        if kind is Unreachable.REFUSE:
            sock = taken.enter_context(bound(host, port))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)  # else somebody else could listen on it
        else:
            sock = taken.enter_context(listening(host, port, 0))
            for _ in range(_FILLERS):
                filler = taken.enter_context(socket.socket(sock.family))
                filler.setblocking(False)
                filler.connect_ex(sock.getsockname())
        yield address_of(sock)


@contextmanager
def closed_port() -> Iterator[str]:
    """The URL of a port that refuses connections: it is taken, and not listened on."""
    with nobody_at(Unreachable.REFUSE) as address:
        yield base_url(address)


@contextmanager
def black_hole() -> Iterator[str]:
    """The URL of a port that completes no handshake: its queue is full, and Linux drops what comes."""
    with nobody_at(Unreachable.BLACK_HOLE) as address:
        yield base_url(address)
