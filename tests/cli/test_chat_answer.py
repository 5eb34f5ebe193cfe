"""The figures of an answer, on a clock that the test moves."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from ezai.cli.chat.answer import Answer
from ezai.cli.chat.gateway import Price
from ezai.errors import UpstreamError
from ezai.protocol.anthropic import events
from ezai.protocol.anthropic.answers import blank_message
from ezai.protocol.sse import encode_frame
from ezai.protocol.usage import Usage

USAGE = {"input_tokens": 20, "output_tokens": 1, "cache_read_input_tokens": 100}


@dataclass
class Watch:
    """A clock."""

    now_s: float = 100.0

    def __call__(self) -> float:
        return self.now_s


def started(price: Price | None = None) -> tuple[Answer, Watch]:
    """An answer that has begun, asked for half a second ago."""
    watch = Watch()
    answer = Answer(price, watch)
    watch.now_s += 0.5
    answer.take(events.message_start({**blank_message("msg_1", "m", Usage()), "usage": USAGE}))
    return answer, watch


def test_what_it_waits_for() -> None:
    answer, _ = started()
    assert answer.status() == "waiting for 0.5 s"


def test_figures_are_counted_and_then_corrected() -> None:
    answer, watch = started(Price(input=3.0, output=15.0))
    for _ in range(11):
        answer.take(events.text_delta(0, "word "))
        watch.now_s += 0.1
    assert answer.status() == "120 tokens in · ~11 out · first token after 500 ms · 10 tokens/s · ~$0.0005"
    answer.take(events.message_delta("end_turn", None, {"output_tokens": 2001}))
    assert answer.status() == "120 tokens in · 2001 out · first token after 500 ms · 2000 tokens/s · $0.0304"


def test_what_is_free_costs_nothing_whatever_is_counted() -> None:
    answer, _ = started(Price(input=0.0, output=0.0))
    answer.take(events.text_delta(0, "word"))
    assert answer.status().endswith(" · $0")


def test_large_pieces_count_as_more_than_one() -> None:
    answer, _ = started()
    answer.take(events.text_delta(0, "x" * 500))
    assert answer.output_tokens == 100


def test_one_burst_has_no_rate() -> None:
    answer, watch = started()
    for _ in range(3):
        answer.take(events.text_delta(0, "x"))
        watch.now_s += 0.001
    assert answer.status() == "120 tokens in · ~3 out · first token after 500 ms"


@pytest.mark.parametrize(
    ("stop_reason", "mark"),
    [
        ("end_turn", ""),
        ("stop_sequence", ""),
        ("tool_use", ""),
        ("max_tokens", "the answer reached its limit of tokens"),
        ("refusal", "the model declined to go on"),
    ],
)
def test_what_ended_it_is_its_mark(stop_reason: str, mark: str) -> None:
    answer, _ = started()
    answer.take(events.text_delta(0, "x"))
    answer.take(events.message_delta(stop_reason, None, {"output_tokens": 1}))
    assert answer.mark == mark


def test_an_error_event_is_raised_with_its_words() -> None:
    answer, _ = started()
    error = b'{"type":"error","error":{"type":"overloaded_error","message":"Too much."}}'
    with pytest.raises(UpstreamError, match=r"Too much\."):
        answer.take(events.read_event(encode_frame(b"error", error)))


def test_what_is_said_is_not_what_is_thought() -> None:
    answer, _ = started()
    assert answer.take(events.thinking_delta(0, "Hm")) == ("thinking", "Hm")
    assert answer.take(events.block_start(1, {"type": "tool_use", "id": "t", "name": "look", "input": {}})) == (
        "tool",
        "look",
    )
    assert answer.take(events.input_json_delta(1, "{}")) == ("input", "{}")
    assert answer.take(events.text_delta(2, "Yes")) == ("text", "Yes")
    assert answer.text == "Yes"
