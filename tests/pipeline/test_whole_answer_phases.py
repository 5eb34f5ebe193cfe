"""How long a whole answer of an upstream of the client's dialect may take, and what of it is told when it fails."""

from __future__ import annotations

import pytest

from ezai.ports import Timeouts
from tests.pipeline.fakes import ANTHROPIC, JSON, Dialogue

TIMEOUTS = Timeouts(response_headers=10, first_event=20, idle=5, total=100)
BODY = (
    b'{"id":"msg_9","type":"message","role":"assistant","model":"real","content":[{"type":"text","text":"Hi"}],'
    b'"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":7,"output_tokens":1}}'
)


def asked() -> Dialogue:
    return Dialogue(ANTHROPIC, stream=False, timeouts=TIMEOUTS)


def test_its_head_may_take_the_time_of_both_phases_before_content() -> None:
    with asked() as talk:
        talk.passes(29)
        assert talk.status() is None
        talk.upstream_answers(headers=JSON)
        talk.upstream_says(BODY)
        talk.upstream_ends()
        talk.client_gets_bytes(BODY)
        talk.ended("finished")


def test_and_no_longer() -> None:
    with asked() as talk:
        talk.passes(30)
        error = talk.client_gets_json(504)["error"]
        assert "30 s (timeouts.response_headers + first_event)" in error["message"]
        talk.ended("upstream_timeout")
        assert talk.upstream.has_stopped()


def test_behind_an_early_head_the_body_may_begin_as_late_as_a_stream() -> None:
    with asked() as talk:
        talk.upstream_answers(headers=JSON)
        talk.passes(19)
        talk.upstream_says(BODY[:5])
        talk.passes(4)
        talk.upstream_says(BODY[5:])
        talk.upstream_ends()
        talk.client_gets_bytes(BODY)
        talk.ended("finished")


def test_a_body_that_never_begins_is_given_up() -> None:
    with asked() as talk:
        talk.upstream_answers(headers=JSON)
        talk.passes(20)
        assert "20 s (timeouts.first_event)" in talk.client_gets_json(504)["error"]["message"]
        talk.ended("upstream_timeout")
        assert talk.upstream.has_stopped()


def test_one_that_stops_is_given_up_soon() -> None:
    with asked() as talk:
        talk.upstream_answers(headers=JSON)
        talk.upstream_says(BODY[:5])
        talk.passes(4)
        talk.upstream_says(BODY[5:20])
        talk.passes(1)
        assert talk.status() is None, "it has said something within the time"
        talk.passes(5)
        assert "5 s (timeouts.idle)" in talk.client_gets_json(504)["error"]["message"]
        talk.ended("upstream_stalled")
        assert talk.upstream.has_stopped()


def test_one_that_drips_for_ever_ends_at_the_total_time() -> None:
    with asked() as talk:
        talk.upstream_answers(headers=JSON)
        for _ in range(99):
            talk.passes(1)
            talk.upstream_says(b" ")
        assert talk.status() is None
        talk.passes(1)
        assert "100 s (timeouts.total)" in talk.client_gets_json(504)["error"]["message"]
        talk.ended("upstream_timeout")


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b'{"type":"error","error":{"type":"overloaded_error","message":"Busy"}}', 529, "Busy"),
        (b'{"type":"error","error":{"type":"unheard_of","message":"What?"}}', 502, "What?"),
        (b'{"error":"model not loaded"}', 502, "model not loaded"),
        (b'[{"error":{"message":"all of it"}}]', 502, "all of it"),
        (b"<html>", 502, "The upstream answered with a body that is no message."),
    ],
)
def test_an_error_under_a_200_is_told_in_its_own_words(body: bytes, status: int, message: str) -> None:
    with asked() as talk:
        talk.upstream_answers(headers=JSON)
        talk.upstream_says(body)
        talk.upstream_ends()
        assert talk.client_gets_json(status)["error"]["message"] == message
