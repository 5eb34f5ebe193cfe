"""A model name to its route."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezai.errors import NotFound
from ezai.policy.breaker import OPENS_AFTER, WELL, Conduct, Standing, after
from ezai.policy.routing import Route, Target, choose, find_route


def routes(*globs: str) -> list[Route]:
    """Routes that tell by their target which one they are."""
    return [Route(glob, (Target(f"{place}"),)) for place, glob in enumerate(globs)]


def found(model: str, *globs: str) -> int:
    return int(find_route(routes(*globs), model).targets[0].upstream)


def test_the_first_match_wins() -> None:
    assert found("claude-a", "claude-a", "claude-*", "*") == 0
    assert found("claude-b", "claude-a", "claude-*", "*") == 1
    assert found("gpt", "claude-a", "claude-*", "*") == 2
    assert found("claude-a", "*", "claude-a") == 0


@pytest.mark.parametrize(
    ("glob", "model"),
    [
        ("*", ""), ("*", "any/thing at\nall"), ("claude-*", "claude-"), ("claude-*", "claude-sonnet-4-5"),
        ("gpt-?", "gpt-4"), ("gpt-[45]", "gpt-5"), ("gpt-[!45]", "gpt-3"), ("org/*", "org/model:free"), ("a.b", "a.b"),
        ("*-latest", "x-latest"), ("a[*]b", "a*b"),
    ],
)  # fmt: skip
def test_a_glob_matches(glob: str, model: str) -> None:
    assert found(model, glob) == 0


@pytest.mark.parametrize(
    ("glob", "model"),
    [
        ("claude-*", "claude"), ("claude-*", "Claude-a"), ("claude-*", "my-claude-a"), ("claude-*", "\nclaude-a"),
        ("gpt-?", "gpt-"), ("gpt-?", "gpt-40"), ("gpt-[45]", "gpt-3"), ("gpt-[!45]", "gpt-4"), ("a.b", "acb"),
        ("a", "a\n"), ("a", ""), ("(a|b)", "a"), ("a+", "aa"), ("", "a"),
    ],
)  # fmt: skip
def test_a_glob_does_not_match(glob: str, model: str) -> None:
    with pytest.raises(NotFound) as caught:
        found(model, glob)
    assert caught.value.message == f"model: {model}"
    assert (caught.value.http_status, caught.value.error_type) == (404, "not_found_error")


def test_without_routes_nothing_is_found() -> None:
    with pytest.raises(NotFound):
        found("a")


@given(st.text(st.characters(exclude_characters="*?[")), st.text())
def test_a_plain_name_matches_itself_alone(name: str, other: str) -> None:
    (route,) = routes(name)
    assert route.is_plain
    assert find_route([route], name) is route
    if other != name:
        with pytest.raises(NotFound):
            find_route([route], other)


@given(st.text(), st.text())
def test_any_glob_and_any_name_have_an_answer(glob: str, model: str) -> None:
    assert found(model, glob, "*") in {0, 1}


@pytest.mark.parametrize("glob", ["*", "a*", "a?", "a[b]", "[", "?"])
def test_a_pattern_is_not_plain(glob: str) -> None:
    assert not routes(glob)[0].is_plain


# Whom of them to ask.


def opened() -> Standing:
    """One whose breaker opened at 0."""
    standing = WELL
    for _ in range(OPENS_AFTER):
        standing = after(standing, 0, Conduct.FAILED, 0)
    return standing


OPEN, COOLING = opened(), after(WELL, 0, Conduct.RATE_LIMITED, 0, cool_s=10)
known = st.sampled_from([WELL, OPEN, COOLING])


def chosen(now: float, *standings: Standing) -> int | None:
    targets = [Target(f"{place}") for place in range(len(standings))]
    target = choose(targets, lambda target: standings[int(target.upstream)], now)
    return None if target is None else int(target.upstream)


def test_the_first_that_is_ready_is_asked() -> None:
    assert chosen(0, WELL, WELL) == 0
    assert chosen(0, OPEN, COOLING, WELL) == 2
    assert chosen(10, OPEN, COOLING, WELL) == 1
    assert chosen(30, OPEN, COOLING, WELL) == 0, "as its probe"


def test_an_open_one_is_asked_where_there_is_no_other_but_none_that_cools_down() -> None:
    assert chosen(0.5, COOLING, OPEN) is None
    assert chosen(1, COOLING, OPEN) == 1
    assert chosen(9, COOLING, COOLING) is None
    assert chosen(0) is None


@given(st.lists(known, max_size=5), st.floats(0, 50))
def test_none_is_passed_over_that_is_ready(standings: list[Standing], now: float) -> None:
    place = chosen(now, *standings)
    ready = [standing.is_ready(now) for standing in standings]
    assert (place == ready.index(True)) if any(ready) else (place is None or standings[place] is OPEN)


def test_what_routes_say_of_the_same_place_does_not_part_it() -> None:
    assert Target("a", "m", max_output=9, context=8, max_retries=0).key == Target("a", "m").key
    assert len({Target("a", "m").key, Target("a", "n").key, Target("a").key, Target("b", "m").key}) == 4
