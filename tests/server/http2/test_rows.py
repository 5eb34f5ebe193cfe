"""Rows of the fault table under HTTP/2 (C3-C7, C9-C13, C16), and the attacks that this protocol has of its own."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import hpack
import msgspec
import pytest

from ezai.config import AnthropicUpstream, Config, LimitsConfig, RouteConfig, ServerConfig, TargetConfig
from ezai.server.http2.flood import MOST, PER_SECOND
from ezai.system import SystemClock
from tests.conformance.gateway import STREAM, Options, Running, decoded, gateway, hello, request, serving
from tests.pipeline.fakes import DONE, FakeKeys, FakeLedger, chunk
from tests.raw_client import raw_client
from tests.server.http2.client import (
    ACK,
    CANCEL,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    HEADERS,
    NO_ERROR,
    PING,
    PRIORITY,
    PROTOCOL_ERROR,
    SETTINGS,
    WIDE,
    Http2Client,
    frame,
    good_head,
    http2_client,
    rst,
    settings,
    window_update,
)
from tests.server.test_edge import MORE_THAN_BUFFERS_HOLD, Run, get
from tests.server.test_slow_readers import ANSWER, PIECES, STALL_S, HandClock
from tests.upstreams.http.scripted import EOF, HOLD, Script, ScriptedServer, scripted_server, until

HTTP2 = Options(http2=True)
TIGHT = Options(http2=True, limits=LimitsConfig(body_mib=1, header_kib=4, request_receive=0.1))


async def serves(client: Http2Client) -> None:
    """The connection is good for another request."""
    assert (await client.answer(client.get("/healthz"))).status == 200


async def serves_others(running: Running) -> None:
    """Another client is served as if nothing had happened."""
    async with http2_client(running.url) as other:
        await serves(other)


async def refused(client: Http2Client, stream: int, status: int, kind: str) -> None:
    """The stream is answered with this error and nothing else, and the connection goes on."""
    answer = await client.answer(stream)
    assert (answer.status, answer.error["type"]) == (status, kind)
    await serves(client)


# With the clock in hand.


@dataclass
class Scene:
    """A gateway between an Anthropic upstream and clients, whose clock ticks when it is told to."""

    url: str
    upstream: ScriptedServer
    clock: HandClock
    ledger: FakeLedger

    def tick(self, seconds: float) -> None:
        self.clock.advance(seconds)

    async def quiet(self) -> None:
        """Return when nothing has moved for many of the loop's turns."""
        still, before = 0, -1
        while still < 1000:
            now = sum(peer.transport.get_write_buffer_size() for peer in self.upstream.peers)
            still, before = (still + 1, now) if now == before else (0, now)
            await asyncio.sleep(0)

    def causes(self) -> list[str]:
        return [settlement.end.cause for settlement in self.ledger.settlements]


@asynccontextmanager
async def scene(*scripts: Script, **limits: Any) -> AsyncIterator[Scene]:
    clock, ledger = HandClock(), FakeLedger()
    async with scripted_server(*scripts) as upstream:
        config = Config(
            server=ServerConfig(http2=True),
            limits=LimitsConfig(**{"queue_kib": 64, "reader_stall": STALL_S, **limits}),
            upstreams=[AnthropicUpstream(name="far", base_url=upstream.url, api_key="k")],
            routes=[RouteConfig(model="*", targets=[TargetConfig(upstream="far")])],
        )
        async with serving(config, FakeKeys(), ledger, cast("SystemClock", clock)) as served:
            yield Scene(served.url, upstream, clock, ledger)


LONG: Script = [STREAM, *ANSWER, EOF]
SHORT: Script = [STREAM, ANSWER[0], HOLD, *ANSWER[1:2], *ANSWER[-3:], EOF]


def test_c3_a_slow_reader_gets_everything_and_its_upstream_waits(run: Run) -> None:
    async def test() -> None:
        async with scene(LONG) as talk, http2_client(talk.url, opens_windows=False) as client:
            stream = client.post(stream=True)
            await client.until(lambda: client.received_bytes(stream) == 65_535)
            await talk.quiet()
            assert talk.upstream.peers[0].writing_paused
            before = talk.upstream.peers[0].transport.get_write_buffer_size()
            assert before > len(ANSWER[2]) * PIECES // 3, "most of the answer is still the upstream's"
            for taken in range(1, 4):
                talk.tick(0.25)
                talk.tick(STALL_S - 1)
                client.send(window_update(0, 100) + window_update(stream, 100))
                await client.until(lambda taken=taken: client.received_bytes(stream) == 65_535 + 100 * taken)  # type: ignore[misc]
            client.send(window_update(0, WIDE - 65_535) + window_update(stream, WIDE - 65_535))
            assert decoded(bytes((await client.answer(stream)).body)) == decoded(b"".join(ANSWER))
            assert talk.causes() == ["finished"]

    run(test())


def test_c4_a_stream_whose_window_stays_closed_is_cut_alone(run: Run) -> None:
    """CVE-2019-9511 and CVE-2019-9517: a window of nothing, while the connection takes what it gets."""

    async def test() -> None:
        async with (
            scene(LONG, SHORT) as talk,
            http2_client(talk.url, opens_windows=False, window=0) as client,
        ):
            closed = client.post(stream=True)
            await client.until(lambda: client.streams[closed].status == 200 if closed in client.streams else False)
            client.send(settings(window=60_000) + window_update(closed, 1))
            client.send(settings(window=0))
            await client.round_trip()
            other = client.post(stream=True)
            await talk.upstream.until(lambda: len(talk.upstream.requests) == 2)
            client.send(window_update(other, 10_000) + window_update(0, 1_000_000))
            await client.said(other, b"message_start")
            await talk.quiet()
            talk.tick(0.25)
            talk.tick(STALL_S - 1)
            await client.round_trip()
            assert client.streams[closed].reset is None
            talk.tick(1)
            assert await client.is_reset(closed) == CANCEL
            await until(lambda: talk.causes() == ["reader_stalled"])
            await talk.upstream.until(lambda: talk.upstream.peers[0].lost)
            talk.upstream.peers[1].go()
            assert b"message_stop" in (await client.answer(other)).body

    run(test())


def test_c4_a_connection_whose_reader_has_stopped_is_cut_with_all_of_its_streams(run: Run) -> None:
    async def test() -> None:
        async with scene(LONG, LONG) as talk, http2_client(talk.url, window=WIDE) as client:
            client.send(window_update(0, WIDE - 65_535))
            streams = [client.post(stream=True) for _ in range(2)]
            await client.until(lambda: all(client.received_bytes(stream) for stream in streams))
            client.transport.pause_reading()
            for _ in range(10 * int(STALL_S)):  # the kernels move some more for a while
                client.send(frame(PING, 0, 0, bytes(8)))  # to look alive does not help
                await talk.quiet()
                talk.tick(1)
                if talk.causes():
                    break
            await until(lambda: talk.causes() == ["reader_stalled"] * 2)
            client.transport.resume_reading()
            await client.hung_up()
            assert not any(client.streams[stream].is_over for stream in streams), "a cut stream never looks finished"

    run(test())


def test_c4_the_end_of_an_answer_that_nobody_takes_is_cut_too(run: Run) -> None:
    async def test() -> None:
        script: Script = [STREAM, ANSWER[0], ANSWER[1], *ANSWER[-3:], EOF]
        async with scene(script) as talk, http2_client(talk.url, opens_windows=False, window=100) as client:
            stream = client.post(stream=True)
            await until(lambda: talk.causes() == ["finished"])
            await talk.quiet()
            talk.tick(0.25)
            talk.tick(STALL_S)
            assert await client.is_reset(stream) == CANCEL
            await serves_in(talk)

    run(test())


async def serves_in(talk: Scene) -> None:
    async with http2_client(talk.url) as other:
        await serves(other)


def test_c5_stopped_readers_stop_nobody_else(run: Run) -> None:
    async def test() -> None:
        async with gateway(*[MORE_THAN_BUFFERS_HOLD] * 4, hello(), options=HTTP2) as running:
            async with http2_client(running.url, opens_windows=False) as client:
                stopped = [client.post(stream=True) for _ in range(4)]
                await running.upstream.until(
                    lambda: (
                        len(running.upstream.peers) == 4 and all(peer.writing_paused for peer in running.upstream.peers)
                    )
                )
                client.send(window_update(0, 1_000_000))
                await client.round_trip()
                assert (await client.answer(client.post())).status == 200
                assert not any(client.streams[stream].is_closed for stream in stopped if stream in client.streams)
            await running.until_idle()

    run(test())


# C6: slow receipt.


def test_c6_a_body_that_does_not_arrive_is_a_408_of_its_stream(run: Run) -> None:
    async def test() -> None:
        async with gateway(hello(), options=TIGHT) as running, http2_client(running.url) as client:
            streams = [client.head(good_head()) for _ in range(2)]
            client.data(streams[1], b'{"model"')
            for stream in streams:
                answer = await client.answer(stream)
                assert (answer.status, answer.error["type"]) == (408, "timeout_error")
                assert await client.is_reset(stream) == NO_ERROR
            assert (await client.answer(client.post())).status == 200
            assert len(running.upstream.requests) == 1, "only the whole request was asked"

    run(test())


def test_c6_bytes_that_drip_do_not_extend_the_time(run: Run) -> None:
    async def test() -> None:
        async with gateway(options=TIGHT) as running, http2_client(running.url) as client:
            stream = client.head(good_head())
            while not (stream in client.streams and client.streams[stream].is_closed):
                client.data(stream, b"x")
                await asyncio.sleep(0)
            await refused(client, stream, 408, "timeout_error")

    run(test())


BEGUN: dict[str, Callable[[Http2Client], bytes]] = {
    "nothing": lambda _: b"",
    "inside a frame's head": lambda _: frame(HEADERS, 5, 1)[:5],
    "inside HEADERS": lambda client: frame(HEADERS, 5, 1, client.encoder.encode(good_head()))[:-5],
    "before CONTINUATION": lambda client: frame(HEADERS, END_STREAM, 1, client.encoder.encode(good_head())[:5]),
}


@pytest.mark.parametrize("begun", BEGUN)
def test_c6_a_head_that_does_not_arrive_ends_the_connection(begun: str, run: Run) -> None:
    async def test() -> None:
        async with gateway(options=TIGHT) as running, http2_client(running.url) as client:
            client.send(BEGUN[begun](client))
            expected = NO_ERROR if begun == "nothing" else ENHANCE_YOUR_CALM
            assert await client.hung_up() == (0, expected)
            await serves_others(running)

    run(test())


def test_c6_an_opening_that_does_not_arrive_is_a_408(run: Run) -> None:
    """It may still become either version."""

    async def test() -> None:
        async with gateway(options=TIGHT) as running, raw_client(running.url) as client:
            client.send(b"PRI * HTTP/2.0\r\n")
            answer = await client.answer()
            assert (answer.status, answer.error["error"]["type"]) == (408, "timeout_error")

    run(test())


def test_c6_continuations_that_drip_do_not_extend_the_time(run: Run) -> None:
    async def test() -> None:
        async with scene() as talk, http2_client(talk.url) as client:
            stream = client.numbered()
            client.send(frame(HEADERS, END_STREAM, stream))
            for _ in range(11):
                client.send(frame(CONTINUATION, 0, stream, b"\x82"))
                await talk.quiet()
                talk.tick(1)
            await client.until(lambda: client.goaway == (0, ENHANCE_YOUR_CALM))
            talk.tick(1)
            await client.hung_up()

    run(test())


def test_c6_an_idle_connection_is_closed_however_much_it_pings(run: Run) -> None:
    async def test() -> None:
        async with scene() as talk, http2_client(talk.url) as client:
            await serves(client)
            for _ in range(7):
                talk.tick(10)
                await client.round_trip()
            assert client.goaway is None
            talk.tick(10)
            assert await client.hung_up() == (1, NO_ERROR)

    run(test())


# C7: lengths that lie, bodies without end.


def test_c7_a_declared_length_over_the_limit_is_a_413_at_once(run: Run) -> None:
    async def test() -> None:
        async with gateway(options=TIGHT) as running, http2_client(running.url) as client:
            length = (b"content-length", b"%d" % ((1 << 20) + 1))
            await refused(client, client.head(good_head("POST", "/v1/messages", length)), 413, "request_too_large")

    run(test())


def test_c7_a_body_without_end_is_a_413_and_cut_when_its_time_is_over(run: Run) -> None:
    async def test() -> None:
        options = Options(http2=True, limits=LimitsConfig(body_mib=1, request_receive=1))
        async with gateway(hello(), options=options) as running, http2_client(running.url) as client:
            stream = client.head(good_head())
            sent = 0
            while not (stream in client.streams and client.streams[stream].reset is not None):
                if sent < min(65_535 + client.allowed_bytes(0), 262_144 + client.allowed_bytes(stream)) - 16_384:
                    client.data(stream, bytes(16_384))
                    sent += 16_384
                await asyncio.sleep(0)
            await refused(client, stream, 413, "request_too_large")
            assert await client.is_reset(stream) == NO_ERROR
            assert (await client.answer(client.post())).status == 200
            assert len(running.upstream.requests) == 1

    run(test())


@pytest.mark.parametrize("declared", [1, 1000], ids=["shorter", "longer"])
def test_c7_a_length_that_is_not_the_bodys_is_a_400(declared: int, run: Run) -> None:
    async def test() -> None:
        async with gateway(options=HTTP2) as running, http2_client(running.url) as client:
            stream = client.head(good_head("POST", "/v1/messages", (b"content-length", b"%d" % declared)))
            client.data(stream, b'{"model":"x"}', end=True)
            await refused(client, stream, 400, "invalid_request_error")
            assert not running.upstream.requests

    run(test())


def test_c7_a_length_longer_than_what_comes_is_a_408(run: Run) -> None:
    async def test() -> None:
        async with gateway(options=TIGHT) as running, http2_client(running.url) as client:
            stream = client.head(good_head("POST", "/v1/messages", (b"content-length", b"1000")))
            client.data(stream, msgspec.json.encode(request()))
            await refused(client, stream, 408, "timeout_error")
            assert not running.upstream.requests

    run(test())


# C9: heads that two readers might read differently, and bombs. Each kind is in test_fields.py.


@pytest.mark.parametrize(
    "more",
    [(b"transfer-encoding", b"chunked"), (b"x-a", b"b\r\nx-injected: c"), (b"X-Upper", b"1"), (b"host", b"other")],
    ids=["coding", "line end", "upper case", "two hosts"],
)
def test_c9_what_two_readers_might_read_differently_is_a_400_of_its_stream(more: tuple[bytes, bytes], run: Run) -> None:
    async def test() -> None:
        async with gateway(hello(), options=HTTP2) as running, http2_client(running.url) as client:
            stream = client.head(good_head("POST", "/v1/messages", more))
            client.data(stream, msgspec.json.encode(request()), end=True)
            await refused(client, stream, 400, "invalid_request_error")
            assert not running.upstream.requests

    run(test())


@pytest.mark.parametrize(
    "fields",
    [
        [(b"x-big", b"x" * 64 * 1024)],
        [(b"x-%d" % place, b"y") for place in range(200)],
        [(b"x-big", b"\xff" * 30 * 1024)] * 2,
    ],
    ids=["64 KiB", "200 fields", "not compressible"],
)
def test_c9_a_head_over_the_limit_is_a_431_of_its_stream(fields: list[tuple[bytes, bytes]], run: Run) -> None:
    async def test() -> None:
        async with gateway(options=HTTP2) as running, http2_client(running.url) as client:
            block = client.encoder.encode(good_head("POST", "/v1/messages", *fields), huffman=False)
            stream = client.numbered()
            parts = [block[at : at + 16_384] for at in range(0, len(block), 16_384)]
            for place, part in enumerate(parts):
                end = END_HEADERS if place == len(parts) - 1 else 0
                client.send(frame(CONTINUATION if place else HEADERS, end if place else end | END_STREAM, stream, part))
            await refused(client, stream, 431, "invalid_request_error")

    run(test())


# C10: compressed requests.


def test_c10_a_bomb_is_a_413(run: Run) -> None:
    async def test() -> None:
        async with gateway(options=TIGHT) as running, http2_client(running.url) as client:
            stream = client.head(good_head("POST", "/v1/messages", (b"content-encoding", b"gzip")))
            client.data(stream, gzip.compress(b"x" * (64 << 20)), end=True)
            await refused(client, stream, 413, "request_too_large")

    run(test())


# C11: requests side by side.


def test_c11_a_later_request_does_not_wait_for_an_earlier_one(run: Run) -> None:
    async def test() -> None:
        async with gateway([HOLD], hello("second"), options=HTTP2) as running, http2_client(running.url) as client:
            first = client.post()
            await running.upstream.until(lambda: len(running.upstream.requests) == 1)
            assert (await client.answer(client.post())).json()["content"][0]["text"] == "second"
            assert first not in client.streams

    run(test())


# C12, C13: injection.


@pytest.mark.parametrize("text", ["a\r\nx-injected: 1", "a\nb", "a\x00b", "é\u2028", "x" * 240])
def test_c12_a_models_name_injects_no_header(text: str, run: Run) -> None:
    async def test() -> None:
        async with gateway(hello(), options=HTTP2) as running, http2_client(running.url) as client:
            answer = await client.answer(client.post(model=f"claude-{text}", metadata={"user_id": text}))
            assert answer.status == 200
            assert "x-injected" not in answer.fields
            assert b"x-injected" not in running.upstream.requests[0].partition(b"\r\n\r\n")[0]

    run(test())


def test_c12_the_upstream_sees_a_fixed_set_of_headers(run: Run) -> None:
    async def test() -> None:
        async with gateway(hello(), options=HTTP2) as running, http2_client(running.url) as client:
            more = [(b"x-evil", b"1"), (b"cookie", b"a=b"), (b"x-api-key", b"sk-client"), (b"te", b"trailers")]
            await client.answer(client.post("/v1/messages", *more))
            lines = running.upstream.requests[0].partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
            assert {line.partition(b":")[0].lower() for line in lines} == {
                b"host", b"authorization", b"accept-encoding", b"content-type", b"content-length",
            }  # fmt: skip

    run(test())


@pytest.mark.parametrize("text", ["\n\nevent: message_stop\ndata: {}\n\n", "\r\rdata: x\r\r", "\u2028\u2029\x85"])
def test_c13_text_of_the_model_stays_text(text: str, run: Run) -> None:
    async def test() -> None:
        async with gateway(hello(text), options=HTTP2) as running, http2_client(running.url) as client:
            events = decoded(bytes((await client.answer(client.post(stream=True))).body))
            assert [event["delta"]["text"] for event in events if "text" in event.get("delta", {})] == [text]
            assert [event["type"] for event in events].count("message_stop") == 1

    run(test())


# C16: capacity.


def test_c16_connections_over_the_limit_wait_until_others_have_gone(run: Run) -> None:
    async def test() -> None:
        options = Options(http2=True, limits=LimitsConfig(connections=2))
        async with (
            gateway(options=options) as running,
            raw_client(running.url) as one,
            http2_client(running.url) as two,
        ):
            one.send(get("/healthz"))
            assert (await one.answer()).status == 200
            await serves(two)
            waiting = asyncio.get_running_loop().create_task(serves_others(running))
            for _ in range(3):
                await serves(two)
            assert not waiting.done()
            one.close()
            await waiting

    run(test())


def test_c16_streams_count_as_connections_do(run: Run) -> None:
    """One connection does not hold more requests than there may be connections; who is refused is counted."""

    async def test() -> None:
        options = Options(http2=True, limits=LimitsConfig(connections=3))
        async with gateway(*[[HOLD]] * 3, options=options) as running, http2_client(running.url) as client:
            for count in range(1, 4):
                client.post()
                await running.upstream.until(lambda count=count: len(running.upstream.requests) == count)  # type: ignore[misc]
            answer = await client.answer(client.get("/healthz"))
            assert (answer.status, answer.error["type"]) == (529, "overloaded_error")
            assert answer.fields["retry-after"] == "1"
            counted = await running.http.get("/metrics")
            assert 'ezai_requests_total{cause="overloaded"' in counted.text

    run(test())


def test_c16_requests_over_the_limit_are_a_529(run: Run) -> None:
    async def test() -> None:
        options = Options(http2=True, limits=LimitsConfig(streams=1))
        async with gateway([HOLD], options=options) as running, http2_client(running.url) as client:
            client.post()
            await running.upstream.until(lambda: len(running.upstream.requests) == 1)
            await refused(client, client.post(), 529, "overloaded_error")

    run(test())


# Attacks.


async def is_calmed(client: Http2Client) -> None:
    """The client was told that it asks for too much, and hung up on."""
    goaway = await client.hung_up()
    assert goaway is not None
    assert goaway[1] == ENHANCE_YOUR_CALM


async def floods(client: Http2Client, piece: bytes, times: int = 100) -> None:
    for _ in range(times):
        if client.is_over:
            break
        await client.sent(piece)
        await asyncio.sleep(0)


def test_cve_2023_44487_rapid_reset_ends_the_connection(run: Run) -> None:
    async def test() -> None:
        async with gateway(options=HTTP2) as running, http2_client(running.url) as client:
            while client.goaway is None and client.numbered() < 10 * MOST:
                client.send(rst(client.head(good_head())))
                await asyncio.sleep(0)
            await is_calmed(client)
            await running.until_idle()
            assert not running.upstream.requests
            await serves_others(running)

    run(test())


def test_cve_2023_44487_what_was_reset_counts_until_it_has_ended(run: Run) -> None:
    """So resetting makes no room for more work than streams are offered."""

    async def test() -> None:
        async with gateway(*[[HOLD]] * 128, options=HTTP2) as running, http2_client(running.url) as client:
            with client.held() as wire:
                for _ in range(130):
                    client.send(rst(client.get("/v1/models")))
                last = client.get("/v1/models")
            client.send(bytes(wire))
            await client.until(lambda: last in client.streams and client.streams[last].is_closed)
            assert client.goaway is None

    run(test())


def test_cve_2024_27316_continuation_flood_ends_the_connection(run: Run) -> None:
    async def test() -> None:
        async with gateway(options=HTTP2) as running, http2_client(running.url) as client:
            stream = client.numbered()
            client.send(frame(HEADERS, END_STREAM, stream))
            await floods(client, frame(CONTINUATION, 0, stream, b"\x00\x01a\x01b" * 3000))
            await is_calmed(client)
            await serves_others(running)

    run(test())


def test_cve_2024_27316_of_empty_continuations_too(run: Run) -> None:
    async def test() -> None:
        async with gateway(options=HTTP2) as running, http2_client(running.url) as client:
            stream = client.numbered()
            client.send(frame(HEADERS, END_STREAM, stream))
            await floods(client, frame(CONTINUATION, 0, stream) * 500)
            await is_calmed(client)

    run(test())


def test_cve_2016_6581_hpack_bomb_ends_the_connection(run: Run) -> None:
    """Sixteen thousand fields of 4 KB in 20 KB; its decompression stops at a multiple of the limit."""

    async def test() -> None:
        async with gateway(options=HTTP2) as running, http2_client(running.url) as client:
            block = hpack.Encoder().encode([(b"x", b"v" * 4000)]) + b"\xbe" * 16_000
            stream = client.numbered()
            client.send(frame(HEADERS, END_STREAM, stream, block[:16_000]))
            client.send(frame(CONTINUATION, END_HEADERS, stream, block[16_000:]))
            await is_calmed(client)
            await serves_others(running)

    run(test())


FLOODS: dict[str, bytes] = {
    "CVE-2019-9512 PING": frame(PING, 0, 0, bytes(8)),
    "CVE-2019-9515 SETTINGS": frame(SETTINGS),
    "acknowledged SETTINGS": frame(SETTINGS, ACK),
    "CVE-2019-9513 PRIORITY": frame(PRIORITY, 0, 1, bytes(5)),
    "CVE-2019-9514 RST_STREAM": rst(1),
    "CVE-2019-9518 empty DATA": frame(DATA, 0, 3),
    "DATA of a stream that is over": frame(DATA, 0, 1),
    "WINDOW_UPDATE": window_update(0, 1),
    "unknown frames": frame(0x77),
}


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_of_frames_ends_the_connection(kind: str, run: Run) -> None:
    async def test() -> None:
        async with gateway(options=HTTP2) as running, http2_client(running.url) as client:
            await serves(client)
            client.head(good_head())
            await floods(client, FLOODS[kind] * 500)
            await is_calmed(client)
            await running.until_idle()
            await serves_others(running)

    run(test())


def test_a_client_that_keeps_its_measure_may_ping_for_ever(run: Run) -> None:
    async def test() -> None:
        async with scene() as talk, http2_client(talk.url) as client:
            for _ in range(2 * MOST // PER_SECOND):
                client.send(frame(PING, 0, 0, bytes(8)) * (PER_SECOND - 20))
                await serves(client)
                talk.tick(1)
            assert client.goaway is None

    run(test())


def test_a_client_that_opens_its_windows_for_every_frame_is_no_flood(run: Run) -> None:
    async def test() -> None:
        words = [chunk(f"w{place}") for place in range(3 * MOST // 2)]
        script: Script = [STREAM, *words, chunk(finish="stop") + DONE, EOF]
        async with gateway(script, options=HTTP2) as running, http2_client(running.url) as client:
            answer = await client.answer(client.post(stream=True))
            assert b"message_stop" in answer.body

    run(test())


def test_a_fault_of_the_protocol_is_told_and_ends_all_streams(run: Run) -> None:
    async def test() -> None:
        async with (
            gateway([STREAM + chunk("one"), HOLD], options=HTTP2) as running,
            http2_client(running.url) as client,
        ):
            stream = client.post(stream=True)
            await client.said(stream, b'"one"')
            client.send(frame(PING, 0, 5, bytes(8)))
            assert await client.hung_up() == (stream, PROTOCOL_ERROR)
            assert not client.streams[stream].is_over
            await running.upstream.until(lambda: running.upstream.peers[0].lost)
            await running.until_idle()

    run(test())
