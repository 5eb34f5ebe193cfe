"""The HTTP/1.1 edge, spoken to byte by byte, on both event loops."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec
import pytest
import uvloop

from ezai.server.edge import EdgeProtocol
from tests.canary import CLIENT_KEY
from tests.conformance.gateway import STREAM, Options, Running, as_json, decoded, gateway, hello, request
from tests.pipeline.fakes import DONE, FakeKeys, chunk, usage_chunk
from tests.raw_client import LEAVES, Answer, RawClient, raw_client
from tests.upstreams.http.scripted import EOF, HOLD, Script, until

Run = Callable[[Coroutine[Any, Any, None]], None]

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


def in_loop(factory: Callable[[], asyncio.AbstractEventLoop]) -> Run:
    """What runs a test's coroutine in such a loop; it leaves no task, and what it waits for comes within seconds."""

    def run_it(main: Coroutine[Any, Any, None]) -> None:
        async def watched() -> None:
            async with asyncio.timeout(5):
                await main
            assert asyncio.all_tasks() == {asyncio.current_task()}

        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(watched())

    return run_it


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Run:
    return in_loop(LOOPS[request.param])


# The client's side.

SHOWN = f"authorization: Bearer {CLIENT_KEY}\r\n"
"""On every request, whether or not the gateway wants a key."""


def connected(running: Running) -> AbstractAsyncContextManager[RawClient]:
    """A client of the gateway, gone at the end of the block."""
    return raw_client(running.url)


def post(path: str = "/v1/messages", *, more: str = "", **fields: Any) -> bytes:
    """The bytes of a good request."""
    return whole("POST", path, msgspec.json.encode(request(**fields)), more)


def get(path: str, method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nhost: localhost\r\n{SHOWN}\r\n".encode()


def whole(method: str, path: str, body: bytes, more: str = "") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nhost: localhost\r\n{SHOWN}content-type: application/json\r\n{more}"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


STREAMED = post(stream=True)
UNARY = post()
COUNTED = post("/v1/messages/count_tokens", max_tokens=...)


class Settlements(logging.Handler):
    """The causes of the requests that ended after an upstream was asked, off the log."""

    def __init__(self) -> None:
        super().__init__()
        self._causes: asyncio.Queue[str] = asyncio.Queue()

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage() == "request ended" and record.__dict__["fields"]["upstream"]:
            self._causes.put_nowait(record.__dict__["fields"]["cause"])

    async def next(self) -> str:
        return await self._causes.get()

    def all(self) -> list[str]:
        """Those that nobody has asked for yet."""
        return [self._causes.get_nowait() for _ in range(self._causes.qsize())]


@pytest.fixture
def settled(caplog: pytest.LogCaptureFixture) -> Iterator[Settlements]:
    handler, logger = Settlements(), logging.getLogger("ezai.requests")
    with caplog.at_level(logging.INFO, "ezai.requests"):
        logger.addHandler(handler)
        yield handler
        logger.removeHandler(handler)


def holds_our_shape(answer: Answer) -> None:
    """JSON, and a request id that the body of an error repeats."""
    assert answer.headers["content-type"] == "application/json"
    assert re.fullmatch("req_[0-9A-Za-z]{24}", answer.headers["request-id"])
    if answer.status >= 400:
        assert answer.json()["type"] == "error"
        assert answer.json()["request_id"] == answer.headers["request-id"]


# What is not HTTP.

GARBAGE = [
    b"garbage\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS client
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET /\xff HTTP/1.1\r\nhost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: localhost\r\nx: \x00\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: localhost\r\nx: a\n b\r\n\r\n",
    b"CONNECT localhost:80 HTTP/1.1\r\nhost: localhost\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: x\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: xchunked\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding : chunked\r\n\r\n",
]


@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_is_answered_with_one_400_and_the_end(garbage: bytes, run: Run) -> None:
    async def test() -> None:
        async with gateway() as running, connected(running) as client:
            client.send(garbage)
            answer = await client.answer()
            holds_our_shape(answer)
            assert (answer.status, answer.headers["connection"]) == (400, "close")
            assert answer.json()["error"]["type"] == "invalid_request_error"
            assert await client.rest() == b""

    run(test())


def test_a_body_that_is_no_chunked_body(run: Run, settled: Settlements) -> None:
    async def test() -> None:
        async with gateway() as running, connected(running) as client:
            head = "POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            client.send(head.encode() + b"transfer-encoding: chunked\r\n\r\nnot hex\r\n")
            answer = await client.answer()
            holds_our_shape(answer)
            assert answer.status == 400
            assert await client.rest() == b""
        assert running.upstream.requests == []
        assert settled.all() == []

    run(test())


def test_garbage_after_a_request_does_not_spoil_its_answer_on_a_fresh_connection(run: Run) -> None:
    async def test() -> None:
        async with gateway(hello()) as running:
            async with connected(running) as client:
                client.send(GARBAGE[0])
                await client.rest()
            async with connected(running) as client:
                client.send(UNARY)
                assert (await client.answer()).status == 200

    run(test())


@pytest.mark.parametrize("between", [b"", UNARY, STREAMED], ids=["garbage", "unary+garbage", "stream+garbage"])
def test_the_head_is_never_sent_twice(between: bytes, run: Run, settled: Settlements) -> None:
    """Inside an answer there is no place for another, whatever comes behind its request."""

    async def test() -> None:
        script: Script = [STREAM + chunk("a"), HOLD, chunk("b") + chunk(finish="stop") + DONE, EOF]
        async with gateway(script, hello(), hello()) as running, connected(running) as client:
            client.send(STREAMED)
            await client.until(b'"a"}}\n\n\r\n')
            await client.sent(between + GARBAGE[0])
            async with connected(running) as other:  # a whole answer's time later ...
                other.send(get("/healthz"))
                await other.answer()
            running.upstream.peers[0].go()
            first = await client.until(b"\r\n0\r\n\r\n")  # ... the answer that ran goes on as if nothing had come
            assert b"message_stop" in first
            assert b"HTTP/1.1" not in first
            assert await settled.next() == "finished"
            assert b"HTTP/1.1 400" not in await client.rest()  # it would be taken for the answer to a good request

    run(test())


# One connection, several requests.


def test_a_connection_is_used_again(run: Run) -> None:
    async def test() -> None:
        async with gateway(hello("1"), hello("2")) as running, connected(running) as client:
            for asked in (get("/healthz"), UNARY, STREAMED, get("/v1/nothing"), get("/healthz")):
                client.send(asked)
                answer = await client.answer()
                assert "connection" not in answer.headers
                assert answer.status == (404 if b"nothing" in asked else 200)

    run(test())


def test_pipelined_requests_are_answered_in_order(run: Run) -> None:
    async def test() -> None:
        script: Script = [STREAM + chunk("1"), HOLD, chunk(finish="stop") + DONE, EOF]
        async with gateway(script, hello("2")) as running, connected(running) as client:
            client.send(STREAMED + UNARY + get("/healthz"))
            await running.upstream.until(lambda: len(running.upstream.requests) == 1)
            running.upstream.peers[0].go()
            first = decoded((await client.answer()).body)
            assert first[2]["delta"]["text"] == "1"
            assert first[-1]["type"] == "message_stop"
            assert (await client.answer()).json()["content"] == [{"type": "text", "text": "2"}]
            assert (await client.answer()).json() == {"status": "ok"}

    run(test())


def test_a_second_request_waits_for_the_first_answers_end(run: Run) -> None:
    async def test() -> None:
        script: Script = [STREAM + chunk("1"), HOLD, chunk(finish="stop") + DONE, EOF]
        async with gateway(script, hello("2")) as running, connected(running) as client:
            client.send(STREAMED)
            await client.until(b'"1"}}\n\n\r\n')
            client.send(UNARY)
            async with connected(running) as other:  # a whole answer's time later ...
                other.send(get("/healthz"))
                await other.answer()
            assert len(running.upstream.requests) == 1  # ... it was not asked yet
            running.upstream.peers[0].go()
            await client.until(b"0\r\n\r\n")
            assert (await client.answer()).status == 200

    run(test())


@pytest.mark.parametrize("more", ["connection: close\r\n", ""])
def test_a_connection_is_closed_when_it_is_asked_for(more: str, run: Run) -> None:
    async def test() -> None:
        asked = post(more=more)
        if not more:
            asked = asked.replace(b"HTTP/1.1", b"HTTP/1.0")
        async with gateway(hello()) as running, connected(running) as client:
            client.send(asked)
            answer = await client.answer()
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert await client.rest() == b""

    run(test())


OFFERS = {
    "h2c": "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n",
    "websocket": "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n",
    "several": "upgrade: h2c\r\nconnection: upgrade\r\nupgrade: TLS/1.0, x\r\n",
}
"""`curl --http2` and Java's client offer the first with every request."""

offered = pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)


def chunked(body: bytes, more: str) -> bytes:
    """A good request whose body comes in chunks of ten bytes."""
    head, _, _ = post(more=more + "transfer-encoding: chunked\r\n").rpartition(b"content-length")
    pieces = [body[at : at + 10] for at in range(0, len(body), 10)]
    return head + b"\r\n" + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in [*pieces, b""])


@offered
@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunked"])
def test_an_offer_of_an_upgrade_is_not_taken_and_its_request_served(offer: str, is_chunked: bool, run: Run) -> None:
    """RFC 9110 section 7.8. What stands behind it is the next request, as if there had been no offer."""

    async def test() -> None:
        body = UNARY.partition(b"\r\n\r\n")[2]
        asked = chunked(body, offer) if is_chunked else post(more=offer)
        async with gateway(hello("1"), hello("2"), hello("3")) as running, connected(running) as client:
            client.send(asked + asked + get("/healthz"))
            for text in ("1", "2"):
                answer = await client.answer()
                assert (answer.status, answer.json()["content"][0]["text"]) == (200, text)
                assert "upgrade" not in answer.headers
            assert (await client.answer()).json() == {"status": "ok"}
            client.send(UNARY)
            assert (await client.answer()).status == 200

    run(test())


@offered
def test_an_offer_of_an_upgrade_may_come_byte_by_byte(offer: str, run: Run) -> None:
    async def test() -> None:
        async with gateway(hello()) as running, connected(running) as client:
            for byte in post(more=offer):
                client.send(bytes([byte]))
                await asyncio.sleep(0)
            assert (await client.answer()).status == 200
            assert len(running.upstream.requests) == 1

    run(test())


@offered
def test_a_request_without_a_body_that_offers_an_upgrade(offer: str, run: Run) -> None:
    async def test() -> None:
        async with gateway() as running, connected(running) as client:
            asked = get("/healthz").replace(b"\r\n\r\n", b"\r\n" + offer.encode() + b"\r\n")
            client.send(asked + asked.replace(b"GET", b"HEAD") + get("/readyz"))
            assert (await client.answer()).json() == {"status": "ok"}
            assert (await client.answer(to_head=True)).status == 200
            assert (await client.answer()).json() == {"status": "ready"}

    run(test())


def test_thousands_of_offers_in_one_read_are_all_declined(run: Run) -> None:
    async def test() -> None:
        asked = b"GET / HTTP/1.1\r\nhost: localhost\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"
        async with gateway() as running, connected(running) as client:
            client.send(asked * 3000)
            for _ in range(3000):
                assert (await client.answer()).status == 200

    run(test())


def test_a_client_that_offers_an_upgrade_and_waits_for_permission_to_send_its_body_gets_it(run: Run) -> None:
    async def test() -> None:
        async with gateway(hello()) as running, connected(running) as client:
            head, _, body = post(more=OFFERS["h2c"] + "expect: 100-continue\r\n").partition(b"\r\n\r\n")
            client.send(head + b"\r\n\r\n")
            assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            client.send(body)
            assert (await client.answer()).status == 200

    run(test())


def test_a_client_that_waits_for_permission_to_send_its_body_gets_it(run: Run) -> None:
    async def test() -> None:
        async with gateway(hello()) as running, connected(running) as client:
            head, _, body = post(more="expect: 100-continue\r\n").partition(b"\r\n\r\n")
            client.send(head + b"\r\n\r\n")
            assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            client.send(body)
            assert (await client.answer()).status == 200

    run(test())


def test_a_client_without_a_key_is_refused_before_it_sends_its_body(run: Run) -> None:
    async def test() -> None:
        options = Options(keys=FakeKeys(**{"sk-one": "one"}))
        async with gateway(options=options) as running, connected(running) as client:
            head, _, _ = post(more="expect: 100-continue\r\n").partition(b"\r\n\r\n")
            client.send(head + b"\r\n\r\n")
            assert (await client.answer()).status == 401

    run(test())


@pytest.mark.parametrize("path", ["/api/hello", "/healthz", "/readyz", "/v1/models", "/v1/models/small"])
def test_head_is_get_without_a_body(path: str, run: Run) -> None:
    async def test() -> None:
        async with gateway() as running, connected(running) as client:
            client.send(get(path, "HEAD"))
            head = await client.answer(to_head=True)
            client.send(get(path))
            answer = await client.answer()  # had a body come before, this would be no answer
            assert head.status == answer.status == 200
            assert head.headers["content-length"] == answer.headers["content-length"] == str(len(answer.body))

    run(test())


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/nothing", "/v1/models/nothing"])
def test_head_of_a_refusal_has_no_body_either(path: str, run: Run) -> None:
    async def test() -> None:
        async with gateway() as running, connected(running) as client:
            client.send(get(path, "HEAD"))
            assert (await client.answer(to_head=True)).status in {404, 405}
            client.send(get("/healthz"))
            assert (await client.answer()).json() == {"status": "ok"}

    run(test())


@pytest.mark.parametrize(
    "asked", [get("/healthz"), get("/v1/nothing"), STREAMED, UNARY, GARBAGE[0]],
    ids=["probe", "404", "stream", "unary", "garbage"],
)  # fmt: skip
def test_every_answer_has_a_date_and_an_id(asked: bytes, run: Run) -> None:
    async def test() -> None:
        async with gateway(hello()) as running, connected(running) as client:
            client.send(asked)
            answer = await client.answer()
            assert re.fullmatch("req_[0-9A-Za-z]{24}", answer.headers["request-id"])
            assert parsedate_to_datetime(answer.headers["date"]).tzinfo is not None
            assert "server" not in answer.headers

    run(test())


# A client that leaves.

ways_to_leave = pytest.mark.parametrize("leave", LEAVES.values(), ids=LEAVES)


async def leaves(running: Running, client: RawClient, leave: Callable[[RawClient], None]) -> None:
    """The client leaves, and what was asked of the upstream for it is stopped."""
    assert not running.upstream.peers[-1].lost
    leave(client)
    await running.upstream.until(lambda: running.upstream.peers[-1].lost)


@ways_to_leave
@pytest.mark.parametrize("part", [0.1, 0.5, 0.99], ids=["head", "most of it", "all but a byte"])
def test_a_request_that_was_not_sent_whole_is_never_asked(
    part: float, leave: Callable[[RawClient], None], run: Run, settled: Settlements
) -> None:
    async def test() -> None:
        async with gateway(hello()) as running:
            async with connected(running) as client:
                await client.sent(STREAMED[: int(len(STREAMED) * part)])
                leave(client)
                if leave is RawClient.half_close:
                    assert await client.rest() == b""
            async with connected(running) as client:  # whoever comes next is served
                client.send(UNARY)
                assert (await client.answer()).status == 200
            assert len(running.upstream.requests) == 1
        assert settled.all() == ["finished"]

    run(test())


@ways_to_leave
@pytest.mark.parametrize("asked", [STREAMED, UNARY], ids=["stream", "unary"])
@pytest.mark.parametrize("said", [[], [STREAM], [STREAM + chunk()]], ids=["nothing", "headers", "a first event"])
def test_a_client_that_leaves_before_its_answer_begins(
    said: list[bytes],
    asked: bytes,
    leave: Callable[[RawClient], None],
    run: Run,
    settled: Settlements,
) -> None:
    async def test() -> None:
        async with gateway([*said, HOLD]) as running, connected(running) as client:
            client.send(asked)
            await running.upstream.until(lambda: len(running.upstream.requests) == 1)
            await leaves(running, client, leave)
            assert await settled.next() == "client_left"

    run(test())


@ways_to_leave
def test_a_client_that_leaves_after_the_200_and_before_the_first_event(
    leave: Callable[[RawClient], None], run: Run, settled: Settlements
) -> None:
    async def test() -> None:
        from ezai.config import LimitsConfig

        options = Options(limits=LimitsConfig(commit_after=0.01, keep_alive=0.02))
        async with gateway([HOLD], options=options) as running, connected(running) as client:
            client.send(STREAMED)
            assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
            await client.until(b"event: ping")
            await leaves(running, client, leave)
            assert await settled.next() == "client_left"

    run(test())


# An upstream's events, each with what the client has got once it was passed on.
EVENTS: list[tuple[bytes, bytes]] = [
    (chunk("one"), b'"one"'),
    (chunk("two"), b'"two"'),
    (chunk("three"), b'"three"'),
    (chunk(finish="stop"), b"content_block_stop"),
]


@ways_to_leave
@pytest.mark.parametrize("asked", [STREAMED, UNARY], ids=["stream", "unary"])
@pytest.mark.parametrize("boundary", range(1, len(EVENTS) + 1))
def test_a_client_that_leaves_between_events(
    boundary: int,
    asked: bytes,
    leave: Callable[[RawClient], None],
    run: Run,
    settled: Settlements,
) -> None:
    async def test() -> None:
        said = b"".join(event for event, _ in EVENTS[:boundary])
        async with gateway([STREAM + said, HOLD]) as running, connected(running) as client:
            client.send(asked)
            if asked is STREAMED:
                await client.until(EVENTS[boundary - 1][1])
            else:
                await running.upstream.until(lambda: len(running.upstream.requests) == 1)
            await leaves(running, client, leave)
            assert await settled.next() == "client_left"

    run(test())


@ways_to_leave
@pytest.mark.parametrize("cut", [1, 20], ids=["one byte", "half an event"])
def test_a_client_that_leaves_inside_an_event(
    cut: int, leave: Callable[[RawClient], None], run: Run, settled: Settlements
) -> None:
    async def test() -> None:
        async with gateway([STREAM + chunk("one") + chunk("two")[:cut], HOLD]) as running, connected(running) as client:
            client.send(STREAMED)
            await client.until(b'"one"')
            await leaves(running, client, leave)
            assert await settled.next() == "client_left"

    run(test())


@ways_to_leave
def test_a_client_that_leaves_while_its_tokens_are_counted(
    leave: Callable[[RawClient], None], run: Run, settled: Settlements
) -> None:
    async def test() -> None:
        async with gateway([HOLD]) as running, connected(running) as client:
            client.send(COUNTED)
            await running.upstream.until(lambda: len(running.upstream.requests) == 1)
            await leaves(running, client, leave)
            await until(lambda: len(running.registry) == 0)
        assert set(settled.all()) <= {"client_left"}  # it costs nothing, so it need not be recorded

    run(test())


@ways_to_leave
@pytest.mark.parametrize("asked", [STREAMED, UNARY], ids=["stream", "unary"])
def test_a_client_that_leaves_with_another_request_behind_the_first(
    asked: bytes, leave: Callable[[RawClient], None], run: Run, settled: Settlements
) -> None:
    """The edge keeps reading while an answer runs, so a leaving client is seen also behind a pipelined request."""

    async def test() -> None:
        async with gateway([STREAM + chunk("one"), HOLD]) as running, connected(running) as client:
            client.send(asked)
            await running.upstream.until(lambda: len(running.upstream.requests) == 1)
            if asked is STREAMED:
                await client.until(b'"one"')
            await client.sent(UNARY)
            await leaves(running, client, leave)
            assert await settled.next() == "client_left"
            assert len(running.upstream.requests) == 1

    run(test())


@ways_to_leave
def test_a_client_that_leaves_without_having_read_what_it_was_sent(
    leave: Callable[[RawClient], None], run: Run, settled: Settlements, stalled: asyncio.Event
) -> None:
    async def test() -> None:
        async with gateway(MORE_THAN_BUFFERS_HOLD) as running, connected(running) as client:
            client.stop_reading()
            client.send(STREAMED)
            await stalled.wait()
            await leaves(running, client, leave)
            assert await settled.next() == "client_left"

    run(test())


@ways_to_leave
def test_a_client_that_leaves_after_its_answer_has_not_left_it(
    leave: Callable[[RawClient], None], run: Run, settled: Settlements
) -> None:
    async def test() -> None:
        async with gateway(hello()) as running, connected(running) as client:
            client.send(STREAMED)
            await client.answer()
            leave(client)
            assert await settled.next() == "finished"
        assert settled.all() == []

    run(test())


def test_a_refused_client_may_leave_too(run: Run, settled: Settlements) -> None:
    async def test() -> None:
        async with gateway(as_json({"error": {"message": "no"}}, "400 Bad Request")) as running:
            async with connected(running) as client:
                client.send(STREAMED)
                assert (await client.answer()).status == 400
            assert await settled.next() == "upstream_error"

    run(test())


# A client that does not read.

MORE_THAN_BUFFERS_HOLD: Script = [STREAM + b"".join(chunk("x" * 1_000_000) for _ in range(24)), HOLD]


def until_stalled(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Set when the gateway has more for a client than the sockets between them take."""
    full, paused = asyncio.Event(), EdgeProtocol.pause_writing

    def pause_writing(protocol: EdgeProtocol) -> None:
        paused(protocol)
        full.set()

    monkeypatch.setattr(EdgeProtocol, "pause_writing", pause_writing)
    return full


@pytest.fixture
def stalled(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    return until_stalled(monkeypatch)


def test_a_reader_that_takes_nothing_stops_nobody_else(run: Run, settled: Settlements, stalled: asyncio.Event) -> None:
    async def test() -> None:
        async with gateway(MORE_THAN_BUFFERS_HOLD, hello(), hello()) as running, connected(running) as reader:
            reader.stop_reading()
            reader.send(STREAMED)
            await stalled.wait()
            for asked in (STREAMED, UNARY):
                async with connected(running) as other:
                    other.send(asked)
                    assert (await other.answer()).status == 200
                assert await settled.next() == "finished"
            await until(lambda: len(running.registry) == 1)
            assert running.upstream.peers[0].writing_paused  # nothing was queued beyond the buffers
            assert not running.upstream.peers[0].lost
            reader.reset()
            await running.upstream.until(lambda: running.upstream.peers[0].lost)
            assert await settled.next() == "client_left"

    run(test())


def test_a_slow_reader_gets_everything(run: Run, settled: Settlements) -> None:
    async def test() -> None:
        texts = [letter * 500_000 for letter in "abcdefgh"]
        script: Script = [STREAM + b"".join(map(chunk, texts)) + chunk(finish="stop") + usage_chunk(1, 8) + DONE, HOLD]
        async with gateway(script) as running, connected(running) as client:
            client.send(STREAMED)
            events = decoded((await client.answer()).body)
            told = "".join(event["delta"]["text"] for event in events if event["type"] == "content_block_delta")
            assert told == "".join(texts)
            assert await settled.next() == "finished"

    run(test())
