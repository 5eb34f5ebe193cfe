"""Row D6: one of several workers is killed; and what several workers have in common."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cli.store_commands import Commands, commands_on
from tests.faults.operated import CLEAN_CLOSE, Operated, finished, operate, rests
from tests.gateway_process import child_pids
from tests.raw_client import RawClient, raw_client
from tests.server.test_edge import get, post
from tests.supervise.processes import watched

STREAMS = 60
"""So many that each of two workers has some: with one worker's share as low as a fifth, all but once in 10^5."""


async def answered(gateway: Operated, ask: bytes) -> int:
    """The status of an answer over a connection of its own."""
    async with raw_client(gateway.url) as client:
        client.send(ask)
        return (await client.answer()).status


def test_row_d6_a_killed_worker_takes_its_own_streams_along_and_is_replaced(wire: str, tmp_path: Path) -> None:
    async def test(gateway: Operated) -> None:
        clients = await gateway.streams(STREAMS)
        killed, other = gateway.worker_pids()
        os.kill(killed, signal.SIGKILL)
        await gateway.logged("a worker was ended by SIGKILL; another takes its place")
        assert await answered(gateway, get("/healthz")) == 200, "the other one serves meanwhile"
        again = await gateway.logged("a worker took its place")
        assert sorted(gateway.worker_pids()) == sorted([other, again["pid"]])
        gateway.let_go()
        told = await rests(clients)
        broken = [rest for rest in told if not finished(rest)]
        assert 0 < len(broken) < STREAMS
        assert not any(rest.endswith(CLEAN_CLOSE) or b"message_stop" in rest for rest in broken), "they look cut"
        for client in await gateway.streams(2):
            gateway.let_go()
            assert finished(await client.rest_or_cut())

    operate(test, tmp_path, workers=2, wire=wire)


def test_row_d6_a_worker_is_back_within_two_seconds() -> None:
    from ezai.supervise.backoff import FIRST_DELAY_S

    assert FIRST_DELAY_S <= 1, "starting one takes under half a second"


def test_all_workers_go_with_a_killed_master(tmp_path: Path) -> None:
    async def test(gateway: Operated) -> None:
        clients = await gateway.streams(STREAMS)
        pids = gateway.worker_pids()
        assert len(pids) == 3
        with watched(pids[0]) as first, watched(pids[1]) as second, watched(pids[2]) as third:
            gateway.gateway.kill()
            for worker in (first, second, third):
                worker.wait()
        assert not any(rest.endswith(CLEAN_CLOSE) for rest in await rests(clients))
        with pytest.raises(ConnectionRefusedError):
            await gateway.client()

    operate(test, tmp_path, workers=3)


def test_signals_to_all_processes_are_the_masters_business(tmp_path: Path) -> None:
    """A terminal and a service manager send them to everybody."""

    async def test(gateway: Operated) -> None:
        clients = await gateway.streams(STREAMS)
        for pid in gateway.worker_pids():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2):
                os.kill(pid, number)
        gateway.send(signal.SIGTERM)
        await gateway.logged("stopping", times=2)
        gateway.let_go()
        assert all(map(finished, await rests(clients)))
        assert await gateway.exit_status() == 0

    operate(test, tmp_path, workers=2)


# What they have in common.


@pytest.fixture
def commands(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Commands:
    return commands_on(tmp_path, capsys, monkeypatch)


async def counted(client: RawClient) -> dict[str, float]:
    """The numbers of /metrics, as this connection's worker tells them."""
    client.send(get("/metrics"))
    page = (await client.answer()).body.decode()
    return {name: float(value) for name, value in re.findall(r"^([a-z][^ ]*) ([0-9.e+]+)$", page, re.MULTILINE)}


def test_metrics_are_one_truth_whoever_is_asked(tmp_path: Path) -> None:
    requests = 'ezai_requests_total{cause="finished",status="200",upstream="up"}'
    seconds = 'ezai_request_duration_seconds_count{upstream="up"}'

    async def test(gateway: Operated) -> None:
        scrapers = [await gateway.client() for _ in range(STREAMS)]
        clients = await gateway.streams(STREAMS)
        for told in [await counted(scraper) for scraper in scrapers]:
            assert told["ezai_open_requests"] == told["ezai_open_streams"] == STREAMS
        gateway.let_go()
        await rests(clients)
        await gateway.logged("request ended", times=STREAMS)
        for told in [await counted(scraper) for scraper in scrapers]:
            assert (told["ezai_open_requests"], told[requests], told[seconds]) == (0, STREAMS, STREAMS)

    operate(test, tmp_path, workers=2)


def test_what_a_killed_worker_had_told_is_still_counted(tmp_path: Path) -> None:
    requests = 'ezai_requests_total{cause="finished",status="200",upstream="up"}'

    async def test(gateway: Operated) -> None:
        clients = await gateway.streams(STREAMS)
        gateway.let_go()
        await rests(clients)
        await gateway.logged("request ended", times=STREAMS)
        before = await counted(await gateway.client())
        await gateway.streams(STREAMS)
        os.kill(gateway.worker_pids()[0], signal.SIGKILL)
        await gateway.logged("a worker took its place")
        after = await counted(await gateway.client())
        assert before[requests] == after[requests] == STREAMS
        assert 0 < after["ezai_open_requests"] < STREAMS, "what it was doing is over"
        gateway.let_go()

    operate(test, tmp_path, workers=2)


def test_a_key_is_known_to_every_worker(tmp_path: Path, commands: Commands) -> None:
    """Made by the command line while they run: from then on each of them wants one."""

    async def test(gateway: Operated) -> None:
        clients = [await gateway.client() for _ in range(STREAMS)]
        await asyncio.to_thread(commands.run, "keys", "create", "--quiet")
        for client in clients:
            status = 200
            while status == 200:
                client.send(b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n")
                status = (await client.answer()).status
            assert status == 401

    (tmp_path / "data").mkdir(exist_ok=True)
    operate(test, tmp_path / "data", workers=2)


def test_each_worker_keeps_its_part_of_one_record(tmp_path: Path) -> None:
    async def test(gateway: Operated) -> None:
        for _ in range(3):
            clients = await gateway.streams(STREAMS)
            gateway.let_go()
            assert all(map(finished, await rests(clients)))
        gateway.send(signal.SIGTERM)
        assert await gateway.exit_status() == 0
        assert await gateway.causes() == {"finished": 3 * STREAMS}

    operate(test, tmp_path, workers=2)


def test_a_request_over_a_body_limit_is_refused_by_all(tmp_path: Path) -> None:
    """Limits of the configuration come to workers with it."""

    async def test(gateway: Operated) -> None:
        for _ in range(10):
            assert await answered(gateway, post(messages=[{"role": "user", "content": "x" * 1_100_000}])) == 413

    operate(test, tmp_path, workers=2, limits="body_mib = 1")


def test_each_worker_reads_large_bodies_in_a_process_of_its_own(tmp_path: Path) -> None:
    """Which imports no more than what it reads them with, and goes when the worker goes."""
    large = post(stream=True, messages=[{"role": "user", "content": "x" * 1_100_000}])

    async def test(gateway: Operated) -> None:
        helpers: set[int] = set()
        for _ in range(STREAMS):
            client = await gateway.client()
            client.send(large)
            await client.until(b'"Half"')
            helpers |= {pid for worker in gateway.worker_pids() for pid in child_pids(worker) if reads_bodies(pid)}
            if len(helpers) == 2:
                break
        assert len(helpers) == 2
        assert not any(map(has_the_server, helpers))
        assert all(map(has_the_server, gateway.worker_pids()))
        gateway.let_go()
        with ExitStack() as stack:
            watches = [stack.enter_context(watched(pid)) for pid in helpers]
            gateway.send(signal.SIGTERM)
            assert await gateway.exit_status() == 0
            assert all(process.ended for process in watches)

    operate(test, tmp_path, workers=2)


def has_the_server(pid: int) -> bool:
    """Whether it has imported what speaks HTTP."""
    return "httptools" in Path(f"/proc/{pid}/maps").read_text()


def reads_bodies(pid: int) -> bool:
    return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
