"""Well-behaved answers, on raw bytes: legal, deterministic, numbered, with the usage that they cost."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ezai.lab.mock import Accept, behaviour, mock_upstream
from ezai.lab.mock.asked import Asked, Body, HttpRequest
from ezai.lab.mock.reply import Frame, Wait
from ezai.lab.mock.routes import answer
from ezai.lab.mock.server import Tls
from ezai.lab.mock.wire_anthropic import ANTHROPIC
from ezai.protocol.anthropic.events import read_event
from ezai.protocol.anthropic.fold import fold
from ezai.protocol.anthropic.order import StreamState
from ezai.protocol.sse import SseDecoder
from tests.lab.conftest import Run
from tests.lab.plain import Plain, asked, asking, connected, request

CERTIFICATES = Path(__file__).parent / "certificates"
EVERYTHING = "tokens=5,thinking=2,tools=2,pings=2,input_tokens=12,cached_tokens=4"


def checked(stream: Plain) -> list[Any]:
    """The events of a whole stream of the Messages dialect, in an order that the protocol has."""
    decoder, state = SseDecoder(), StreamState()
    events = [read_event(frame) for frame in decoder.feed(stream.content)]
    assert decoder.close() == b""
    for event in events:
        state.process(event)
    assert state.over
    assert state.stop_reason
    return events


def text_of(stream: Plain) -> str:
    """The text of a stream of either dialect."""
    parts = []
    for name, data in stream.events():
        if name == "content_block_delta":
            parts.append(data["delta"].get("text", ""))
        elif isinstance(data, dict) and data.get("choices"):
            parts.append(data["choices"][0]["delta"].get("content") or "")
    return "".join(parts)


@pytest.mark.parametrize(
    "given", ["", EVERYTHING, "tokens=0", "tokens=0,tools=1", "tokens=0,thinking=1", "text=Hi there,tokens=3"]
)
def test_a_stream_is_legal_and_folds_to_the_unary_answer(run: Run, given: str) -> None:
    async def main() -> None:
        async with mock_upstream(given) as mock:
            streamed = fold(checked(await asked(mock)))
            unary = (await asked(mock, stream=False)).json()
        for message in (streamed, unary):
            del message["id"]
            for block in message["content"]:
                block.pop("id", None)
                block.pop("citations", None)
                block.pop("signature", None)
                if block.get("input"):
                    block["input"].pop("query")
        del streamed["usage"]["input_tokens"], unary["usage"]["input_tokens"]  # by the size of the request
        assert streamed == unary

    run(main())


def test_the_text_is_numbered_and_the_same_every_time(run: Run) -> None:
    async def main() -> None:
        async with mock_upstream("tokens=4") as mock:
            assert [text_of(await asked(mock)) for _ in range(2)] == ["0 1 2 3 "] * 2
            assert text_of(await asked(mock, wire="openai")) == "0 1 2 3 "
            assert (await asked(mock, wire="openai", stream=False)).json()["choices"][0]["message"]["content"] == (
                "0 1 2 3 "
            )
            marked = [{"role": "user", "content": "[stream a] no, [stream b-7], please"}]
            assert text_of(await asked(mock, messages=marked)) == "b-7.0 b-7.1 b-7.2 b-7.3 "
            assert text_of(await asked(mock, messages=marked, wire="openai")) == "b-7.0 b-7.1 b-7.2 b-7.3 "

    run(main())


def test_text_may_be_given_and_tokens_padded(run: Run) -> None:
    async def main() -> None:
        async with mock_upstream() as mock:
            given = "a\u2028b, data: x\n\nevent: error 👩‍🚀é"
            quoted = "a%E2%80%A8b%2C data: x%0A%0Aevent: error %F0%9F%91%A9%E2%80%8D%F0%9F%9A%80%C3%A9"
            for wire in ("anthropic", "openai"):
                stream = await asked(mock, f"tokens=7,text={quoted}", wire=wire)
                assert text_of(stream) == given
                padded = await asked(mock, "tokens=3,token_bytes=1KiB", wire=wire)
                assert text_of(padded) == "".join(f"{number} ".ljust(1024) for number in range(3))

    run(main())


def test_usage_is_what_it_cost_and_is_in_the_journal(run: Run) -> None:
    async def main() -> None:
        async with mock_upstream(EVERYTHING) as mock:
            told = (await asked(mock)).events()
            usage = next(data["usage"] for name, data in told if name == "message_delta")
            assert usage["output_tokens"] == 2 + 5 + 2 * 4
            assert usage["output_tokens_details"] == {"thinking_tokens": 2}
            assert (usage["input_tokens"], usage["cache_read_input_tokens"]) == (12, 4)
            record = await mock.journal.ended()
            assert record.usage == usage
            assert record.tokens == 15
            chunks = (await asked(mock, wire="openai")).events()
            assert chunks[-2][1]["choices"] == []
            assert chunks[-2][1]["usage"] == {
                "prompt_tokens": 16,
                "completion_tokens": 15,
                "total_tokens": 31,
                "prompt_tokens_details": {"cached_tokens": 4},
                "completion_tokens_details": {"reasoning_tokens": 2},
            }
            assert (await mock.journal.ended(2)).usage == chunks[-2][1]["usage"]

    run(main())


def test_nothing_may_be_said(run: Run) -> None:
    async def main() -> None:
        async with mock_upstream("tokens=0,text=abc,tools=1,tool_fragments=0") as mock:
            for wire in ("anthropic", "openai"):
                for streamed in (True, False):
                    assert (await asked(mock, wire=wire, stream=streamed)).status == 200
            mock.behave("endless,tokens=2")
            assert (await asked(mock, stream=False)).json()["content"][0]["text"] == "0 1 "  # it has to end

    run(main())


def test_max_tokens_cuts_the_text_and_says_so(run: Run) -> None:
    async def main() -> None:
        async with mock_upstream("tokens=50") as mock:
            told = dict((await asked(mock, max_tokens=3)).events())
            assert told["message_delta"]["delta"]["stop_reason"] == "max_tokens"
            assert told["message_delta"]["usage"]["output_tokens"] == 3
            chunks = (await asked(mock, wire="openai", max_tokens=..., max_completion_tokens=3)).events()
            assert chunks[-3][1]["choices"][0]["finish_reason"] == "length"

    run(main())


def test_the_openai_wire_has_its_shapes(run: Run) -> None:
    async def main() -> None:
        async with mock_upstream("tokens=1,thinking=1,tools=1,tool_fragments=2") as mock:
            stream = await asked(mock, wire="openai", tools=[{"type": "function", "function": {"name": "weather"}}])
            deltas = [data["choices"][0]["delta"] for _, data in stream.events()[:-2]]
            assert deltas[0] == {"role": "assistant", "content": ""}
            assert deltas[1] == {"reasoning_content": "thought 0. "}
            assert deltas[2] == {"content": "0 "}
            opened, *pieces = [delta["tool_calls"][0] for delta in deltas[3:-1]]
            assert (opened["index"], opened["type"], opened["function"]) == (
                0,
                "function",
                {"name": "weather", "arguments": ""},
            )
            assert len(pieces) == 2
            arguments = "".join(piece["function"]["arguments"] for piece in pieces)
            assert msgspec.json.decode(arguments)["call"] == 0
            assert stream.events()[-1] == ("", b"[DONE]")
            assert b"event:" not in stream.content

    run(main())


@pytest.mark.parametrize(
    ("given", "on"), [("usage_on=own", [False, False, False, True]), ("usage_on=every", [True] * 3)]
)
def test_usage_stands_where_a_server_puts_it(run: Run, given: str, on: list[bool]) -> None:
    async def main() -> None:
        async with mock_upstream(f"tokens=1,{given}") as mock:
            chunks = [data for _, data in (await asked(mock, wire="openai")).events()[:-1]]
            assert [bool(chunk["usage"]) for chunk in chunks] == on
            uncounted = await asked(mock, wire="openai", stream_options=...)
            assert not any("usage" in data for _, data in uncounted.events()[:-1])

    run(main())


def test_thinking_may_come_in_the_newer_field(run: Run) -> None:
    async def main() -> None:
        async with mock_upstream("tokens=0,thinking=1,reasoning_field=reasoning") as mock:
            chunks = (await asked(mock, wire="openai")).events()
            assert chunks[1][1]["choices"][0]["delta"] == {"reasoning": "thought 0. "}

    run(main())


def test_a_recording_is_played_event_by_event(run: Run) -> None:
    recording = (
        b": hi\n\nevent: message_start\ndata: {}\n\nevent: ping\ndata: {}\n\nevent: message_stop\ndata: {}\n\nda"
    )

    async def main() -> None:
        async with mock_upstream() as mock:
            mock.behave(behaviour(recording=recording))
            whole = await asked(mock)
            assert whole.content == recording
            assert len(whole.chunks()) == 5
            mock.behave(behaviour("cut_after=ping", recording=recording))
            assert (await asked(mock)).names() == ["message_start", "ping"]

    run(main())


@pytest.mark.parametrize(("name", "end"), [("crlf", b"\r\n"), ("cr", b"\r")])
def test_lines_may_end_otherwise(run: Run, name: str, end: bytes) -> None:
    async def main() -> None:
        async with mock_upstream(f"tokens=1,line_end={name}") as mock:
            stream = await asked(mock)
            assert stream.content.endswith(b'event: message_stop%bdata: {"type":"message_stop"}%b%b' % (end, end, end))
            assert text_of(stream) == "0 "

    run(main())


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
@pytest.mark.parametrize("streamed", [True, False])
def test_a_body_ends_as_it_is_told_to(run: Run, framing: str, streamed: bool) -> None:
    async def main() -> None:
        async with mock_upstream(f"tokens=2,framing={framing}") as mock:
            answer = await asked(mock, stream=streamed)
            assert ("transfer-encoding" in answer.headers) == (framing == "chunked")
            assert ("content-length" in answer.headers) == (framing == "length")
            if framing == "length":
                assert int(answer.headers["content-length"]) == len(answer.body)
            assert text_of(answer) == "0 1 " if streamed else answer.json()["content"]
            assert (await mock.journal.ended()).ended == "whole"

    run(main())


# HTTP.


def test_one_connection_serves_many_requests_also_at_once(run_on_both: Run) -> None:
    async def main() -> None:
        async with mock_upstream("tokens=1") as mock:
            client = await connected(mock)
            client.send(request(keeps=True) + request(keeps=True, stream=False))
            client.send(request())
            await client.until_ended()
            assert client.raw.count(b"HTTP/1.1 200 OK") == 3
            assert [record.connection for record in mock.journal.requests] == [1, 1, 1]
            assert mock.journal.connections[0].requests == 3

    run_on_both(main())


def test_a_body_that_waits_to_be_wanted_is(run: Run) -> None:
    async def main() -> None:
        async with mock_upstream("tokens=1") as mock:
            head, empty_line, body = request(headers={"expect": "100-continue"}).partition(b"\r\n\r\n")
            client = await connected(mock)
            client.send(head + empty_line)
            await client.until(lambda: client.raw == b"HTTP/1.1 100 Continue\r\n\r\n")
            client.send(body)
            await client.until_ended()
            assert b"HTTP/1.1 200 OK" in client.raw

    run(main())


def test_a_chunked_request_is_read(run: Run) -> None:
    async def main() -> None:
        async with mock_upstream("tokens=1") as mock:
            head, _, body = request().partition(b"\r\n\r\n")
            head = head.replace(b"content-length: %d" % len(body), b"transfer-encoding: chunked")
            client = await connected(mock)
            client.send(head + b"\r\n\r\n%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (9, body[:9], len(body) - 9, body[9:]))
            await client.until_ended()
            assert client.status == 200
            assert mock.journal.requests[0].body == body

    run(main())


def test_what_is_not_http_is_told_so(run: Run) -> None:
    async def main() -> None:
        async with mock_upstream() as mock:
            client = await connected(mock)
            client.send(b"EHLO mock\r\n\r\n")
            await client.until_ended()
            assert client.status == 400
            await mock.journal.quiet()
            assert mock.journal.connections[0].ended == "bad request"

    run(main())


def test_other_routes(run: Run) -> None:
    async def main() -> None:
        async with mock_upstream("input_tokens=9") as mock:
            counted = await asked(mock, path="/v1/messages/count_tokens", max_tokens=..., stream=...)
            assert counted.json() == {"input_tokens": 9}
            listed = await asked(mock, path="/v1/models", method="GET")
            assert listed.json()["data"][0]["type"] == "model"
            openai = await asked(mock, path="/v1/models", method="GET", wire="openai")
            assert openai.json()["object"] == "list"
            one = await asked(mock, path="/v1/models/a%2Fb", method="GET")
            assert one.json()["id"] == "a%2Fb"
            assert (await asked(mock, path="/", method="HEAD")).status == 200
            assert (await asked(mock, path="/base/v1/messages")).status == 200
            lost = await asked(mock, path="/v1/v1/messages")
            assert (lost.status, lost.json()["error"]["type"]) == (404, "not_found_error")

    run(main())


@pytest.mark.parametrize("missing", ["model", "messages", "max_tokens"])
def test_a_request_that_no_server_takes_is_refused(run: Run, missing: str) -> None:
    async def main() -> None:
        async with mock_upstream() as mock:
            without: dict[str, Any] = {missing: ...}
            refused = await asked(mock, **without)
            assert refused.status == 400
            assert refused.json()["error"]["message"].startswith(missing)
            openai = await asked(mock, wire="openai", **without)
            assert openai.status == (200 if missing == "max_tokens" else 400)

    run(main())


def test_a_body_that_is_no_json_is_refused(run: Run) -> None:
    async def main() -> None:
        async with mock_upstream() as mock:
            client = await connected(mock)
            client.send(b"POST /v1/messages HTTP/1.1\r\nconnection: close\r\ncontent-length: 1\r\n\r\n{")
            await client.until_ended()
            assert client.status == 400

    run(main())


# Choosing.


def test_the_script_stands_above_the_header_and_that_above_the_model(run: Run) -> None:
    async def main() -> None:
        async with mock_upstream() as mock:
            assert text_of(await asked(mock, "tokens=1", model="mock-tokens=2")) == "0 "
            assert text_of(await asked(mock, model="mock-tokens=2")) == "0 1 "
            assert len(text_of(await asked(mock, model="claude")).split()) == 20
            mock.behave("tokens=3")
            assert text_of(await asked(mock, "tokens=1", model="mock-tokens=2")) == "0 1 2 "

    run(main())


def test_a_mistake_in_a_name_or_header_is_told_to_its_sender(run: Run) -> None:
    async def main() -> None:
        async with mock_upstream() as mock:
            by_name = await asked(mock, model="mock-toks=2")
            assert by_name.status == 400
            assert by_name.json()["error"]["message"] == (
                "The model name: toks: there is no such setting. Did you mean tokens?"
            )
            by_header = await asked(mock, "recording=/etc/passwd", wire="openai")
            assert by_header.status == 400
            assert "only whoever runs the mock" in by_header.json()["error"]["message"]

    run(main())


def test_behaviours_are_taken_in_turn(run: Run) -> None:
    async def main() -> None:
        async with mock_upstream("status=529", "tokens=1", "tokens=2") as mock:
            assert (await asked(mock)).status == 529
            assert [text_of(await asked(mock)) for _ in range(3)] == ["0 ", "0 1 ", "0 1 "]

    run(main())


def test_faults_may_happen_a_few_times_only_or_by_chance(run: Run) -> None:
    async def main() -> None:
        async with mock_upstream("status=503,times=2") as mock:
            assert [(await asked(mock)).status for _ in range(4)] == [503, 503, 200, 200]
            sequences = []
            for _ in range(2):
                mock.behave("status=500,chance=0.5,seed=3")
                sequences.append([(await asked(mock)).status for _ in range(12)])
            assert sequences[0] == sequences[1]
            assert {200, 500} == set(sequences[0])

    run(main())


# Pace.


def test_a_rate_spaces_the_tokens(run: Run) -> None:
    given = behaviour("tokens=3,rate=50,thinking=1")
    request = HttpRequest("POST", "/v1/messages", [], b"")
    body = Body(model="m", messages=[msgspec.Raw(b"{}")], max_tokens=9, stream=True)
    items = list(answer(Asked(request, body, 1, ANTHROPIC, given), is_faulty=True).items())
    paced = [item for item in items if isinstance(item, Wait) or (isinstance(item, Frame) and item.tokens)]
    assert [item.seconds if isinstance(item, Wait) else "token" for item in paced] == ["token", *[0.02, "token"] * 3]

    async def main() -> None:
        async with mock_upstream("tokens=5,rate=1000") as mock:
            assert text_of(await asked(mock)) == "0 1 2 3 4 "
            assert (await asked(mock, stream=False)).json()["content"][0]["text"] == "0 1 2 3 4 "

    run(main())


def test_an_endless_answer_ends_when_its_reader_leaves(run_on_both: Run) -> None:
    async def main() -> None:
        async with mock_upstream("endless") as mock:
            async with asking(mock) as client:
                await client.until(lambda: b'"500 "' in client.raw)
            record = await mock.journal.ended()
            assert record.ended in {"peer closed", "peer reset"}
            assert record.tokens > 500

    run_on_both(main())


def test_a_hundred_thousand_tiny_events_come_in_order(run: Run) -> None:  # row U21
    async def main() -> None:
        async with mock_upstream("tokens=100000") as mock:
            stream = await asked(mock)
            assert text_of(stream) == "".join(f"{number} " for number in range(100_000))

    run(main())


# TLS.


def test_it_answers_over_tls(run_on_both: Run) -> None:
    async def main() -> None:
        tls = Tls(CERTIFICATES / "good.pem", CERTIFICATES / "key.pem")
        async with mock_upstream("tokens=1", tls=tls) as mock:
            assert mock.url.startswith("https://")
            trusting = ssl.create_default_context(cafile=CERTIFICATES / "authority.pem")
            client = await connected(mock, trusting)
            client.send(request())
            await client.until_ended()
            assert text_of(client) == "0 "

    run_on_both(main())


@pytest.mark.parametrize("certificate", ["expired", "other_name", "untrusted"])
def test_a_wrong_certificate_is_refused_before_anything_is_sent(run_on_both: Run, certificate: str) -> None:  # U35
    async def main() -> None:
        tls = Tls(CERTIFICATES / f"{certificate}.pem", CERTIFICATES / "key.pem")
        async with mock_upstream(tls=tls) as mock:
            with pytest.raises(ssl.SSLCertVerificationError):
                await connected(mock, ssl.create_default_context(cafile=CERTIFICATES / "authority.pem"))
            await mock.journal.quiet()
            assert mock.journal.connections[0].ended == "tls failed"
            assert not mock.journal.requests

    run_on_both(main())


def test_a_tls_handshake_may_stall(run_on_both: Run) -> None:  # U35
    async def main() -> None:
        tls = Tls(CERTIFICATES / "good.pem", CERTIFICATES / "key.pem")
        async with mock_upstream(tls=tls) as mock:
            mock.accept(Accept.DEAF)
            handshake = asyncio.ensure_future(connected(mock, ssl.create_default_context()))
            await mock.journal.until(lambda: mock.journal.open_connections == 1)
            assert not handshake.done()
            handshake.cancel()
            await asyncio.gather(handshake, return_exceptions=True)

    run_on_both(main())


def test_a_mock_that_stops_leaves_no_handshake_behind(run_on_both: Run) -> None:
    async def main() -> None:
        tls = Tls(CERTIFICATES / "good.pem", CERTIFICATES / "key.pem")
        for turns in range(4):  # wherever the handshake is
            async with mock_upstream(tls=tls) as mock:
                _, silent = await asyncio.get_running_loop().create_connection(Plain, "127.0.0.1", mock.port)
                await mock.journal.until(lambda: mock.journal.open_connections == 1)
                for _ in range(turns):
                    await asyncio.sleep(0)
            assert mock.journal.open_connections == 0
            assert mock.journal.connections[0].ended == "stopped"
            await silent.until_ended()

    run_on_both(main())
