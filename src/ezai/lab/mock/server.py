"""The listening side of a mock, and `mock_upstream`.

Connections are accepted here, on the bare socket, so that what becomes of one can be decided before TLS and before
anything is read.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import NamedTuple

import msgspec

from ezai.errors import ConfigurationError, SetupError
from ezai.lab.mock import routes
from ezai.lab.mock.address import address_of, base_url, listening
from ezai.lab.mock.asked import Asked, Body, HttpRequest, Refused
from ezai.lab.mock.behaviour import Behaviour
from ezai.lab.mock.connection import MockConnection
from ezai.lab.mock.journal import (
    ConnectionRecord,
    Ended,
    Journal,
    JournalWriter,
    RequestRecord,
    body_digest,
    redacted,
    redacted_target,
)
from ezai.lab.mock.reply import Reply
from ezai.lab.mock.script import Accept, Casting, ConnectionRule, Script, in_turn
from ezai.lab.mock.spec import HEADER, MODEL_PREFIX, behaviour, parse_remote
from ezai.lab.mock.unreachable import nobody_at

BACKLOG = 4096
ACCEPTS_A_TURN = 64
ACCEPT_AGAIN_S = 0.1
"""After a refusal by the system, such as too many open files."""

_LINGER_NOT = struct.pack("ii", 1, 0)


class Tls(NamedTuple):
    """A certificate and its key, both in PEM files. Which ones is the caller's choice, wrong ones too."""

    certificate: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        """Raises `SetupError` for files that are none."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            raise SetupError(f"{self.certificate} and {self.key} are no certificate with its key ({error}).") from None
        context.set_alpn_protocols(["http/1.1"])
        return context


class Mock:
    """A running mock. Made by `mock_upstream`.

    `journal` has what it accepted and produced. What it does can be changed while it runs: `behave`, `follow`,
    `accept`, `stop_listening`, `listen`.
    """

    def __init__(
        self, script: Script, default: Behaviour, tls: Tls | None, journal: Journal, *, keeps_bodies: bool
    ) -> None:
        self.journal = journal
        self._script = script
        self._casting = Casting(script)
        self._default = default
        self._tls = tls.context() if tls else None
        self._keeps_bodies = keeps_bodies
        self._loop = asyncio.get_running_loop()
        self._started_s = self._loop.time()
        self._listening: socket.socket | None = None
        self._unreachable = ExitStack()
        self._address = ("127.0.0.1", 0)
        self._connections: set[MockConnection] = set()
        self._deaf: dict[socket.socket, ConnectionRecord] = {}
        self._openings: set[asyncio.Task[None]] = set()
        self._accepted = 0
        self._asked = 0
        self._gates: Counter[str] = Counter()
        self._dice: dict[str, Random] = {}

    # What it is.

    @property
    def port(self) -> int:
        """The port it listens on, or listened on last."""
        return self._address[1]

    @property
    def url(self) -> str:
        """The base URL."""
        return base_url(self._address, "https" if self._tls else "http")

    # What it does.

    def behave(self, *behaviours: Behaviour | str) -> None:
        """From now on answer with these in turn, the last one for all the rest."""
        self.follow(in_turn([_made(given) for given in behaviours]))

    def follow(self, script: Script) -> None:
        """From now on follow this script, its counting begun anew; its connection rules stand too.

        Whether the mock can be reached is decided when it next listens.
        """
        self._script = script
        self._casting = Casting(script)
        self._gates.clear()
        self._dice.clear()

    def accept(self, kind: Accept) -> None:
        """From now on do this with every new connection."""
        self._script = replace(self._script, connections=(ConnectionRule(kind),))
        self._casting.script = self._script

    def release(self) -> int:
        """Let every answer that stalls go on; returns how many did."""
        return sum(connection.release() for connection in tuple(self._connections))

    def drop_connections(self) -> None:
        """Close every connection at once, as a server does that dies."""
        for connection in tuple(self._connections):
            connection.end(Ended.CUT)

    def listen(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; without arguments after `stop_listening`, on the same port as before.

        Where the script says that nobody can reach the mock, the port is taken in that way instead. Raises `SetupError`
        where that cannot be.
        """
        if self._address[1] and not port:
            host, port = self._address
        if self._script.unreachable is not None:
            self._address = self._unreachable.enter_context(nobody_at(self._script.unreachable, host, port))
            return
        self._listening = listening(host, port, BACKLOG)
        self._address = address_of(self._listening)
        self._loop.add_reader(self._listening.fileno(), self._accept_some)

    def stop_listening(self) -> None:
        """Refuse new connections: the port is closed. Those that are open stay."""
        self._unreachable.close()
        if self._listening is not None:
            self._loop.remove_reader(self._listening.fileno())
            self._listening.close()
            self._listening = None

    async def aclose(self) -> None:
        """Close everything; returns when nothing of it is left."""
        self.stop_listening()
        await asyncio.sleep(0)  # a task that was cancelled before it began would leave its socket open
        for task in self._openings:
            task.cancel()
        await asyncio.gather(*self._openings, return_exceptions=True)
        for connection in tuple(self._connections):
            connection.end(Ended.STOPPED)
        for sock, record in self._deaf.items():
            sock.close()
            self.journal.disconnected(record, Ended.STOPPED, self._now_s())
        self._deaf.clear()
        await self.journal.until(lambda: not self._connections)

    # Answering. Called by connections.

    def opened(self, connection: MockConnection) -> None:
        """A connection is ready to be read."""
        self._connections.add(connection)

    def closed(self, connection: MockConnection, ended: Ended) -> None:
        """A connection is gone."""
        self._connections.discard(connection)
        self.journal.disconnected(connection.record, ended, self._now_s())

    def reply_to(self, request: HttpRequest, connection: ConnectionRecord) -> tuple[Reply, RequestRecord]:
        """The answer to a request, and its record, which is in the journal."""
        if request.path.startswith("/mock/"):
            return self._control(request), self._record(request, connection, 0)
        self._asked += 1
        connection.requests += 1
        record = self._record(request, connection, self._asked)
        asked = Asked(request, Body(), self._asked, routes.wire_of(request), self._default)
        reply = self._reply(asked)
        record.model, record.behaviour, record.status = asked.body.model, asked.behaviour.written, reply.status
        record.not_applied = reply.not_applied  # the same list: playing makes it shorter
        record.input_tokens = asked.input_tokens if asked.body.model else 0
        self.journal.asked(record)
        return reply, record

    def answered(self, record: RequestRecord, ended: Ended) -> None:
        """An answer has ended."""
        if record.number:
            self.journal.answered(record, ended, self._now_s())

    def _reply(self, asked: Asked) -> Reply:
        """Fills in what the request says and how it is to be answered."""
        try:
            asked.body = routes.body_of(asked.request)
            asked.behaviour = self._chosen(asked.body.model, asked.request)
        except (Refused, ConfigurationError) as refusal:
            return routes.refused(asked, 400, str(refusal))
        return routes.answer(asked, is_faulty=self._is_due(asked.behaviour))

    def _chosen(self, model: str, request: HttpRequest) -> Behaviour:
        """The script first, then the header, then the model name, then the default."""
        if (given := self._casting.choose(model, request.path, request.headers)) is not None:
            return given
        if (header := request.header(HEADER)) is not None:
            return parse_remote(header.decode("latin-1"), "The header x-mock")
        if model.startswith(MODEL_PREFIX):
            return parse_remote(model.removeprefix(MODEL_PREFIX), "The model name")
        return self._default

    def _is_due(self, given: Behaviour) -> bool:
        """Whether the faults of a behaviour happen this time."""
        self._gates[given.written] += 1
        if given.times and self._gates[given.written] > given.times:
            return False
        if given.chance >= 1:
            return True
        dice = self._dice.setdefault(given.written, Random(given.seed))  # noqa: S311  # the same dice every time
        return dice.random() < given.chance

    def _control(self, request: HttpRequest) -> Reply:
        """The routes of the mock's own."""
        if (request.method, request.path) == ("GET", "/mock/journal"):
            return routes.plain(200, self.journal.as_json())
        if (request.method, request.path) == ("DELETE", "/mock/journal"):
            self.journal.clear()
            return routes.plain(200, b"{}")
        if (request.method, request.path) == ("POST", "/mock/release"):
            return routes.plain(200, msgspec.json.encode({"released": self.release()}))
        return routes.plain(404, b'{"error":"GET or DELETE /mock/journal, POST /mock/release"}')

    def _record(self, request: HttpRequest, connection: ConnectionRecord, number: int) -> RequestRecord:
        return RequestRecord(
            number=number,
            id=f"req_mock_{number}",
            connection=connection.number,
            started_s=self._now_s(),
            method=request.method,
            path=redacted_target(request.target),
            headers=redacted(request.headers),
            body_bytes=len(request.body),
            body_digest=body_digest(request.body),
            body=request.body if self._keeps_bodies else b"",
        )

    def _now_s(self) -> float:
        return self._loop.time() - self._started_s

    # Accepting.

    def _accept_some(self) -> None:
        for _ in range(ACCEPTS_A_TURN):
            if self._listening is None:
                return
            try:
                sock, _address = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                self._pause_accepting()
                return
            self._admit(sock)

    def _pause_accepting(self) -> None:
        assert self._listening is not None
        self._loop.remove_reader(self._listening.fileno())
        self._loop.call_later(ACCEPT_AGAIN_S, self._accept_again, self._listening)

    def _accept_again(self, listening: socket.socket) -> None:
        if self._listening is listening:
            self._loop.add_reader(listening.fileno(), self._accept_some)

    def _admit(self, sock: socket.socket) -> None:
        """Serve a new connection, or not."""
        self._accepted += 1
        kind = self._casting.accept(self._accepted)
        record = ConnectionRecord(self._accepted, self._now_s(), kind.value)
        self.journal.connected(record)
        sock.setblocking(False)
        if kind is Accept.SERVE:
            task = self._loop.create_task(self._open(sock, record))
            self._openings.add(task)
            task.add_done_callback(self._openings.discard)
        elif kind is Accept.DEAF:
            self._deaf[sock] = record
        else:
            if kind is Accept.RESET:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
            sock.close()
            self.journal.disconnected(record, Ended.RESET if kind is Accept.RESET else Ended.CUT, self._now_s())

    async def _open(self, sock: socket.socket, record: ConnectionRecord) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await self._loop.connect_accepted_socket(lambda: MockConnection(self, record), sock, ssl=self._tls)
        except (OSError, ssl.SSLError):
            # A client that refuses our certificate breaks off its handshake.
            self.journal.disconnected(record, Ended.TLS_FAILED, self._now_s())
        except asyncio.CancelledError:
            self.journal.disconnected(record, Ended.STOPPED, self._now_s())
            raise


@asynccontextmanager
async def mock_upstream(
    *behaviours: Behaviour | str,
    script: Script | None = None,
    tls: Tls | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    journal_file: Path | None = None,
    keeps_bodies: bool = True,
) -> AsyncIterator[Mock]:
    """A mock in this process; closed, with everything of it, at the end.

    The behaviours are answered with in turn, the last one for all the rest; without any, a script or the requests
    choose. Raises `ConfigurationError` for a behaviour that is none and `SetupError` where it cannot listen.
    """
    chosen = script or in_turn([_made(given) for given in behaviours])
    writer = JournalWriter(journal_file) if journal_file else None
    try:
        mock = Mock(chosen, Behaviour(), tls, Journal(writer), keeps_bodies=keeps_bodies)
        mock.listen(host, port)
        try:
            yield mock
        finally:
            await mock.aclose()
    finally:
        if writer is not None:
            await asyncio.to_thread(writer.close)


def _made(given: Behaviour | str) -> Behaviour:
    return behaviour(given) if isinstance(given, str) else given
