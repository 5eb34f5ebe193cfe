"""Row D8: an upgrade by the inherited listening socket fails no request, under load; and what may go wrong with it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.conformance.gateway import request
from tests.faults.operated import WORKERS, Operated, config_text, finished, operate, rests
from tests.gateway_process import clean_environment
from tests.raw_client import RawClient, raw_client
from tests.server.test_edge import STREAMED
from tests.supervise.processes import watched

SERVES = "the new process serves; this one ends"
ASKING = 8
"""Clients that ask all the time."""


@dataclass
class Load:
    """Requests without a pause, over kept connections and over new ones, each of which has to be answered whole."""

    url: str
    answered: int = 0
    failed: list[str] = field(default_factory=list)
    over: bool = False
    _one_more: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for place in range(ASKING):
                tasks.create_task(self._over_kept_connections() if place % 2 else self._over_new_connections())

    async def until(self, answered: int) -> None:
        """Return when so many more were answered."""
        wanted = self.answered + answered
        while self.answered < wanted:
            self._one_more.clear()
            await self._one_more.wait()

    async def _over_kept_connections(self) -> None:
        """As the SDKs do, less their retries."""
        async with httpx2.AsyncClient(base_url=self.url, trust_env=False, timeout=60) as client:
            while not self.over:
                try:
                    response = await client.post("/v1/messages", json=request(stream=True))
                except httpx2.HTTPError as error:
                    self.failed.append(repr(error))
                else:
                    self._note(response.status_code, response.content)

    async def _over_new_connections(self) -> None:
        while not self.over:
            try:
                async with raw_client(self.url) as client:
                    client.send(STREAMED)
                    status, _ = await client.head()
                    self._note(status, await client.rest_of_answer())
            except (OSError, AssertionError) as error:
                self.failed.append(repr(error))

    def _note(self, status: int, body: bytes) -> None:
        if status == 200 and b'"Whole"' in body and b"event: message_stop" in body:
            self.answered += 1
            self._one_more.set()
        else:
            self.failed.append(f"{status} {body[-300:]!r}")


async def ends(pid: int) -> None:
    with watched(pid) as process:
        await asyncio.to_thread(process.wait)


async def end_well(gateway: Operated, streams: list[RawClient]) -> None:
    """Let go the streams that are held, which are the upstream's first ones."""
    for peer in gateway.upstream.peers[: len(streams)]:
        peer.go()
    assert all(map(finished, await rests(streams)))
    for client in streams:
        client.close()


@WORKERS
def test_row_d8_an_upgrade_under_load_fails_no_request(
    workers: int, wire: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    async def test(gateway: Operated) -> None:
        streams = await gateway.streams(20)  # these last until the successor serves
        gateway.upstream.otherwise = lambda: gateway.speech.short
        load = Load(gateway.url)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(load.run())
            await load.until(100)
            pid = gateway.gateway.pid
            for times in (1, 2):
                os.kill(pid, signal.SIGUSR2)
                successor = (await gateway.logged(SERVES, times=times))["pid"]
                await load.until(100)
                if times == 1:
                    await end_well(gateway, streams)
                await ends(pid)
                pid = successor
            await load.until(100)
            load.over = True
        assert load.failed == []
        record_property("answered", load.answered)
        print(f"{load.answered} requests answered while two upgrades went on, {len(load.failed)} failed")
        os.kill(pid, signal.SIGTERM)
        await ends(pid)
        assert await gateway.exit_status() == 0
        assert await gateway.causes() == {"finished": load.answered + 20}

    operate(test, tmp_path, workers=workers, wire=wire)


def test_a_successor_that_does_not_come_up_changes_nothing(tmp_path: Path) -> None:
    async def test(gateway: Operated) -> None:
        good = gateway.config.read_text()
        gateway.write(good + "[nonsense]\n")
        gateway.send(signal.SIGUSR2)
        line = await gateway.logged("there was no upgrade, this process goes on")
        assert line["reason"] == "The new process ended with exit code 1 before it served; its log says why."
        await asyncio.to_thread(gateway.gateway.wait_for_text, "nonsense: is no key of the configuration")
        streams = await gateway.streams(1)
        await end_well(gateway, streams)
        gateway.write(good)
        gateway.send(signal.SIGUSR2)
        pid = (await gateway.logged(SERVES))["pid"]
        os.kill(pid, signal.SIGTERM)
        await ends(pid)
        assert await gateway.exit_status() == 0

    operate(test, tmp_path)


def test_a_stop_while_the_successor_starts_stops_both(tmp_path: Path) -> None:
    async def test(gateway: Operated) -> None:
        # It waits for the lock that the making of a root secret takes.
        (tmp_path / "root.key").unlink()
        with locked(tmp_path / ".root.key.lock"):
            gateway.send(signal.SIGUSR2)
            await gateway.logged("a new process is started, to take over")
            gateway.send(signal.SIGTERM)
            assert await gateway.exit_status() == 0, "its log has ended too, which the successor would hold open"

    operate(test, tmp_path)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    import fcntl

    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def test_a_drain_that_hands_over_ends_with_its_time_too(tmp_path: Path) -> None:
    """A stream without an end holds the old process as long as the drain allows, and is then told."""

    async def test(gateway: Operated) -> None:
        (stream,) = await gateway.streams(1)
        gateway.send(signal.SIGUSR2)
        pid = (await gateway.logged(SERVES))["pid"]
        told = await stream.rest_or_cut()
        assert b'"error_code":"draining"' in told
        os.kill(pid, signal.SIGTERM)
        await ends(pid)
        assert await gateway.exit_status() == 0

    operate(test, tmp_path, drain_s=1)


def test_a_signal_while_it_hands_over_drains_at_once(tmp_path: Path) -> None:
    async def test(gateway: Operated) -> None:
        (stream,) = await gateway.streams(1)
        gateway.send(signal.SIGUSR2)
        pid = (await gateway.logged(SERVES))["pid"]
        gateway.send(signal.SIGTERM)
        gateway.send(signal.SIGINT)
        assert b'"error_code":"draining"' in await stream.rest_or_cut()
        os.kill(pid, signal.SIGTERM)
        await ends(pid)
        assert await gateway.exit_status() == 0

    operate(test, tmp_path)


# The socket of systemd.

ACTIVATED = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": sys.argv[2]}
os.execv(sys.executable, [sys.executable, "-m", "ezai", "serve", "--config", sys.argv[3]])
"""


def activated(listening: socket.socket, folder: Path, upstream_url: str, count: int = 1) -> subprocess.Popen[str]:
    """A gateway that is given the socket as systemd gives it."""
    config = folder / "ezai.toml"
    config.write_text(config_text(upstream_url))
    listening.set_inheritable(True)
    command = [sys.executable, "-c", ACTIVATED, str(listening.fileno()), str(count), str(config)]
    environ = clean_environment(EZAI_DATA_DIR=str(folder))
    return subprocess.Popen(command, env=environ, pass_fds=[listening.fileno()], stderr=subprocess.PIPE, text=True)


def test_a_socket_of_systemd_is_listened_on_and_outlives_the_gateway(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        for _ in range(2):
            # It may connect before anybody serves: the socket's queue is not the gateway's.
            with socket.create_connection(listening.getsockname()) as early:
                early.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
                with activated(listening, tmp_path, "http://127.0.0.1:9") as process:
                    assert early.recv(100).startswith(b"HTTP/1.1 200 OK\r\n")
                    assert httpx2.get(f"{url}/readyz", trust_env=False).status_code == 200
                    process.terminate()
                    _, log = process.communicate(timeout=30)
                    assert process.returncode == 0
                    assert f"is ready at {url}\n" in log


def test_more_sockets_than_one_are_refused(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        activated(listening, tmp_path, "http://127.0.0.1:9", count=2) as process,
    ):
        _, log = process.communicate(timeout=30)
        assert (process.returncode, log) == (
            1, "ezai: 2 sockets were passed by LISTEN_FDS: pass one (one ListenStream).\n",
        )  # fmt: skip


def test_a_socket_that_others_reach_needs_a_key_too(tmp_path: Path) -> None:
    with (
        socket.create_server(("0.0.0.0", 0)) as listening,
        activated(listening, tmp_path, "http://127.0.0.1:9") as process,
    ):
        _, log = process.communicate(timeout=30)
        assert process.returncode == 1
        assert "There is no key yet, and 0.0.0.0 is open to other machines" in log


# What systemd is told.


class Manager:
    """In systemd's place: the socket that NOTIFY_SOCKET names."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(30)

    def told(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self._socket.recv(1000).decode().split("\n"))

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path / "notify")
    yield made
    made.close()


def test_systemd_is_told_of_each_state(tmp_path: Path, manager: Manager) -> None:
    async def test(gateway: Operated) -> None:
        async def told() -> dict[str, Any]:
            return await asyncio.to_thread(manager.told)

        first = gateway.gateway.pid
        assert await told() == {"READY": "1", "MAINPID": str(first)}
        gateway.send(signal.SIGHUP)
        reloading = await told()
        assert (reloading["RELOADING"], int(reloading["MONOTONIC_USEC"]) > 0) == ("1", True)
        assert await told() == {"READY": "1", "MAINPID": str(first)}
        gateway.send(signal.SIGUSR2)
        news = [await told(), await told()]
        pid = (await gateway.logged(SERVES))["pid"]
        assert {"READY": "1", "MAINPID": str(pid)} in news
        assert {"MAINPID": str(pid)} in news
        os.kill(pid, signal.SIGTERM)
        assert await told() == {"STOPPING": "1"}
        await ends(pid)
        assert await gateway.exit_status() == 0

    operate(test, tmp_path, environ={"NOTIFY_SOCKET": str(tmp_path / "notify")})
