"""A model name to its route."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezai.errors import NotFound
from ezai.policy.routing import Route, Target, find_route


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
