"""Conformance 66: Claude Code itself, before the gateway as its users have it, on a scripted upstream of each wire."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httptools
import msgspec
import pytest

from ezai.lab.mock import behaviour, mock_upstream
from ezai.lab.mock.behaviour import Behaviour
from ezai.lab.mock.journal import RequestRecord, credential_digest
from ezai.protocol.sse import SseDecoder, parse_frame
from tests import canary
from tests.claude_code.command import Ran, ask
from tests.claude_code.wires import ANTHROPIC, CALL_ID, MODEL, OPENAI, THOUGHT, Wire, event
from tests.gateway_process import running_gateway
from tests.sdk.recorder import Recorder
from tests.sdk.wire import Answer

WIRES = pytest.mark.parametrize("wire", [ANTHROPIC, OPENAI], ids=lambda wire: wire.kind)
CONFIGURATION = """
[[upstreams]]
name = "scripted"
kind = "{kind}"
base_url = "{base_url}"
api_key = "{key}"

[[routes]]
model = "claude-*"
targets = [{{ upstream = "scripted" }}]
"""


@dataclass(frozen=True)
class Turn:
    """One run of Claude Code, looked at from every side."""

    ran: Ran
    sent: Sequence[Request]
    """What it sent to the gateway."""
    got: Sequence[Answer]
    """What the gateway answered."""
    asked: Sequence[RequestRecord]
    """What the upstream was sent."""

    def asked_body(self, place: int) -> Any:
        return msgspec.json.decode(self.asked[place].body)


@dataclass
class Request:
    """One request as it was sent."""

    target: bytes
    headers: dict[bytes, bytes]
    body: bytes


class _Reader:
    """Reads requests with the parser that the gateway has."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def on_message_begin(self) -> None:
        self.requests.append(Request(b"", {}, b""))

    def on_url(self, url: bytes) -> None:
        self.requests[-1].target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.requests[-1].headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        self.requests[-1].body += body


def requests_in(sent: bytes) -> list[Request]:
    reader = _Reader()
    httptools.HttpRequestParser(reader).feed_data(sent)
    return reader.requests


def turn(
    wire: Wire, prompt: str, folder: Path, *behaviours: Behaviour, credential: str = "ANTHROPIC_AUTH_TOKEN"
) -> Turn:
    """Run Claude Code with a prompt; the upstream answers its requests with these behaviours, one after the other.

    `credential` is the environment variable that holds its key.
    """

    async def with_upstream() -> Turn:
        async with mock_upstream(*behaviours) as upstream:
            ran, recorder = await asyncio.to_thread(run, upstream.url)
            return Turn(ran, requests_in(recorder.sent()), recorder.answers(), tuple(upstream.journal.requests))

    def run(upstream_url: str) -> tuple[Ran, Recorder]:
        config = folder / "ezai.toml"
        config.write_text(
            CONFIGURATION.format(kind=wire.kind, base_url=wire.base_url(upstream_url), key=canary.UPSTREAM_KEY)
        )
        data = {"EZAI_DATA_DIR": str(folder / "data"), "EZAI_ADMIN_KEY": canary.CLIENT_KEY}
        with running_gateway(config, **data) as gateway, Recorder(gateway.url) as recorder:
            ran = ask(prompt, recorder.url, folder, MODEL, **{credential: canary.CLIENT_KEY})
        return ran, recorder

    return asyncio.run(with_upstream())


def recorded(stream: bytes) -> Behaviour:
    return behaviour(recording=stream)


@WIRES
@pytest.mark.parametrize("credential", ["ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY"])
def test_item_66_a_plain_answer(credential: str, wire: Wire, tmp_path: Path) -> None:
    answer = recorded(wire.says("Hi there."))
    done = turn(wire, "say hi", tmp_path, answer, credential=credential)
    assert (done.ran.status, done.ran.printed.is_error, done.ran.printed.result) == (0, False, "Hi there.")
    assert (done.ran.printed.usage["input_tokens"], done.ran.printed.usage["output_tokens"]) == (40, 7)
    assert [request.target for request in done.sent] == [b"/v1/messages?beta=true"]
    assert len(done.asked) == 1


@WIRES
def test_item_66_a_turn_in_which_a_tool_reads_a_file(wire: Wire, tmp_path: Path) -> None:
    arguments = {"file_path": str(file_in(tmp_path))}
    call, answer = wire.calls("Read", **arguments), wire.says("It is teal.")
    done = turn(wire, "Which colour is it?", tmp_path, recorded(call), recorded(answer))
    assert (done.ran.status, done.ran.printed.is_error, done.ran.printed.result) == (0, False, "It is teal.")
    assert (done.ran.printed.num_turns, len(done.asked)) == (2, 2)
    if wire is ANTHROPIC:
        check_that_nothing_was_touched(done, call, answer)
    else:
        check_that_the_call_was_translated(done, arguments)


def check_that_nothing_was_touched(done: Turn, *streams: bytes) -> None:
    """An Anthropic upstream gets Claude Code's bodies and the headers that may cross; its streams come back whole."""
    assert [record.body for record in done.asked] == [request.body for request in done.sent]
    assert [answer.body for answer in done.got] == list(streams)
    for record, request in zip(done.asked, done.sent, strict=True):
        assert record.path.partition("?")[0] == "/v1/messages"
        assert request.target == b"/v1/messages?beta=true"
        sent = {name.decode(): value.decode() for name, value in request.headers.items()}
        crossing = {
            name: value
            for name, value in sent.items()
            if name.startswith(("anthropic-", "x-claude-code-", "x-stainless-")) or name in {"x-app", "user-agent"}
        }
        assert {"anthropic-beta", "anthropic-version", "x-app", "x-claude-code-session-id"} <= set(crossing)
        got = dict(record.headers)
        assert {name: got.pop(name) for name in crossing} == crossing
        assert got.pop("x-api-key") == credential_digest(canary.UPSTREAM_KEY)
        assert set(got) <= {"host", "content-type", "content-length", "accept", "accept-encoding"}
    (result,) = results_in(done.asked_body(1))
    assert result["tool_use_id"] == CALL_ID
    assert "The colour is teal." in str(result["content"])


def check_that_the_call_was_translated(done: Turn, arguments: dict[str, str]) -> None:
    """A chat upstream gets the call and the file as its dialect has them, and nothing that only Anthropic knows."""
    starts = [event.payload["content_block"] for event in done.got[0].events() if event.kind == "content_block_start"]
    assert [start["type"] for start in starts] == ["thinking", "text", "tool_use"]
    assert starts[2] == {"type": "tool_use", "id": CALL_ID, "name": "Read", "input": {}}
    (result,) = results_in(msgspec.json.decode(done.sent[1].body))
    for body in map(done.asked_body, range(2)):
        assert body["stream_options"] == {"include_usage": True}
        assert [message["role"] for message in body["messages"][:2]] == ["system", "user"]
        assert "x-anthropic-billing-header" not in str(body)
        tools = [tool["function"]["name"] for tool in body["tools"]]
        assert "Read" in tools
        assert "DeferredToolPlaceholder" not in tools
    *_, reply, tool = done.asked_body(1)["messages"]
    assert tool == {"role": "tool", "tool_call_id": CALL_ID, "content": result["content"]}
    assert "The colour is teal." in tool["content"]
    (back,) = reply["tool_calls"]
    assert (reply["role"], reply["content"], back["id"], back["function"]["name"]) == (
        "assistant",
        "Looking.",
        CALL_ID,
        "Read",
    )
    assert msgspec.json.decode(back["function"]["arguments"]) == arguments
    assert THOUGHT not in str(reply)


def results_in(body: Any) -> list[dict[str, Any]]:
    """The results of tools in a request of the Messages API."""
    contents = [message["content"] for message in body["messages"] if isinstance(message["content"], list)]
    return [block for content in contents for block in content if block["type"] == "tool_result"]


@WIRES
def test_an_upstream_that_is_overloaded_at_first_is_asked_again(wire: Wire, tmp_path: Path) -> None:
    status = "status=529" if wire is ANTHROPIC else "status=503"
    done = turn(wire, "say hi", tmp_path, behaviour(status), recorded(wire.says("Hi there.")))
    assert (done.ran.status, done.ran.printed.result) == (0, "Hi there.")
    assert (len(done.sent), len(done.asked)) == (1, 2), "the gateway asks again by itself"
    assert [answer.status for answer in done.got] == [200]


@WIRES
@pytest.mark.parametrize("fault", ["error_after", "cut_after"])
def test_a_stream_that_breaks_inside_a_block_is_asked_for_again_as_one_message(
    fault: str, wire: Wire, tmp_path: Path
) -> None:
    broken = behaviour(recording=wire.says("Hi th"), **{fault: "3" if wire is ANTHROPIC else "2"})
    done = turn(wire, "say hi", tmp_path, broken, behaviour("tokens=2", text="Hi there."))
    assert (done.ran.status, done.ran.printed.result) == (0, "Hi there.")
    assert done.got[0].events()[-1].kind == "error"
    assert [msgspec.json.decode(request.body).get("stream", False) for request in done.sent] == [True, False]


@pytest.mark.parametrize("fault", ["error_after", "cut_after"])
def test_a_stream_that_breaks_after_a_whole_block_is_gone_on_with(fault: str, tmp_path: Path) -> None:
    """Older versions threw the block away, and asked for one message."""
    broken = behaviour(recording=ANTHROPIC.calls("Read", file_path="x"), **{fault: str(AFTER_THE_TEXT)})
    done = turn(ANTHROPIC, "say hi", tmp_path, broken, recorded(ANTHROPIC.says("Hi there.")))
    assert done.ran.status == 0
    assert [msgspec.json.decode(request.body).get("stream", False) for request in done.sent] == [True, True]
    kept, spoken = done.asked_body(1)["messages"][-2:]
    assert (kept["role"], spoken["role"]) == ("assistant", "user")
    assert "Looking." in str(kept["content"])


AFTER_THE_TEXT = 8
"""Events of a call's stream until its text is whole: the message's start, a thinking block, a text block."""


def test_keep_alives_change_nothing(tmp_path: Path) -> None:
    """Comments, pings and empty deltas, wherever the gateway may write one or let one through."""
    call = kept_alive(ANTHROPIC.calls("Read", file_path=str(file_in(tmp_path))))
    answer = kept_alive(ANTHROPIC.says("It is teal."))
    done = turn(ANTHROPIC, "Which colour is it?", tmp_path, recorded(call), recorded(answer))
    assert [got.body for got in done.got] == [call, answer]
    assert (done.ran.status, done.ran.printed.result, done.ran.printed.num_turns) == (0, "It is teal.", 2)
    assert "The colour is teal." in str(results_in(done.asked_body(1)))


def kept_alive(stream: bytes) -> bytes:
    """The stream with a ping before it, and behind each event a comment and a keep-alive."""
    ping = event("ping")
    frames = SseDecoder().feed(stream)
    return (
        ping
        + b"".join(frame + b": still here\n\n" + (empty_delta(frame) or ping) for frame in frames[:-1])
        + frames[-1]
    )


def empty_delta(frame: bytes) -> bytes | None:
    """What may stand behind the start of a block, or a delta of it, and says nothing; None behind anything else."""
    _, data = parse_frame(frame)
    said = msgspec.json.decode(data or b"{}")
    kind = said.get("content_block", said.get("delta", {})).get("type", "").removesuffix("_delta")
    return event("content_block_delta", index=said["index"], delta=EMPTY[kind]) if kind in EMPTY else None


EMPTY = {
    "text": {"type": "text_delta", "text": ""},
    "thinking": {"type": "thinking_delta", "thinking": ""},
    "tool_use": {"type": "input_json_delta", "partial_json": ""},
    "input_json": {"type": "input_json_delta", "partial_json": ""},
}


def file_in(folder: Path) -> Path:
    """A file where Claude Code works."""
    file = folder / "work" / "colour.txt"
    file.parent.mkdir()
    file.write_text("The colour is teal.\n")
    return file
