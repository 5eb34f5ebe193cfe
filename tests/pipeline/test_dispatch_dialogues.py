"""The targets of a route asked in turn, as dialogues: who is asked after what, when, and what the client is told."""

from __future__ import annotations

from collections.abc import Callable
from email.utils import formatdate

import pytest

from ezai.errors import (
    RequestError,
    UpstreamMalformed,
    UpstreamStarting,
    UpstreamTimeout,
    UpstreamTruncated,
    UpstreamUnreachable,
)
from ezai.policy.pricing import Price
from ezai.policy.routing import Target
from ezai.ports import Timeouts
from tests.pipeline.fakes import ANTHROPIC, DONE, JSON, LLAMA_CPP, OPENAI_COMPATIBLE, Dialogue, World, chunk
from tests.pipeline.test_dialogues import DELTA as END
from tests.pipeline.test_dialogues import START, STOP

A, B, C = Target("a"), Target("b"), Target("c")
DOWN = UpstreamUnreachable("The upstream could not be reached.")
PHASES = Timeouts(response_headers=5, first_event=5)

both_kinds = pytest.mark.parametrize("stream", [True, False], ids=["stream", "unary"])


def answers(talk: Dialogue) -> None:
    """The target that is asked now answers on the OpenAI wire, and the client gets it, as one answer."""
    talk.upstream_answers()
    talk.upstream_says(chunk("Hi"), chunk(finish="stop") + DONE)
    if talk.request.message.streamed:
        talk.client_gets("message_start", "content_block_start", ("text", "Hi"), "content_block_stop",
                         ("message_delta", "end_turn"), "message_stop")  # fmt: skip
    else:
        assert talk.client_gets_json(200)["content"] == [{"type": "text", "text": "Hi"}]


def failing(error: RequestError) -> Callable[[Dialogue], None]:
    return lambda talk: talk.upstream_fails(error)


def refusing(status: int, *headers: tuple[bytes, bytes], body: bytes = b"{}") -> Callable[[Dialogue], None]:
    return lambda talk: talk.upstream_refuses(status, *headers, body=body)


def saying(*said: bytes, end: bool = False) -> Callable[[Dialogue], None]:
    def say(talk: Dialogue) -> None:
        talk.upstream_answers()
        talk.upstream_says(*said)
        if end:
            talk.upstream_ends()

    return say


# The same target again: no connection, 429, 503, 529.

AGAIN = {
    "no connection": (failing(DOWN), "upstream_unreachable", 502),
    "the model is being started": (failing(UpstreamStarting("Starting.")), "upstream_starting", 529),
    "429": (refusing(429), "upstream_error", 429),
    "503": (refusing(503), "upstream_error", 529),
    "529": (refusing(529), "upstream_error", 529),
}


@both_kinds
@pytest.mark.parametrize("failure", AGAIN)
def test_contract_6_the_same_target_again_after_a_backoff(failure: str, stream: bool) -> None:
    fail, cause, _ = AGAIN[failure]
    with Dialogue(targets=[A], stream=stream) as talk:
        fail(talk)
        assert talk.upstream.is_over
        talk.passes(0.25)
        assert (talk.asked, talk.status()) == (["a"], None)
        talk.passes(0.25)
        fail(talk)
        talk.passes(0.75)
        assert talk.asked == ["a", "a"], "the second backoff is longer"
        talk.passes(0.25)
        answers(talk)
        assert (talk.header("x-ezai-upstream"), talk.header("x-ezai-attempts")) == ("a", "3")
        talk.tried(("a", cause), ("a", cause), ("a", "finished"))


@both_kinds
@pytest.mark.parametrize("failure", AGAIN)
def test_when_its_repeats_are_used_up_the_client_is_told(failure: str, stream: bool) -> None:
    fail, cause, status = AGAIN[failure]
    with Dialogue(targets=[Target("a", max_retries=1)], stream=stream) as talk:
        fail(talk)
        talk.passes(0.5)
        fail(talk)
        assert talk.client_gets_json(status)["error"]["details"]["error_code"] == cause
        assert talk.header("x-ezai-attempts") == "2"
        talk.tried(("a", cause), ("a", cause))


def test_after_its_repeats_comes_the_next_target() -> None:
    with Dialogue(targets=[A, B]) as talk:
        for _ in range(3):
            talk.upstream_fails(DOWN)
            talk.passes(1)
        assert talk.asked == ["a", "a", "a", "b"]
        answers(talk)
        assert (talk.header("x-ezai-upstream"), talk.header("x-ezai-attempts")) == ("b", "4")


@both_kinds
def test_s12_while_the_embedded_model_is_being_started_another_target_answers(stream: bool) -> None:
    with Dialogue(targets=[Target("a", max_retries=0), B], stream=stream) as talk:
        talk.upstream_fails(UpstreamStarting("The embedded model is being started; try again."))
        answers(talk)
        talk.tried(("a", "upstream_starting"), ("b", "finished"))


# How long is waited.


def advised(seconds: float) -> bytes:
    """A date so many seconds ahead of the dialogue's clock as it begins."""
    return formatdate(1_800_000_000 + 1000 + seconds, usegmt=True).encode()


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ([(b"retry-after", b"3")], 3.5),
        ([(b"retry-after", b"0")], 0.5),
        ([(b"retry-after", b"2.5")], 3),
        ([(b"retry-after-ms", b"1500"), (b"retry-after", b"9")], 2),
        ([(b"retry-after", advised(4))], 4.5),
        ([(b"retry-after", advised(-60))], 0.5),
        *(([(b"retry-after", junk)], 0.5) for junk in (b"-5", b"1e9", b"nan", b"soon", b"", b"\xff", b"0x10")),
    ],
)
def test_u26_what_the_upstream_advises_is_obeyed_and_junk_is_nothing(
    headers: list[tuple[bytes, bytes]], wait_s: float
) -> None:
    with Dialogue(targets=[A]) as talk:
        talk.upstream_refuses(503, *headers)
        talk.passes(wait_s - 0.25)
        assert talk.asked == ["a"]
        talk.passes(0.25)
        assert talk.asked == ["a", "a"]
        answers(talk)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (b"0", "1"), (b"0.2", "1"), (advised(-60), "1"), (b"31", "31"), (b"59.2", "60"), (b"1000000000", "60"),
        (b"9" * 60, "60"), (advised(86_400), "60"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("facts", [ANTHROPIC, OPENAI_COMPATIBLE], ids=["anthropic", "openai"])
def test_u26_the_client_is_told_a_wait_from_1_to_60_s(facts: object, value: bytes, told: str) -> None:
    upstream = ANTHROPIC if facts is ANTHROPIC else OPENAI_COMPATIBLE
    with Dialogue(upstream, targets=[Target("a", max_retries=0)]) as talk:
        talk.upstream_refuses(429, (b"retry-after", value))
        talk.client_gets_json(429)
        assert talk.header("retry-after") == told


def test_a_long_wait_is_the_clients_to_decide_upon() -> None:
    with Dialogue(targets=[A]) as talk:
        talk.upstream_refuses(429, (b"retry-after", b"31"))
        talk.client_gets_json(429)
        assert talk.asked == ["a"]


@pytest.mark.parametrize("value", [b"-5", b"1e9", b"nan", b"soon", b""])
@pytest.mark.parametrize("name", [b"retry-after", b"retry-after-ms"])
def test_u26_junk_is_not_handed_on(name: bytes, value: bytes) -> None:
    with Dialogue(ANTHROPIC, targets=[Target("a", max_retries=0)]) as talk:
        talk.upstream_refuses(429, (name, value), (b"anthropic-organization-id", b"o"))
        talk.client_gets_json(429)
        assert talk.header("retry-after") is talk.header("retry-after-ms") is None
        assert talk.header("anthropic-organization-id") == "o"


def test_a_wait_past_the_commit_is_not_begun_while_the_status_can_be_told() -> None:
    with Dialogue(targets=[A]) as talk:
        talk.passes(9.75)
        talk.upstream_refuses(503)
        talk.client_gets_json(529)
        talk.tried(("a", "upstream_error"))


def test_a_unary_answer_may_be_waited_for_longer() -> None:
    with Dialogue(targets=[A], stream=False) as talk:
        talk.passes(9.75)
        talk.upstream_refuses(503, (b"retry-after", b"29"))
        talk.passes(29.5)
        answers(talk)


def test_nobody_waits_long_while_another_target_is_ready() -> None:
    with Dialogue(targets=[A, B]) as talk:
        talk.upstream_refuses(503, (b"retry-after", b"1"))
        assert talk.asked == ["a", "b"]
        answers(talk)


# The next target.

NEXT = {
    **{str(status): (refusing(status), "upstream_error") for status in (500, 501, 502, 504, 599, 408, 401, 402, 403)},
    "429": (refusing(429), "upstream_error"),
    "connect": (failing(UpstreamTimeout("connect", 5)), "upstream_timeout"),
    "response_headers": (lambda talk: talk.passes(5), "upstream_timeout"),
    "first_event": (lambda talk: (talk.upstream_answers(), talk.passes(5)), "upstream_timeout"),
    "a hang-up before the headers": (failing(UpstreamTruncated("gone")), "upstream_truncated"),
    "headers over the limit": (failing(UpstreamMalformed("too large")), "upstream_malformed"),
    "a redirect": (lambda talk: talk.upstream_answers(302), "upstream_malformed"),
    "no stream": (refusing(200), "upstream_malformed"),
    "an error first": (saying(b'data: {"error":{"message":"Busy","code":529}}\n\n'), "upstream_error"),
    "an error first, of no kind": (saying(b'data: {"error":{"message":"Oh"}}\n\n'), "upstream_error"),
    "garbage first": (saying(b"data: {nonsense\n\n"), "upstream_malformed"),
    "the end before the first event": (saying(end=True), "upstream_truncated"),
    "half an event": (saying(b'data: {"cho', end=True), "upstream_truncated"),
    "an end behind comments": (saying(b": wait\n\n", end=True), "upstream_truncated"),
}


@pytest.mark.parametrize("failure", NEXT)
@both_kinds
def test_contract_6_the_next_target_at_once(failure: str, stream: bool) -> None:
    fail, cause = NEXT[failure]
    with Dialogue(targets=[A, B], stream=stream, timeouts=PHASES) as talk:
        fail(talk)
        assert talk.asked == ["a", "b"]
        assert talk.calls[0].is_over, "one at a time"
        answers(talk)
        assert (talk.header("x-ezai-upstream"), talk.header("x-ezai-attempts")) == ("b", "2")
        talk.tried(("a", cause), ("b", "finished"))


@pytest.mark.parametrize("failure", NEXT)
def test_what_is_for_the_next_target_is_told_by_the_last_one(failure: str) -> None:
    fail, cause = NEXT[failure]
    with Dialogue(targets=[A, Target("b", max_retries=0)], timeouts=PHASES) as talk:
        talk.upstream_refuses(500)
        fail(talk)
        assert talk.client_gets_json(talk.status() or 0)["error"]["details"]["error_code"] == cause
        assert (talk.status() or 0) >= 429
        assert (talk.header("x-ezai-upstream"), talk.header("x-ezai-attempts")) == ("b", "2")
        talk.tried(("a", "upstream_error"), ("b", cause))


@pytest.mark.parametrize("last", [b"", b": more\n\n"])
def test_a_unary_answer_that_breaks_in_the_middle_is_the_next_targets(last: bytes) -> None:
    """Nothing of it has been told, on either wire."""
    with Dialogue(targets=[A, B], stream=False) as talk:
        talk.upstream_answers()
        talk.upstream_says(chunk("Once upon"), *[last] * bool(last))
        talk.upstream_ends(UpstreamTruncated("reset"))
        answers(talk)
        talk.tried(("a", "upstream_truncated"), ("b", "finished"))
        first = talk.ledger.settlements[0].end
        assert (first.usage.output_tokens, first.usage_source) == (1, "estimated"), "it was used, and is recorded"


def test_a_tapped_unary_answer_that_breaks_in_the_middle_is_the_next_targets() -> None:
    with Dialogue({"a": ANTHROPIC, "b": OPENAI_COMPATIBLE}, targets=[A, B], stream=False) as talk:
        talk.upstream_answers(headers=JSON)
        talk.upstream_says(b'{"type":"mess')
        talk.upstream_ends(UpstreamTruncated("reset"))
        answers(talk)
        talk.tried(("a", "upstream_truncated"), ("b", "finished"))


def test_a_stream_that_has_begun_is_nobody_elses() -> None:
    with Dialogue(targets=[A, B]) as talk:
        talk.upstream_answers()
        talk.upstream_says(chunk("Once"))
        talk.upstream_ends(UpstreamTruncated("reset"))
        talk.client_gets("message_start", "content_block_start", ("text", "Once"), ("error", "upstream_truncated"))
        assert talk.asked == ["a"]


def test_targets_may_speak_different_dialects() -> None:
    with Dialogue({"a": ANTHROPIC, "b": LLAMA_CPP, "c": ANTHROPIC}, targets=[A, B, C]) as talk:
        assert talk.upstream.request.body == talk.body
        talk.upstream_refuses(500)
        assert b'"stream_options"' in talk.upstream.request.body
        talk.upstream_refuses(500)
        talk.upstream_answers()
        talk.upstream_says(START, END, STOP)
        talk.client_gets_bytes(START + END + STOP)
        talk.tried(("a", "upstream_error"), ("b", "upstream_error"), ("c", "finished"))


def test_each_target_is_asked_for_its_own_model_and_output() -> None:
    targets = [Target("a", "large"), Target("b", "small", max_output=7)]
    with Dialogue(targets=targets) as talk:
        talk.upstream_refuses(500)
        first, second = (call.request.body for call in talk.calls)
        assert b'"model":"large"' in first
        assert b'"model":"small"' in second
        assert b'"max_tokens":7' in second
        answers(talk)
        assert talk.header("x-ezai-upstream-model") == "small"
        assert [intent.upstream_model for intent in talk.ledger.intents] == ["large", "small"]


# Nobody else.

NOWHERE = {
    **{str(status): refusing(status) for status in (400, 404, 405, 409, 413, 418, 422)},
    "content": refusing(400, body=b'{"error":{"message":"no","code":"content_filter"}}'),
    "moderation": refusing(403, body=b'{"error":{"message":"Your input was flagged for violence"}}'),
    "content, first in the stream": saying(b'data: {"error":{"message":"no","code":"content_filter"}}\n\n'),
    "the prompt": refusing(400, body=b'{"error":{"message":"too long","n_prompt_tokens":9,"n_ctx":8}}'),
}


@both_kinds
@pytest.mark.parametrize("failure", NOWHERE)
def test_contract_6_never_for_a_clients_fault_or_a_refusal_for_content(failure: str, stream: bool) -> None:
    with Dialogue(targets=[A, B], stream=stream) as talk:
        NOWHERE[failure](talk)
        talk.client_gets_json(talk.status() or 0)
        assert 400 <= (talk.status() or 0) < 429
        assert talk.asked == ["a"]


TOO_LONG = b'{"error":{"message":"too long","type":"exceed_context_size_error","n_prompt_tokens":9000,"n_ctx":8192}}'


@both_kinds
def test_a_prompt_that_did_not_fit_goes_to_a_larger_context_alone(stream: bool) -> None:
    targets = [Target("a", context=8192), B, Target("c", context=8192), Target("d", context=32_768)]
    with Dialogue(targets=targets, stream=stream) as talk:
        talk.upstream_refuses(400, body=TOO_LONG)
        assert talk.asked == ["a", "d"]
        answers(talk)
        talk.tried(("a", "context_overflow"), ("d", "finished"))


def test_without_one_the_client_is_told_the_numbers() -> None:
    with Dialogue(targets=[Target("a", context=8192), B, Target("c", context=8192)]) as talk:
        talk.upstream_refuses(400, body=TOO_LONG)
        error = talk.client_gets_json(400)["error"]
        assert error["message"] == "prompt is too long: 9000 tokens > 8192 maximum"
        talk.tried(("a", "context_overflow"))


def test_a_larger_context_that_fails_leads_to_no_smaller_one() -> None:
    targets = [Target("a", context=8192), Target("b", context=4096), Target("c", context=32_768)]
    with Dialogue(targets=targets) as talk:
        talk.upstream_refuses(400, body=TOO_LONG)
        talk.upstream_refuses(500)
        talk.client_gets_json(502)
        talk.tried(("a", "context_overflow"), ("c", "upstream_error"))


# Silence.


@both_kinds
@pytest.mark.parametrize("phase", ["connect", "response_headers", "first_event", "total"])
def test_contract_6_a_silent_target_is_asked_once(phase: str, stream: bool) -> None:
    timeouts = Timeouts(response_headers=5, first_event=5) if phase != "total" else Timeouts(total=5)
    with Dialogue(targets=[A], stream=stream, timeouts=timeouts) as talk:
        if phase == "connect":
            talk.upstream_fails(UpstreamTimeout("connect", 5))
        elif phase == "first_event":
            talk.upstream_answers()
        talk.passes(5 if phase != "connect" else 0)
        assert f"timeouts.{phase}" in talk.client_gets_json(504)["error"]["message"]
        assert talk.asked == ["a"]
        talk.tried(("a", "upstream_timeout"))


# Bounds.


@both_kinds
def test_contract_6_four_attempts_and_no_more(stream: bool) -> None:
    with Dialogue(targets=[Target(name, max_retries=3) for name in "abcdef"], stream=stream) as talk:
        for _ in range(4):
            talk.upstream_refuses(500)
        talk.client_gets_json(502)
        talk.tried(*[(name, "upstream_error") for name in "abcd"])
    with Dialogue(targets=[Target("a", max_retries=3)], stream=stream) as talk:
        for wait_s in (0.5, 1, 2, 0):
            talk.upstream_fails(DOWN)
            talk.passes(wait_s)
        talk.client_gets_json(502)
        talk.tried(*[("a", "upstream_unreachable")] * 4)


@both_kinds
def test_contract_6_one_deadline_for_the_whole_request(stream: bool) -> None:
    """That of the target which stands first; a target's own may end its attempt before."""
    limits = {"a": Timeouts(total=8), "b": Timeouts(total=3), "c": Timeouts(total=60)}
    with Dialogue(targets=[A, B, C], stream=stream, timeouts=limits) as talk:
        talk.passes(2)
        talk.upstream_refuses(500)
        talk.passes(3)
        assert talk.asked == ["a", "b", "c"]
        talk.passes(2.75)
        assert talk.status() is None
        talk.passes(0.25)
        assert talk.client_gets_json(504)["error"]["message"] == "The upstream took longer than 8 s (timeouts.total)."
        talk.tried(("a", "upstream_error"), ("b", "upstream_timeout"), ("c", "upstream_timeout"))


@both_kinds
def test_no_wait_passes_the_deadline(stream: bool) -> None:
    with Dialogue(targets=[A], stream=stream, timeouts=Timeouts(total=5)) as talk:
        talk.passes(4.5)
        talk.upstream_fails(DOWN)
        talk.client_gets_json(502)
        talk.tried(("a", "upstream_unreachable"))


def test_without_budget_no_upstream_is_asked_again_but_another_is() -> None:
    world = World()
    while world.budget.take():
        pass
    with Dialogue(targets=[A], world=world) as talk:
        talk.upstream_fails(DOWN)
        talk.client_gets_json(502)
        talk.tried(("a", "upstream_unreachable"))
    with Dialogue(targets=[A, B], world=world) as talk:
        talk.upstream_fails(DOWN)
        answers(talk)
        talk.tried(("a", "upstream_unreachable"), ("b", "finished"))


@both_kinds
@pytest.mark.parametrize("ending", ["answers", "fails", "leaves", "drains"])
def test_the_budget_is_given_back_when_the_outcome_is_known(ending: str, stream: bool) -> None:
    with Dialogue(targets=[Target("a", max_retries=1)], stream=stream) as talk:
        talk.upstream_fails(DOWN)
        assert talk.world.budget.under_way == 1
        talk.passes(0.5)
        match ending:
            case "answers":
                answers(talk)
            case "fails":
                talk.upstream_fails(DOWN)
                talk.client_gets_json(502)
            case "leaves":
                talk.client_leaves()
            case "drains":
                talk.gateway_drains()
                talk.client_gets_json(529)
        assert talk.world.budget.under_way == 0


# x-should-retry.


def test_the_upstreams_word_on_asking_it_again_stands_above_its_status() -> None:
    with Dialogue(targets=[A, B]) as talk:
        talk.upstream_refuses(500, (b"x-should-retry", b"true"))
        talk.passes(0.5)
        assert talk.asked == ["a", "a"]
        talk.upstream_refuses(503, (b"x-should-retry", b"false"))
        assert talk.asked == ["a", "a", "b"]
        answers(talk)


def test_it_makes_no_clients_fault_worth_another_try() -> None:
    with Dialogue(targets=[A, B]) as talk:
        talk.upstream_refuses(422, (b"x-should-retry", b"true"))
        talk.client_gets_json(400)
        assert talk.asked == ["a"]


@pytest.mark.parametrize(("said", "told"), [(b"true", "true"), (b" False ", "false"), (b"perhaps", None)])
@pytest.mark.parametrize("facts", [ANTHROPIC, OPENAI_COMPATIBLE], ids=["anthropic", "openai"])
def test_the_client_is_told_it_with_the_last_error(facts: object, said: bytes, told: str | None) -> None:
    upstream = ANTHROPIC if facts is ANTHROPIC else OPENAI_COMPATIBLE
    with Dialogue(upstream, targets=[Target("a", max_retries=0)]) as talk:
        talk.upstream_refuses(500, (b"x-should-retry", said))
        talk.client_gets_json(502)
        assert talk.header("x-should-retry") == told


# What it cost.

PRICE = Price(3_000_000, 15_000_000, 300_000, 3_750_000, 6_000_000)


def test_none_is_billed_that_produced_nothing() -> None:
    with Dialogue(targets=[A, B, C], price=PRICE) as talk:
        talk.upstream_fails(UpstreamTruncated("gone"))
        talk.upstream_answers()
        talk.upstream_says(b": wait\n\n")
        talk.upstream_ends()
        answers(talk)
        *failed, last = talk.ledger.settlements
        assert [(item.end.usage_source, item.end.usage.prompt_tokens, item.cost_nanousd) for item in failed] == [
            ("none", 0, 0)
        ] * 2
        assert last.cost_nanousd


def test_each_attempt_lasted_as_long_as_it_was_on_its_way() -> None:
    with Dialogue(targets=[A, B]) as talk:
        talk.passes(2)
        talk.upstream_fails(DOWN)
        talk.passes(0.5)
        talk.passes(1)
        talk.upstream_refuses(500)
        talk.passes(3)
        answers(talk)
        assert [item.duration_s for item in talk.ledger.settlements] == [2, 1, 3]
        assert talk.outcomes[0].duration_s == 6.5
