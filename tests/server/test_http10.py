"""Clients of HTTP/1.0, spoken to byte by byte: what has no length lasts until the connection closes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from ezai.config import AnthropicUpstream, LimitsConfig
from tests.conformance.gateway import STREAM, Options, Running, decoded, gateway, hello
from tests.pipeline.fakes import FakeKeys, chunk
from tests.pipeline.test_dialogues import CLOSE, DELTA, HI, OPEN, START, STOP
from tests.raw_client import LEAVES, RawClient
from tests.server.test_edge import (
    LOOPS,
    MORE_THAN_BUFFERS_HOLD,
    STREAMED,
    UNARY,
    Run,
    Settlements,
    connected,
    get,
    holds_our_shape,
    in_loop,
    post,
    settled,
    until_stalled,
)
from tests.upstreams.http.scripted import EOF, HOLD, Script

__all__ = ["settled"]

TAPPED = Options(upstream=lambda url: AnthropicUpstream(name="local", base_url=url, api_key="k", proxy="none"))
"""An upstream whose events are passed on as they stand, so that they can be compared."""
IN_READS: Script = [STREAM + START + OPEN, HOLD, HI, HOLD, HI + HI, HOLD, CLOSE + DELTA + STOP, EOF]
ENDS_OF_READS = (OPEN, HI, HI + HI)


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Run:
    return in_loop(LOOPS[request.param])


def old(asked: bytes) -> bytes:
    """The same request, of HTTP/1.0."""
    return asked.replace(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", 1)


async def head_of_stream(client: RawClient) -> None:
    """The head of an answer without a length comes, and nothing of it promises a framing."""
    status, headers = await client.head()
    assert (status, headers["connection"]) == (200, "close")
    assert headers["content-type"].startswith("text/event-stream")
    assert not {"transfer-encoding", "content-length", "keep-alive"} & headers.keys()


async def streamed(running: Running, client: RawClient) -> bytes:
    """The body, each of the upstream's reads let go when the one before has arrived."""
    body = bytearray()
    for end in ENDS_OF_READS:
        body += await client.until(end)
        running.upstream.peers[-1].go()
    return bytes(body + await client.rest())


# Streams.


@pytest.mark.parametrize("more", ["", "connection: keep-alive\r\n", "connection: close\r\n"])
def test_a_stream_is_its_events_and_then_the_end(more: str, run: Run, settled: Settlements) -> None:
    async def test() -> None:
        async with gateway(IN_READS, options=TAPPED) as running, connected(running) as client:
            client.send(old(post(more=more, stream=True)))
            await head_of_stream(client)
            assert await streamed(running, client) == START + OPEN + HI * 3 + CLOSE + DELTA + STOP
            assert await settled.next() == "finished"

    run(test())


def test_its_bytes_are_those_of_http_1_1_without_the_framing(run: Run) -> None:
    async def test() -> None:
        whole: Script = [STREAM + START + OPEN + HI + CLOSE + DELTA + STOP, EOF]
        async with gateway(whole, whole, options=TAPPED) as running:
            async with connected(running) as client:
                client.send(STREAMED)
                framed = await client.answer()
            assert framed.headers["transfer-encoding"] == "chunked"
            async with connected(running) as client:
                client.send(old(STREAMED))
                await head_of_stream(client)
                assert await client.rest() == framed.body

    run(test())


def test_a_translated_stream(run: Run) -> None:
    async def test() -> None:
        async with gateway(hello("Hello")) as running, connected(running) as client:
            client.send(old(STREAMED))
            await head_of_stream(client)
            events = decoded(await client.rest())
            assert (events[2]["delta"]["text"], events[-1]["type"]) == ("Hello", "message_stop")

    run(test())


def test_a_broken_stream_tells_so_before_the_end(run: Run) -> None:
    async def test() -> None:
        async with gateway([STREAM + chunk("a"), EOF]) as running, connected(running) as client:
            client.send(old(STREAMED))
            await head_of_stream(client)
            assert decoded(await client.rest())[-1]["type"] == "error"

    run(test())


def test_a_head_before_its_upstream_speaks_and_pings(run: Run) -> None:
    async def test() -> None:
        slow = Options(upstream=TAPPED.upstream, limits=LimitsConfig(commit_after=0.01, keep_alive=0.02))
        script: Script = [STREAM, HOLD, START + OPEN + CLOSE + DELTA + STOP, EOF]
        async with gateway(script, options=slow) as running, connected(running) as client:
            client.send(old(STREAMED))
            await head_of_stream(client)
            ping = await client.until(b"\n\n")
            assert [event["type"] for event in decoded(ping)] == ["ping"]
            assert await client.until(b"\n\n") == ping
            await running.upstream.until(lambda: bool(running.upstream.peers))
            running.upstream.peers[0].go()
            assert (await client.rest()).removeprefix(ping).endswith(START + OPEN + CLOSE + DELTA + STOP)

    run(test())


# Whole answers.


def test_a_whole_answer_has_its_length(run: Run) -> None:
    async def test() -> None:
        async with gateway(hello()) as running, connected(running) as client:
            client.send(old(UNARY))
            answer = await client.answer()
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert answer.headers["content-length"] == str(len(answer.body))
            assert await client.rest() == b""

    run(test())


@pytest.mark.parametrize(("asked", "status"), [(get("/v1/nothing"), 404), (STREAMED, 401)])
def test_a_refusal_has_its_length(asked: bytes, status: int, run: Run) -> None:
    async def test() -> None:
        options = Options(keys=FakeKeys(**{"sk-one": "one"}) if status == 401 else FakeKeys())
        async with gateway(options=options) as running, connected(running) as client:
            client.send(old(asked))
            answer = await client.answer()
            holds_our_shape(answer)
            assert (answer.status, answer.headers["connection"]) == (status, "close")
            assert answer.headers["content-length"] == str(len(answer.body))
            assert await client.rest() == b""

    run(test())


@pytest.mark.parametrize(("path", "status"), [("/healthz", 200), ("/v1/nothing", 404), ("/v1/messages", 405)])
def test_head_is_answered_without_a_body(path: str, status: int, run: Run) -> None:
    async def test() -> None:
        async with gateway() as running, connected(running) as client:
            client.send(old(get(path, "HEAD")))
            answer = await client.answer(to_head=True)
            assert (answer.status, answer.headers["connection"]) == (status, "close")
            assert "transfer-encoding" not in answer.headers
            assert await client.rest() == b""

    run(test())


def test_who_waits_for_permission_in_http_1_0_is_sent_no_100(run: Run) -> None:
    async def test() -> None:
        async with gateway(hello()) as running, connected(running) as client:
            head, _, body = old(post(more="expect: 100-continue\r\n")).partition(b"\r\n\r\n")
            client.send(head + b"\r\n\r\n")
            async with connected(running) as other:  # a whole answer's time later ...
                other.send(get("/healthz"))
                await other.answer()
            client.send(body)
            assert (await client.answer()).status == 200  # ... this is the first that comes

    run(test())


# One answer to a connection.


@pytest.mark.parametrize("asked", [STREAMED, UNARY, get("/healthz")], ids=["stream", "unary", "probe"])
def test_what_is_pipelined_behind_it_is_not_answered(asked: bytes, run: Run) -> None:
    async def test() -> None:
        async with gateway(hello(), hello("2")) as running, connected(running) as client:
            client.send(old(asked) + UNARY + get("/healthz"))
            heard = await client.rest()
            assert heard.count(b"HTTP/1.1 ") == 1
            assert len(running.upstream.requests) == asked.startswith(b"POST")

    run(test())


def test_it_may_stand_behind_one_of_http_1_1(run: Run) -> None:
    async def test() -> None:
        async with gateway(hello("1"), hello("2")) as running, connected(running) as client:
            client.send(STREAMED + old(STREAMED))
            assert decoded((await client.answer()).body)[2]["delta"]["text"] == "1"
            await head_of_stream(client)
            assert decoded(await client.rest())[2]["delta"]["text"] == "2"

    run(test())


# Leaving, and reading slowly.


@pytest.mark.parametrize("leave", LEAVES.values(), ids=LEAVES)
def test_a_client_that_leaves_inside_a_stream(
    leave: Callable[[RawClient], None], run: Run, settled: Settlements
) -> None:
    async def test() -> None:
        async with gateway([STREAM + chunk("one"), HOLD]) as running, connected(running) as client:
            client.send(old(STREAMED))
            await client.until(b'"one"')
            assert not running.upstream.peers[0].lost
            leave(client)
            await running.upstream.until(lambda: running.upstream.peers[0].lost)
            assert await settled.next() == "client_left"

    run(test())


def test_a_client_that_leaves_without_having_read_what_it_was_sent(
    run: Run, settled: Settlements, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        full: asyncio.Event = until_stalled(monkeypatch)
        async with gateway(MORE_THAN_BUFFERS_HOLD) as running, connected(running) as client:
            client.stop_reading()
            client.send(old(STREAMED))
            await full.wait()
            assert not running.upstream.peers[0].lost
            client.reset()
            await running.upstream.until(lambda: running.upstream.peers[0].lost)
            assert await settled.next() == "client_left"

    run(test())
