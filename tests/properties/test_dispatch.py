"""Any script of outcomes over one to four targets: the promises of the walk hold, whoever fails how and whoever leaves.

What a `Dialogue` checks at its exit holds too: every attempt is settled once with a cause of its own, the last one ends
the record of the request, the log is told the same, nothing is left running, and a stream is legal to its end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezai.errors import UpstreamMalformed, UpstreamTimeout, UpstreamTruncated, UpstreamUnreachable
from ezai.policy.breaker import Conduct
from ezai.policy.routing import Target
from ezai.policy.walk import MAX_ATTEMPTS
from ezai.ports import Timeouts
from ezai.protocol.end import Cause
from tests.pipeline.fakes import ANTHROPIC, DONE, JSON, LLAMA_CPP, Dialogue, FakeClient, World, chunk
from tests.pipeline.test_dialogues import CLOSE, DELTA, HI, OPEN, START, STOP

TAPPED, TRANSLATED = [START, OPEN, HI, CLOSE, DELTA, STOP], [chunk(), chunk("Hi"), chunk(finish="stop"), DONE]
WHOLE = b'{"type":"message","content":[],"usage":{"input_tokens":3,"output_tokens":4},"stop_reason":"end_turn"}'
BUSY = b'{"type":"error","error":{"type":"overloaded_error","message":"Busy"}}'
TOO_LONG = b'{"error":{"type":"invalid_request_error","message":"prompt is too long: 900 tokens > 800 maximum"}}'
PHASES = Timeouts(response_headers=40, first_event=40, idle=40, total=200)
SILENT = frozenset({"says nothing", "says nothing behind its headers"})


def is_tap(talk: Dialogue) -> bool:
    return talk.upstream.upstream in {"a", "c"}


def answers(talk: Dialogue) -> None:
    if is_tap(talk) and not talk.request.message.streamed:
        talk.upstream_refuses(200, body=WHOLE)
        return
    talk.upstream_answers()
    for said in TAPPED if is_tap(talk) else TRANSLATED:
        talk.upstream_says(said)


def begins_and_breaks(talk: Dialogue) -> None:
    talk.upstream_answers()
    talk.upstream_says(*(TAPPED if is_tap(talk) else TRANSLATED)[:2])
    talk.upstream_ends(UpstreamTruncated("reset"))


def error_first(talk: Dialogue) -> None:
    if talk.request.message.streamed or not is_tap(talk):
        talk.upstream_answers()
        talk.upstream_says(b"event: error\ndata: " + BUSY + b"\n\n")
    else:
        talk.upstream_refuses(529, body=BUSY)


def silent_behind_its_headers(talk: Dialogue) -> None:
    talk.upstream_answers(headers=JSON if is_tap(talk) and not talk.request.message.streamed else EVENTS)
    talk.passes(40)
    if not talk.upstream.is_over:  # of a whole answer only the total time is watched
        talk.passes(160)


EVENTS = ((b"content-type", b"text/event-stream"),)
OUTCOMES: dict[str, Callable[[Dialogue], Any]] = {
    "answers": answers,
    "is down": lambda talk: talk.upstream_fails(UpstreamUnreachable("refused")),
    "cannot be reached in time": lambda talk: talk.upstream_fails(UpstreamTimeout("connect", 5)),
    "hangs up": lambda talk: talk.upstream_fails(UpstreamTruncated("gone")),
    "is no HTTP": lambda talk: talk.upstream_fails(UpstreamMalformed("junk")),
    "says nothing": lambda talk: talk.passes(40 if talk.request.message.streamed or not is_tap(talk) else 200),
    "says nothing behind its headers": silent_behind_its_headers,
    "begins and breaks": begins_and_breaks,
    "tells an error first": error_first,
    "has too small a context": lambda talk: talk.upstream_refuses(400, body=TOO_LONG),
    **{
        str(status): lambda talk, status=status: talk.upstream_refuses(status)  # type: ignore[misc]
        for status in (400, 401, 404, 408, 429, 500, 503, 529)
    },
    "redirects": lambda talk: talk.upstream_answers(302),
    "429 for a while": lambda talk: talk.upstream_refuses(429, (b"retry-after", b"7")),
    "503 for long": lambda talk: talk.upstream_refuses(503, (b"retry-after", b"50")),
}

targets = st.lists(
    st.builds(
        Target,
        st.sampled_from("abcd"),
        st.none() | st.sampled_from("xy"),
        st.none(),
        st.none() | st.sampled_from([800, 1000]),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda target: target.key,
)
scripts = st.lists(st.tuples(st.sampled_from(sorted(OUTCOMES)), st.sampled_from([0, 0.5, 3, 11])), max_size=6)
interruptions = st.none() | st.tuples(st.integers(0, 5), st.booleans())


def play(talk: Dialogue, script: list[tuple[str, float]], interruption: tuple[int, bool] | None) -> list[str]:
    """Play an outcome a call, and good answers when the script is over. Returns what was played."""
    played: list[str] = []
    for step in range(1000):
        if talk.run.done():
            return played
        if interruption is not None and step >= interruption[0]:
            talk.gateway_drains() if interruption[1] else talk.client_leaves()
        elif len(played) == len(talk.calls):
            talk.passes(0.5)  # a backoff
        else:
            outcome, delay_s = script[len(played)] if len(played) < len(script) else ("answers", 0)
            played.append(outcome)
            talk.passes(delay_s)
            if not talk.run.done() and not talk.upstream.is_over:
                OUTCOMES[outcome](talk)
    pytest.fail("the request does not end")


@given(
    targets, scripts, interruptions, st.lists(st.sampled_from("abcd"), max_size=12),
    st.integers(0, 3), st.booleans(), st.booleans(),
)  # fmt: skip
def test_any_script_of_outcomes_keeps_the_promises(
    route: list[Target],
    script: list[tuple[str, float]],
    interruption: tuple[int, bool] | None,
    failed_before: list[str],
    retries_of_others: int,
    stream: bool,
    pushes: bool,
) -> None:
    world = World()
    for _ in range(retries_of_others):
        assert world.budget.take()
    for name in failed_before:
        for target in route:
            if target.upstream == name:
                world.states.note(target, world.states.asking(target), Conduct.FAILED)
    facts = {name: ANTHROPIC if name in "ac" else LLAMA_CPP for name in "abcd"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FakeClient, "pushes", pushes)
        with Dialogue(facts, targets=route, world=world, timeouts=PHASES, stream=stream) as talk:
            played = play(talk, script, interruption)
            _hold(talk, route, played)
    assert world.budget.under_way == retries_of_others


def _hold(talk: Dialogue, route: list[Target], played: list[str]) -> None:
    got = talk._unread()
    (outcome,) = talk.outcomes
    settled = talk.ledger.settlements
    assert len(settled) <= MAX_ATTEMPTS
    assert outcome.duration_s <= PHASES.total, "one deadline"
    asked = [(item.intent.upstream, item.intent.upstream_model) for item in settled]
    for target in route:
        assert asked.count((target.upstream, target.model or "m")) <= 1 + target.max_retries
    for place, what in enumerate(played[:-1]):
        if what in SILENT and place + 1 < len(asked):
            assert asked[place] not in asked[place + 1 :], "a silent target is asked once"
    for item in settled:
        if item.end.usage.output_tokens:
            assert played[item.intent.number - 1] in {"answers", "begins and breaks"}
    match outcome.cause:
        case Cause.FINISHED:
            assert talk.status() == 200
            assert settled[-1].end.finished
        case Cause.CLIENT_LEFT:
            assert b"event: error" not in got
        case "draining" | "no_target_ready":
            assert b'"overloaded_error"' in got
        case cause:
            assert cause == settled[-1].end.cause, "the client is told the error of the last one"
            assert b"error" in got
    assert (talk.status() == 200) or not talk.is_stream
