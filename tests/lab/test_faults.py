"""Every fault, on raw bytes: what a plain client gets, and what the journal says of it.

The events of `tokens=3` are: 1 message_start, 2 content_block_start, 3 ping, 4 5 6 deltas, 7 content_block_stop,
8 message_delta, 9 message_stop; on the OpenAI wire: 1 role, 2 3 4 content, 5 finish, 6 usage, 7 done.
"""

from __future__ import annotations

import gzip
import re
import socket
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ezai.lab.mock import Accept, Mock, RequestRecord, behaviour, black_hole, closed_port, mock_upstream
from ezai.lab.mock.asked import Asked, Body, HttpRequest
from ezai.lab.mock.faults.heads import HTML, RAW_HEADER_KINDS
from ezai.lab.mock.faults.table import FAULTS
from ezai.lab.mock.reply import Frame, Reply, Wait
from ezai.lab.mock.routes import answer
from ezai.lab.mock.wire_anthropic import ANTHROPIC
from ezai.protocol.sse import parse_frame
from tests.lab.conftest import Run
from tests.lab.plain import KEY, Plain, asked, asking, connected, request, unzipped
from tests.lab.test_answers import text_of

NAMES = [
    "message_start",
    "content_block_start",
    "ping",
    *["content_block_delta"] * 3,
    "content_block_stop",
    "message_delta",
    "message_stop",
]


async def played(mock: Mock, faults: str, **given: Any) -> tuple[Plain, RequestRecord]:
    """A stream of three tokens with these faults, and its record."""
    client = await asked(mock, f"tokens=3,{faults}", **given)
    await mock.journal.quiet()
    return client, mock.journal.requests[-1]


async def first_played(faults: str) -> tuple[Plain, RequestRecord]:
    """The same as a mock's first request, so that its ids are always the same."""
    async with mock_upstream() as mock:
        return await played(mock, faults)


def test_every_fault_is_shown_here() -> None:
    source = Path(__file__).read_text()
    assert not [name for name in FAULTS if not re.search(rf'["\[,{{]{name}\b', source)]


def test_without_a_fault_the_answer_is_whole(run: Run) -> None:
    async def main() -> None:
        async with mock_upstream() as mock:
            client, record = await played(mock, "")
            assert client.names() == NAMES
            assert (client.ended, record.ended, record.events) == ("eof", "whole", 9)
            openai, record = await played(mock, "", wire="openai")
            assert len(openai.events()) == record.events == 7

    run(main())


# Connections.


@pytest.mark.parametrize("kind", [Accept.RESET, Accept.CLOSE])
def test_a_connection_may_be_refused_once_it_is_accepted(run_on_both: Run, kind: Accept) -> None:  # U1
    async def main() -> None:
        async with mock_upstream() as mock:
            mock.accept(kind)
            try:
                client = await connected(mock)
                await client.until_ended()
                ended = client.ended
                assert client.raw == b""
            except ConnectionResetError:  # it came before the connection was found to be there
                ended = "reset"
            assert ended == ("reset" if kind is Accept.RESET else "eof")
            assert mock.journal.connections[0].ended == ("reset" if kind is Accept.RESET else "cut")
            mock.accept(Accept.SERVE)
            assert (await asked(mock)).status == 200

    run_on_both(main())


def test_a_connection_may_never_be_read(run: Run) -> None:  # U2
    async def main() -> None:
        async with mock_upstream() as mock:
            mock.accept(Accept.DEAF)
            async with asking(mock, content="a" * 10_000_000) as client:
                await mock.journal.until(lambda: mock.journal.open_connections == 1)
                assert client.transport.get_write_buffer_size() > 0
            assert not mock.journal.requests

    run(main())


def test_a_port_may_be_closed_and_opened_again(run: Run) -> None:  # U1
    async def main() -> None:
        async with mock_upstream("tokens=1") as mock:
            url = mock.url
            mock.stop_listening()
            with pytest.raises(ConnectionRefusedError):
                await connected(mock)
            mock.listen()
            assert mock.url == url
            assert (await asked(mock)).status == 200

    run(main())


def test_addresses_at_which_nobody_answers() -> None:  # U1, U2
    with closed_port() as url, pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])))
    with black_hole() as url, socket.socket() as sock:
        sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            sock.connect(("127.0.0.1", int(url.rpartition(":")[2])))


# Places.


def bytes_of(reply: Reply) -> list[object]:
    """What is played: bytes, and the steps between."""
    return [item.data if isinstance(item, Frame) else item for item in reply.items()]


PLACED = {name: ":1" if ":" in row.reader.form else "" for name, row in FAULTS.items() if "EVENT" in row.reader.form}


@pytest.mark.parametrize("name", PLACED)
@pytest.mark.parametrize("place", ["99", "usage"])
def test_a_place_that_never_comes_leaves_the_answer_as_it_is_and_is_told(name: str, place: str) -> None:
    reply = reply_with(f"{name}={place}{PLACED[name]}")
    assert reply.not_applied == [name]
    assert bytes_of(reply) == bytes_of(reply_with(""))
    assert reply.not_applied == [name]


@pytest.mark.parametrize("name", PLACED)
@pytest.mark.parametrize("place", ["4", "content_block_delta"])
def test_a_place_that_comes_is_told_as_soon_as_it_has(name: str, place: str) -> None:
    reply = reply_with(f"{name}={place}{PLACED[name]}")
    items = reply.items()
    before = [next(items) for _ in range(3)]
    assert [item.kind for item in before if isinstance(item, Frame)] == ["head", *NAMES[:2]]
    assert reply.not_applied == [name]
    list(items)
    assert reply.not_applied == []


def test_the_place_before_the_first_event_is_one_for_what_comes_behind_it() -> None:
    for name, more in PLACED.items():
        reply = reply_with(f"{name}=0{more}")
        is_changed = bytes_of(reply) != bytes_of(reply_with(""))
        assert reply.not_applied == ([] if is_changed else [name]), name


def test_faults_of_a_spared_request_are_not_applied() -> None:
    reply = reply_with("status=500,stall_after=3", is_faulty=False)
    assert reply.not_applied == ["status", "stall_after"]
    assert reply.status == 200


def test_open_connections_may_be_dropped(run: Run) -> None:
    async def main() -> None:
        async with mock_upstream("stall_after=2") as mock, asking(mock) as client:
            await mock.journal.until(lambda: mock.journal.requests[0].is_holding if mock.journal.requests else False)
            mock.drop_connections()
            await client.until_ended()

    run(main())


# In place of the answer.


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 413, 418, 429, 500, 502, 503, 504, 529])
def test_a_status(run: Run, status: int) -> None:  # U25
    async def main() -> None:
        async with mock_upstream() as mock:
            client, record = await played(mock, f"status={status}")
            assert client.status == record.status == status
            assert client.json()["type"] == "error"
            assert client.json()["error"]["message"] == f"The mock answers {status}."
            assert client.json()["request_id"] == client.headers["request-id"] == record.id
            assert "retry-after" not in client.headers
            openai, _ = await played(mock, f"status={status}", wire="openai")
            assert (openai.status, set(openai.json())) == (status, {"error"})

    run(main())


@pytest.mark.parametrize("value", ["3", "-1", "1000000000", "Fri, 31 Dec 1999 23:59:59 GMT", "soon", "0.5"])
def test_a_status_says_when_to_come_again(run: Run, value: str) -> None:  # U26
    async def main() -> None:
        async with mock_upstream() as mock:
            quoted = value.replace(",", "%2C")
            faults = f"status=429,retry_after={quoted},error_type=custom_error,error_message=No"
            client, _ = await played(mock, faults)
            assert client.headers["retry-after"] == value
            assert client.json()["error"] == {"type": "custom_error", "message": "No"}

    run(main())


def test_redirect(run: Run) -> None:  # U27
    async def main() -> None:
        async with mock_upstream() as mock:
            client, _ = await played(mock, "redirect=http://127.0.0.1:9/canary?a=1")
            assert (client.status, client.headers["location"]) == (302, "http://127.0.0.1:9/canary?a=1")

    run(main())


def test_body(run: Run) -> None:  # U18
    async def main() -> None:
        async with mock_upstream() as mock:
            page, _ = await played(mock, "body=html")
            assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
            assert page.content == HTML
            whole, _ = await played(mock, "body=json")
            assert (whole.headers["content-type"], whole.json()["role"]) == ("application/json", "assistant")
            error, _ = await played(mock, "body=error,error_type=overloaded_error")
            assert (error.status, error.json()["error"]["type"]) == (200, "overloaded_error")
            text, _ = await played(mock, "body=text,status=502")
            assert (text.status, text.headers["content-type"]) == (502, "text/plain")
            empty, _ = await played(mock, "body=empty")
            assert (empty.status, empty.content) == (200, b"")

    run(main())


@pytest.mark.parametrize("kind", ["hold", "close", "reset"])
def test_no_answer(run_on_both: Run, kind: str) -> None:  # U3, U15
    async def main() -> None:
        async with mock_upstream(f"no_answer={kind}") as mock, asking(mock) as client:
            if kind == "hold":
                record = await mock.journal.accepted()
                await mock.journal.until(lambda: record.is_holding)
                assert (client.raw, record.written_bytes) == (b"", 0)
                assert mock.release() == 1
            await client.until_ended()
            assert client.ended == ("reset" if kind == "reset" else "eof")
            assert bool(client.raw) == (kind == "hold")
            assert (await mock.journal.ended()).ended == {"hold": "whole", "close": "cut", "reset": "reset"}[kind]

    run_on_both(main())


def reply_with(faults: str, *, is_faulty: bool = True) -> Reply:
    """A stream of three tokens with these faults."""
    asked_for = HttpRequest("POST", "/v1/messages", [], b"")
    body = Body(model="m", messages=[msgspec.Raw(b"{}")], max_tokens=9, stream=True)
    return answer(Asked(asked_for, body, 1, ANTHROPIC, behaviour(f"tokens=3,{faults}")), is_faulty=is_faulty)


def steps_of(faults: str) -> list[object]:
    """What is played of it: the names of events, `head` and `tail`, and the steps between."""
    return [item.kind if isinstance(item, Frame) else item for item in reply_with(faults).items()]


def test_delays(run: Run) -> None:  # U3, U4, U5
    assert steps_of("headers_delay_s=0.5") == [Wait(0.5), "head", *NAMES, "tail"]
    assert steps_of("first_event_delay_s=0.5") == ["head", Wait(0.5), *NAMES, "tail"]
    assert steps_of("pause_after=message_delta:0.5") == ["head", *NAMES[:8], Wait(0.5), NAMES[8], "tail"]

    async def main() -> None:
        async with mock_upstream() as mock:
            delays = "headers_delay_s=0.002,first_event_delay_s=0.002,pause_after=message_delta:0.002"
            client, _ = await played(mock, delays)
            assert client.names() == NAMES

    run(main())


@pytest.mark.parametrize(("fault", "line"), [("continues", b"100 Continue"), ("early_hints", b"103 Early Hints")])
def test_interim_answers(run: Run, fault: str, line: bytes) -> None:  # U30
    async def main() -> None:
        async with mock_upstream() as mock:
            client, record = await played(mock, f"{fault}=3")
            assert client.raw.count(b"HTTP/1.1 " + line) == 3
            assert client.raw.count(b"HTTP/1.1 200 OK") == 1
            assert record.events == 9

    run(main())


def test_upgrade(run: Run) -> None:  # U30
    async def main() -> None:
        async with mock_upstream("upgrade") as mock, asking(mock) as client:
            record = await mock.journal.accepted()
            await mock.journal.until(lambda: record.is_holding)
            await client.until(lambda: client.raw.endswith(b"\r\n\r\n"))
            assert client.status == 101
            assert client.headers["upgrade"] == "mock"

    run(main())


def test_no_content(run: Run) -> None:  # U30
    async def main() -> None:
        async with mock_upstream() as mock:
            client, record = await played(mock, "status=204")
            assert (client.status, client.body, record.ended) == (204, b"", "whole")

    run(main())


# The head.


def test_content_type_and_extra_headers(run: Run) -> None:  # U18, U29
    async def main() -> None:
        async with mock_upstream() as mock:
            client, _ = await played(mock, "content_type=text/plain,extra_headers=X-A: 1|server: x:y")
            assert client.headers["content-type"] == "text/plain"
            assert (client.headers["x-a"], client.headers["server"]) == ("1", "x:y")
            assert client.names() == NAMES

    run(main())


def test_header_bombs(run: Run) -> None:  # U29
    async def main() -> None:
        async with mock_upstream() as mock:
            large, _ = await played(mock, "header_bytes=1MiB")
            assert len(large.headers["x-mock-large"]) == 2**20
            many, _ = await played(mock, "header_count=10000")
            assert len(many.headers) > 10_000

    run(main())


def test_header_echo(run: Run) -> None:  # U29
    async def main() -> None:
        async with mock_upstream() as mock:
            client, _ = await played(mock, "header_echo")
            assert client.headers["x-echo-x-api-key"] == KEY
            openai, _ = await played(mock, "header_echo", wire="openai")
            assert openai.headers["x-echo-authorization"] == f"Bearer {KEY}"
            assert KEY.encode() not in mock.journal.as_json()

    run(main())


@pytest.mark.parametrize("kind", RAW_HEADER_KINDS)
def test_header_raw(run: Run, kind: str) -> None:  # U29
    expected = {
        "cr": b"a\rx-mock-injected: 1",
        "lf": b"a\nx-mock-injected: 1",
        "nul": b"a\0b",
        "space": b"x-mock-raw : a",
        "fold": b"a\r\n b",
        "no_colon": b"\r\nx-mock-raw\r\n",
        "latin1": b"\xe9\xff",
    }

    async def main() -> None:
        async with mock_upstream() as mock:
            client, _ = await played(mock, f"header_raw={kind}")
            assert expected[kind] in client.raw

    run(main())


def test_content_encoding(run: Run) -> None:  # U28
    async def main() -> None:
        async with mock_upstream() as mock:
            once, record = await played(mock, "content_encoding=gzip")
            assert once.headers["content-encoding"] == "gzip"
            assert b'"text":"2 "' in unzipped(once.content)
            assert record.events == 9
            twice, _ = await played(mock, "content_encoding=gzip+gzip")
            assert twice.headers["content-encoding"] == "gzip, gzip"
            assert b'"text":"2 "' in unzipped(unzipped(twice.content))
            claimed, _ = await played(mock, "content_encoding=br")
            assert claimed.names() == NAMES

    run(main())


def test_gzip_bomb(run: Run) -> None:  # U28
    async def main() -> None:
        async with mock_upstream() as mock:
            client, _ = await played(mock, "gzip_bomb=16777777")
            assert len(client.content) < 32 * 1024
            assert len(gzip.decompress(client.content)) == 16_777_777

    run(main())


@pytest.mark.parametrize("kind", ["close", "silent"])
def test_keep_alive_ends(run: Run, kind: str) -> None:
    async def main() -> None:
        async with mock_upstream(f"tokens=1,keep_alive={kind}") as mock, asking(mock, keeps=True) as client:
            await client.until_ended()
            assert client.headers.get("connection") == ("close" if kind == "close" else None)
            assert text_of(client) == "0 "

    run(main())


@pytest.mark.parametrize(("kind", "ended"), [("race", "eof"), ("race_reset", "reset")])
def test_keep_alive_race(run_on_both: Run, kind: str, ended: str) -> None:  # U34
    async def main() -> None:
        async with mock_upstream(f"tokens=1,keep_alive={kind}", "tokens=2") as mock:
            async with asking(mock, keeps=True) as client:
                await client.until(lambda: client.raw.endswith(b"0\r\n\r\n"))
                came = client.raw
                client.send(request(keeps=True))
                await client.until_ended()
                assert (client.raw, client.ended) == (came, ended)
            assert len(mock.journal.requests) == 1
            assert (mock.journal.connections[0].requests, mock.journal.connections[0].raced) == (1, 1)
            assert text_of(await asked(mock)) == "0 1 "

    run_on_both(main())


# Which events there are.


@pytest.mark.parametrize(
    ("place", "names"),
    [
        ("message_stop", NAMES[:-1]),
        ("last", NAMES[:-1]),
        ("message_delta", [*NAMES[:7], NAMES[8]]),
        ("5", [*NAMES[:4], *NAMES[5:]]),
        ("1", NAMES[1:]),
        ("99", NAMES),
    ],
)
def test_drop(run: Run, place: str, names: list[str]) -> None:  # U12, U13
    async def main() -> None:
        async with mock_upstream() as mock:
            client, record = await played(mock, f"drop={place}")
            assert client.names() == names
            assert record.events == len(names)
            assert record.ended == ("cut" if place in {"last", "message_stop"} else "whole")

    run(main())


@pytest.mark.parametrize(("kind", "left"), [("usage", 6), ("done", 6), ("finish", 6), ("role", 6)])
def test_drop_on_the_openai_wire(run: Run, kind: str, left: int) -> None:  # U33
    async def main() -> None:
        async with mock_upstream() as mock:
            client, _ = await played(mock, f"drop={kind}", wire="openai")
            assert len(client.events()) == left
            assert (b"[DONE]" in client.content) == (kind != "done")
            assert (b'"usage":{' in client.content) == (kind != "usage")

    run(main())


def test_repeat_and_swap(run: Run) -> None:  # U31
    async def main() -> None:
        async with mock_upstream() as mock:
            twice, record = await played(mock, "repeat=message_start")
            assert twice.names() == ["message_start", *NAMES]
            assert record.events == 10
            doubled, _ = await played(mock, "repeat=5")
            assert text_of(doubled) == "0 1 1 2 "
            swapped, _ = await played(mock, "swap=5")
            assert text_of(swapped) == "0 2 1 "
            early, _ = await played(mock, "swap=content_block_start")
            assert early.names()[:3] == ["message_start", "ping", "content_block_start"]
            last, _ = await played(mock, "swap=last")
            assert last.names() == NAMES

    run(main())


def test_unknown_event_and_unknown_delta(run: Run) -> None:  # U31
    async def main() -> None:
        async with mock_upstream() as mock:
            event, _ = await played(mock, "unknown_event=4")
            assert event.names() == [*NAMES[:4], "mock_unknown", *NAMES[4:]]
            delta, _ = await played(mock, "unknown_delta=4")
            assert delta.events()[4][1]["delta"]["type"] == "mock_delta"
            openai, _ = await played(mock, "unknown_delta=2,unknown_event=2", wire="openai")
            assert len(openai.events()) == 9
            assert "mock_unknown" in openai.names()

    run(main())


def test_index_gap(run: Run) -> None:  # U31
    async def main() -> None:
        async with mock_upstream() as mock:
            client, _ = await played(mock, "thinking=1,index_gap=content_block_stop")
            indexes = [data["index"] for _, data in client.events() if "index" in data]
            assert indexes == [0, 0, 0, 1, 2, 2, 2, 2, 2]
            first, _ = await played(mock, "index_gap=0")
            assert {data["index"] for _, data in first.events() if "index" in data} == {1}

    run(main())


def test_openai_irregularities(run: Run) -> None:  # U33
    async def main() -> None:
        async with mock_upstream() as mock:
            empty, _ = await played(mock, "empty_choices=2", wire="openai")
            assert empty.events()[2][1]["choices"] == []
            null, _ = await played(mock, "finish_null", wire="openai")
            assert b'"finish_reason":"' not in null.content
            roles, _ = await played(mock, "role_repeats", wire="openai")
            chunks = [data["choices"][0]["delta"]["role"] for _, data in roles.events()[:5]]
            assert chunks == ["assistant"] * 5
            assert text_of(roles) == "0 1 2 "

    run(main())


@pytest.mark.parametrize(("kind", "indexes"), [("missing", {None}), ("zero", {0})])
def test_tool_index(run: Run, kind: str, indexes: set[int | None]) -> None:  # U33
    async def main() -> None:
        async with mock_upstream() as mock:
            client, _ = await played(mock, f"tools=2,tool_index={kind}", wire="openai")
            deltas = [data["choices"][0]["delta"] for _, data in client.events()[:-2]]
            calls = [delta["tool_calls"][0] for delta in deltas if "tool_calls" in delta]
            assert {call.get("index") for call in calls} == indexes
            assert len({call["id"] for call in calls if "id" in call}) == 2

    run(main())


# What they hold.


@pytest.mark.parametrize(
    ("kind", "value"),
    [("negative", -4), ("huge", 10**18), ("float", 3.5), ("text", "many"), ("null", None), ("shrinking", 3)],
)
def test_usage(run: Run, kind: str, value: object) -> None:  # U32
    async def main() -> None:
        async with mock_upstream() as mock:
            client, record = await played(mock, f"usage={kind}")
            told = [data["usage"]["output_tokens"] for name, data in client.events() if name == "message_delta"]
            assert told == ([30, 3] if kind == "shrinking" else [value])
            assert record.usage is not None
            assert record.usage["output_tokens"] == value
            assert record.tokens == 3
            openai, _ = await played(mock, f"usage={kind}", wire="openai")
            stated = [data["usage"] for _, data in openai.events()[:-1] if data["usage"]]
            assert [usage["completion_tokens"] for usage in stated] == told
            unary, _ = await played(mock, f"usage={kind}", stream=False)
            assert unary.json()["usage"]["output_tokens"] == value

    run(main())


def test_usage_missing(run: Run) -> None:  # U32
    async def main() -> None:
        async with mock_upstream() as mock:
            client, record = await played(mock, "usage=missing")
            assert b'"usage"' not in client.content
            assert (record.usage, record.tokens) == (None, 3)

    run(main())


@pytest.mark.parametrize("wire", ["anthropic", "openai"])
def test_garbage(run: Run, wire: str) -> None:  # U17
    async def main() -> None:
        async with mock_upstream() as mock:
            client, _ = await played(mock, "garbage=4", wire=wire)
            events = client.events()
            assert [place for place, (_, data) in enumerate(events) if data is ...] == [3]
            assert events[3][0] == ("content_block_delta" if wire == "anthropic" else "")
            unary, _ = await played(mock, "garbage=1", wire=wire, stream=False)
            assert unary.content.startswith(b"{")
            assert not unary.content.endswith(b"}")

    run(main())


def test_invalid_utf8_and_lone_surrogate(run: Run) -> None:  # U10
    async def main() -> None:
        async with mock_upstream() as mock:
            spoiled, _ = await played(mock, "invalid_utf8=5")
            assert b'"text":"1 \xff\xc3("}}\n\n' in spoiled.content
            half, _ = await played(mock, "lone_surrogate=5")
            assert b'"text":"1 \\ud800"}}\n\n' in half.content

    run(main())


def test_unnamed(run: Run) -> None:
    async def main() -> None:
        async with mock_upstream() as mock:
            client, _ = await played(mock, "unnamed")
            assert client.names() == [""] * 9
            assert [data["type"] for _, data in client.events()] == NAMES

    run(main())


@pytest.mark.parametrize("wire", ["anthropic", "openai"])
def test_huge_event_and_long_line(run: Run, wire: str) -> None:  # U19, U20
    async def main() -> None:
        async with mock_upstream() as mock:
            huge, _ = await played(mock, "huge_event=10MiB", wire=wire)
            assert text_of(huge) == "a" * (10 * 2**20 - 1) + " 0 1 2 "
            long, record = await played(mock, "long_line=1MiB", wire=wire)
            line = max(long.content.split(b"\n"), key=len)
            assert len(line) == 2**20
            assert parse_frame(line + b"\n\n") == (b"", None)
            assert record.events == (9 if wire == "anthropic" else 7)

    run(main())


@pytest.mark.parametrize(("fault", "line"), [("comments", b": mock\n\n"), ("blank_lines", b"\n")])
def test_floods(run: Run, fault: str, line: bytes) -> None:  # U22
    async def main() -> None:
        async with mock_upstream() as mock:
            client, record = await played(mock, f"{fault}=100001")
            assert line * 100_001 in client.content
            assert client.names() == NAMES
            assert record.events == 9

    run(main())


# How they end.


def test_stall_after(run_on_both: Run) -> None:  # U4, U5
    async def main() -> None:
        async with mock_upstream("tokens=3,stall_after=0", "tokens=3,stall_after=5") as mock:
            for count, events in ((1, 0), (2, 5)):
                async with asking(mock) as client:
                    record = await mock.journal.accepted(count)
                    await mock.journal.until(lambda record=record: record.is_holding)  # type: ignore[misc]
                    assert record.events == events
                    await client.until(lambda client=client, events=events: len(client.names()) == events)  # type: ignore[misc]
                    assert mock.release() == 1
                    await client.until_ended()
                    assert client.names() == NAMES
            assert mock.release() == 0

    run_on_both(main())


def test_stall_in(run_on_both: Run) -> None:  # U5
    async def main() -> None:
        async with mock_upstream("tokens=3,stall_in=5:20") as mock, asking(mock) as client:
            record = await mock.journal.accepted()
            await mock.journal.until(lambda: record.is_holding)
            await client.until(lambda: client.raw.endswith(b"event: content_b"))  # a line of its size before it
            assert record.events == 4
            mock.release()
            await client.until_ended()
            assert (client.names(), record.events) == (NAMES, 9)

    run_on_both(main())


def test_a_reader_leaves_a_stall(run_on_both: Run) -> None:
    async def main() -> None:
        async with mock_upstream("tokens=3,stall_after=5") as mock:
            async with asking(mock) as client:
                record = await mock.journal.accepted()
                await client.until(lambda: len(client.names()) == 5)
            await mock.journal.ended()
            assert (record.ended, record.events, record.is_holding) == ("peer closed", 5, False)

    run_on_both(main())


@pytest.mark.parametrize("place", ["0", "4:api_error", "message_delta"])
@pytest.mark.parametrize("wire", ["anthropic", "openai"])
def test_error_after(run: Run, place: str, wire: str) -> None:  # U23, U24
    if wire == "openai" and place == "message_delta":
        place = "finish"

    async def main() -> None:
        async with mock_upstream() as mock:
            client, record = await played(mock, f"error_after={place}", wire=wire)
            before = {"0": 0, "4:api_error": 4, "message_delta": 8, "finish": 5}[place]
            assert len(client.events()) == before + 1
            name, data = client.events()[-1]
            assert name == ("error" if wire == "anthropic" else "")
            overloaded = "overloaded_error" if wire == "anthropic" else "server_error"
            assert data["error"]["type"] == ("api_error" if place.startswith("4") else overloaded)
            assert client.body.endswith(b"0\r\n\r\n")
            assert record.ended == "cut"

    run(main())


@pytest.mark.parametrize("events", range(10))
def test_end_after_every_event(run: Run, events: int) -> None:  # U12
    async def main() -> None:
        async with mock_upstream() as mock:
            client, record = await played(mock, f"end_after={events}")
            assert client.names() == NAMES[:events]
            assert client.body.endswith(b"0\r\n\r\n")
            assert record.ended == ("whole" if events == 9 else "cut")

    run(main())


@pytest.mark.parametrize("events", range(10))
def test_cut_and_reset_after_every_event(run_on_both: Run, events: int) -> None:  # U12, U15
    async def main() -> None:
        async with mock_upstream() as mock:
            cut, record = await played(mock, f"cut_after={events}")
            assert (cut.names(), cut.ended) == (NAMES[:events], "eof")
            assert not cut.body.endswith(b"0\r\n\r\n")
            assert (record.ended, record.events) == ("cut", events)
            clean, _ = await played(mock, f"cut_after={events},framing=close")
            assert (clean.names(), clean.ended) == (NAMES[:events], "eof")
            reset, record = await played(mock, f"reset_after={events}")
            assert (reset.names(), reset.ended) == (NAMES[:events], "reset")
            assert (record.ended, record.events) == ("reset", events)

    run_on_both(main())


def test_reset_after_the_last_event(run_on_both: Run) -> None:  # U16
    async def main() -> None:
        async with mock_upstream() as mock:
            client, record = await played(mock, "reset_after=last")
            assert (client.names(), client.ended, record.events) == (NAMES, "reset", 9)
            assert not client.body.endswith(b"0\r\n\r\n")

    run_on_both(main())


def test_ends_inside_an_event(run_on_both: Run) -> None:  # U11, U14
    async def main() -> None:
        whole, _ = await first_played("")
        event = whole.frames()[3]
        half, _ = await first_played("end_in=4")
        assert half.content == b"".join(whole.frames()[:3]) + event[: len(event) // 2]
        assert half.body.endswith(b"0\r\n\r\n")
        some, _ = await first_played("end_in=4:20")
        assert some.content.endswith(event[:20])
        cut, record = await first_played("cut_in=4")
        assert (len(cut.chunks()), cut.ended, record.events) == (3, "eof", 3)
        some_of_it = cut.body.rpartition(b"\r\n")[2]
        assert event.startswith(some_of_it)
        assert 20 < len(some_of_it) < len(event)
        bare, _ = await first_played("cut_in=4:20,framing=close")
        assert bare.body.endswith(event[:20])
        reset, _ = await first_played("reset_in=4")
        assert (reset.body, reset.ended) == (cut.body, "reset")

    run_on_both(main())


def test_ends_inside_the_head_or_the_one_body(run_on_both: Run) -> None:  # U11
    async def main() -> None:
        head, record = await first_played("cut_in=head")
        assert head.raw.startswith(b"HTTP/1.1 200")
        assert b"\r\n\r\n" not in head.raw
        assert (head.ended, record.events, record.not_applied) == ("eof", 0, [])
        async with mock_upstream() as mock:
            whole, _ = await played(mock, "", stream=False)
            body, record = await played(mock, "cut_in=body", stream=False)
        assert (len(body.body), record.not_applied) == (len(whole.body) // 2, [])

    run_on_both(main())


# The bytes as they go out.


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize(("kind", "difference"), [("short", -5), ("long", 5)])
def test_content_length(run: Run, kind: str, difference: int, streamed: bool) -> None:  # U14
    async def main() -> None:
        async with mock_upstream() as mock:
            client, _ = await played(mock, f"content_length={kind}", stream=streamed)
            assert int(client.headers["content-length"]) - len(client.body) == difference

    run(main())


def test_content_length_that_is_none(run: Run) -> None:  # U14
    async def main() -> None:
        async with mock_upstream() as mock:
            for kind, line in (("junk", b"content-length: 5x"), ("negative", b"content-length: -1")):
                client, _ = await played(mock, f"content_length={kind}")
                assert line in client.head
            twice, _ = await played(mock, "content_length=twice")
            assert twice.head.count(b"content-length") == 2
            beside, _ = await played(mock, "content_length=beside_chunks")
            assert {"content-length", "transfer-encoding"} <= set(beside.headers)

    run(main())


def test_chunks_that_lie(run: Run) -> None:  # U14
    async def main() -> None:
        async with mock_upstream() as mock:
            whole, _ = await played(mock, "")
            size, data = whole.chunks()[3]
            for fault, line in (
                ("chunk_longer", b"%x" % (size + 5)),
                ("chunk_shorter", b"%x" % (size - 5)),
                ("chunk_junk", b"xyz"),
                ("chunk_enormous", b"f" * 17),
            ):
                client, record = await played(mock, f"{fault}=4")
                assert b"\r\n" + line + b"\r\n" + data in client.body
                assert record.events == 9

    run(main())


def test_the_last_chunk(run: Run) -> None:  # U14
    async def main() -> None:
        async with mock_upstream() as mock:
            bad, _ = await played(mock, "bad_trailer")
            assert bad.body.endswith(b"\r\n0\r\nthis is no trailer\r\n\r\n")
            none, record = await played(mock, "no_last_chunk")
            assert none.names() == NAMES
            assert not none.body.endswith(b"0\r\n\r\n")
            assert (record.ended, record.events) == ("cut", 9)

    run(main())


@pytest.mark.parametrize(("fault", "ended"), [("cut_byte", "eof"), ("reset_byte", "reset")])
def test_ends_at_a_byte(run_on_both: Run, fault: str, ended: str) -> None:  # U11, U15
    async def main() -> None:
        whole, _ = await first_played("")
        for offset in (0, 1, 3, 500, len(whole.body) - 1):
            client, _ = await first_played(f"{fault}={offset}")
            assert (client.body, client.ended) == (whole.body[:offset], ended)
        beyond, _ = await first_played(f"{fault}=100000")
        assert (beyond.body, beyond.ended) == (whole.body, ended)

    run_on_both(main())


def test_split(run_on_both: Run) -> None:  # U8
    async def main() -> None:
        whole, _ = await first_played("")
        offsets = [1, 7, 300, 301, 900]
        client, record = await first_played(f"split={'+'.join(map(str, offsets))}")
        assert client.body == whole.body
        assert record.events == 9
        head_bytes = len(client.head) + 4
        ends = {sum(map(len, client.pieces[: place + 1])) - head_bytes for place in range(len(client.pieces))}
        assert ends <= {0, *offsets, len(whole.body)}
        assert len(ends) > 2  # a busy kernel may join some

    run_on_both(main())


@pytest.mark.parametrize("size", [1, 7])
def test_slice(run_on_both: Run, size: int) -> None:  # U7
    async def main() -> None:
        async with mock_upstream() as mock:
            client, record = await played(mock, f"slice={size}")
            assert len(client.pieces) > len(client.raw) // size // 2  # a busy kernel may join some
            assert client.names() == NAMES
            assert record.events == 9
            slow, _ = await played(mock, f"slice={50 * size},piece_delay_s=0.0005")
            assert slow.names() == NAMES

    run_on_both(main())


def test_faults_may_be_combined(run: Run) -> None:
    async def main() -> None:
        async with mock_upstream() as mock:
            client, record = await played(mock, "early_hints=1,repeat=4,drop=6,slice=5,cut_after=message_delta")
            assert client.raw.startswith(b"HTTP/1.1 103")
            names = event_names(client.raw)
            assert names == [*NAMES[:5], "content_block_delta", "content_block_stop", "message_delta"]
            assert (record.ended, client.ended) == ("cut", "eof")

    run(main())


def event_names(raw: bytes) -> list[str]:
    return [name.decode() for name in re.findall(rb"event: (\w+)\n", raw)]
