"""Fields that `Connection` names are meant for whoever is at the other end of it (RFC 9110 section 7.6.1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezai.translate.base import Headers
from ezai.translate.crossing import to_client, to_upstream

VERSION = (b"anthropic-version", b"2023-06-01")
SESSION = (b"x-claude-code-session", b"s")
APP = (b"x-app", b"cli")
REMAINING = (b"anthropic-ratelimit-tokens-remaining", b"7")
RETRY = (b"retry-after", b"3")


def connection(*values: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"connection", value) for value in values]


@pytest.mark.parametrize(
    "values",
    [
        (b"x-claude-code-session",),
        (b"X-Claude-Code-Session",),
        (b"keep-alive, x-claude-code-session",),
        (b"close,\tx-claude-code-session , te",),
        (b"keep-alive", b"x-claude-code-session"),
        (b"x-claude-code-session", b"keep-alive"),
        (b",, x-claude-code-session,",),
    ],
)
def test_what_a_clients_connection_names_goes_to_no_upstream(values: tuple[bytes, ...]) -> None:
    for headers in ([*connection(*values), SESSION, APP, VERSION], [SESSION, APP, VERSION, *connection(*values)]):
        assert list(to_upstream(headers)) == [APP, VERSION]


def test_a_version_that_was_for_the_connection_is_replaced_by_the_default() -> None:
    mine = (b"anthropic-version", b"2099-01-01")
    assert list(to_upstream([mine, *connection(b"anthropic-version")])) == [VERSION]


@pytest.mark.parametrize(
    "values",
    [
        (b"anthropic-ratelimit-tokens-remaining",),
        (b"close, Anthropic-RateLimit-Tokens-Remaining",),
        (b"keep-alive", b"anthropic-ratelimit-tokens-remaining"),
    ],
)
def test_what_an_upstreams_connection_names_goes_to_no_client(values: tuple[bytes, ...]) -> None:
    for headers in ([*connection(*values), REMAINING, RETRY], [REMAINING, RETRY, *connection(*values)]):
        assert list(to_client(headers)) == [RETRY]


def test_an_upstreams_request_id_is_dropped_by_its_own_name() -> None:
    told = [(b"request-id", b"req_u"), RETRY]
    assert list(to_client([*told, *connection(b"request-id")])) == [RETRY]


@pytest.mark.parametrize(
    "values", [(), (b"keep-alive",), (b"Keep-Alive",), (b"close",), (b"",), (b"x-app-other",), (b"x",)]
)
def test_a_usual_connection_takes_nothing_away_and_does_not_cross_itself(values: tuple[bytes, ...]) -> None:
    assert list(to_upstream([SESSION, *connection(*values), APP, VERSION])) == [SESSION, APP, VERSION]
    assert list(to_client([REMAINING, *connection(*values), RETRY])) == [REMAINING, RETRY]


_NAMES = st.sampled_from([SESSION[0], APP[0], REMAINING[0], RETRY[0], VERSION[0], b"keep-alive", b"close"])
_FIELDS = st.tuples(_NAMES, st.just(b"1")) | st.builds(
    lambda names: (b"connection", b", ".join(names)), st.lists(_NAMES, max_size=3)
)


@given(st.lists(_FIELDS, max_size=8))
def test_nothing_that_is_named_crosses_and_all_else_as_without_connection(headers: Headers) -> None:
    named = {part.strip() for name, value in headers if name == b"connection" for part in value.split(b",")}
    rest = [field for field in headers if field[0] not in named and field[0] != b"connection"]
    assert list(to_upstream(headers)) == list(to_upstream(rest))
    assert list(to_client(headers)) == list(to_client(rest))
