"""Time to first token: from a request's admission to the first content of its stream, not to its first event."""

from __future__ import annotations

import pytest

from ezai.policy.routing import Target
from tests.pipeline.fakes import ANTHROPIC, DONE, OPENAI_COMPATIBLE, Dialogue, chunk, usage_chunk
from tests.pipeline.test_dialogues import CLOSE, DELTA, HI, OPEN, START, STOP
from tests.pipeline.test_end_dialogues import STOPS

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


def test_thinking_is_content_too() -> None:
    thinking = HI.replace(b'"text_delta","text":"Hi"', b'"thinking_delta","thinking":"Hm"')
    opened = OPEN.replace(b'{"type":"text","text":""}', b'{"type":"thinking","thinking":"","signature":""}')
    with Dialogue(ANTHROPIC) as talk:
        talk.upstream_answers()
        talk.upstream_says(START + opened)
        talk.passes(2)
        talk.upstream_says(thinking)
        talk.passes(2)
        talk.upstream_says(CLOSE, DELTA, STOP)
        talk.client_gets_bytes(START + opened + thinking + CLOSE + DELTA + STOP)
        talk.ended("finished")
        assert first_token_after_s(talk) == 2


def test_text_that_is_held_back_counts_when_it_is_told() -> None:
    """What may be the beginning of a stop sequence is told at the end, when it turns out to be none."""
    with Dialogue(OPENAI_COMPATIBLE, stop_sequences=STOPS) as talk:
        talk.upstream_answers()
        talk.upstream_says(chunk("eno"))
        talk.passes(2)
        talk.upstream_says(chunk(finish="stop"))
        talk.passes(2)
        talk.upstream_says(DONE)
        talk.client_gets(*WHOLE[:2], ("text", "eno"), *WHOLE[3:], "message_stop")
        talk.ended("finished")
        assert first_token_after_s(talk) == 2


def test_who_asks_for_the_whole_sees_no_first_token() -> None:
    with Dialogue(stream=False) as talk:
        talk.upstream_answers()
        talk.passes(3)
        talk.upstream_says(chunk("Hi"), chunk(finish="stop"), usage_chunk(1, 1) + DONE)
        talk.client_gets_json(200)
        talk.ended("finished")
        assert first_token_after_s(talk) is None


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
        assert talk.outcomes[0].upstream_first_token_after_s == 1, "the second one's own time"


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
