"""A gateway as an operator has it: a process that gets real signals, before a scripted upstream, with its own store.

Nothing here sleeps: a test waits for what clients get, what the upstream sees, and lines of the gateway's log.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvloop

from tests.conformance.gateway import STREAM
from tests.gateway_process import GatewayProcess, child_pids, running_gateway
from tests.pipeline.fakes import DONE, chunk
from tests.pipeline.test_dialogues import CLOSE, DELTA, HI, OPEN, START, STOP
from tests.raw_client import RawClient, raw_client
from tests.server.test_edge import STREAMED
from tests.store.records import is_all_filed, rows
from tests.upstreams.http.scripted import EOF, HOLD, Script, ScriptedServer, scripted_server, until

WAIT_S = 90
CLEAN_CLOSE = b"0\r\n\r\n"
WORKERS = pytest.mark.parametrize(("workers", "wire"), [(1, "anthropic"), (2, "openai")])
"""One process that serves and several, and both wires, which have nothing to do with it."""


def anthropic_text(text: str) -> bytes:
    return HI.replace(b'"Hi"', msgspec.json.encode(text))


class Speech:
    """How an upstream speaks on one wire: `held` is a stream that stands still after its first word until it is let
    go, and then ends well; `short` a whole one at once, after which the upstream keeps its connection.
    """

    def __init__(self, before: bytes, text: Callable[[str], bytes], after: bytes) -> None:
        whole = before + text("Whole") + after
        self.held: Script = [STREAM + before + text("Half"), HOLD, text(" of it") + after, EOF]
        self.short: Script = [
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
            b"%x\r\n%b\r\n0\r\n\r\n" % (len(whole), whole)
        ]


SPEECH = {
    "anthropic": Speech(START + OPEN, anthropic_text, CLOSE + DELTA + STOP),
    "openai": Speech(b"", chunk, chunk(finish="stop") + DONE),
}

CONFIG = """
[server]
workers = {workers}
{server}
[limits]
drain = {drain_s}
{limits}
[[upstreams]]
name = "up"
kind = "{wire}"
base_url = "{url}"
"""


@dataclass
class Operated:
    """A running gateway and what stands around it."""

    gateway: GatewayProcess
    upstream: ScriptedServer
    config: Path
    options: Mapping[str, Any]
    stack: AsyncExitStack

    @property
    def url(self) -> str:
        return self.gateway.url

    # What the operator does.

    def send(self, number: signal.Signals) -> None:
        self.gateway.send_signal(number)

    def write(self, text: str) -> None:
        """Change the configuration."""
        self.config.write_text(text)

    def text(self, **changes: Any) -> str:
        """The configuration that it was started with, but for these options of `config_text`."""
        return config_text(self.upstream.url, **{**self.options, **changes})

    async def logged(self, message: str, *, times: int = 1, **fields: object) -> dict[str, Any]:
        """The line of that message and those fields, once it is there; or the last of so many."""
        return await asyncio.to_thread(self.gateway.wait_for_log, message, times=times, **fields)

    async def exit_status(self) -> int:
        return await asyncio.to_thread(self.gateway.exit_status)

    def worker_pids(self) -> list[int]:
        """Of the processes that serve, where they are not the one that was started."""
        return child_pids(self.gateway.pid)

    @property
    def speech(self) -> Speech:
        """What its upstream can say."""
        return SPEECH[self.options.get("wire", "openai")]

    # What clients do.

    async def client(self) -> RawClient:
        """One that is there until the end."""
        return await self.stack.enter_async_context(raw_client(self.url))

    async def streams(self, count: int) -> list[RawClient]:
        """So many clients, each in the middle of a stream."""
        clients = [await self.client() for _ in range(count)]
        for client in clients:
            client.send(STREAMED)
        for client in clients:
            await client.until(b'"Half"')
        return clients

    def let_go(self) -> None:
        """Let every stream of the upstream go on to its end."""
        for peer in tuple(self.upstream.peers):
            if not peer.lost:
                peer.go()

    # What is left.

    async def causes(self) -> Counter[str]:
        """How the admitted requests ended, by the ledger, which must agree with itself: every one is settled once."""
        database = self.config.parent / "ezai.db"
        await until(lambda: is_all_filed(database))
        requests = rows(database, "SELECT id, cause FROM request WHERE ended_at_ms IS NOT NULL")
        attempts = rows(database, "SELECT request_id, cause FROM attempt WHERE state = 'settled'")
        assert len(rows(database, "SELECT 1 FROM request")) == len(requests)
        assert len(rows(database, "SELECT 1 FROM attempt")) == len(attempts)
        assert sorted(item["id"] for item in requests) == sorted(item["request_id"] for item in attempts)
        return Counter(item["cause"] for item in requests)


def finished(told: bytes) -> bool:
    """Whether the rest of a stream is that of one that came to its own end."""
    return b"event: message_stop" in told and b"event: error" not in told and told.endswith(CLEAN_CLOSE)


def told_draining(told: bytes) -> bool:
    """Whether it ends in one error event that says why, and a clean close."""
    is_told = told.count(b"event: error") == 1 and b'"error_code":"draining"' in told and b"overloaded_error" in told
    return is_told and b"message_stop" not in told and told.endswith(CLEAN_CLOSE)


def config_text(
    url: str,
    *,
    wire: str = "openai",
    workers: int = 1,
    drain_s: float = 3600,
    server: str = "",
    limits: str = "",
    more: str = "",
) -> str:
    return CONFIG.format(url=url, wire=wire, workers=workers, drain_s=drain_s, server=server, limits=limits) + more


@asynccontextmanager
async def operated(
    folder: Path, *, environ: Mapping[str, str] | None = None, prefix: Sequence[str] = (), **options: Any
) -> AsyncIterator[Operated]:
    """A gateway that is ready; a test that has not ended it leaves nothing that runs."""
    async with scripted_server() as upstream, AsyncExitStack() as clients:
        config = folder / "ezai.toml"
        config.write_text(config_text(upstream.url, **options))
        processes = running_gateway(config, prefix=prefix, **{**(environ or {}), "EZAI_DATA_DIR": str(folder)})
        gateway = await asyncio.to_thread(processes.__enter__)
        operated = Operated(gateway, upstream, config, options, clients)
        upstream.otherwise = lambda: operated.speech.held
        try:
            yield operated
            await clients.aclose()
        except BaseException as failure:
            kill_all_in(folder)
            processes.__exit__(type(failure), failure, failure.__traceback__)
            raise
        await asyncio.to_thread(processes.__exit__, None, None, None)


def operate(test: Callable[[Operated], Coroutine[Any, Any, None]], folder: Path, **options: Any) -> None:
    """Play a test on a gateway of its own."""

    async def played() -> None:
        async with asyncio.timeout(WAIT_S), operated(folder, **options) as gateway:
            await test(gateway)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(played())


def kill_all_in(folder: Path) -> None:
    """Kill every gateway whose data directory it is: successors are nobody's children."""
    marked = f"EZAI_DATA_DIR={folder}".encode()
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if marked in environ.read_bytes().split(b"\0"):
                os.kill(int(environ.parent.name), signal.SIGKILL)


async def rests(clients: Sequence[RawClient]) -> list[bytes]:
    """What each of them still gets of its stream, to the end or to where it is cut."""
    return [await client.rest_or_cut() for client in clients]
