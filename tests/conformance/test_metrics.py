"""/metrics: what ended how, without a word of a client's in a label."""

from __future__ import annotations

import asyncio

from tests.conformance.gateway import Running, gateway, hello, run, streamed
from tests.pipeline.fakes import chunk
from tests.upstreams.http.scripted import HOLD


def test_requests_are_counted_by_how_they_ended() -> None:
    async def test() -> None:
        async with gateway(hello(), streamed(chunk("a"))) as running:
            await running.post()
            await running.events()
            assert (await running.post(model="made-up-by-a-client")).status_code == 404
            assert (await running.post(max_tokens="x")).status_code == 400
            await running.until_idle()
            response = await running.http.get("/metrics")
            assert response.headers["content-type"].startswith("text/plain; version=")
            lines = response.text.splitlines()
            for line in (
                'ezai_requests_total{cause="finished",status="200",upstream="local"} 1.0',
                'ezai_requests_total{cause="upstream_truncated",status="200",upstream="local"} 1.0',
                'ezai_requests_total{cause="not_found",status="404",upstream="none"} 1.0',
                'ezai_requests_total{cause="invalid_request",status="400",upstream="none"} 1.0',
                'ezai_tokens_total{kind="cache_read",upstream="local"} 4.0',
                'ezai_time_to_first_token_seconds_count{upstream="local"} 1.0',
                "ezai_open_requests 0.0",
                "ezai_waiting_records 0.0",
            ):
                assert line in lines, line
            assert "made-up-by-a-client" not in response.text

    run(test())


def test_open_streams_are_told_apart_from_other_open_requests() -> None:
    async def test() -> None:
        async with gateway(*[[HOLD, *hello()]] * 3) as running:
            asked = [asyncio.create_task(running.post(stream=stream)) for stream in (True, True, False)]
            await running.upstream.until(lambda: len(running.upstream.requests) == len(asked))
            assert await open_now(running) == ["ezai_open_requests 3.0", "ezai_open_streams 2.0"]
            for peer in running.upstream.peers:
                peer.go()
            await asyncio.gather(*asked)
            await running.until_idle()
            assert await open_now(running) == ["ezai_open_requests 0.0", "ezai_open_streams 0.0"]

    run(test())


async def open_now(running: Running) -> list[str]:
    lines = (await running.http.get("/metrics")).text.splitlines()
    return [line for line in lines if line.startswith("ezai_open_")]


def test_metrics_of_an_open_gateway_are_for_its_own_machine() -> None:
    async def test() -> None:
        async with gateway() as running:
            assert (await running.http.get("/metrics", headers={"host": "evil.example"})).status_code == 403

    run(test())
