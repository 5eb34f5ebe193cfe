"""How a connection ends from the gateway's side: GOAWAY when its streams are over, and nobody's stream is harmed."""

from __future__ import annotations

import asyncio

import pytest

from ezai.server import listener as listener_module
from tests.conformance.gateway import STREAM, hello
from tests.pipeline.fakes import chunk
from tests.server.http2.client import GOAWAY, NO_ERROR, Http2Client, http2_client, window_update
from tests.server.http2.test_streams import two_words
from tests.server.test_edge import Run
from tests.server.test_listener import Served, served
from tests.upstreams.http.scripted import HOLD, Script

LINGER_S = 5


@pytest.fixture(autouse=True)
def _all_time_to_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "FLUSH_S", 60)


def url_of(one: Served) -> str:
    return f"http://127.0.0.1:{one.port}"


def kinds(client: Http2Client) -> list[int]:
    return [frame.kind for frame in client.frames]


def test_stopping_says_goaway_to_an_idle_connection(run: Run) -> None:
    async def test() -> None:
        async with served() as one, http2_client(url_of(one)) as client:
            await client.answer(client.get("/healthz"))
            await one.listener.stop()
            assert await client.hung_up() == (1, NO_ERROR)

    run(test())


def test_stopping_lets_streams_tell_their_end_first(run: Run) -> None:
    async def test() -> None:
        script: Script = [STREAM + chunk("Half"), HOLD]
        async with served(script, script) as one, http2_client(url_of(one)) as client:
            streams = [client.post(stream=True) for _ in range(2)]
            for stream in streams:
                await client.said(stream, b'"Half"')
            one.registry.close()
            await one.listener.stop()
            assert await client.hung_up() == (streams[-1], NO_ERROR)
            for stream in streams:
                answer = await client.answer(stream)
                assert bytes(answer.body).count(b"event: error") == 1
                assert b'"error_code":"draining"' in answer.body
            assert kinds(client)[-1] == GOAWAY, "it is the last that is said"

    run(test())


def test_stopping_cuts_what_has_not_ended(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "FLUSH_S", 0.05)

    async def test() -> None:
        async with served([STREAM + chunk("Half"), HOLD]) as one, http2_client(url_of(one)) as client:
            stream = client.post(stream=True)
            await client.said(stream, b'"Half"')
            await one.listener.stop()
            await client.hung_up()
            assert not client.streams[stream].is_over, "it does not look finished"
            await one.upstream.until(lambda: one.upstream.peers[0].lost)

    run(test())


def test_what_a_slow_reader_has_still_to_get_is_written_before_the_end(run: Run) -> None:
    async def test() -> None:
        async with served(hello("x" * 50_000)) as one, http2_client(url_of(one), window=100) as client:
            client.opens_windows = False
            stream = client.post()
            await client.until(lambda: client.received_bytes(stream) == 100)
            stopping = asyncio.get_running_loop().create_task(one.listener.stop())
            client.opens_windows = True
            client.send(window_update(stream, 100))
            assert len((await client.answer(stream)).json()["content"][0]["text"]) == 50_000
            await stopping
            assert await client.hung_up() == (stream, NO_ERROR)

    run(test())


def test_a_retiring_connection_answers_until_no_stream_runs(run: Run) -> None:
    """The library of the Python SDK takes a GOAWAY for the end of the streams that run, so it comes behind them."""

    async def test() -> None:
        async with served(two_words(), hello()) as one, http2_client(url_of(one)) as client:
            stream = client.post(stream=True)
            await client.said(stream, b'"one"')
            one.listener.retire(LINGER_S)
            one.clock.advance(1)
            assert (await client.answer(client.post())).status == 200
            await client.round_trip()
            assert GOAWAY not in kinds(client)
            one.upstream.peers[0].go()
            assert b"message_stop" in (await client.answer(stream)).body
            while GOAWAY not in kinds(client):
                one.clock.advance(0.25)
                await client.round_trip()
            assert client.goaway == (3, NO_ERROR)
            late = client.post()  # on its way when the GOAWAY was said: the client knows that it was not taken
            await client.round_trip()
            assert late not in client.streams
            one.clock.advance(LINGER_S)
            await client.hung_up()

    run(test())


def test_a_retiring_connection_that_is_idle_is_told_at_once(run: Run) -> None:
    async def test() -> None:
        async with served() as one, http2_client(url_of(one)) as client:
            await client.answer(client.get("/healthz"))
            one.listener.retire(LINGER_S)
            one.clock.advance(0.25)
            await client.until(lambda: client.goaway == (1, NO_ERROR))
            client.close()
            await client.hung_up()

    run(test())
