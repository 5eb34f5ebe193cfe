"""Faults of upstreams as dialogues: what is held back, what is counted, which phase is named."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ezai.pipeline.attempts import MAX_HELD_COMMENT_BYTES
from ezai.ports import Timeouts, UpstreamFacts
from tests.pipeline.fakes import ANTHROPIC, DONE, JSON, LLAMA_CPP, Dialogue, chunk
from tests.pipeline.test_dialogues import CLOSE, DELTA, HI, OPEN, START, STOP

COMMENT = b": processing\n\n"
BUSY = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Busy"}}\n\n'


# Comments before the first event.


def test_a_refusal_behind_a_comment_keeps_its_status() -> None:
    with Dialogue(ANTHROPIC) as talk:
        talk.upstream_answers()
        talk.upstream_says(COMMENT)
        assert talk.status() is None, "a comment is no event"
        talk.upstream_says(COMMENT + BUSY)
        assert talk.client_gets_json(529)["error"]["type"] == "overloaded_error"
        talk.ended("upstream_error")


def test_comments_before_the_first_event_are_relayed_with_it() -> None:
    with Dialogue(ANTHROPIC) as talk:
        talk.upstream_answers()
        talk.upstream_says(COMMENT, COMMENT, START)
        assert talk.status() == 200
        talk.client_gets_bytes(COMMENT + COMMENT + START)
        talk.upstream_says(DELTA + STOP)
        talk.client_gets("message_delta", "message_stop")
        talk.ended("finished")


def test_an_upstream_that_says_nothing_but_comments_fills_no_memory() -> None:
    flood = COMMENT * (MAX_HELD_COMMENT_BYTES // len(COMMENT))
    with Dialogue(ANTHROPIC) as talk:
        talk.upstream_answers()
        talk.upstream_says(flood)
        assert talk.status() is None
        talk.upstream_says(COMMENT, COMMENT)
        assert talk.status() == 200
        talk.client_gets_bytes(flood + COMMENT + COMMENT)
        talk.client_leaves()
        talk.ended("client_left")


def test_the_time_to_the_first_event_is_not_that_to_a_comment() -> None:
    with Dialogue(ANTHROPIC) as talk:
        talk.upstream_answers()
        talk.upstream_says(COMMENT)
        talk.passes(3)
        talk.upstream_says(START)
        talk.client_gets("comment", "message_start")
        talk.client_leaves()
        assert talk.ended("client_left").first_event_after_s == 3


def test_an_upstream_that_ends_behind_a_comment_is_a_502() -> None:
    with Dialogue(ANTHROPIC) as talk:
        talk.upstream_answers()
        talk.upstream_says(COMMENT)
        talk.upstream_ends()
        talk.client_gets_json(502)
        talk.ended("upstream_truncated")


# A 200 that is no stream.


@pytest.mark.parametrize(
    ("facts", "body"),
    [
        (ANTHROPIC, b'{"type":"error","error":{"type":"overloaded_error","message":"All GPUs burn."}}'),
        (LLAMA_CPP, b'{"error":{"type":"overloaded_error","message":"All GPUs burn."}}'),
        (LLAMA_CPP, b'{"error":{"code":503,"message":"All GPUs burn."}}'),
    ],
)
def test_an_error_told_with_a_200_keeps_its_sentence_and_its_own_status(facts: UpstreamFacts, body: bytes) -> None:
    with Dialogue(facts) as talk:
        talk.upstream_answers(headers=JSON)
        talk.upstream_says(body)
        talk.upstream_ends()
        error = talk.client_gets_json(529)["error"]
        assert (error["type"], error["message"]) == ("overloaded_error", "All GPUs burn.")
        talk.ended("upstream_error")


@pytest.mark.parametrize("body", [b'{"id":"msg_1","content":[]}', b"<html>", b"", b"x" * 70_000])
def test_anything_else_that_is_no_stream_is_told_as_that(body: bytes) -> None:
    with Dialogue(ANTHROPIC) as talk:
        talk.upstream_answers(headers=JSON)
        talk.upstream_says(*([body] if body else []))
        if len(body) < 70_000:
            talk.upstream_ends()
        assert talk.client_gets_json(502)["error"]["message"].endswith("a stream with something else.")
        talk.ended("upstream_malformed")


# What a tapped stream used.


def test_a_tapped_stream_that_breaks_used_what_was_relayed() -> None:
    with Dialogue(ANTHROPIC) as talk:
        talk.upstream_answers()
        talk.upstream_says(START + OPEN + HI + HI + HI)
        talk.client_gets("message_start", "content_block_start", "text", "text", "text")
        talk.client_leaves()
        end = talk.ended("client_left").end
        assert (end.usage.input_tokens, end.usage.output_tokens, end.usage_source) == (7, 3, "estimated")


def test_a_tapped_stream_whose_upstream_counted_more_keeps_that_count() -> None:
    with Dialogue(ANTHROPIC) as talk:
        talk.upstream_answers()
        talk.upstream_says(START.replace(b'"output_tokens":1', b'"output_tokens":9') + OPEN + HI + HI)
        talk.client_gets("message_start", "content_block_start", "text", "text")
        talk.upstream_ends()
        talk.client_gets(("error", "upstream_truncated"))
        end = talk.ended("upstream_truncated").end
        assert (end.usage.output_tokens, end.usage_source) == (9, "partial_upstream")


def test_the_upstreams_last_word_stands_above_what_was_counted() -> None:
    with Dialogue(ANTHROPIC) as talk:
        talk.upstream_answers()
        talk.upstream_says(START + OPEN + HI * 9 + CLOSE + DELTA + STOP)
        talk.client_gets("message_start", "content_block_start", *["text"] * 9, "content_block_stop",
                         "message_delta", "message_stop")  # fmt: skip
        end = talk.ended("finished").end
        assert (end.usage.output_tokens, end.usage_source) == (5, "upstream")


ABSURD: list[Any] = [-1, 10**18, 10**30, 1.5, "many", None]


@pytest.mark.parametrize("count", ABSURD)
def test_an_absurd_count_of_a_tapped_stream_is_none(count: Any) -> None:
    delta = DELTA.replace(b'"output_tokens":5', b'"output_tokens":' + msgspec.json.encode(count))
    with Dialogue(ANTHROPIC) as talk:
        talk.upstream_answers()
        talk.upstream_says(START + OPEN + HI + HI + CLOSE + delta + STOP)
        talk.client_gets_bytes(START + OPEN + HI + HI + CLOSE + delta + STOP)
        end = talk.ended("finished").end
        assert (end.usage.output_tokens, end.usage_source) == (2, "estimated")


@pytest.mark.parametrize("count", ABSURD)
def test_an_absurd_count_of_a_translated_stream_is_none(count: Any) -> None:
    usage = b"data: " + msgspec.json.encode({"choices": [], "usage": {"completion_tokens": count}}) + b"\n\n"
    with Dialogue() as talk:
        talk.upstream_answers()
        talk.upstream_says(chunk("a") + chunk("b") + chunk(finish="stop") + usage + DONE)
        talk.client_gets("message_start", "content_block_start", "text", "text", "content_block_stop",
                         "message_delta", "message_stop")  # fmt: skip
        end = talk.ended("finished").end
        assert (end.usage.output_tokens, end.usage_source) == (2, "estimated")


@pytest.mark.parametrize("count", ABSURD)
def test_an_absurd_count_of_a_tapped_unary_answer_is_none(count: Any) -> None:
    usage = {"input_tokens": 3, "output_tokens": count}
    body = msgspec.json.encode({"type": "message", "content": [], "usage": usage, "stop_reason": "end_turn"})
    with Dialogue(ANTHROPIC, stream=False) as talk:
        talk.upstream_answers(headers=JSON)
        talk.upstream_says(body)
        talk.upstream_ends()
        talk.client_gets_bytes(body)
        end = talk.ended("finished").end
        assert (end.usage.output_tokens, end.usage_source) == (0, "none")


def test_a_unary_body_that_is_not_utf8_is_a_502() -> None:
    body = b'{"type":"message","content":[{"type":"text","text":"\xff"}],"usage":{"output_tokens":4}}'
    with Dialogue(ANTHROPIC, stream=False) as talk:
        talk.upstream_answers(headers=JSON)
        talk.upstream_says(body)
        talk.upstream_ends()
        talk.client_gets_json(502)
        talk.ended("upstream_malformed")


# Which phase ran out.


@pytest.mark.parametrize("answered", [False, True])
def test_the_total_time_of_a_tapped_unary_answer_is_named(answered: bool) -> None:
    with Dialogue(ANTHROPIC, stream=False, timeouts=Timeouts(total=5)) as talk:
        if answered:
            talk.upstream_answers(headers=JSON)
        talk.passes(5)
        assert "(timeouts.total)" in talk.client_gets_json(504)["error"]["message"]
        talk.ended("upstream_timeout")


@pytest.mark.parametrize(("timeouts", "phase"), [(Timeouts(response_headers=5), "response_headers"),
                                                 (Timeouts(response_headers=9, total=5), "total")])  # fmt: skip
def test_the_phase_that_ran_out_first_is_named(timeouts: Timeouts, phase: str) -> None:
    with Dialogue(timeouts=timeouts) as talk:
        talk.passes(5)
        assert f"(timeouts.{phase})" in talk.client_gets_json(504)["error"]["message"]
        talk.ended("upstream_timeout")
