"""What becomes of a target from request to request, as dialogues: breaker, cool-down, and when every target is out."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ezai.errors import Overloaded, UpstreamTimeout, UpstreamTruncated, UpstreamUnreachable
from ezai.policy.breaker import OPEN_S, OPENS_AFTER, Condition
from ezai.policy.routing import Target
from ezai.ports import Timeouts
from tests.pipeline.fakes import DONE, Dialogue, World, chunk
from tests.pipeline.test_dispatch_dialogues import answers, both_kinds

A, B = Target("a", max_retries=0), Target("b", max_retries=0)
DOWN = UpstreamUnreachable("The upstream could not be reached.")


def asked_first(world: World, *targets: Target) -> str:
    """Whom the next request asks; it is answered well."""
    with Dialogue(targets=targets or (A, B), world=world) as talk:
        answers(talk)
        assert len(talk.asked) == 1
        return talk.asked[0]


def fails_once(world: World, *targets: Target, stream: bool = True) -> None:
    """A request whose first target cannot be reached; another one answers, if there is any."""
    with Dialogue(targets=targets or (A, B), world=world, stream=stream) as talk:
        talk.upstream_fails(DOWN)
        if len(talk.asked) == 1:
            talk.client_gets_json(502)
        else:
            answers(talk)


def opened(*targets: Target) -> World:
    """A world in which the breaker of the first target has just opened."""
    world = World()
    for _ in range(OPENS_AFTER):
        fails_once(world, *targets)
    return world


def condition(world: World, target: Target) -> Condition:
    return world.states.standing(target).condition(world.clock.now())


# Failures.

BROKEN: dict[str, Callable[[Dialogue], None]] = {
    "no connection": lambda talk: talk.upstream_fails(DOWN),
    "no connection in time": lambda talk: talk.upstream_fails(UpstreamTimeout("connect", 5)),
    "silence": lambda talk: talk.passes(5),
    "500": lambda talk: talk.upstream_refuses(500),
    "529": lambda talk: talk.upstream_refuses(529),
    "401": lambda talk: talk.upstream_refuses(401),
    "no stream": lambda talk: talk.upstream_refuses(200),
}


@pytest.mark.parametrize("failure", BROKEN)
def test_five_failures_in_a_row_open_its_breaker(failure: str) -> None:
    world = World()
    for number in range(OPENS_AFTER):
        assert condition(world, A) is Condition.READY, number
        with Dialogue(targets=[A, B], world=world, timeouts=Timeouts(response_headers=5)) as talk:
            BROKEN[failure](talk)
            answers(talk)
            assert talk.asked == ["a", "b"]
    assert condition(world, A) is Condition.OPEN
    assert asked_first(world) == "b"


IN_STREAM: dict[str, Callable[[Dialogue], None]] = {
    "upstream_truncated": lambda talk: talk.upstream_ends(UpstreamTruncated("reset")),
    "upstream_malformed": lambda talk: talk.upstream_says(b"data: {nonsense\n\n"),
    "upstream_error": lambda talk: talk.upstream_says(b'data: {"error":{"message":"Busy","code":529}}\n\n'),
    "upstream_stalled": lambda talk: talk.passes(5),
}


@pytest.mark.parametrize("cause", IN_STREAM)
def test_streams_that_begin_and_break_open_it_too(cause: str) -> None:
    world = World()
    for _ in range(OPENS_AFTER):
        with Dialogue(targets=[A, B], world=world, timeouts=Timeouts(idle=5)) as talk:
            talk.upstream_answers()
            talk.upstream_says(chunk("Hi"))
            IN_STREAM[cause](talk)
            talk.client_gets("message_start", "content_block_start", "text", ("error", cause))
    assert condition(world, A) is Condition.OPEN
    assert asked_first(world) == "b"


def test_an_answer_that_ends_well_forgets_the_failures() -> None:
    world = World()
    for _ in range(3):
        for _ in range(OPENS_AFTER - 1):
            fails_once(world)
        assert asked_first(world) == "a"


def leaves_at_once(talk: Dialogue) -> None:
    talk.client_leaves()


def leaves_in_mid_stream(talk: Dialogue) -> None:
    talk.upstream_answers()
    talk.upstream_says(chunk("Hi"))
    talk._unread()
    talk.client_leaves()


def leaves_after_a_wait(talk: Dialogue) -> None:
    talk.passes(4)
    talk.client_leaves()


def drains(talk: Dialogue) -> None:
    talk.gateway_drains()
    talk._unread()


def is_at_fault(talk: Dialogue) -> None:
    talk.upstream_refuses(400)
    talk.client_gets_json(400)


def uses_up_its_time(talk: Dialogue) -> None:
    talk.upstream_answers()
    for _ in range(4):
        talk.upstream_says(chunk("Hi"))
        talk.passes(1)
    talk.passes(2)
    talk._unread()


def is_short_of_files(talk: Dialogue) -> None:
    """Row S9: nothing is known of the upstream, and the next one cannot be reached either."""
    talk.upstream_fails(Overloaded("The gateway has as many files open as it may; try again.", retry_after_s=1))
    assert talk.client_gets_json(529)["error"]["type"] == "overloaded_error"
    assert talk.asked == ["a"]


@pytest.mark.parametrize(
    "request_that",
    [
        is_short_of_files,
        leaves_at_once,
        leaves_in_mid_stream,
        leaves_after_a_wait,
        drains,
        is_at_fault,
        uses_up_its_time,
    ],
)
def test_what_the_target_is_not_to_blame_for_counts_for_nothing(request_that: Callable[[Dialogue], None]) -> None:
    world = World()
    for _ in range(OPENS_AFTER - 1):
        fails_once(world)
    for _ in range(OPENS_AFTER):
        with Dialogue(targets=[A, B], world=world, timeouts=Timeouts(total=6)) as talk:
            request_that(talk)
    assert condition(world, A) is Condition.READY
    fails_once(world)
    assert condition(world, A) is Condition.OPEN, "and forgets nothing"


# The probe.


def test_one_request_is_let_through_to_see_and_closes_it() -> None:
    world = opened()
    world.clock.advance(OPEN_S)
    with Dialogue(targets=[A, B], world=world) as probe:
        assert probe.asked == ["a"]
        assert asked_first(world) == "b", "while it is under way"
        answers(probe)
    assert asked_first(world) == "a"
    for _ in range(OPENS_AFTER - 1):
        fails_once(world)
    assert condition(world, A) is Condition.READY, "all is forgotten"


def test_its_first_event_lets_the_others_in() -> None:
    world = opened()
    world.clock.advance(OPEN_S)
    with Dialogue(targets=[A, B], world=world) as probe:
        probe.upstream_answers()
        probe.upstream_says(chunk("Hi"))
        assert asked_first(world) == "a"
        probe.upstream_says(chunk(finish="stop") + DONE)
        probe._unread()


def test_a_probe_that_fails_leaves_it_out_for_longer_and_is_answered_by_the_next() -> None:
    world = opened()
    world.clock.advance(OPEN_S)
    fails_once(world)
    world.clock.advance(OPEN_S)
    assert asked_first(world) == "b"
    world.clock.advance(OPEN_S)
    assert asked_first(world) == "a"


def test_a_probe_whose_client_leaves_says_nothing_and_holds_nobody_back() -> None:
    world = opened()
    world.clock.advance(OPEN_S)
    with Dialogue(targets=[A, B], world=world) as probe:
        assert probe.asked == ["a"]
        probe.client_leaves()
    assert asked_first(world) == "a"


def test_what_began_before_it_opened_does_not_close_it() -> None:
    world = World()
    with Dialogue(targets=[A, B], world=world) as old:
        for _ in range(OPENS_AFTER):
            fails_once(world)
        answers(old)
        assert condition(world, A) is Condition.OPEN
    assert asked_first(world) == "b"


def test_a_repeat_is_not_wasted_on_a_target_whose_breaker_has_opened() -> None:
    world = World()
    for _ in range(OPENS_AFTER - 1):
        fails_once(world)
    with Dialogue(targets=[Target("a"), B], world=world) as talk:
        talk.upstream_fails(DOWN)
        assert talk.asked == ["a", "b"], "at once"
        answers(talk)


# The cool-down.


@pytest.mark.parametrize(("advice", "cool_s"), [(b"20", 20), (b"3600", 60), (b"soon", 5), (b"0", 1)])
def test_a_429_cools_the_target_for_its_retry_after(advice: bytes, cool_s: float) -> None:
    world = World()
    with Dialogue(targets=[A, B], world=world) as talk:
        talk.upstream_refuses(429, (b"retry-after", advice))
        answers(talk)
        assert talk.asked == ["a", "b"]
    assert condition(world, A) is Condition.COOLING
    world.clock.advance(cool_s - 0.25)
    assert asked_first(world) == "b"
    world.clock.advance(0.25)
    assert asked_first(world) == "a"


def test_it_is_no_failure() -> None:
    world = World()
    for _ in range(3 * OPENS_AFTER):
        with Dialogue(targets=[A], world=world) as talk:
            talk.upstream_refuses(429)
            talk.client_gets_json(429)
    assert condition(world, A) is Condition.COOLING


# Alone, and all out.


@both_kinds
def test_a_target_that_stands_alone_is_always_asked(stream: bool) -> None:
    world = World()
    for _ in range(3 * OPENS_AFTER):
        fails_once(world, A, stream=stream)
    assert condition(world, A) is Condition.OPEN, "it is known and shown all the same"
    assert asked_first(world, A) == "a"
    assert condition(world, A) is Condition.READY, "one good answer is enough"


@both_kinds
def test_when_all_are_out_the_client_is_told_so_and_nothing_is_recorded(stream: bool) -> None:
    world = opened(A, B)
    for _ in range(OPENS_AFTER):
        fails_once(world, B)
    with Dialogue(targets=[A, B], world=world, stream=stream) as talk:
        error = talk.client_gets_json(529)["error"]
        assert (error["type"], error["details"]["error_code"]) == ("overloaded_error", "no_target_ready")
        assert talk.header("retry-after") == "1"
        assert (talk.calls, talk.ledger.intents) == ([], [])
        assert talk.outcomes[0].cause == "no_target_ready"


def test_all_cooling_down_is_told_with_the_first_that_will_be_back() -> None:
    world = World()
    with Dialogue(targets=[A, B], world=world) as talk:
        talk.upstream_refuses(429, (b"retry-after", b"40"))
        talk.upstream_refuses(429, (b"retry-after", b"20"))
        talk.client_gets_json(429)
        assert talk.header("retry-after") == "20"
    world.clock.advance(5)
    with Dialogue(targets=[A, B], world=world) as talk:
        talk.client_gets_json(529)
        assert talk.header("retry-after") == "15"


def test_of_those_that_are_all_out_each_is_asked_once_a_second_and_is_back_at_once() -> None:
    world = opened(A, B)
    for _ in range(OPENS_AFTER):
        fails_once(world, B)
    world.clock.advance(1)
    with Dialogue(targets=[A, B], world=world) as talk:
        talk.upstream_fails(DOWN)
        answers(talk)
        assert talk.asked == ["a", "b"]
    assert asked_first(world) == "b"
    assert condition(world, A) is Condition.OPEN
