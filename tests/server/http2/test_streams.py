"""Many requests over one connection: each event at once, each stream for itself, and every way to leave."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from tests.conformance.gateway import STREAM, Options, as_json, decoded, gateway, hello, request
from tests.pipeline.fakes import DONE, chunk, usage_chunk
from tests.raw_client import raw_client
from tests.server.http2.client import (
    CANCEL,
    GOAWAY,
    LEAVES,
    NO_ERROR,
    REFUSED_STREAM,
    WIDE,
    Http2Client,
    frame,
    good_head,
    http2_client,
    rst,
    settings,
    window_update,
)
from tests.server.test_edge import Run, Settlements, get, settled
from tests.upstreams.http.scripted import EOF, HOLD, Script

__all__ = ["settled"]

HTTP2 = Options(http2=True)
HUNDRED = 100
END: Script = [chunk(finish="stop") + usage_chunk(1, 8) + DONE, EOF]

ways_to_leave = pytest.mark.parametrize("leave", LEAVES.values(), ids=LEAVES)


def two_words(first: str = "one", second: str = "two") -> Script:
    """A stream with a word now and one when it may go on."""
    return [STREAM + chunk(first), HOLD, chunk(second), *END]


# Answers.


def test_every_kind_of_answer(run: Run) -> None:
    async def test() -> None:
        async with gateway(hello("1"), hello("2"), options=HTTP2) as running, http2_client(running.url) as client:
            unary = await client.answer(client.post())
            assert (unary.status, unary.json()["content"][0]["text"]) == (200, "1")
            assert unary.fields["content-length"] == str(len(unary.body))
            stream = await client.answer(client.post(stream=True))
            assert stream.fields["content-type"] == "text/event-stream; charset=utf-8"
            assert [event["type"] for event in decoded(bytes(stream.body))][-1] == "message_stop"
            probe = await client.answer(client.get("/healthz"))
            assert probe.json() == {"status": "ok"}
            missing = await client.answer(client.get("/v1/nothing"))
            assert (missing.status, missing.error["type"]) == (404, "not_found_error")
            for answer in (unary, stream, probe, missing):
                assert answer.fields["request-id"].startswith("req_")
                assert "date" in answer.fields
                assert not {"connection", "transfer-encoding", "keep-alive", "upgrade"} & set(answer.fields)

    run(test())


def test_head_has_no_body(run: Run) -> None:
    async def test() -> None:
        async with gateway(options=HTTP2) as running, http2_client(running.url) as client:
            for path, status in (("/healthz", 200), ("/v1/nothing", 404)):
                whole = await client.answer(client.get(path))
                head = await client.answer(client.get(path, "HEAD"))
                assert (head.status, bytes(head.body)) == (status, b"")
                assert head.fields["content-length"] == str(len(whole.body))

    run(test())


def test_a_path_is_decoded_as_under_http_1(run: Run) -> None:
    async def test() -> None:
        async with gateway(options=HTTP2) as running, http2_client(running.url) as client:
            for path in ("/v1/models/org%2Fmodel", "/v1/models?limit=1", "/v1/%6dodels"):
                assert (await client.answer(client.get(path))).status == 200

    run(test())


def test_http_1_is_spoken_on_the_same_port(run: Run) -> None:
    async def test() -> None:
        async with gateway(hello(), options=HTTP2) as running, raw_client(running.url) as old:
            for cut in (1, 3, 30):  # POST begins with a byte that the preface of HTTP/2 begins with too
                data = get("/healthz", "PUT") if cut == 30 else get("/healthz", "POST")
                await old.sent(data[:cut])
                async with http2_client(running.url) as new:
                    await new.answer(new.get("/healthz"))
                old.send(data[cut:])
                assert (await old.answer()).status == 405

    run(test())


def test_the_opening_may_come_byte_by_byte(run: Run) -> None:
    async def test() -> None:
        async with gateway(options=HTTP2) as running, http2_client(running.url, greets=False) as client:
            client.acknowledges = False  # which would come in between
            with client.held() as wire:
                client.greet()
                stream = client.get("/healthz")
            for byte in wire:
                client.send(bytes([byte]))
                for _ in range(3):
                    await asyncio.sleep(0)
            assert (await client.answer(stream)).status == 200

    run(test())


@pytest.mark.parametrize("opening", [b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", b"PRInce"])
def test_what_is_nearly_the_opening_is_http_1_and_refused(opening: bytes, run: Run) -> None:
    async def test() -> None:
        async with gateway(options=HTTP2) as running, raw_client(running.url) as client:
            client.send(opening)
            if opening == b"PRInce":
                client.send(b" / HTTP/1.1\r\nhost: localhost\r\n\r\n")
            answer = await client.answer()
            assert (answer.status, answer.error["error"]["type"]) == (400, "invalid_request_error")

    run(test())


def test_http_2_is_not_spoken_where_it_is_off(run: Run) -> None:
    async def test() -> None:
        async with gateway() as running, raw_client(running.url) as client:
            client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            assert (await client.answer()).status == 400

    run(test())


def test_a_client_that_waits_for_permission_to_send_its_body_gets_it(run: Run) -> None:
    async def test() -> None:
        async with gateway(hello(), options=HTTP2) as running, http2_client(running.url) as client:
            stream = client.head(good_head("POST", "/v1/messages", (b"expect", b"100-continue")))
            await client.until(lambda: stream in client.streams and client.streams[stream].informational == [100])
            client.data(stream, msgspec.json.encode(request()), end=True)
            assert (await client.answer(stream)).status == 200

    run(test())


def test_trailers_of_a_request_are_taken_and_mean_nothing(run: Run) -> None:
    async def test() -> None:
        async with gateway(hello(), options=HTTP2) as running, http2_client(running.url) as client:
            stream = client.head(good_head("POST", "/v1/messages", (b"te", b"trailers")))
            client.data(stream, msgspec.json.encode(request()))
            client.head([(b"x-checksum", b"1")], end=True, stream=stream)
            assert (await client.answer(stream)).status == 200

    run(test())


# A hundred streams.


def test_a_hundred_streams_over_one_connection_each_event_at_once(run: Run) -> None:
    async def test() -> None:
        scripts = [two_words(f"a{place}", f"b{place}") for place in range(HUNDRED)]
        async with gateway(*scripts, options=HTTP2) as running, http2_client(running.url) as client:
            streams = [client.post(stream=True) for _ in range(HUNDRED)]
            for stream in streams:  # the first word is there while nothing of the second was said
                await client.said(stream, b'"text":"a')
            assert len(running.registry) == HUNDRED
            for peer in reversed(running.upstream.peers):
                peer.go()
                await client.until(lambda: any(received.is_over for received in client.streams.values()))
            texts = set()
            for stream in streams:
                events = decoded(bytes((await client.answer(stream)).body))
                texts.add("".join(event["delta"].get("text", "") for event in events if "delta" in event))
            assert texts == {f"a{place}b{place}" for place in range(HUNDRED)}

    run(test())


def test_an_event_is_one_frame_and_waits_for_nothing(run: Run) -> None:
    async def test() -> None:
        words = [step for place in range(1, 5) for step in (HOLD, chunk(f"w{place}"))]
        script: Script = [STREAM + chunk("w0"), *words, HOLD, *END]
        async with gateway(script, options=HTTP2) as running, http2_client(running.url) as client:
            stream = client.post(stream=True)
            await client.said(stream, b'"w0"')
            for place in range(1, 5):
                before = client.streams[stream].pieces
                running.upstream.peers[0].go()
                await client.said(stream, b'"w%d"' % place)
                assert client.streams[stream].pieces == before + 1
            running.upstream.peers[0].go()
            await client.answer(stream)

    run(test())


def test_more_streams_than_were_offered_are_refused_and_harm_nobody(run: Run) -> None:
    """As before the client knows how many were offered. What is refused was not begun, so it may be asked again."""

    async def test() -> None:
        async with gateway(*[[HOLD]] * 128, options=HTTP2) as running, http2_client(running.url) as client:
            streams = [client.post() for _ in range(130)]
            for stream in streams[128:]:
                assert await client.is_reset(stream) == REFUSED_STREAM
            await running.upstream.until(lambda: len(running.upstream.requests) == 128)
            assert not any(client.streams[stream].is_closed for stream in streams[:128] if stream in client.streams)

    run(test())


# Leaving.


def test_a_reset_stream_stops_its_upstream_and_harms_no_other(run: Run, settled: Settlements) -> None:
    async def test() -> None:
        async with (
            gateway(*[two_words()] * 3, options=HTTP2) as running,
            http2_client(running.url) as client,
        ):
            streams = []
            for _ in range(3):
                streams.append(client.post(stream=True))
                await client.said(streams[-1], b'"one"')
            client.send(rst(streams[1]))
            await running.upstream.until(lambda: running.upstream.peers[1].lost)
            assert await settled.next() == "client_left"
            for place in (0, 2):
                running.upstream.peers[place].go()
                assert b"message_stop" in (await client.answer(streams[place])).body
                assert await settled.next() == "finished"
            assert client.goaway is None

    run(test())


@pytest.mark.parametrize("asked", ["stream", "unary", "count"])
def test_a_stream_that_is_reset_before_its_answer(asked: str, run: Run) -> None:
    async def test() -> None:
        async with gateway([HOLD], hello(), options=HTTP2) as running, http2_client(running.url) as client:
            path = "/v1/messages/count_tokens" if asked == "count" else "/v1/messages"
            stream = client.post(path, **({"max_tokens": ...} if asked == "count" else {"stream": asked == "stream"}))
            await running.upstream.until(lambda: len(running.upstream.requests) == 1)
            client.send(rst(stream))
            await running.upstream.until(lambda: running.upstream.peers[0].lost)
            await running.until_idle()
            assert (await client.answer(client.post())).status == 200

    run(test())


def test_a_stream_that_is_reset_inside_its_own_body_is_never_asked(run: Run) -> None:
    async def test() -> None:
        async with gateway(hello(), options=HTTP2) as running, http2_client(running.url) as client:
            stream = client.head(good_head())
            client.data(stream, b'{"model"')
            client.send(rst(stream))
            assert (await client.answer(client.post())).status == 200
            assert len(running.upstream.requests) == 1

    run(test())


@ways_to_leave
def test_a_client_that_leaves_ends_all_of_its_streams(
    leave: Callable[[Http2Client], None], run: Run, settled: Settlements
) -> None:
    async def test() -> None:
        async with gateway(*[two_words()] * 5, options=HTTP2) as running, http2_client(running.url) as client:
            for _ in range(5):
                await client.said(client.post(stream=True), b'"one"')
            leave(client)
            await running.upstream.until(lambda: all(peer.lost for peer in running.upstream.peers))
            for _ in range(5):
                assert await settled.next() == "client_left"

    run(test())


def test_a_client_that_says_it_goes_gets_the_rest_of_its_streams(run: Run, settled: Settlements) -> None:
    """Node's client says GOAWAY when it is closed, and waits for what runs."""

    async def test() -> None:
        async with gateway(two_words(), options=HTTP2) as running, http2_client(running.url) as client:
            stream = client.post(stream=True)
            await client.said(stream, b'"one"')
            client.send(frame(GOAWAY, 0, 0, bytes(8)))
            await client.round_trip()
            running.upstream.peers[0].go()
            assert b"message_stop" in (await client.answer(stream)).body
            assert await settled.next() == "finished"
            assert await client.hung_up() == (stream, NO_ERROR)

    run(test())


# An upstream that breaks off.


def test_a_broken_stream_ends_in_an_error_event_and_a_clean_end(run: Run) -> None:
    async def test() -> None:
        async with gateway([STREAM + chunk("one"), EOF], options=HTTP2) as running, http2_client(running.url) as client:
            answer = await client.answer(client.post(stream=True))
            last = decoded(bytes(answer.body))[-1]
            assert (last["type"], last["error"]["details"]["error_code"]) == ("error", "upstream_truncated")
            assert answer.reset is None

    run(test())


def test_a_refusal_of_the_upstream_keeps_its_status(run: Run) -> None:
    async def test() -> None:
        refusal = as_json({"error": {"message": "no"}}, "400 Bad Request")
        async with gateway(refusal, options=HTTP2) as running, http2_client(running.url) as client:
            assert (await client.answer(client.post(stream=True))).status == 400

    run(test())


# Windows.

LONG = "x" * 100_000


def test_nothing_is_sent_that_has_no_room_in_the_windows(run: Run) -> None:
    async def test() -> None:
        script = hello(LONG)
        async with (
            gateway(script, script, options=HTTP2) as running,
            http2_client(running.url, opens_windows=False, window=1000) as client,
        ):
            first, second = client.post(), client.post()
            for stream in (first, second):
                await client.until(lambda stream=stream: client.received_bytes(stream) == 1000)  # type: ignore[misc]
            client.send(window_update(first, WIDE - 1000))
            await client.until(lambda: client.received_bytes(first) == 65_535 - 1000)  # the connection's is full
            client.send(window_update(0, 10))
            await client.until(lambda: client.received_bytes(first) == 65_545 - 1000)
            client.send(window_update(second, WIDE - 1000))
            client.send(window_update(0, WIDE - 65_545))
            for stream in (first, second):
                assert (await client.answer(stream)).json()["content"][0]["text"] == LONG

    run(test())


def test_windows_may_be_narrowed_below_nothing(run: Run) -> None:
    async def test() -> None:
        async with (
            gateway(two_words(LONG[:30_000], LONG[:1000]), options=HTTP2) as running,
            http2_client(running.url, opens_windows=False, window=40_000) as client,
        ):
            stream = client.post(stream=True)
            await client.said(stream, b'xxx"')
            before = len(client.streams[stream].body)
            client.send(settings(window=100))
            await client.round_trip()
            running.upstream.peers[0].go()
            await running.upstream.until(lambda: running.upstream.peers[0].lost)
            await client.round_trip()
            assert len(client.streams[stream].body) == before
            client.send(settings(window=60_000))
            assert b"message_stop" in (await client.answer(stream)).body

    run(test())


def test_many_long_answers_share_a_narrow_connection(run: Run) -> None:
    async def test() -> None:
        async with (
            gateway(*[hello(LONG)] * 20, options=HTTP2) as running,
            http2_client(running.url, window=WIDE) as client,
        ):
            streams = [client.post() for _ in range(20)]
            for stream in streams:
                assert (await client.answer(stream)).json()["content"][0]["text"] == LONG
            order = [one.stream for one in client.frames if one.kind == 0]
            turns = [stream for place, stream in enumerate(order) if place and stream != order[place - 1]]
            assert len(turns) > 2 * len(streams), "none had to wait for another's end"

    run(test())


def test_a_large_body_comes_in_through_its_window(run: Run) -> None:
    """Larger than the windows: it only goes on as the gateway takes what came."""

    async def test() -> None:
        async with gateway(hello(), options=HTTP2) as running, http2_client(running.url) as client:
            body = msgspec.json.encode(request(system="x" * 3_000_000))
            stream = client.head(good_head())
            sent = 0
            while sent < len(body):
                room = min(65_535 + client.allowed_bytes(0), 262_144 + client.allowed_bytes(stream), len(body)) - sent
                if room:
                    client.data(stream, body[sent : sent + room], end=sent + room == len(body))
                    sent += room
                else:
                    await client.round_trip()
            assert (await client.answer(stream)).status == 200
            assert len(running.asked()["messages"][0]["content"]) >= 3_000_000

    run(test())


def test_behind_an_early_refusal_a_body_is_thrown_away(run: Run) -> None:
    """The Python SDK's library reads no answer before it has sent everything."""

    async def test() -> None:
        async with gateway(hello(), options=HTTP2) as running, http2_client(running.url) as client:
            stream = client.head(good_head("POST", "/v1/nothing"))
            assert (await client.answer(stream)).status == 404
            for place in range(20):
                client.data(stream, bytes(100_000), end=place == 19)
                await client.until(lambda sent=place: client.allowed_bytes(stream) > 100_000 * (sent - 2))  # type: ignore[misc]
            assert client.streams[stream].reset is None
            assert (await client.answer(client.post())).status == 200

    run(test())


def test_a_stream_cannot_be_answered_after_its_reset(run: Run) -> None:
    """A reset and the answer cross each other."""

    async def test() -> None:
        async with gateway(*[hello()] * 20, options=HTTP2) as running, http2_client(running.url) as client:
            for _ in range(10):
                stream = client.post()
                client.send(rst(stream, CANCEL))
            assert (await client.answer(client.post())).status == 200

    run(test())
