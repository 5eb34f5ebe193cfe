"""Time to first token: from a request's admission to the first content of its stream, not to its first event."""

from __future__ import annotations

import pytest

from ezai.policy.routing import Target
from tests.pipeline.fakes import ANTHROPIC, DONE, Dialogue, chunk, usage_chunk
from tests.pipeline.test_dialogues import CLOSE, DELTA, HI, OPEN, START, STOP

PING = b'event: ping\ndata: {"type":"ping"}\n\n'
OPEN_TOOL = OPEN.replace(b'{"type":"text","text":""}', b'{"type":"tool_use","id":"t","name":"f","input":{}}')
NOTHING = HI.replace(b'"text_delta","text":"Hi"', b'"input_json_delta","partial_json":""')
INPUT = NOTHING.replace(b'partial_json":""', b'partial_json":"{}"')
WHOLE = ("message_start", "content_block_start", ("text", "Hi"), "content_block_stop", "message_delta")


def first_token_after_s(talk: Dialogue) -> float | None:
    (told,) = talk.outcomes
    return told.first_token_after_s


def test_of_a_tap_it_is_the_first_delta_that_says_something() -> None:
    with Dialogue(ANTHROPIC) as talk:
        talk.passes(1)
        talk.upstream_answers()
        talk.upstream_says(START)
        talk.passes(2)
        talk.upstream_says(PING + OPEN_TOOL, NOTHING)
        talk.passes(4)
        talk.upstream_says(INPUT)
        talk.passes(8)
        talk.upstream_says(INPUT, CLOSE, DELTA, STOP)
        talk.client_gets_bytes(START + PING + OPEN_TOOL + NOTHING + INPUT * 2 + CLOSE + DELTA + STOP)
        talk.ended("finished")
        assert first_token_after_s(talk) == 7


def test_of_a_transform_it_is_the_first_delta_too() -> None:
    with Dialogue() as talk:
        talk.upstream_answers()
        talk.upstream_says(chunk())
        talk.passes(3)
        talk.upstream_says(chunk("Hi"))
        talk.passes(5)
        talk.upstream_says(chunk(" you"), chunk(finish="stop"), usage_chunk(1, 2) + DONE)
        talk.client_gets(*WHOLE[:2], ("text", "Hi"), ("text", " you"), *WHOLE[3:], "message_stop")
        talk.ended("finished")
        assert first_token_after_s(talk) == 3


def test_an_answer_that_comes_in_one_read_has_one() -> None:
    with Dialogue(ANTHROPIC) as talk:
        talk.upstream_answers()
        talk.passes(2)
        talk.upstream_says(START + OPEN + HI + CLOSE + DELTA + STOP)
        talk.client_gets(*WHOLE, "message_stop")
        talk.ended("finished")
        assert first_token_after_s(talk) == 2


def test_a_target_that_failed_counts_in() -> None:
    with Dialogue(ANTHROPIC, targets=(Target("one", max_retries=0), Target("two", max_retries=0))) as talk:
        talk.passes(3)
        talk.upstream_refuses(500)
        talk.passes(1)
        talk.upstream_answers()
        talk.upstream_says(START + OPEN + HI + CLOSE + DELTA + STOP)
        talk.client_gets(*WHOLE, "message_stop")
        assert first_token_after_s(talk) == 4


def test_of_a_stream_that_breaks_it_is_known() -> None:
    with Dialogue(ANTHROPIC) as talk:
        talk.upstream_answers()
        talk.passes(1)
        talk.upstream_says(START + OPEN + HI + b"event: x\ndata: no JSON\n\n")
        talk.client_gets(*WHOLE[:3], "error")
        talk.ended("upstream_malformed")
        assert first_token_after_s(talk) == 1


@pytest.mark.parametrize("said", [START + DELTA + STOP, START + OPEN + CLOSE + DELTA + STOP], ids=["no block", "empty"])
def test_without_content_there_is_none(said: bytes) -> None:
    with Dialogue(ANTHROPIC) as talk:
        talk.upstream_answers()
        talk.upstream_says(said)
        talk.client_gets_bytes(said)
        talk.ended("finished")
        assert first_token_after_s(talk) is None


def test_of_one_that_never_answered_there_is_none() -> None:
    with Dialogue(ANTHROPIC) as talk:
        talk.client_leaves()
        talk.ended("client_left")
        assert first_token_after_s(talk) is None


def test_the_route_is_told_with_the_request() -> None:
    with Dialogue(ANTHROPIC) as talk:
        talk.upstream_refuses(400)
        talk.client_gets_json(400)
        assert talk.outcomes[0].route == "*"
