"""The limits of a key and the budgets of the ledger, as the walk asks them: before anything costs anything, each once.

That a request which was let in is released, once, when it is over, is checked at the exit of every dialogue.
"""

from __future__ import annotations

from typing import ClassVar

import pytest

from ezai.errors import RateLimited, RequestError
from ezai.pipeline.counting import count_tokens
from ezai.pipeline.waiting import Waiter
from ezai.ports import Admission
from ezai.protocol.usage import Usage
from tests.pipeline.fakes import DONE, KEY, OPENAI_COMPATIBLE, Dialogue, FakeLimits, chunk, usage_chunk
from tests.pipeline.test_dispatch_dialogues import DOWN, A, B, answers, both_kinds

TOO_MANY = RateLimited("The key may send 60 requests a minute.", retry_after_s=7)


class Spent(RequestError):
    """What a ledger with budgets would say."""

    status, wire_type, code = 402, "billing_error", "budget_exhausted"
    money: ClassVar[str] = "The budget of the key is spent."


@both_kinds
def test_a_request_is_let_in_once_however_many_targets_are_asked(stream: bool) -> None:
    with Dialogue(targets=[A, B], stream=stream) as talk:
        assert talk.limits.let_in == [Admission("req_1", KEY, "m")]
        talk.upstream_fails(DOWN)
        talk.passes(0.5)
        talk.upstream_refuses(500)
        assert talk.asked == ["a", "a", "b"]
        assert not talk.limits.released
        answers(talk)
        talk.upstream_ends()
        assert len(talk.limits.let_in) == 1


@both_kinds
def test_its_place_is_given_back_with_what_it_used_once_the_upstream_has_been_let_go(stream: bool) -> None:
    with Dialogue(stream=stream) as talk:
        talk.upstream_answers()
        talk.upstream_says(chunk("Hi"), chunk(finish="stop"), usage_chunk(12, 3, cached=4))
        assert not talk.limits.released
        talk.upstream_says(DONE)
        talk._unread()
        ((admission, usage),) = talk.limits.released
        assert (admission.key, usage) == (KEY, talk.ended("finished").end.usage)
        assert usage.output_tokens == 3


@both_kinds
def test_a_key_over_its_limit_is_told_when_to_come_again_and_nothing_is_asked_or_recorded(stream: bool) -> None:
    with Dialogue(targets=[A, B], stream=stream, limits=FakeLimits(refusal=TOO_MANY)) as talk:
        error = talk.client_gets_json(429)["error"]
        assert (error["type"], error["details"]["error_code"]) == ("rate_limit_error", "rate_limited")
        assert talk.header("retry-after") == "7"
        assert not talk.calls
        assert not talk.ledger.intents
        assert (talk.outcomes[0].cause, talk.outcomes[0].route) == ("rate_limited", "*")


@both_kinds
def test_leaving_while_the_limits_are_asked_takes_no_place(stream: bool) -> None:
    with Dialogue(stream=stream, limits=FakeLimits(held=True)) as talk:
        talk.client_leaves()
        assert not talk.calls
        assert not talk.limits.let_in
        assert talk.outcomes[0].cause == "client_left"


@both_kinds
def test_draining_while_the_limits_are_asked_takes_no_place(stream: bool) -> None:
    with Dialogue(stream=stream, limits=FakeLimits(held=True)) as talk:
        talk.gateway_drains()
        assert talk.client_gets_json(529)["error"]["details"]["error_code"] == "draining"
        assert not talk.limits.let_in


@both_kinds
def test_an_open_gateway_has_no_limits(stream: bool) -> None:
    with Dialogue(key=None, stream=stream, limits=FakeLimits(refusal=TOO_MANY)) as talk:
        answers(talk)
        talk.upstream_ends()


def test_a_count_of_tokens_is_let_in_too_and_used_nothing() -> None:
    with Dialogue(OPENAI_COMPATIBLE) as talk:
        answers(talk)
        talk.upstream_ends()
        talk.limits.let_in.clear()
        talk.limits.released.clear()

        async def count() -> int | None:
            with Waiter(talk.clock) as waiter:
                answer = await count_tokens(talk.request, talk.ports, waiter)
                return answer.status if answer else None

        assert talk.loop.run_until_complete(count()) == 200
        assert talk.limits.released == [(talk.limits.let_in[0], Usage())]
        talk.limits.refusal = TOO_MANY
        assert talk.loop.run_until_complete(count()) == 429
        assert [outcome.cause for outcome in talk.outcomes[1:]] == ["finished", "rate_limited"]
        del talk.outcomes[1:]


@both_kinds
def test_a_budget_that_is_spent_refuses_in_its_own_words_and_no_other_target_is_asked(stream: bool) -> None:
    with Dialogue(targets=[A, B], stream=stream) as talk:
        talk.ledger.refusal = Spent(Spent.money)
        talk.upstream_refuses(500)
        error = talk.client_gets_json(402)["error"]
        assert (error["type"], error["message"]) == ("billing_error", Spent.money)
        assert error["details"]["error_code"] == "budget_exhausted"
        assert talk.asked == ["a"]
        talk.tried(("a", "upstream_error"))
        assert talk.outcomes[0].cause == "budget_exhausted"


@pytest.mark.parametrize("stream", [True, False])
def test_a_budget_that_is_spent_at_once_leaves_no_record(stream: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.pipeline.fakes.FakeLedger.intend", _spent)
    with Dialogue(targets=[A, B], stream=stream) as talk:
        assert talk.client_gets_json(402)["error"]["type"] == "billing_error"
        assert not talk.calls
        assert not talk.ledger.settlements


async def _spent(*_: object) -> None:
    raise Spent(Spent.money)
