"""Row D7: SIGHUP under 200 streams, with a good file and with a bad one; and what a reload changes."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from tests.faults.operated import WORKERS, Operated, finished, operate, rests
from tests.raw_client import RawClient
from tests.server.certificates import Certificates
from tests.server.test_edge import STREAMED, post
from tests.upstreams.http.scripted import scripted_server

STREAMS = 200
RELOADED = "the configuration was reloaded"
ANOTHER = """
[[upstreams]]
name = "another"
kind = "{wire}"
base_url = "{url}"
[[routes]]
model = "*"
targets = [{{ upstream = "another" }}]
"""


async def reload(gateway: Operated, text: str) -> None:
    gateway.write(text)
    gateway.send(signal.SIGHUP)


async def refused(gateway: Operated) -> str:
    """The line that says why a configuration was not taken."""
    line = await gateway.logged("the configuration was not reloaded, the former one stays")
    reason: str = line["reason"]
    return reason


@WORKERS
def test_row_d7_running_requests_keep_the_old_and_new_ones_get_the_new(workers: int, wire: str, tmp_path: Path) -> None:
    async def test(gateway: Operated) -> None:
        async with scripted_server() as another:
            another.otherwise = gateway.upstream.otherwise
            clients = await gateway.streams(STREAMS)
            begun = len(gateway.upstream.requests)
            await reload(gateway, gateway.text(more=ANOTHER.format(url=another.url, wire=wire)))
            await gateway.logged(RELOADED, upstreams=2)
            newer = await gateway.streams(10)
            assert (len(gateway.upstream.requests), len(another.requests)) == (begun, 10)
            gateway.let_go()
            assert all(map(finished, await rests(clients)))
            for peer in another.peers:
                peer.go()
            assert all(map(finished, await rests(newer)))

    operate(test, tmp_path, workers=workers, wire=wire)


UP = '[[upstreams]]\nname = "up"\n'
BAD = [
    ('[server]\nprot = 1', "server.prot: is no key of the configuration"),
    ('[limits]\nstreams = 0', "limits.streams"),
    ("[[routes]\n", "is not TOML"),
    (f'{UP}kind = "anthropic"\napi_key = "${{NOT_SET_ANYWHERE}}"', "NOT_SET_ANYWHERE is not set"),
    (f'{UP}kind = "openai"\nbase_url = "https://127.0.0.1:9"\nca_file = "nowhere.pem"', "the upstream up"),
    (f'{UP}kind = "embedded"\nmodel = "nowhere.gguf"', "There is no model 'nowhere.gguf'"),
]  # fmt: skip


@WORKERS
@pytest.mark.parametrize(("text", "reason"), BAD, ids=[reason for _, reason in BAD])
def test_row_d7_a_bad_file_is_told_by_place_and_changes_nothing(
    text: str, reason: str, workers: int, wire: str, tmp_path: Path
) -> None:
    async def test(gateway: Operated) -> None:
        clients = await gateway.streams(20)
        await reload(gateway, text)
        assert reason in await refused(gateway)
        newer = await gateway.streams(5)
        gateway.let_go()
        assert all(map(finished, await rests([*clients, *newer])))
        assert len(gateway.upstream.requests) == 25
        await reload(gateway, gateway.text())
        await gateway.logged(RELOADED)

    operate(test, tmp_path, workers=workers, wire=wire)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    async def test(gateway: Operated) -> None:
        gateway.config.unlink()
        gateway.send(signal.SIGHUP)
        assert "does not exist" in await refused(gateway)

    operate(test, tmp_path)


def test_what_needs_a_restart_says_so_and_the_rest_is_taken(tmp_path: Path) -> None:
    async def test(gateway: Operated) -> None:
        text = gateway.text(limits="body_mib = 1").replace("workers = 1", "workers = 2\nstrict_version = true")
        await reload(gateway, text + '[store]\nurl = "sqlite:///other.db"\n')
        line = await gateway.logged("a reload does not change this: it needs a restart")
        assert line["keys"] == ["server.workers", "server.strict_version", "store.url"]
        await gateway.logged(RELOADED)
        client = await gateway.client()
        client.send(post(messages=[{"role": "user", "content": "x" * 1_100_000}]))
        assert (await client.answer()).status == 413
        assert not (tmp_path / "other.db").exists()

    operate(test, tmp_path)


@WORKERS
def test_an_upstream_that_was_not_changed_keeps_its_connections(workers: int, wire: str, tmp_path: Path) -> None:
    """And one that was is let go of when its last answer is over, with what was idle."""

    async def test(gateway: Operated) -> None:
        gateway.upstream.otherwise = lambda: gateway.speech.short
        asked = await asked_by_each(gateway, workers)
        connections = len(gateway.upstream.peers)
        await reload(gateway, gateway.text(limits="event_mib = 4"))
        await gateway.logged(RELOADED)
        for client in asked:
            await ask(client)
        assert len(gateway.upstream.peers) == connections
        changed = gateway.text(more='headers = { "x-changed" = "1" }\n')
        await reload(gateway, changed)
        await gateway.logged(RELOADED, times=2)
        await gateway.upstream.until(lambda: gateway.upstream.open_count == 0)
        await ask(asked[0])
        assert b"\r\nx-changed: 1\r\n" in gateway.upstream.requests[-1]

    operate(test, tmp_path, workers=workers, wire=wire)


async def asked_by_each(gateway: Operated, workers: int) -> list[RawClient]:
    """Clients that have asked once, as many as it takes until every worker has been asked."""
    clients: list[RawClient] = []
    while len(gateway.upstream.peers) < workers:
        clients.append(await gateway.client())
        await ask(clients[-1])
    return clients


async def ask(client: RawClient) -> None:
    client.send(STREAMED)
    await client.rest_of_answer()


def test_several_signals_at_once_are_one_reload_or_a_few(tmp_path: Path) -> None:
    async def test(gateway: Operated) -> None:
        for _ in range(20):
            gateway.send(signal.SIGHUP)
        await gateway.logged(RELOADED)
        (stream,) = await gateway.streams(1)
        gateway.let_go()
        assert finished(await stream.rest_or_cut())

    operate(test, tmp_path)


@WORKERS
def test_the_form_of_the_log_is_reloaded(workers: int, wire: str, tmp_path: Path) -> None:
    async def test(gateway: Operated) -> None:
        await reload(gateway, gateway.text(more='[log]\nformat = "text"\n'))
        await asyncio.to_thread(gateway.gateway.wait_for_text, f" INFO {RELOADED} ")
        await gateway.streams(1)
        gateway.let_go()
        await asyncio.to_thread(gateway.gateway.wait_for_text, " INFO request ended ")

    operate(test, tmp_path, workers=workers, wire=wire)


@WORKERS
def test_a_renewed_certificate_is_read_again(workers: int, wire: str, tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    shown, key = certificates.issue()

    async def serials(gateway: Operated) -> set[int]:
        """Of the certificates that several connections are shown."""
        host, port = gateway.url.removeprefix("https://").split(":")
        found = set()
        for _ in range(10):
            _, writer = await asyncio.open_connection(host, int(port), ssl=certificates.trusting())
            found.add(int(writer.get_extra_info("peercert")["serialNumber"], 16))
            writer.transport.abort()
        return found

    async def test(gateway: Operated) -> None:
        before = await serials(gateway)
        for renewed, file in zip(certificates.issue(), (shown, key), strict=True):
            renewed.replace(file)
        gateway.send(signal.SIGHUP)
        await gateway.logged(RELOADED)
        after = await serials(gateway)
        assert (len(before), len(after), before & after) == (1, 1, set())
        shown.write_text("spoilt")
        gateway.send(signal.SIGHUP)
        assert "tls_certificate" in await refused(gateway)
        assert await serials(gateway) == after

    operate(test, tmp_path, workers=workers, wire=wire, server=f'tls_certificate = "{shown}"\ntls_key = "{key}"')


@WORKERS
def test_a_hundred_reloads_leave_nothing_behind(workers: int, wire: str, tmp_path: Path) -> None:
    def files(gateway: Operated) -> list[int]:
        pids = [gateway.gateway.pid, *gateway.worker_pids()]
        return [len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids]

    async def test(gateway: Operated) -> None:
        async def again(first: int, last: int) -> None:
            for number in range(first, last):
                more = f'headers = {{ "x-number" = "{number}" }}\n'
                await reload(gateway, gateway.text(more=more))
                await gateway.logged(RELOADED, times=number)

        await again(1, 6)
        before = files(gateway)
        await again(6, 106)
        assert files(gateway) == before

    operate(test, tmp_path, workers=workers, wire=wire)
