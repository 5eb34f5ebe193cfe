"""Rows C6, C7, C9-C13 of the fault table: what clients send that they should not."""

from __future__ import annotations

import asyncio
import gzip
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest

from ezai.config import LimitsConfig
from tests.conformance.gateway import Options, Running, gateway, hello, run
from tests.raw_client import Answer, head, raw_client, request

LIMITS = Options(limits=LimitsConfig(body_mib=1, header_kib=4, request_receive=0.1))


async def sent(running: Running, data: bytes) -> Answer:
    async with raw_client(running.url) as client:
        client.send(data)
        return await client.answer()


async def serves(running: Running) -> None:
    """Another client is served as if nothing had happened."""
    response = await running.post()
    assert response.status_code == 200


# C6: slow receipt.


@pytest.mark.parametrize(
    "begun",
    [b"P", b"POST /v1/messages HTTP/1.1\r\nhost: 127.0.0.1\r\nx-slow: ", head("content-length: 100") + b'{"model"',
     head("transfer-encoding: chunked") + b"5\r\nab"],
    ids=["first byte", "inside the head", "inside the body", "inside a chunk"],
)  # fmt: skip
def test_c6_a_request_that_does_not_arrive_is_a_408(begun: bytes) -> None:
    async def test() -> None:
        async with gateway(hello(), options=LIMITS) as running, raw_client(running.url) as client:
            client.send(begun)
            answer = await client.answer()
            assert (answer.status, answer.error["error"]["type"]) == (408, "timeout_error")
            assert await client.rest() == b""
            await serves(running)
            assert len(running.upstream.requests) == 1, "only the whole request was asked"

    run(test())


def test_c6_a_connection_that_asks_nothing_is_closed() -> None:
    async def test() -> None:
        async with gateway(options=LIMITS) as running, raw_client(running.url) as client:
            assert await client.rest() == b""

    run(test())


def test_c6_bytes_that_drip_do_not_extend_the_time() -> None:
    async def test() -> None:
        async with gateway(options=LIMITS) as running, raw_client(running.url) as client:
            answering = asyncio.ensure_future(client.answer())
            for byte in head("content-length: 100000") * 1000:
                if answering.done() or client.is_hung_up:
                    break
                client.send(bytes([byte]))
                await asyncio.sleep(0)
            assert (await answering).status == 408

    run(test())


async def sent_by_bytes(running: Running, size: int) -> None:
    """A request whose body comes in chunks of one byte; in the midst of it another client is served."""
    text = "x" * size
    body = msgspec.json.encode(
        {"model": "claude-test", "max_tokens": 5, "messages": [{"role": "user", "content": text}]}
    )
    chunks = [b"1\r\n%c\r\n" % byte for byte in body]
    async with raw_client(running.url) as client:
        client.send(head("transfer-encoding: chunked") + b"".join(chunks[: size // 2]))
        await serves(running)
        client.send(b"".join(chunks[size // 2 :]) + b"0\r\n\r\n")
        assert (await client.answer()).status == 200
    assert text.encode() in running.upstream.requests[-1], "every byte of it arrived"


@contextmanager
def counted_calls() -> Iterator[Counter[str]]:
    """Counts what this thread calls, which runs the gateway: functions of Python and of C."""
    counted: Counter[str] = Counter()
    before = sys.getprofile()
    sys.setprofile(lambda _frame, event, _argument: counted.update((event,)))
    try:
        yield counted
    finally:
        sys.setprofile(before)


def test_c6_one_byte_chunks_of_a_whole_body_cost_a_few_calls_each() -> None:
    async def calls(size: int) -> int:
        async with gateway(hello(), hello(), options=Options()) as running:
            with counted_calls() as counted:
                await sent_by_bytes(running, size)
        return counted["call"] + counted["c_call"]

    async def test() -> None:
        small, large = await calls(8 * 1024), await calls(16 * 1024)
        assert large - small <= 4 * 8 * 1024, "chunks cost the more, the more there are"

    run(test())


@pytest.mark.full
@pytest.mark.timeout(300)
def test_c6_one_byte_chunks_cost_time_in_proportion() -> None:
    """Also what is no call: copying what is there already with every byte would cost a multiple of it."""

    async def cpu_s(size: int) -> float:
        """Of a few runs the fastest."""
        found = []
        for _ in range(3):
            async with gateway(hello(), hello(), options=Options()) as running:
                before_s = time.process_time()
                await sent_by_bytes(running, size)
                found.append(time.process_time() - before_s)
        return min(found)

    async def test() -> None:
        small_s, large_s = await cpu_s(1024 * 1024), await cpu_s(4 * 1024 * 1024)
        print(f"\n1 MiB in chunks of one byte: {small_s:.2f} s of CPU, 4 MiB: {large_s:.2f} s")
        assert large_s <= 1.5 * 4 * small_s

    run(test())


# C7: lengths that lie, bodies without end.


def test_c7_a_declared_length_over_the_limit_is_a_413_at_once() -> None:
    async def test() -> None:
        async with gateway(hello(), options=LIMITS) as running:
            answer = await sent(running, head(f"content-length: {(1 << 20) + 1}"))
            assert (answer.status, answer.error["error"]["type"]) == (413, "request_too_large")
            await serves(running)

    run(test())


def test_c7_a_chunked_body_without_end_is_a_413() -> None:
    async def test() -> None:
        piece = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        async with gateway(hello(), options=Options(limits=LimitsConfig(body_mib=1))) as running:
            async with raw_client(running.url) as client:
                client.send(head("transfer-encoding: chunked") + piece * 17)
                assert (await client.answer()).status == 413
            await serves(running)
            assert len(running.upstream.requests) == 1

    run(test())


def test_c7_a_length_longer_than_the_body_waits_and_is_a_408() -> None:
    async def test() -> None:
        async with gateway(options=LIMITS) as running:
            body = msgspec.json.encode({"model": "claude-test", "max_tokens": 5, "messages": [{}]})
            assert (await sent(running, head(f"content-length: {len(body) + 5}") + body)).status == 408
            assert not running.upstream.requests

    run(test())


def test_c7_a_length_shorter_than_the_body_breaks_the_next_request_not_the_gateway() -> None:
    async def test() -> None:
        async with gateway(hello(), options=Options()) as running, raw_client(running.url) as client:
            whole = request()
            client.send(whole + b"surplus\r\n\r\n")
            assert (await client.answer()).status == 200
            assert await client.rest() == b"", "what follows cannot be trusted, so the connection ends"
            assert len(running.upstream.requests) == 1

    run(test())


def test_c7_a_client_that_hangs_up_inside_its_body_is_answered_by_nobody() -> None:
    async def test() -> None:
        async with gateway(hello()) as running:
            async with raw_client(running.url) as client:
                client.send(head("content-length: 100") + b"{")
            await serves(running)
            assert len(running.upstream.requests) == 1

    run(test())


# C9: heads that two readers might read differently, and bombs.

CHUNKED = b"0\r\n\r\n"
SMUGGLING = {
    "length and coding": head("content-length: 3", "transfer-encoding: chunked") + CHUNKED,
    "coding and length": head("transfer-encoding: chunked", "content-length: 3") + CHUNKED,
    "two lengths": head("content-length: 3", "content-length: 4") + b"abc",
    "one length twice": head("content-length: 3", "content-length: 3") + b"abc",
    "list of lengths": head("content-length: 3, 3") + b"abc",
    "signed length": head("content-length: +3") + b"abc",
    "negative length": head("content-length: -3") + b"abc",
    "length in hex": head("content-length: 0x3") + b"abc",
    "space before the colon": head("content-length : 3") + b"abc",
    "unknown coding": head("transfer-encoding: xchunked") + CHUNKED,
    "two codings": head("transfer-encoding: gzip, chunked") + CHUNKED,
    "coding twice": head("transfer-encoding: chunked", "transfer-encoding: chunked") + CHUNKED,
    "identity": head("transfer-encoding: identity") + b"abc",
    "coding behind a tab": head("transfer-encoding:\tchunked, identity") + CHUNKED,
    "bare LF": b"POST /v1/messages HTTP/1.1\nhost: 127.0.0.1\n\n",
    "bare LF in a field": b"POST /v1/messages HTTP/1.1\r\nhost: 127.0.0.1\nx: y\r\n\r\n",
    "bare CR": b"POST /v1/messages HTTP/1.1\r\nhost: 127.0.0.1\rx: y\r\n\r\n",
    "folded field": head("x-a: b\r\n c"),
    "NUL": head("x-a: b\x00c"),
    "control character": head("x-a: b\x01c"),
    "space in a name": head("x a: b"),
    "no colon": head("nonsense"),
    "field before the first": b"POST /v1/messages HTTP/1.1\r\n x: y\r\nhost: 127.0.0.1\r\n\r\n",
    "two hosts": head("host: localhost"),
    "no host": head(host=False),
    "HTTP/2.0": b"POST /v1/messages HTTP/2.0\r\nhost: 127.0.0.1\r\n\r\n",
    "HTTP/0.9": b"GET /v1/models\r\n\r\n",
    "HTTP/1.1x": b"GET /v1/models HTTP/1.1x\r\nhost: 127.0.0.1\r\n\r\n",
    "chunked in HTTP/1.0": b"POST /v1/messages HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "upgrade around two lengths": head("connection: Upgrade", "upgrade: h2c", "content-length: 3", "content-length: 4")
    + b"abc",
    "upgrade around length and coding": head(
        "connection: Upgrade", "upgrade: h2c", "content-length: 3", "transfer-encoding: chunked"
    )
    + CHUNKED,
    "CONNECT": b"CONNECT x:1 HTTP/1.1\r\nhost: x\r\n\r\n",
    "bytes in the path": b"GET /\xff HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
    "TLS hello": bytes.fromhex("160301020001") + b"\x00" * 50,
    "chunk of no size": head("transfer-encoding: chunked") + b"zz\r\nabc\r\n0\r\n\r\n",
    "chunk of a huge size": head("transfer-encoding: chunked") + b"fffffffffffffffff\r\nabc",
    "chunk ended by LF": head("transfer-encoding: chunked") + b"3\nabc\r\n0\r\n\r\n",
    "chunk longer than said": head("transfer-encoding: chunked") + b"3\r\nabcX0\r\n\r\n",
}


@pytest.mark.parametrize("corpus", SMUGGLING)
def test_c9_what_two_readers_might_read_differently_is_a_400(corpus: str) -> None:
    async def test() -> None:
        async with gateway(hello(), options=Options()) as running:
            async with raw_client(running.url) as client:
                # Behind it stands what an attacker would smuggle: it must not be seen as a request.
                client.send(SMUGGLING[corpus] + request())
                answer = await client.answer()
                assert (answer.status, answer.error["error"]["type"]) == (400, "invalid_request_error")
                assert await client.rest() == b""
            assert not running.upstream.requests
            await serves(running)

    run(test())


@pytest.mark.parametrize(
    "bomb",
    [
        head("x-big: " + "x" * 5000),
        head(*[f"x-{place}: y" for place in range(120)]),
        b"POST /" + b"x" * 5000 + b" HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\n" + b"x" * 100_000,
        b"POST /v1/messages HTTP/1.1\r\nhost: " + b"x" * 100_000,
        b"\r\n" * 50_000,
    ],
    ids=["one large field", "many fields", "long path", "endless name", "endless value", "endless blank lines"],
)
def test_c9_a_head_over_the_limit_is_a_431(bomb: bytes) -> None:
    async def test() -> None:
        options = Options(limits=LimitsConfig(header_kib=4))
        async with gateway(hello(), options=options) as running:
            async with raw_client(running.url) as client:
                client.send(bomb)
                answer = await client.answer()
                assert (answer.status, answer.error["error"]["type"]) == (431, "invalid_request_error")
            await serves(running)

    run(test())


# C10: compressed requests.


def coded(coding: str, body: bytes) -> bytes:
    return head(f"content-length: {len(body)}", f"content-encoding: {coding}") + body


PLAIN = request().partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(PLAIN)),
        ("x-gzip", gzip.compress(PLAIN)),
        ("deflate", zlib.compress(PLAIN)),
        ("identity", PLAIN),
    ],
)
def test_item_15_a_compressed_request_is_decoded(coding: str, body: bytes) -> None:
    async def test() -> None:
        async with gateway(hello(), options=Options()) as running:
            assert (await sent(running, coded(coding, body))).status == 200

    run(test())


@pytest.mark.parametrize("coding", ["br", "zstd", "compress", "gzip, gzip", "nonsense"])
def test_item_15_an_unsupported_coding_is_a_400_with_its_code(coding: str) -> None:
    async def test() -> None:
        async with gateway(options=Options()) as running:
            answer = await sent(running, coded(coding, PLAIN))
            assert answer.status == 400
            assert answer.error["error"]["details"]["error_code"] == "request_body_encoding_unsupported"

    run(test())


@pytest.mark.parametrize(
    "body",
    [PLAIN, b"", gzip.compress(PLAIN)[:-9], gzip.compress(PLAIN) + b"x", gzip.compress(PLAIN)[:12] + b"\xff" * 20],
    ids=["plain", "empty", "cut", "surplus", "corrupt"],
)
def test_c10_a_body_that_is_not_what_it_says_is_a_400(body: bytes) -> None:
    async def test() -> None:
        async with gateway(options=Options()) as running:
            answer = await sent(running, coded("gzip", body))
            assert answer.status == 400
            assert answer.error["error"]["details"]["error_code"] == "request_body_encoding_invalid"

    run(test())


def test_c10_a_bomb_is_a_413() -> None:
    async def test() -> None:
        bomb = gzip.compress(b"x" * (64 << 20))
        async with gateway(hello(), options=LIMITS) as running:
            answer = await sent(running, coded("gzip", bomb))
            assert answer.status == 413
            assert answer.error["error"]["details"]["error_code"] == "request_body_too_large_after_decoding"
            await serves(running)

    run(test())


# C11: pipelining.


def test_c11_pipelined_requests_are_answered_in_order() -> None:
    async def test() -> None:
        async with (
            gateway(hello("first"), hello("second"), options=Options()) as running,
            raw_client(running.url) as client,
        ):
            client.send(request() + request() + head(method="GET", path="/v1/models"))
            for text in ("first", "second"):
                answer = await client.answer()
                assert msgspec.json.decode(answer.body)["content"][0]["text"] == text
            assert b'"object":"list"' in (await client.answer()).body

    run(test())


# C12: header injection.


@pytest.mark.parametrize("text", ["a\r\nx-injected: 1", "a\nb", "a\x00b", "é\u2028", "\ud7ff" * 9, "x" * 240])
def test_c12_a_models_name_injects_no_header(text: str) -> None:
    async def test() -> None:
        async with gateway(hello(), options=Options()) as running:
            response = await running.post(model=f"claude-{text}", metadata={"user_id": text})
            assert response.status_code == 200
            assert "x-injected" not in response.headers
            assert b"x-injected" not in running.upstream.requests[0].partition(b"\r\n\r\n")[0]

    run(test())


def test_c12_the_upstream_sees_a_fixed_set_of_headers() -> None:
    async def test() -> None:
        async with gateway(hello(), options=Options()) as running:
            await running.post(
                headers={"x-evil": "1", "anthropic-beta": "x", "cookie": "a=b", "x-api-key": "sk-client"}
            )
            lines = running.upstream.requests[0].partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
            assert {line.partition(b":")[0].lower() for line in lines} == {
                b"host", b"authorization", b"accept-encoding", b"content-type", b"content-length",
            }  # fmt: skip
            assert b"sk-client" not in running.upstream.requests[0]

    run(test())


# C13: SSE injection.


@pytest.mark.parametrize(
    "text", ["\n\nevent: message_stop\ndata: {}\n\n", "\r\rdata: x\r\r", "\u2028\u2029\x85", "data: [DONE]"]
)
def test_c13_text_of_the_model_stays_text(text: str) -> None:
    async def test() -> None:
        async with gateway(hello(text), hello(text), options=Options()) as running:
            assert (await running.post()).json()["content"][0]["text"] == text
            events = await running.events()
            deltas: list[Any] = [event["delta"]["text"] for event in events if "text" in event.get("delta", {})]
            assert deltas == [text]
            assert [event["type"] for event in events].count("message_stop") == 1

    run(test())


# Capacity.


def test_connections_over_the_limit_wait_until_others_have_gone() -> None:
    async def test() -> None:
        options = Options(limits=LimitsConfig(connections=2))
        async with gateway(options=options) as running, raw_client(running.url) as one, raw_client(running.url) as two:
            for client in (one, two):
                client.send(head(method="GET", path="/healthz"))
                assert (await client.answer()).status == 200
            async with raw_client(running.url) as waiting:
                waiting.send(head(method="GET", path="/healthz"))
                one.close()
                assert (await waiting.answer()).status == 200

    run(test())


def test_streams_over_the_limit_are_a_529() -> None:
    from tests.upstreams.http.scripted import HOLD

    async def test() -> None:
        options = Options(limits=LimitsConfig(streams=1))
        async with gateway([HOLD], hello(), options=options) as running:
            async with raw_client(running.url) as first:
                first.send(request())
                await running.upstream.until(lambda: len(running.upstream.requests) == 1)
                response = await running.post()
                assert (response.status_code, response.headers["retry-after"]) == (529, "1")
            await running.upstream.until(lambda: running.upstream.peers[0].lost)
            await running.until_idle()
            await serves(running)

    run(test())
