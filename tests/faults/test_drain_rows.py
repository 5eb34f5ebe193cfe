"""Rows D1, D2 and D3: what becomes of running streams when the gateway is told to stop."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from ezai.server.listener import FLUSH_S
from ezai.supervise.stopping import ENDING_S
from tests.faults.operated import WORKERS, Operated, finished, operate, rests, told_draining
from tests.raw_client import RawClient, raw_client
from tests.server.test_edge import STREAMED, get, post


async def until_refusing(gateway: Operated, client: RawClient, workers: int) -> None:
    """Return when every process that serves is draining, and this connection's says so."""
    await gateway.logged("stopping", times=workers)
    while True:
        client.send(get("/readyz"))
        answer = await client.answer()
        if answer.status == 503:
            return


async def is_refused(gateway: Operated) -> None:
    with pytest.raises(ConnectionRefusedError):
        async with raw_client(gateway.url):
            pass


@WORKERS
def test_row_d1_short_streams_all_finish_and_new_ones_are_refused(workers: int, wire: str, tmp_path: Path) -> None:
    streams = 1000

    async def test(gateway: Operated) -> None:
        clients = await gateway.streams(streams)
        other, late = await gateway.client(), await gateway.client()
        gateway.send(signal.SIGTERM)
        await until_refusing(gateway, other, workers)
        await is_refused(gateway)
        late.send(post())
        refusal = await late.answer()
        assert (refusal.status, refusal.error["error"]["type"]) == (529, "overloaded_error")
        gateway.let_go()
        assert all(map(finished, await rests(clients)))
        assert await gateway.exit_status() == 0
        assert await gateway.causes() == {"finished": streams}

    operate(test, tmp_path, workers=workers, wire=wire)


@WORKERS
def test_row_d2_endless_streams_are_told_at_the_end_of_the_drain(workers: int, wire: str, tmp_path: Path) -> None:
    streams = 200

    async def test(gateway: Operated) -> None:
        clients = await gateway.streams(streams)
        unary = await gateway.client()
        unary.send(post())
        await gateway.upstream.until(lambda: len(gateway.upstream.requests) == streams + 1)
        gateway.send(signal.SIGTERM)
        assert all(map(told_draining, await rests(clients)))
        refusal = await unary.answer()
        assert (refusal.status, refusal.error["error"]["details"]["error_code"]) == (529, "draining")
        assert await gateway.exit_status() == 0
        assert await gateway.causes() == {"draining": streams + 1}

    operate(test, tmp_path, workers=workers, wire=wire, drain_s=0.5)


@WORKERS
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_row_d3_a_second_signal_ends_them_at_once_but_in_order(
    second: signal.Signals, workers: int, wire: str, tmp_path: Path
) -> None:
    streams = 100

    async def test(gateway: Operated) -> None:
        clients = await gateway.streams(streams)
        other = await gateway.client()
        gateway.send(signal.SIGTERM)
        await until_refusing(gateway, other, workers)
        assert not any(client.is_hung_up for client in clients)
        gateway.send(second)
        assert all(map(told_draining, await rests(clients)))
        assert await gateway.exit_status() == 0
        assert await gateway.causes() == {"draining": streams}

    operate(test, tmp_path, workers=workers, wire=wire)


def test_row_d3_nobody_holds_the_second_one_longer_than_five_seconds() -> None:
    """Told within the first, flushed or cut within the others, and one to go; a third signal waits for none."""
    assert ENDING_S + 2 * FLUSH_S <= 4


def test_row_d3_a_third_signal_waits_for_no_reader(wire: str, tmp_path: Path) -> None:
    async def test(gateway: Operated) -> None:
        (stream,) = await gateway.streams(1)
        other = await gateway.client()
        gateway.send(signal.SIGTERM)
        await until_refusing(gateway, other, 1)
        gateway.send(signal.SIGINT)
        gateway.send(signal.SIGTERM)
        assert told_draining(await stream.rest_or_cut())
        assert await gateway.exit_status() == 0
        assert await gateway.causes() == {"draining": 1}

    operate(test, tmp_path, wire=wire)


def test_ctrl_c_with_nothing_running_ends_it_at_once(tmp_path: Path) -> None:
    async def test(gateway: Operated) -> None:
        idle = await gateway.client()
        idle.send(get("/healthz"))
        await idle.answer()
        gateway.send(signal.SIGINT)
        assert await idle.rest() == b""
        assert await gateway.exit_status() == 0

    operate(test, tmp_path)


def test_a_stream_that_began_on_a_kept_connection_is_drained_too(tmp_path: Path) -> None:
    async def test(gateway: Operated) -> None:
        client = await gateway.client()
        client.send(get("/healthz"))
        await client.answer()
        client.send(STREAMED)
        await client.until(b'"Half"')
        gateway.send(signal.SIGTERM)
        await gateway.logged("stopping", open_requests=1)
        gateway.let_go()
        assert finished(await client.rest())
        assert await gateway.exit_status() == 0

    operate(test, tmp_path)
