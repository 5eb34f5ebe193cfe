"""Ends of a translated stream as dialogues: told here before the upstream's own, and told but never closed."""

from __future__ import annotations

import pytest

from ezai.errors import UpstreamTruncated
from ezai.pipeline.attempts import AFTER_THE_END_S
from ezai.ports import Timeouts
from tests.pipeline.fakes import DONE, OPENAI_COMPATIBLE, Dialogue, chunk, usage_chunk

STOPS = ["END", "STOP", "###", "\n\nHuman:", "enough"]  # more than the upstream takes


# Stop sequences that are enforced here.


def test_item_35_an_upstream_that_goes_on_is_told_to_stop() -> None:
    with Dialogue(OPENAI_COMPATIBLE, stop_sequences=STOPS) as talk:
        talk.upstream_answers()
        talk.upstream_says(chunk("Hi "), chunk("eno"))
        talk.client_gets("message_start", "content_block_start", ("text", "Hi "))
        talk.upstream_says(chunk("ugh of this"))
        talk.client_gets("content_block_stop", ("message_delta", "stop_sequence"), "message_stop")
        assert talk.ended("finished").end.stop_reason == "stop_sequence"
        assert talk.upstream.has_stopped()
        assert talk.upstream.exchange is not None
        assert not talk.upstream.exchange.released, "what it goes on saying is in nobody's way"


def test_item_35_a_unary_answer_stops_there_too() -> None:
    with Dialogue(OPENAI_COMPATIBLE, stream=False, stop_sequences=STOPS) as talk:
        talk.upstream_answers()
        talk.upstream_says(chunk("Hi enough of this"))
        message = talk.client_gets_json(200)
        assert (message["content"][0]["text"], message["stop_sequence"]) == ("Hi ", "enough")
        assert talk.upstream.has_stopped()


def test_item_35_an_upstream_that_has_ended_may_be_asked_again() -> None:
    with Dialogue(OPENAI_COMPATIBLE, stop_sequences=STOPS) as talk:
        talk.upstream_answers()
        talk.upstream_says(chunk("Hi EN") + chunk(finish="stop") + DONE)
        talk.client_gets("message_start", "content_block_start", ("text", "Hi "), ("text", "EN"), "content_block_stop",
                         ("message_delta", "end_turn"), "message_stop")  # fmt: skip
        assert talk.upstream.exchange is not None
        assert talk.upstream.exchange.released


# An end that is told and not closed.


def test_an_upstream_that_never_closes_is_listened_to_for_a_moment() -> None:
    with Dialogue() as talk:
        talk.upstream_answers()
        talk.upstream_says(chunk("Hi"), chunk(finish="stop"))
        talk.client_gets("message_start", "content_block_start", ("text", "Hi"), "content_block_stop")
        talk.passes(AFTER_THE_END_S - 0.25)
        talk.client_gets()
        talk.passes(0.25)
        talk.client_gets(("message_delta", "end_turn"), "message_stop")
        talk.ended("finished")
        assert talk.upstream.has_stopped()


def test_an_end_without_an_event_counts_from_when_it_was_told() -> None:
    with Dialogue() as talk:
        talk.upstream_answers()
        talk.upstream_says(chunk())
        talk.passes(5)
        talk.upstream_says(chunk(finish="stop"))
        talk.client_gets("message_start")
        talk.passes(AFTER_THE_END_S)
        talk.client_gets(("message_delta", "end_turn"), "message_stop")
        talk.ended("finished")


def test_usage_that_follows_the_finish_is_taken() -> None:
    with Dialogue() as talk:
        talk.upstream_answers()
        talk.upstream_says(chunk("Hi"), chunk(finish="stop"))
        talk.passes(1)
        talk.upstream_says(usage_chunk(5, 7))
        talk.passes(1)
        talk.client_gets("message_start", "content_block_start", ("text", "Hi"), "content_block_stop",
                         ("message_delta", "end_turn"), "message_stop")  # fmt: skip
        assert talk.ended("finished").end.usage.output_tokens == 7


def test_comments_do_not_hold_the_end_open() -> None:
    with Dialogue() as talk:
        talk.upstream_answers()
        talk.upstream_says(chunk("Hi"), chunk(finish="length"))
        for _ in range(4):
            talk.passes(0.5)
            talk.upstream_says(b": still here\n\n")
        talk.client_gets("message_start", "content_block_start", ("text", "Hi"), "content_block_stop",
                         ("message_delta", "max_tokens"), "message_stop")  # fmt: skip
        talk.ended("finished")


def test_a_unary_answer_does_not_wait_for_the_close_either() -> None:
    with Dialogue(stream=False) as talk:
        talk.upstream_answers()
        talk.upstream_says(chunk("Hi"), chunk(finish="stop"))
        talk.passes(AFTER_THE_END_S)
        assert talk.client_gets_json(200)["content"] == [{"type": "text", "text": "Hi"}]
        talk.ended("finished")


def test_of_a_unary_answer_usage_is_taken_that_follows_an_end_without_an_event() -> None:
    with Dialogue(stream=False) as talk:
        talk.upstream_answers()
        talk.upstream_says(chunk(), chunk(finish="stop"))
        talk.passes(1)
        talk.upstream_says(usage_chunk(5, 7), DONE)
        assert talk.client_gets_json(200)["usage"]["output_tokens"] == 7
        talk.ended("finished")


def test_the_silence_of_a_unary_answer_counts_from_what_came_last() -> None:
    with Dialogue(stream=False, timeouts=Timeouts(idle=5)) as talk:
        talk.upstream_answers()
        talk.upstream_says(chunk("a"))
        talk.passes(4)
        talk.upstream_says(chunk("b"))
        talk.passes(4.75)
        assert talk.status() is None
        talk.passes(0.25)
        talk.client_gets_json(504)
        assert talk.ended("upstream_stalled").end.usage.output_tokens == 2


@pytest.mark.parametrize("timeouts", [Timeouts(idle=1), Timeouts(total=1)])
def test_no_phase_is_over_before_an_end_that_was_told(timeouts: Timeouts) -> None:
    with Dialogue(timeouts=timeouts) as talk:
        talk.upstream_answers()
        talk.upstream_says(chunk("Hi"), chunk(finish="stop"))
        talk.passes(1)
        talk.client_gets("message_start", "content_block_start", ("text", "Hi"), "content_block_stop",
                         ("message_delta", "end_turn"), "message_stop")  # fmt: skip
        talk.ended("finished")


def test_a_slow_reader_does_not_cut_the_moment_short() -> None:
    with Dialogue() as talk:
        talk.upstream_answers()
        talk.upstream_says(chunk("Hi"))
        talk.client_stops_reading()
        talk.upstream_says(chunk(finish="stop"))
        talk.passes(AFTER_THE_END_S + 1)
        talk.client_reads_again()
        talk.upstream_says(usage_chunk(5, 7))
        talk.upstream_ends(UpstreamTruncated("reset"))
        talk.client_gets("message_start", "content_block_start", ("text", "Hi"), "content_block_stop",
                         ("message_delta", "end_turn"), "message_stop")  # fmt: skip
        assert talk.ended("finished").end.usage.output_tokens == 7
