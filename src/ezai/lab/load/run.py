"""Arrivals: starting streams, keeping connections, ending what takes too long."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from pathlib import Path
from random import Random

from ezai.errors import SetupError
from ezai.lab.load.dialect import RequestForm
from ezai.lab.load.plan import LoadPlan
from ezai.lab.load.report import LoadResult, summed
from ezai.lab.load.stream import LoadConnection, Stream, StreamEnd, StreamResult

TICK_S = 0.25
"""How often it is looked whether a stream takes too long."""


async def run_load(plan: LoadPlan) -> LoadResult:
    """Run a load to its end.

    Raises `SetupError` for a plan that cannot be run, an address that is not known, or certificates that are none.
    """
    plan.checked()
    load = _Load(plan, await _address(plan))
    cpu_s, started_s = time.process_time(), time.perf_counter()
    try:
        await load.run()
    finally:
        load.close()
    seconds = time.perf_counter() - started_s
    return summed(load.results, load.shed, seconds, time.process_time() - cpu_s)


async def _address(plan: LoadPlan) -> tuple[int, tuple[str, int]]:
    """The family and the address, looked up once for all connections."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(plan.host, plan.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise SetupError(f"The host {plan.host!r} is not known ({error.strerror}).") from None
    family, _, _, _, address = found[0]
    return family, (str(address[0]), int(address[1]))


def _trusting(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise SetupError(f"{ca_file} holds no certificates to trust ({error}); choose another --ca-file.") from None


class _Load:
    """One run."""

    def __init__(self, plan: LoadPlan, address: tuple[int, tuple[str, int]]) -> None:
        self._plan = plan
        self._family, self._address = address
        self._form = RequestForm(plan)
        self._tls = _trusting(plan.ca_file) if plan.is_tls else None
        self._dice = Random(plan.seed)  # noqa: S311  # the same dice every time
        self._idle: list[LoadConnection] = []
        self._running: dict[Stream, LoadConnection | None] = {}
        self._words_due = plan.words_due()
        self._watch: asyncio.TimerHandle | None = None
        self.results: list[StreamResult] = []
        self.shed = 0

    async def run(self) -> None:
        """Start streams as planned; returns when all of them have ended."""
        self._tick()
        try:
            async with asyncio.TaskGroup() as group:
                if self._plan.rate:
                    await self._arrive(group)
                else:
                    for _ in range(self._plan.concurrency):
                        group.create_task(self._one_after_another(self._end_s()))
        finally:
            if self._watch is not None:
                self._watch.cancel()

    def close(self) -> None:
        """Close every connection."""
        for connection in (*self._idle, *(item for item in self._running.values() if item)):
            connection.abort()

    def _end_s(self) -> float:
        seconds = self._plan.duration_s
        return time.perf_counter() + seconds if seconds else float("inf")

    def _is_enough(self) -> bool:
        return 0 < self._plan.streams <= len(self.results) + self.shed

    async def _arrive(self, group: asyncio.TaskGroup) -> None:
        """Open loop: the n-th stream starts n/rate seconds after the first, whatever became of the others."""
        started_s = time.perf_counter()
        end_s = started_s + (self._plan.duration_s or float("inf"))
        number = 0
        while not self._is_enough():
            due_s = started_s + number / self._plan.rate
            if due_s >= end_s:
                return
            await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
            number += 1
            if len(self._running) >= self._plan.open_limit:
                self.shed += 1
            else:
                group.create_task(self._run(self._new_stream(due_s)))

    async def _one_after_another(self, end_s: float) -> None:
        while not self._is_enough() and time.perf_counter() < end_s:
            await self._run(self._new_stream(time.perf_counter()))

    def _new_stream(self, due_s: float) -> Stream:
        leaves = self._dice.random() < self._plan.leave_chance
        stream = Stream(self._plan, f"s{len(self.results)}", due_s, self._words_due, leaves=leaves)
        stream.result.late_s = max(0.0, time.perf_counter() - due_s)
        self.results.append(stream.result)
        return stream

    async def _run(self, stream: Stream) -> None:
        """One stream from its request to its end."""
        self._running[stream] = None
        try:
            await self._ask(stream)
            if self._may_ask_again(stream):
                stream.again()
                self._idle.clear()  # as old as the one that was closed
                await self._ask(stream)
        finally:
            connection = self._running.pop(stream)
            if connection is not None:
                connection.leave(stream)

    async def _ask(self, stream: Stream) -> None:
        try:
            async with asyncio.timeout(self._plan.timeout_s):
                connection = await self._connection()
        except (OSError, ssl.SSLError) as error:
            stream.end(StreamEnd.UNREACHABLE, time.perf_counter(), type(error).__name__)
            return
        if stream.is_over:  # it took too long to connect
            connection.abort()
            return
        self._running[stream] = connection
        connection.start(stream, self._form.request(stream.result.name))
        await stream.done

    def _may_ask_again(self, stream: Stream) -> bool:
        """A kept connection may have been closed just as the request was sent; then nothing came of it."""
        connection = self._running[stream]
        return stream.result.ended is StreamEnd.UNANSWERED and connection is not None and connection.is_reused

    async def _connection(self) -> LoadConnection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed:
                return connection
        loop = asyncio.get_running_loop()
        sock = socket.socket(self._family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if buffer_bytes := self._plan.socket_buffer_bytes:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
            await loop.sock_connect(sock, self._address)
            name = self._plan.host if self._tls else None
            made = await loop.create_connection(self._new_connection, sock=sock, ssl=self._tls, server_hostname=name)
        except BaseException:
            sock.close()
            raise
        return made[1]

    def _new_connection(self) -> LoadConnection:
        return LoadConnection(self._plan, self._keep)

    def _keep(self, connection: LoadConnection) -> None:
        if self._plan.keeps_connections:
            self._idle.append(connection)
        else:
            connection.abort()

    def _tick(self) -> None:
        now_s = time.perf_counter()
        for stream in tuple(self._running):
            if now_s - stream.due_s > self._plan.timeout_s:
                stream.end(StreamEnd.STOPPED_READING if stream.is_stopping else StreamEnd.TIMEOUT, now_s)
        self._watch = asyncio.get_running_loop().call_later(TICK_S, self._tick)
