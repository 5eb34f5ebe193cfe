"""Requests that are answered before their bodies have come, and those that the edge refuses: one answer, told once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from ezai.app import Embedded, Gateway
from ezai.config import Config, EmbeddedUpstream, LimitsConfig, RouteConfig, ServerConfig, TargetConfig
from ezai.models.reference import LocalModel
from ezai.policy.keys import Credentials, VirtualKey
from ezai.server.edge_settings import HEAD_RECEIPT_S
from ezai.server.lingering import MOST_S, QUIET_S, SHORT_QUIET_S, Lingering
from ezai.system import SystemClock
from ezai.upstreams.embedded import EmbeddedEndpoint
from tests.conformance.gateway import STREAM, hello, serving
from tests.pipeline.fakes import DONE, FakeKeys, FakeLedger, chunk
from tests.raw_client import Answer, RawClient, head, raw_client, request
from tests.server.http2.client import DATA, HEADERS, PROTOCOL_ERROR, frame, good_head, http2_client, window_update
from tests.server.test_edge import LOOPS, UNARY, Run, in_loop
from tests.server.test_listener import served
from tests.server.test_slow_readers import HandClock
from tests.upstreams.http.fakes import FakeTransport
from tests.upstreams.http.scripted import EOF, HOLD, Script, ScriptedServer, scripted_server

RECEIPT_S = 20
MIB = 1024 * 1024
GET = head(method="GET", path="/healthz")


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Run:
    return in_loop(LOOPS[request.param])


class Told(logging.Handler):
    """Status and cause of every request that the log tells of, by its id."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[tuple[str, int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        fields = record.__dict__["fields"]
        self.requests.append((fields["request_id"], fields["status"], fields["cause"]))


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Iterator[Told]:
    handler, logger = Told(), logging.getLogger("ezai.requests")
    with caplog.at_level(logging.INFO, "ezai.requests"):
        logger.addHandler(handler)
        yield handler
        logger.removeHandler(handler)


@dataclass
class Scene:
    """A gateway whose clock ticks when it is told to."""

    url: str
    gateway: Gateway
    upstream: ScriptedServer
    clock: HandClock

    def connected(self) -> AbstractAsyncContextManager[RawClient]:
        return raw_client(self.url)

    async def passes(self, seconds: float) -> None:
        """Time, once what was sent so far has been read: before what somebody else asks after it."""
        async with self.connected() as other:
            other.send(GET)
            assert (await other.answer()).status == 200
        self.clock.advance(seconds)

    def counted(self, cause: str, status: int) -> int:
        line = f'ezai_requests_total{{cause="{cause}",status="{status}",upstream="none"}} '
        lines = self.gateway.metrics.render().decode().splitlines()
        return sum(int(float(one.removeprefix(line))) for one in lines if one.startswith(line))


@asynccontextmanager
async def scene(*scripts: Script, keys: FakeKeys | None = None, **limits: Any) -> AsyncIterator[Scene]:
    clock = HandClock()
    async with scripted_server(*scripts) as upstream:
        config = Config(
            server=ServerConfig(http2=True),
            limits=LimitsConfig(**{"body_mib": 1, "header_kib": 4, "request_receive": RECEIPT_S, **limits}),
            upstreams=[EmbeddedUpstream(name="up")],
            routes=[RouteConfig(model="*", targets=[TargetConfig(upstream="up")])],
        )
        child = Embedded(
            LocalModel(Path("unused"), None, None), "up", 8192, lambda: EmbeddedEndpoint(upstream.url, "k")
        )
        ticks = cast("SystemClock", clock)
        async with serving(config, keys or FakeKeys(), FakeLedger(), ticks, child) as served:
            yield Scene(served.url, served.gateway, upstream, clock)


def failures(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the gateway took for a defect, such as writing behind the end."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


async def answered_once(talk: Scene, client: RawClient, answer: Answer, told: Told) -> None:
    """Nothing follows the answer but the end of the connection, and it was told once."""
    assert await client.rest() == b""
    talk.clock.advance(0.25)
    assert told.requests == [(answer.headers["request-id"], answer.status, code(answer))]


def code(answer: Answer) -> str:
    found: str = answer.error["error"]["details"]["error_code"]
    return found


# Answered early.

LENGTH = "content-length: 5000"
CHUNKED = "transfer-encoding: chunked"
EARLY = {
    "401": (401, head(LENGTH), {"keys": FakeKeys(**{"sk-one": "one"})}),
    "403": (403, head(LENGTH, "host: evil.com", host=False), {}),
    "404": (404, head(LENGTH, path="/nope"), {}),
    "404 chunked": (404, head(CHUNKED, path="/nope"), {}),
    "405": (405, head(LENGTH, path="/v1/models"), {}),
}
early = pytest.mark.parametrize(("status", "asked", "options"), EARLY.values(), ids=EARLY)


@early
def test_a_body_that_never_comes_gets_no_second_answer(
    status: int, asked: bytes, options: dict[str, Any], run: Run, told: Told
) -> None:
    async def test() -> None:
        async with scene(**options) as talk, talk.connected() as client:
            client.send(asked)
            answer = await client.answer()
            assert answer.status == status
            talk.clock.advance(RECEIPT_S - 1)
            await talk.passes(1)
            await answered_once(talk, client, answer, told)

    run(test())


@early
def test_behind_a_body_that_comes_late_the_connection_serves_on(
    status: int, asked: bytes, options: dict[str, Any], run: Run
) -> None:
    """As it is with the SDKs: a large request with a wrong key is refused while it is still being sent."""

    async def test() -> None:
        async with scene(**options) as talk, talk.connected() as client:
            client.send(asked)
            answer = await client.answer()
            assert (answer.status, "connection" in answer.headers) == (status, False)
            await talk.passes(RECEIPT_S - 1)
            body = b"x" * 5000
            client.send((b"1388\r\n%b\r\n0\r\n\r\n" % body if CHUNKED.encode() in asked else body) + GET)
            assert (await client.answer()).status == 200
            talk.clock.advance(RECEIPT_S)  # no request waits any more
            client.send(GET)
            assert (await client.answer()).status == 200

    run(test())


def test_a_rest_that_is_no_http_gets_no_second_answer(run: Run, told: Told) -> None:
    async def test() -> None:
        async with scene() as talk, talk.connected() as client:
            client.send(head(CHUNKED, path="/nope"))
            answer = await client.answer()
            client.send(b"5\r\nabcde\r\nno size\r\n")
            await answered_once(talk, client, answer, told)

    run(test())


def test_a_rest_without_end_is_not_read_for_ever(run: Run, told: Told) -> None:
    async def test() -> None:
        async with scene() as talk, talk.connected() as client:
            client.send(head(CHUNKED, path="/nope"))
            answer = await client.answer()
            for _ in range(2 * 16):
                await client.sent(b"fff8\r\n%b\r\n" % bytes(0xFFF8))  # 64 KiB
            await talk.passes(1)
            assert not client.is_hung_up
            await client.sent(b"fff8\r\n%b\r\n" % bytes(0xFFF8))
            await answered_once(talk, client, answer, told)

    run(test())


def test_what_follows_an_answered_request_is_refused_as_its_own(run: Run, told: Told) -> None:
    async def test() -> None:
        async with scene() as talk, talk.connected() as client:
            client.send(head(LENGTH, path="/nope"))
            first = await client.answer()
            client.send(bytes(5000) + head(LENGTH, "content-length: 1"))
            second = await client.answer()
            assert await client.rest() == b""
            talk.clock.advance(0.25)
            answers = {404: first, 400: second}
            assert told.requests == [
                (each.headers["request-id"], status, code(each)) for status, each in answers.items()
            ]

    run(test())


# Answered for the last time.

TOO_LARGE = {
    "declared": head(f"content-length: {MIB + 1}"),
    "chunked": head(CHUNKED) + b"200000\r\n" + bytes(MIB + 1),
    "declared, and held back": head(f"content-length: {MIB + 1}", "expect: 100-continue"),
}


@pytest.mark.parametrize("asked", TOO_LARGE.values(), ids=TOO_LARGE)
def test_a_413_is_the_last_answer(asked: bytes, run: Run, told: Told) -> None:
    async def test() -> None:
        async with scene() as talk, talk.connected() as client:
            client.send(asked)
            answer = await client.answer()
            assert (answer.status, answer.headers["connection"]) == (413, "close")
            client.send(GET)
            await answered_once(talk, client, answer, told)

    run(test())


def test_who_waits_for_permission_and_is_refused_is_told_that_the_connection_ends(run: Run, told: Told) -> None:
    """Such a client need not send its body any more, and then nobody knows where its next request would begin."""

    async def test() -> None:
        async with scene() as talk, talk.connected() as client:
            client.send(head(LENGTH, "expect: 100-continue", path="/nope"))
            answer = await client.answer()
            assert (answer.status, answer.headers["connection"]) == (404, "close")
            await answered_once(talk, client, answer, told)

    run(test())


def test_who_was_permitted_to_send_its_body_keeps_its_connection(run: Run) -> None:
    async def test() -> None:
        async with scene() as talk, talk.connected() as client:
            client.send(head("content-length: 2", "expect: 100-continue"))
            assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            client.send(b"{}")
            answer = await client.answer()
            assert (answer.status, "connection" in answer.headers) == (400, False)
            client.send(GET)
            assert (await client.answer()).status == 200

    run(test())


ENDS = {
    "413": (head(f"content-length: {2 * MIB}"), 413),
    "a last answer that is early": (head(f"content-length: {2 * MIB}", "connection: close", path="/nope"), 404),
    "HTTP/1.0": (head(f"content-length: {2 * MIB}", path="/nope").replace(b"HTTP/1.1", b"HTTP/1.0"), 404),
    "400": (head(LENGTH, "content-length: 1"), 400),
    "431": (head("x: " + "x" * 5000), 431),
}


@pytest.mark.parametrize(("asked", "status"), ENDS.values(), ids=ENDS)
def test_who_sends_on_can_still_read_its_last_answer(asked: bytes, status: int, run: Run) -> None:
    """A connection that is closed with something unread is reset, and the answer with it."""

    async def test() -> None:
        async with scene() as talk, talk.connected() as client:
            client.stop_reading()
            client.send(asked)
            for _ in range(2 * 16):
                await client.sent(bytes(60_000))
                await talk.passes(0.25)
            assert not client.transport.is_closing()
            client.read_again()
            assert (await client.answer()).status == status
            assert await client.rest() == b""

    run(test())


def test_behind_a_last_answer_a_request_that_has_begun_is_not_answered(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        async with served(hello()) as one, one.connected() as client:
            client.send(GET)
            await client.answer()
            one.listener.retire(60)
            client.send(UNARY + head(LENGTH, path="/nope") + b"x")
            answer = await client.answer()
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            client.send(bytes(4999))
            assert await client.rest() == b""
        assert failures(caplog) == []

    run(test())


class HeldKeys(FakeKeys):
    """Somebody is asking for a key, and gets no answer until it is let go; then there is none."""

    def __init__(self) -> None:
        super().__init__(**{"sk-one": "one"})
        self.asked, self.go = asyncio.Event(), asyncio.Event()

    async def find(self, credentials: Credentials) -> Sequence[VirtualKey]:
        self.asked.set()
        await self.go.wait()
        return ()


def test_a_request_that_was_refused_while_its_key_was_sought_is_not_refused_again(
    run: Run, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        keys = HeldKeys()
        async with scene(keys=keys) as talk, talk.connected() as client:
            client.send(head(CHUNKED))
            await keys.asked.wait()
            client.send(b"no size\r\n")
            answer = await client.answer()
            assert answer.status == 400
            keys.go.set()
            await talk.passes(0)
            await answered_once(talk, client, answer, told)
        assert failures(caplog) == []

    run(test())


def test_a_last_answer_holds_its_place_for_a_bounded_time(run: Run) -> None:
    async def test() -> None:
        async with scene(connections=1) as talk, talk.connected() as client:
            client.send(head(f"content-length: {2 * MIB}"))
            assert (await client.answer()).status == 413
            async with talk.connected() as waiting:
                waiting.send(GET)
                talk.clock.advance(QUIET_S)
                assert (await waiting.answer()).status == 200

    run(test())


class OneWay(FakeTransport):
    """A connection that can be ended in one direction."""

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.calls.append("eof")

    def close(self) -> None:
        self.calls.append("close")

    def abort(self) -> None:
        self.calls.append("abort")


class BothWays(OneWay):
    """As under TLS."""

    def can_write_eof(self) -> bool:
        return False


@pytest.mark.parametrize(
    ("transport", "said", "ends"), [(OneWay(), ["eof"], "close"), (BothWays(), [], "abort")], ids=["TCP", "TLS"]
)
def test_lingering_ends_after_silence(transport: OneWay, said: list[str], ends: str) -> None:
    lingering = Lingering(transport, 1000, 50)
    lingering.check(50 + QUIET_S - 1)
    lingering.take(1)
    lingering.check(50 + QUIET_S)
    lingering.check(50 + 2 * QUIET_S - 1)
    assert transport.calls == said
    lingering.check(50 + 2 * QUIET_S)
    assert transport.calls == [*said, ends]


def test_lingering_ends_sooner_while_others_wait() -> None:
    transport = OneWay()
    lingering = Lingering(transport, 1000, 50)
    lingering.check(50 + SHORT_QUIET_S, is_wanted=False)
    assert transport.calls == ["eof"]
    lingering.check(50 + SHORT_QUIET_S, is_wanted=True)
    assert transport.calls == ["eof", "close"]


def test_lingering_ends_after_some_time_however_much_comes() -> None:
    transport = OneWay()
    lingering = Lingering(transport, 1000, 50)
    for second in range(int(MOST_S)):
        lingering.take(1)
        lingering.check(50 + second)
    assert transport.calls == ["eof"]
    lingering.take(1)
    lingering.check(50 + MOST_S)
    assert transport.calls == ["eof", "close"]


def test_lingering_ends_after_some_bytes() -> None:
    transport = OneWay()
    lingering = Lingering(transport, 1000, 50)
    lingering.take(1000)
    assert transport.calls == ["eof"]
    lingering.take(1)
    assert transport.calls == ["eof", "close"]


# Told to whoever watches.

REFUSED = {
    "bad HTTP": (b"FOO BAR\r\n\r\n", 400, "invalid_request"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "invalid_request"),
    "two lengths": (head(LENGTH, CHUNKED), 400, "invalid_request"),
    "two hosts": (head("host: a", "host: b"), 400, "invalid_request"),
    "bad chunk": (head(CHUNKED) + b"no size\r\n", 400, "invalid_request"),
    "many fields": (head(*[f"x-{place}: y" for place in range(120)]), 431, "headers_too_large"),
    "large field": (head("x: " + "x" * 5000), 431, "headers_too_large"),
}
SLOW = {
    "one byte": b"P",
    "half a head": b"POST /v1/messages HTTP/1.1\r\nhost: 1",
    "half an opening": b"PRI * HTTP/2.0\r\n",
    "half a body": head("content-length: 50") + b'{"a"',
    "half a chunk": head(CHUNKED) + b"5\r\nab",
}


@pytest.mark.parametrize(("asked", "status", "cause"), REFUSED.values(), ids=REFUSED)
def test_a_refusal_of_the_edge_is_told(asked: bytes, status: int, cause: str, run: Run, told: Told) -> None:
    async def test() -> None:
        async with scene() as talk, talk.connected() as client:
            client.send(asked)
            answer = await client.answer()
            assert (answer.status, code(answer), answer.headers["connection"]) == (status, cause, "close")
            await answered_once(talk, client, answer, told)
            assert talk.counted(cause, status) == 1

    run(test())


@pytest.mark.parametrize("begun", SLOW.values(), ids=SLOW)
def test_a_request_that_does_not_arrive_is_told(begun: bytes, run: Run, told: Told) -> None:
    async def test() -> None:
        async with scene() as talk, talk.connected() as client:
            client.send(begun)
            await talk.passes(RECEIPT_S)
            answer = await client.answer()
            assert (answer.status, code(answer)) == (408, "request_receipt_timeout")
            await answered_once(talk, client, answer, told)
            assert talk.counted("request_receipt_timeout", 408) == 1

    run(test())


def test_whoever_says_nothing_or_leaves_is_not_told_of(run: Run, told: Told) -> None:
    async def test() -> None:
        async with scene(hello()) as talk, talk.connected() as silent, talk.connected() as idle:
            idle.send(request())
            answer = await idle.answer()
            async with talk.connected() as leaving:
                leaving.send(b"POST /v1")
            await talk.passes(100)
            assert await silent.rest() == await idle.rest() == b""
            talk.clock.advance(0.25)
            assert told.requests == [(answer.headers["request-id"], 200, "finished")]

    run(test())


def test_garbage_behind_a_request_that_is_being_answered_is_not_told_of(run: Run, told: Told) -> None:
    async def test() -> None:
        async with scene(hello()) as talk, talk.connected() as client:
            client.send(request() + b"FOO BAR\r\n\r\n")
            answer = await client.answer()
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert await client.rest() == b""
            talk.clock.advance(0.25)
            assert told.requests == [(answer.headers["request-id"], 200, "finished")]

    run(test())


def test_a_request_that_does_not_arrive_costs_the_stream_before_it_nothing(run: Run, told: Told) -> None:
    async def test() -> None:
        script: Script = [STREAM, chunk("a"), HOLD, chunk("b"), chunk(finish="stop"), DONE, EOF]
        async with scene(script) as talk, talk.connected() as client:
            client.send(request(stream=True))
            await client.until(b'"text":"a"')
            client.send(b"POST /v1/messages HTTP/1.1\r\nhost: 1")
            await talk.passes(HEAD_RECEIPT_S)
            talk.upstream.peers[0].go()
            assert (await client.rest()).endswith(b"\r\n0\r\n\r\n")
            talk.clock.advance(0.25)
            assert [cause for _, _, cause in told.requests] == ["finished"]

    run(test())


# HTTP/2.


@pytest.mark.parametrize(
    ("more", "status", "cause"),
    [([(b"x", b"x" * 5000)], 431, "headers_too_large"), ([(b"content-length", b"x")], 400, "invalid_request")],
    ids=["431", "400"],
)
def test_a_refused_stream_is_told(
    more: list[tuple[bytes, bytes]], status: int, cause: str, run: Run, told: Told
) -> None:
    async def test() -> None:
        async with scene() as talk, http2_client(talk.url) as client:
            answer = await client.answer(client.head(good_head("POST", "/v1/messages", *more), end=True))
            assert answer.status == status
            talk.clock.advance(0.25)
            assert told.requests == [(answer.fields["request-id"], status, cause)]
            assert talk.counted(cause, status) == 1

    run(test())


@pytest.mark.parametrize("fields", [good_head(), good_head("POST", "/nope"), [*good_head(), (b"Bad", b"")]])
@pytest.mark.parametrize("window", [0, 65_535])
def test_a_stream_whose_body_does_not_come_is_answered_once(
    window: int, fields: list[tuple[bytes, bytes]], run: Run, told: Told
) -> None:
    """Also one whose answer waits for a window, which is still the whole answer."""

    async def test() -> None:
        async with scene() as talk, http2_client(talk.url, window=window, opens_windows=False) as client:
            client.get("/healthz")  # else the connection has asked nothing good, and ends sooner
            stream = client.head(fields)
            await client.round_trip()
            for _ in range(4):
                talk.clock.advance(RECEIPT_S / 4)
                await client.round_trip()
            for _ in range(3):
                talk.clock.advance(0.25)
                await client.round_trip()
            assert sum((one.kind, one.stream) == (HEADERS, stream) for one in client.frames) == 1
            received = client.streams[stream]
            assert [(status, name) for name, status, _ in told.requests] == [
                (received.status, received.fields["request-id"])
            ]

    run(test())


@pytest.mark.parametrize("fields", [good_head("POST", "/nope"), [*good_head(), (b"Bad", b"")]], ids=["404", "400"])
def test_what_comes_behind_an_answer_that_waits_for_a_window_gets_no_second_one(
    fields: list[tuple[bytes, bytes]], run: Run, told: Told
) -> None:
    async def test() -> None:
        async with scene() as talk, http2_client(talk.url, window=0, opens_windows=False) as client:
            stream = client.head([*fields, (b"content-length", b"3")])
            await client.until(lambda: stream in client.streams)
            client.data(stream, b"longer than that")
            client.head([(b"x", b"neither body nor trailers")], stream=stream)
            await client.round_trip()
            client.send(window_update(stream, 10_000))
            answer = await client.answer(stream)
            talk.clock.advance(0.25)
            assert told.requests == [
                (answer.fields["request-id"], answer.status, answer.error["details"]["error_code"])
            ]
            assert sum((one.kind, one.stream) == (HEADERS, stream) for one in client.frames) == 1

    run(test())


def test_a_connection_that_is_ended_is_no_request(run: Run, told: Told) -> None:
    async def test() -> None:
        async with scene() as talk, http2_client(talk.url) as client:
            client.send(frame(DATA, 0, 1, b"of a stream that was never opened"))
            await client.until(lambda: client.goaway == (0, PROTOCOL_ERROR))
            talk.clock.advance(0.25)
            assert told.requests == []

    run(test())
