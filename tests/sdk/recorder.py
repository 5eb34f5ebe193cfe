"""A relay on loopback that writes down what a client and the gateway say to each other, byte for byte."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType
from urllib.parse import urlsplit

from tests import canary
from tests.sdk.wire import Answer, read_answers


class Recorder:
    """Point a client at `url`; leave the context when the client is done; then look at what was said."""

    def __init__(self, gateway_url: str) -> None:
        address = urlsplit(gateway_url)
        self._gateway = (address.hostname or "", address.port or 80)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._connections: list[_Connection] = []
        self._accepting = threading.Thread(target=self._accept, name="recorder", daemon=True)
        self._accepting.start()

    def sent(self) -> bytes:
        """What clients said, of all connections."""
        return b"".join(bytes(connection.sent) for connection in self._connections)

    def answers(self) -> list[Answer]:
        """Every answer that a client was given."""
        return [answer for connection in self._connections for answer in read_answers(bytes(connection.received))]

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:  # closed
                return
            gateway = socket.create_connection(self._gateway)
            self._connections.append(_Connection(client, gateway))

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)  # wakes `accept`, which closing alone does not
        self._listening.close()
        self._accepting.join()
        for connection in self._connections:
            connection.finish()
            canary.WATCH.look("an answer to a client", bytes(connection.received))


class _Connection:
    """One client's connection and the one to the gateway that stands for it."""

    def __init__(self, client: socket.socket, gateway: socket.socket) -> None:
        self.sent = bytearray()
        self.received = bytearray()
        self._sockets = (client, gateway)
        self._threads = (
            threading.Thread(target=_relay, args=(client, gateway, self.sent), name="recorder-up", daemon=True),
            threading.Thread(target=_relay, args=(gateway, client, self.received), name="recorder-down", daemon=True),
        )
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        """Wait until both sides have hung up."""
        for thread in self._threads:
            thread.join()
        for side in self._sockets:
            side.close()


def _relay(source: socket.socket, sink: socket.socket, record: bytearray) -> None:
    """Hand on what comes until there is no more, and hand on that as well."""
    try:
        while data := source.recv(65_536):
            record += data
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:  # one side is gone: so is the other
        for side in (source, sink):
            _hang_up(side)


def _hang_up(side: socket.socket) -> None:
    with suppress(OSError):  # it has already
        side.shutdown(socket.SHUT_RDWR)
