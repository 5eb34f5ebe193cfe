"""Silence, as dialogues: after the 200 a reader is never without bytes for 15 s, whatever is being waited for, and
what fills the silence is legal and changes nothing. Which kind of it keeps Claude Code waiting: docs/claude-code.md.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from ezai.errors import UpstreamUnreachable
from ezai.policy.routing import Target
from ezai.ports import Timeouts
from tests.pipeline.fakes import ANTHROPIC, DONE, LLAMA_CPP, Dialogue, chunk
from tests.pipeline.test_dialogues import CLOSE, DELTA, HI, OPEN, START, STOP
from tests.pipeline.test_dispatch_dialogues import A, B, answers

EVERY_S = 10
COMMENT = b": still here\n\n"
PING = b'event: ping\ndata: {"type":"ping"}\n\n'


def opening(block: dict[str, Any]) -> bytes:
    start = {"type": "content_block_start", "index": 0, "content_block": block}
    return b"event: content_block_start\ndata: " + msgspec.json.encode(start) + b"\n\n"


def delta(**fields: str) -> bytes:
    told = {"type": "content_block_delta", "index": 0, "delta": fields}
    return b"event: content_block_delta\ndata: " + msgspec.json.encode(told) + b"\n\n"


TEXT, THINKING = opening({"type": "text", "text": ""}), opening({"type": "thinking", "thinking": "", "signature": ""})
TOOL = opening({"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}})
SIGNATURE = delta(type="signature_delta", signature="s")

TAPPED = {
    "after message_start": (START, "ping"),
    "inside text": (START + TEXT, ("text", "")),
    "inside text that has begun": (START + TEXT + HI, ("text", "")),
    "inside a tool's input": (START + TOOL + delta(type="input_json_delta", partial_json='{"a'), ("partial_json", "")),
    "inside thinking": (START + THINKING + delta(type="thinking_delta", thinking="Hm"), ("thinking", "")),
    "inside thinking that is not shown": (START + THINKING, ("thinking", "")),
    "after its signature": (START + THINKING + SIGNATURE, "ping"),
    "inside redacted thinking": (START + opening({"type": "redacted_thinking", "data": "x"}), "ping"),
    "inside a block of an unknown kind": (START + opening({"type": "hologram"}), "ping"),
    "between blocks": (START + OPEN + CLOSE, "ping"),
    "after message_delta": (START + OPEN + CLOSE + DELTA, "ping"),
}
TRANSLATED = {
    "after message_start": (chunk(), "ping"),
    "inside text": (chunk("Hi"), ("text", "")),
    "inside thinking": (
        b'data: {"choices":[{"index":0,"delta":{"reasoning_content":"Hm"}}]}\n\n',
        ("thinking", ""),
    ),
    "inside a tool's input": (
        b'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","type":"function",'
        b'"function":{"name":"f","arguments":"{\\"a"}}]}}]}\n\n',
        ("partial_json", ""),
    ),
}
TOOLS = [{"name": "f", "input_schema": {"type": "object"}}]


def told(talk: Dialogue) -> list[object]:
    """What the client got since the last look, keep-alives as `("text", "")`."""
    frames = talk._decoder.feed(talk._unread())
    events = [msgspec.json.decode(frame.partition(b"data: ")[2]) for frame in frames if b"data: " in frame]
    return [_shown(event) for event in events]


def _shown(event: dict[str, Any]) -> object:
    deltas = {name: text for name, text in event.get("delta", {}).items() if name != "type"}
    return next(iter(deltas.items())) if event["type"] == "content_block_delta" else event["type"]


@pytest.mark.parametrize("place", TAPPED)
def test_a_tapped_stream_is_kept_alive_every_10_s(place: str) -> None:
    said, keep_alive = TAPPED[place]
    with Dialogue(ANTHROPIC) as talk:
        talk.upstream_answers()
        talk.upstream_says(said)
        told(talk)
        for _ in range(11):
            talk.passes(EVERY_S - 0.25)
            assert told(talk) == []
            talk.passes(0.25)
            assert told(talk) == [keep_alive]
        talk.client_leaves()


@pytest.mark.parametrize("place", TRANSLATED)
def test_a_translated_stream_is_kept_alive_every_10_s(place: str) -> None:
    said, keep_alive = TRANSLATED[place]
    with Dialogue(LLAMA_CPP, tools=TOOLS, thinking={"type": "enabled", "budget_tokens": 50}) as talk:
        talk.upstream_answers()
        talk.upstream_says(said)
        told(talk)
        for _ in range(11):
            talk.passes(EVERY_S)
            assert told(talk) == [keep_alive]
        talk.client_leaves()


@pytest.mark.parametrize("place", TAPPED)
@pytest.mark.parametrize("life", [COMMENT, PING], ids=["comments", "pings"])
def test_what_an_upstream_says_to_stay_alive_is_silence_inside_a_block(life: bytes, place: str) -> None:
    """Claude Code leaves after ten minutes of them, but never while empty deltas come (docs/claude-code.md)."""
    said, keep_alive = TAPPED[place]
    with Dialogue(ANTHROPIC) as talk:
        talk.upstream_answers()
        talk.upstream_says(said)
        told(talk)
        for _ in range(200):
            talk.passes(4)
            talk.upstream_says(life)
        got = told(talk)
        if keep_alive == "ping":
            assert got == ["ping"] * (200 if life == PING else 0), "its own do as well as ours"
        else:
            assert 79 <= got.count(keep_alive) <= 80
        talk.client_leaves()


def test_a_comment_behind_content_is_no_silence() -> None:
    with Dialogue(ANTHROPIC) as talk:
        talk.upstream_answers()
        talk.upstream_says(START + TEXT)
        told(talk)
        for _ in range(9):
            talk.passes(9)
            talk.upstream_says(HI + COMMENT)
            assert told(talk) == [("text", "Hi")]
        talk.client_leaves()


@pytest.mark.parametrize("passes_s", [0, 9.75, 10, 30])
def test_only_a_slow_opening_has_a_task_beside_that_of_its_request(passes_s: float) -> None:
    with Dialogue(ANTHROPIC) as talk:
        talk.passes(passes_s)
        assert len(asyncio.all_tasks(talk.loop)) == (2 if passes_s >= 10 else 1)
        talk.upstream_answers()
        talk.upstream_says(START)
        assert len(asyncio.all_tasks(talk.loop)) == 1
        told(talk)
        talk.client_leaves()


@pytest.mark.parametrize("fails", [False, True])
def test_what_a_slow_opening_brings_waits_until_the_reader_has_taken_the_pings(*, fails: bool) -> None:
    with Dialogue(ANTHROPIC) as talk:
        talk.passes(10)
        talk.client_stops_reading()
        talk.passes(30)
        assert told(talk) == ["ping"], "no more than it takes"
        if fails:
            talk.upstream_fails(UpstreamUnreachable("The upstream cannot be reached."))
        else:
            talk.upstream_answers()
            talk.upstream_says(START)
        assert told(talk) == []
        talk.client_reads_again()
        assert told(talk) == ["error" if fails else "message_start"]
        if not fails:
            talk.client_leaves()


def test_a_client_that_leaves_after_the_head_of_a_slow_opening_stops_the_upstream() -> None:
    with Dialogue(ANTHROPIC) as talk:
        talk.passes(10)
        talk.client_leaves()
        assert talk.upstream.cancelled
        talk.ended("client_left")


def test_a_request_that_is_cancelled_after_the_head_of_a_slow_opening_leaves_nothing_running() -> None:
    with Dialogue(ANTHROPIC) as talk:
        talk.passes(10)
        talk.client_stops_reading()
        talk.passes(10)
        talk.run.cancel()
        talk._settle()
        assert talk.upstream.cancelled
        assert not asyncio.all_tasks(talk.loop)
        assert told(talk) == ["ping"]
        assert talk.run.cancelled()
        talk.run = talk.loop.create_task(asyncio.sleep(0))  # what the exit looks at
        talk._settle()


@pytest.mark.parametrize("answered", [False, True])
@pytest.mark.parametrize("life", [b"", COMMENT], ids=["silent", "commenting"])
def test_before_message_start_there_are_pings(life: bytes, answered: bool) -> None:
    with Dialogue() as talk:
        if answered:
            talk.upstream_answers()
        talk.passes(10)
        assert talk.status() == 200
        for _ in range(20):
            if answered and life:
                talk.upstream_says(life)
            talk.passes(EVERY_S)
            talk.client_gets("ping")
        talk.client_leaves()


def test_while_targets_are_tried() -> None:
    """From the 200 on, over timeouts, refusals and backoffs, to the first event and past it."""
    timeouts = {"a": Timeouts(response_headers=17), "b": Timeouts(first_event=23)}
    with Dialogue(targets=[A, B], timeouts=timeouts) as talk:
        talk.passes(10)
        silent_since = talk.clock.now()
        for second in range(60):
            if second == 12:
                assert talk.asked == ["a", "b"]
                talk.upstream_refuses(503, (b"retry-after", b"29"))
            if second == 45:
                assert talk.asked == ["a", "b", "b"]
                talk.upstream_answers()
            talk.passes(1)
            if talk._unread():
                silent_since = talk.clock.now()
            assert talk.clock.now() - silent_since < 15
        talk.upstream_says(chunk("Hi"), chunk(finish="stop") + DONE)
        talk._unread()
        talk.tried(("a", "upstream_timeout"), ("b", "upstream_error"), ("b", "finished"))


def test_the_first_keep_alive_behind_a_late_answer_is_no_later_than_any() -> None:
    with Dialogue(targets=[Target("a", max_retries=0)]) as talk:
        talk.passes(19)
        talk.upstream_answers()
        talk.upstream_says(chunk())
        talk.client_gets("message_start")
        talk.passes(10)
        talk.client_gets("ping")
        talk.client_leaves()


def test_a_reader_who_takes_nothing_is_sent_nothing_more_to_take() -> None:
    with Dialogue() as talk:
        talk.upstream_answers()
        talk.client_stops_reading()
        talk.upstream_says(chunk("Hi"))
        talk.passes(50)
        talk.client_gets("message_start", "content_block_start", ("text", "Hi"))
        talk.client_reads_again()
        talk.passes(10)
        talk.client_gets(("text", ""))
        talk.client_leaves()


def test_a_slow_reader_is_kept_alive_between_what_it_takes() -> None:
    with Dialogue() as talk:
        talk.upstream_answers()
        for _ in range(5):
            talk.client_stops_reading()
            talk.upstream_says(chunk("Hi"))
            assert ("text", "Hi") in told(talk)
            talk.passes(20)
            talk.client_reads_again()
            talk.passes(10)
            assert told(talk) == [("text", "")]
        talk.client_leaves()


def test_a_unary_answer_is_sent_nothing_ahead() -> None:
    with Dialogue(targets=[A], stream=False) as talk:
        talk.passes(100)
        assert (talk.status(), talk.client.batches) == (None, [])
        answers(talk)


def test_what_was_kept_alive_is_whole_at_its_end() -> None:
    with Dialogue(ANTHROPIC) as talk:
        talk.upstream_answers()
        for said in (START, OPEN, HI, CLOSE, DELTA):
            talk.upstream_says(said)
            talk.passes(30)
        talk.upstream_says(STOP)
        assert [item for item in told(talk) if item not in ("ping", ("text", ""))] == [
            "message_start", "content_block_start", ("text", "Hi"), "content_block_stop", "message_delta",
            "message_stop",
        ]  # fmt: skip
