"""What happens to a request between its targets, as dialogues: the client leaves, the gateway drains, the 200 is sent,
the record cannot be kept. What holds of the record is checked at the exit of every dialogue.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ezai.errors import Overloaded, UpstreamUnreachable
from ezai.policy.routing import Target
from ezai.ports import Timeouts
from tests.pipeline.fakes import ANTHROPIC, DONE, LLAMA_CPP, Dialogue, FakeLedger, chunk
from tests.pipeline.test_dialogues import CLOSE, DELTA, HI, OPEN, START, STOP
from tests.pipeline.test_dispatch_dialogues import A, B, answers, both_kinds

DOWN = UpstreamUnreachable("The upstream could not be reached.")
FULL = Overloaded("The disk is full.", error_code="record_unavailable", retry_after_s=1)

# Moments, with the attempts of the record when the request is ended there.


def in_the_backoff(talk: Dialogue) -> None:
    talk.upstream_fails(DOWN)
    talk.passes(0.25)
    assert talk.asked == ["a"]


def in_the_second_opening(talk: Dialogue) -> None:
    talk.upstream_fails(DOWN)
    talk.passes(0.5)
    assert talk.asked == ["a", "a"]


def behind_the_headers_of_the_second(talk: Dialogue) -> None:
    in_the_second_opening(talk)
    talk.upstream_answers()


def in_the_opening_of_the_next(talk: Dialogue) -> None:
    talk.upstream_refuses(500)
    assert talk.asked == ["a", "b"]


MOMENTS: dict[str, tuple[Callable[[Dialogue], None], list[str]]] = {
    "in the backoff": (in_the_backoff, []),
    "in the second opening": (in_the_second_opening, ["a"]),
    "behind the headers of the second": (behind_the_headers_of_the_second, ["a"]),
    "in the opening of the next": (in_the_opening_of_the_next, ["b"]),
}
each_moment = pytest.mark.parametrize("moment", MOMENTS)


def tried_until(talk: Dialogue, moment: str, cause: str) -> None:
    """The first attempt keeps its own cause, also where nothing came after it; the one under way has the request's."""
    _, present = MOMENTS[moment]
    first = "upstream_error" if present == ["b"] else "upstream_unreachable"
    talk.tried(("a", first), *[(name, cause) for name in present])
    assert talk.outcomes[0].cause == cause


@both_kinds
@each_moment
def test_the_client_leaves(moment: str, stream: bool) -> None:
    with Dialogue(targets=[A, B], stream=stream) as talk:
        MOMENTS[moment][0](talk)
        talk.client_leaves()
        assert talk.status() is None
        tried_until(talk, moment, "client_left")


@both_kinds
@each_moment
def test_the_gateway_drains(moment: str, stream: bool) -> None:
    with Dialogue(targets=[A, B], stream=stream) as talk:
        MOMENTS[moment][0](talk)
        talk.gateway_drains()
        assert talk.client_gets_json(529)["error"]["details"]["error_code"] == "draining"
        tried_until(talk, moment, "draining")


@both_kinds
@each_moment
def test_the_task_is_cancelled(moment: str, stream: bool) -> None:
    with Dialogue(targets=[A, B], stream=stream) as talk:
        MOMENTS[moment][0](talk)
        talk.run.cancel()
        talk._settle()
        tried_until(talk, moment, "client_left")
        talk.run = talk.loop.create_task(_nothing())
        talk._settle()


async def _nothing() -> None:
    pass


# While a record is being written.


@both_kinds
def test_leaving_while_the_next_attempt_is_recorded(stream: bool) -> None:
    """It was recorded, so it is settled, though nobody was asked."""
    with Dialogue(targets=[A, B], stream=stream) as talk:
        talk.ledger.held = True
        talk.upstream_refuses(500)
        talk.client_leaves()
        talk.ledger.let_go()
        talk._settle()
        assert talk.asked == ["a"]
        talk.tried(("a", "upstream_error"), ("b", "client_left"))


@both_kinds
@pytest.mark.parametrize("cause", ["client_left", "draining", "cancelled"])
def test_leaving_while_the_end_of_the_former_is_recorded(cause: str, stream: bool) -> None:
    """The next one is in the record by then, though nobody was asked: with it the request's own record ends."""
    with Dialogue(targets=[A, B], stream=stream) as talk:
        talk.ledger.held = True
        talk.upstream_refuses(500)
        talk.ledger.let_go()
        talk.ledger.held = True
        talk._settle()
        assert [item.intent.upstream for item in talk.ledger.settlements] == ["a"]
        if cause == "client_left":
            talk.client_leaves()
        elif cause == "draining":
            talk.gateway_drains()
        else:
            talk.run.cancel()
            talk._settle()
        talk.ledger.let_go()
        talk._settle()
        assert talk.asked == ["a"]
        talk.tried(("a", "upstream_error"), ("b", "client_left" if cause == "cancelled" else cause))
        if cause == "draining":
            assert talk.client_gets_json(529)["error"]["details"]["error_code"] == cause
        elif cause == "cancelled":
            talk.run = talk.loop.create_task(_nothing())
            talk._settle()


@both_kinds
def test_a_next_attempt_that_cannot_be_recorded_is_not_made(stream: bool) -> None:
    """The one before it is the last one then, and ends the record of the request."""
    with Dialogue(targets=[A, B], stream=stream) as talk:
        talk.ledger.refusal = FULL
        talk.upstream_refuses(500)
        assert talk.client_gets_json(529)["error"]["details"]["error_code"] == "record_unavailable"
        assert talk.asked == ["a"]
        assert (talk.header("x-ezai-upstream"), talk.header("x-ezai-attempts")) == ("a", "1")
        talk.tried(("a", "upstream_error"))
        assert talk.outcomes[0].cause == "record_unavailable"


@both_kinds
def test_leaving_while_the_first_attempt_is_recorded(stream: bool) -> None:
    with Dialogue(targets=[A, B], stream=stream, ledger=FakeLedger(held=True)) as talk:
        talk.client_leaves()
        talk.ledger.let_go()
        talk._settle()
        assert not talk.calls
        talk.tried(("a", "client_left"))


# The 200 is sent while targets are still tried.

SLOW = {"a": Timeouts(response_headers=25), "b": Timeouts(first_event=25), "c": Timeouts()}


def test_item_70_a_committed_stream_is_kept_alive_from_target_to_target() -> None:
    with Dialogue(targets=[A, B, Target("c")], timeouts=SLOW) as talk:
        talk.passes(10)
        assert (talk.status(), talk.asked) == (200, ["a"])
        assert (talk.header("x-ezai-upstream"), talk.header("x-ezai-attempts")) == ("a", "1")
        talk.passes(15)
        talk.client_gets("ping")
        assert talk.asked == ["a", "b"]
        talk.upstream_answers()
        talk.passes(25)
        talk.client_gets("ping", "ping", "ping")
        assert talk.asked == ["a", "b", "c"]
        answers(talk)
        talk.tried(("a", "upstream_timeout"), ("b", "upstream_timeout"), ("c", "finished"))


def test_item_70_there_is_one_message_start_whatever_was_tried_before() -> None:
    with Dialogue({"a": LLAMA_CPP, "b": ANTHROPIC}, targets=[A, B], timeouts=SLOW) as talk:
        talk.passes(10)
        talk.upstream_answers()
        talk.upstream_says(b": one moment\n\n")
        talk.upstream_says(b'data: {"error":{"message":"Busy","code":529}}\n\n')
        talk.client_gets()
        talk.upstream_answers()
        talk.upstream_says(START + OPEN + HI + CLOSE + DELTA + STOP)
        talk.client_gets_bytes(START + OPEN + HI + CLOSE + DELTA + STOP)


def test_when_all_fail_behind_the_200_the_last_error_ends_the_stream() -> None:
    with Dialogue(targets=[A, Target("b", max_retries=0)]) as talk:
        talk.passes(10)
        talk.upstream_refuses(500)
        talk.upstream_refuses(503)
        talk.client_gets(("error", "upstream_error", "overloaded_error"))
        assert talk.client.finished
        talk.tried(("a", "upstream_error"), ("b", "upstream_error"))


def test_behind_the_200_a_backoff_costs_its_reader_nothing_more() -> None:
    """An SDK asks again after a status, never after an error in a stream."""
    with Dialogue(targets=[A]) as talk:
        talk.passes(12)
        talk.upstream_refuses(503, (b"retry-after", b"25"))
        talk.passes(25.25)
        talk.client_gets("ping", "ping")
        assert talk.asked == ["a"]
        talk.passes(0.25)
        answers(talk)
        talk.tried(("a", "upstream_error"), ("a", "finished"))


@pytest.mark.parametrize("behind", [0, 12])
@pytest.mark.parametrize("drains", [False, True])
def test_a_committed_stream_that_is_ended_between_targets(behind: float, drains: bool) -> None:
    with Dialogue(targets=[A, B]) as talk:
        talk.passes(10)
        talk.upstream_refuses(500)
        talk.passes(behind)
        talk.client_gets(*["ping"] * (behind > 10))
        if drains:
            talk.gateway_drains()
            talk.client_gets(("error", "draining", "overloaded_error"))
        else:
            talk.client_leaves()
        talk.tried(("a", "upstream_error"), ("b", "draining" if drains else "client_left"))


def test_a_reader_who_is_slow_to_take_the_answer_of_the_second_target() -> None:
    with Dialogue(targets=[A, B]) as talk:
        talk.upstream_refuses(500)
        talk.client_stops_reading()
        talk.upstream_answers()
        talk.upstream_says(chunk("Hi"), chunk(" you"))
        talk.passes(100)
        talk.client_reads_again()
        talk.upstream_says(chunk(finish="stop") + DONE)
        talk.client_gets("message_start", "content_block_start", ("text", "Hi"), ("text", " you"),
                         "content_block_stop", ("message_delta", "end_turn"), "message_stop")  # fmt: skip
        talk.tried(("a", "upstream_error"), ("b", "finished"))
