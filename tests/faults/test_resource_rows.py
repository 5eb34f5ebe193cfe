"""Rows S9 and S13: what the gateway's own system runs out of, or holds up."""

from __future__ import annotations

import asyncio
import re
import resource
import signal
from pathlib import Path

from ezai.supervise.files import PER_CONNECTION, RESERVED
from tests.faults.operated import Operated, finished, operate, rests
from tests.gateway_process import GatewayProcess
from tests.raw_client import RawClient
from tests.server.test_edge import STREAMED, get
from tests.supervise.processes import watched

FILES = 256
UNDER_A_LIMIT = ("sh", "-c", f'ulimit -n {FILES} && exec "$@"', "sh")
"""A hard limit: it cannot be raised again."""
FITTING = (FILES - RESERVED) // PER_CONNECTION


def test_row_s9_under_a_limit_on_files_what_does_not_fit_waits(wire: str, tmp_path: Path) -> None:
    async def test(gateway: Operated) -> None:
        warned = await gateway.logged(
            "the limit on open files leaves room for fewer connections than configured: "
            "raise it (ulimit -n, LimitNOFILE=)"
        )
        assert (warned["open_files"], warned["connections"]) == (FILES, FITTING)
        clients = await gateway.streams(FITTING)
        late = [await gateway.client() for _ in range(10)]
        for client in late:
            client.send(STREAMED)
        assert open_files(gateway.gateway) < FILES
        assert not any(client.has_news for client in late)
        gateway.let_go()
        assert all(map(finished, await rests(clients)))
        for client in clients:
            client.close()
        for client in late:
            await client.until(b'"Half"')
        gateway.let_go()
        assert all(map(finished, await rests(late)))

    operate(test, tmp_path, wire=wire, prefix=UNDER_A_LIMIT)


def test_row_s9_with_no_file_left_connections_wait_and_are_accepted_as_others_go(wire: str, tmp_path: Path) -> None:
    """The limit is lowered under the running gateway, so that accepting itself fails (EMFILE)."""

    async def test(gateway: Operated) -> None:
        clients = await gateway.streams(10)
        soft, hard = resource.prlimit(gateway.gateway.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(gateway.gateway.pid, resource.RLIMIT_NOFILE, (open_files(gateway.gateway) + 5, hard))
        crowd = [await gateway.client() for _ in range(100)]
        crowd[0].send(STREAMED)
        assert (await crowd[0].answer()).status == 529, "there is no file for the upstream's connection"
        for client in crowd:
            client.close() if client is crowd[0] else client.send(get("/healthz"))
        for client in crowd[1:]:
            assert (await client.answer()).status == 200
            client.close()
        gateway.let_go()
        assert all(map(finished, await rests(clients))), "those that run are not the worse for it"
        resource.prlimit(gateway.gateway.pid, resource.RLIMIT_NOFILE, (soft, hard))
        again = await gateway.streams(10)
        gateway.let_go()
        assert all(map(finished, await rests(again)))

    operate(test, tmp_path, wire=wire)


def open_files(gateway: GatewayProcess) -> int:
    return len(list(Path(f"/proc/{gateway.pid}/fd").iterdir()))


LOST = "log lines were lost: nobody read them"
LINES = 6000
"""Of some 330 bytes each: more than a pipe and what waits for it hold."""


def test_row_s13_a_log_that_nobody_reads_holds_up_nothing(wire: str, tmp_path: Path) -> None:
    async def test(gateway: Operated) -> None:
        clients = await gateway.streams(10)
        gateway.gateway.reads_log.clear()
        busy = await gateway.client()
        for _ in range(LINES // 100):
            busy.send(get("/v1/nothing") * 100)
            for _ in range(100):
                assert (await busy.answer()).status == 404
        gateway.let_go()
        assert all(map(finished, await rests(clients)))
        while not await lost_lines(busy):  # lines are written at the clock's ticks
            pass
        gateway.gateway.reads_log.set()
        await gateway.logged(LOST)
        gateway.send(signal.SIGTERM)
        assert await gateway.exit_status() == 0
        log = gateway.gateway.log_text()
        lost = sum(int(count) for count in re.findall(rf'"{LOST}","lines":(\d+)', log))
        assert 0 < lost < LINES
        assert log.count('"request ended"') == LINES + 10 - lost

    operate(test, tmp_path, wire=wire)


async def lost_lines(client: RawClient) -> int:
    client.send(get("/metrics"))
    page = (await client.answer()).body.decode()
    found = re.search(r"^ezai_log_lines_lost_total ([0-9.]+)$", page, re.MULTILINE)
    assert found
    return int(float(found[1]))


def test_row_s13_the_end_does_not_wait_for_the_log_either(wire: str, tmp_path: Path) -> None:
    async def test(gateway: Operated) -> None:
        gateway.gateway.reads_log.clear()
        busy = await gateway.client()
        for _ in range(10):
            busy.send(get("/v1/nothing") * 100)
            for _ in range(100):
                await busy.answer()
        gateway.send(signal.SIGTERM)
        assert await busy.rest() == b""
        with watched(gateway.gateway.pid) as process:
            await asyncio.to_thread(process.wait)
        assert await gateway.exit_status() == 0

    operate(test, tmp_path, wire=wire)
