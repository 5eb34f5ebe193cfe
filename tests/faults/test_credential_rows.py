"""Upstreams that repeat the gateway's credential: it is told to nobody, at debug level either.

The watch of the whole suite (tests/canary.py) looks at the log, the answers, the metrics and the databases; here are
the failures that would bring a credential there, and what is said in its place.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ezai.lab.mock import behaviour, closed_port
from ezai.observe.log import JsonFormatter
from tests.canary import CLIENT_KEY, UPSTREAM_KEY, WATCH
from tests.faults.rows import FINISHED, Row, Rows
from tests.faults.test_upstream_ending_rows import SECOND_TOKEN, breaks_off
from tests.raw_client import raw_client, request

ECHO = f"Incorrect API key provided: {UPSTREAM_KEY}. See the manual."
CUT = "Incorrect API key provided: [credential]. See the manual."


@contextmanager
def logged() -> Iterator[list[str]]:
    """The lines of the log meanwhile."""
    lines: list[str] = []
    handler, formatter, logger = logging.Handler(), JsonFormatter(), logging.getLogger("ezai")
    handler.emit = lambda record: lines.append(formatter.format(record))  # type: ignore[method-assign]
    logger.addHandler(handler)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)


@pytest.fixture(autouse=True)
def _nothing_is_found() -> Iterator[None]:
    """Here and now, so that the test says it and not the session."""
    before = dict(WATCH.findings)
    yield
    assert before == WATCH.findings


@pytest.mark.parametrize("status", [400, 404, 418, 429, 500, 503, 529])
def test_a_refusal_that_repeats_the_credential(status: int, rows: Rows, stream: bool) -> None:
    async def test(row: Row) -> None:
        told = await row.ask(behaviour(f"status={status}", error_message=ECHO), stream=stream)
        assert told.error is not None
        assert told.error["message"] == CUT
        row.ends("upstream_error")
        assert UPSTREAM_KEY.encode() not in told.body
        await row.serves()

    rows.play(test)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_credential_is_the_operators_business(status: int, rows: Rows, stream: bool) -> None:
    async def test(row: Row) -> None:
        told = await row.ask(behaviour(f"status={status}", error_message=ECHO), stream=stream)
        assert (told.status, told.headers["x-should-retry"], told.cause) == (502, "false", "upstream_error")
        assert told.error is not None
        assert "operator" in told.error["message"]
        row.ends("upstream_error")

    rows.play(test)


@pytest.mark.parametrize("after", ["0", "2"])
def test_an_error_in_the_stream_that_repeats_the_credential(after: str, rows: Rows) -> None:
    async def test(row: Row) -> None:
        place = "0" if after == "0" else str(SECOND_TOKEN[row.wire])
        told = await row.ask(behaviour(f"tokens=3,error_after={place}", error_message=ECHO))
        if after == "2":
            breaks_off(told, "upstream_error", "overloaded_error" if row.is_tap else "api_error")
        assert told.error is not None
        assert told.error["message"] == CUT
        row.ends("upstream_error")

    rows.play(test)


@pytest.mark.parametrize("wire", ["anthropic"])
def test_an_error_type_that_repeats_the_credential(rows: Rows) -> None:
    async def test(row: Row) -> None:
        told = await row.ask(behaviour("tokens=3,error_after=4", error_type=UPSTREAM_KEY))
        breaks_off(told, "upstream_error", "[credential]")
        row.ends("upstream_error")

    rows.play(test)


@pytest.mark.parametrize("name", ["anthropic-note", "retry-after", "x-should-retry", "request-id", "x-request-id"])
def test_a_header_that_repeats_the_credential_stays_here(name: str, rows: Rows, stream: bool) -> None:
    """Also the upstream's own id of the request, which the ledger keeps."""

    async def test(row: Row) -> None:
        told = await row.ask(f"tokens=3,header_echo,extra_headers={name}:{UPSTREAM_KEY}", stream=stream)
        assert told.text == "0 1 2 "
        assert UPSTREAM_KEY not in str(told.headers)
        row.ends(FINISHED)
        assert UPSTREAM_KEY not in str(await row.attempts())

    rows.play(test)


@pytest.mark.parametrize("body", ["text", "error", "html"])
def test_of_a_body_that_is_none_at_most_the_error_is_quoted(body: str, rows: Rows, stream: bool) -> None:
    async def test(row: Row) -> None:
        told = await row.ask(behaviour(f"body={body}", error_message=ECHO), stream=stream)
        assert told.status == 502
        row.ends("upstream_error" if body == "error" else "upstream_malformed")

    rows.play(test)


def test_an_upstream_that_cannot_be_reached(rows: Rows, stream: bool) -> None:
    async def test(row: Row) -> None:
        assert (await row.ask(stream=stream)).status == 502
        row.ends("upstream_unreachable")

    with closed_port() as nobody:
        rows.play(test, at=nobody)


def test_a_defect_and_its_traceback(rows: Rows, stream: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever fails beneath the walk has a traceback in the log, and that holds lines of code, not values."""

    def fail(*_: object) -> None:
        raise RuntimeError("a defect")

    async def test(row: Row) -> None:
        with logged() as lines:
            monkeypatch.setattr("ezai.upstreams.http.client.RequestWriter.head", fail)
            told = await row.ask(stream=stream)
        assert (told.status, told.cause) == (500, "internal_error")
        assert any("RuntimeError: a defect" in line for line in lines)
        row.ends("internal_error")

    rows.play(test)


@pytest.mark.parametrize("name", ["x-api-key", "authorization", "cookie", "x-custom", "proxy-authorization"])
def test_what_the_client_shows_goes_no_further(name: str, rows: Rows, stream: bool) -> None:
    async def test(row: Row) -> None:
        row.mock.behave("tokens=3,header_echo")
        async with raw_client(row.url) as client:
            fields = [] if name == "authorization" else [f"{name}: {CLIENT_KEY}"]
            client.send(request(*fields, stream=stream))
            assert (await client.answer()).status == 200
        row.ends(FINISHED)
        assert CLIENT_KEY not in str(row.record.headers)

    rows.play(test)
