"""Rows of the fault table at which an upstream fails before its first event: the client gets a status, not a stream.

Design, "Errors before commit": 502 for an upstream that cannot be reached or is malformed, 504 for a phase that ran
out. Where a row of the reference says otherwise, the design is right.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from ezai.config import LimitsConfig, TimeoutsConfig
from ezai.lab.mock import Accept, Ended, black_hole, closed_port, mock_upstream
from ezai.lab.mock.faults.heads import RAW_HEADER_KINDS
from ezai.lab.mock.server import Tls
from tests.canary import UPSTREAM_KEY
from tests.faults.rows import FINISHED, Row, Rows, Told

CERTIFICATES = Path(__file__).parents[1] / "lab" / "certificates"
AUTHORITY = str(CERTIFICATES / "authority.pem")
SHORT_S = 0.1
"""A phase of these tests, so that its end comes soon."""
SOON = LimitsConfig(commit_after=0.02, keep_alive=0.02)
"""The 200 is sent at once, so that what is tested comes after it."""


def is_502(told: Told, cause: str | None) -> None:
    assert (told.status, told.is_stream) == (502, False)
    assert told.error is not None
    assert (told.error["type"], told.cause) == ("api_error", cause)


def is_504(told: Told, phase: str) -> None:
    assert (told.status, told.is_stream) == (504, False)
    assert told.error is not None
    assert (told.error["type"], told.cause) == ("timeout_error", "upstream_timeout")
    assert f"timeouts.{phase}" in told.error["message"]


# U1, U2: nobody there.


def test_u01_a_refused_connection(rows: Rows, stream: bool) -> None:
    async def test(row: Row) -> None:
        is_502(await row.ask(stream=stream), "upstream_unreachable")
        row.ends("upstream_unreachable")

    with closed_port() as nobody:
        rows.play(test, at=nobody)


@pytest.mark.parametrize("accept", [Accept.CLOSE, Accept.RESET])
def test_u01_a_connection_that_ends_as_it_begins(accept: Accept, rows: Rows, stream: bool) -> None:
    async def test(row: Row) -> None:
        row.mock.accept(accept)
        told = await row.ask(stream=stream)
        # A reset may come before the connection is known to stand.
        is_502(told, "upstream_unreachable" if told.cause == "upstream_unreachable" else "upstream_truncated")
        row.ends(str(told.cause))
        assert len(row.mock.journal.connections) == 1
        row.mock.accept(Accept.SERVE)
        await row.serves()

    rows.play(test)


def test_u02_a_black_hole(rows: Rows, stream: bool) -> None:
    async def test(row: Row) -> None:
        is_504(await row.ask(stream=stream), "connect")
        row.ends("upstream_timeout")

    with black_hole() as nobody:
        rows.play(test, at=nobody, timeouts=TimeoutsConfig(connect=SHORT_S))


# U3, U4: silence before the first event.


def until_content(rows: Rows, phase: str, stream: bool) -> dict[str, float]:
    """The phases that have to be short: a tapped upstream's whole answer is silent until it is complete, so that its
    headers are given the time of both.
    """
    is_silent = rows.wire == "anthropic" and not stream and phase == "response_headers"
    return dict.fromkeys(("response_headers", "first_event") if is_silent else (phase,), SHORT_S)


def test_u03_no_answer(rows: Rows, stream: bool) -> None:
    async def test(row: Row) -> None:
        told = await row.ask("no_answer=hold", stream=stream)
        is_504(told, " + ".join(short))
        row.ends("upstream_timeout")
        await row.upstream_is_let_go()
        assert (row.record.ended, row.record.events) == (Ended.PEER_CLOSED, 0)

    short = until_content(rows, "response_headers", stream)
    rows.play(test, timeouts=TimeoutsConfig(**short))


def test_u03_no_answer_keeps_a_client_fed_once_the_200_is_sent(rows: Rows) -> None:
    async def test(row: Row) -> None:
        async with row.asking("tokens=3,no_answer=hold") as client:
            status, _ = await client.head()
            assert status == 200
            for _ in range(2):
                assert await client.chunk() == b'event: ping\ndata: {"type":"ping"}\n\n'
            row.mock.release()
            await client.until(b"message_stop")
            await client.rest_of_answer()
        row.ends(FINISHED)

    rows.play(test, limits=SOON)


@pytest.mark.parametrize(
    ("behaviour", "phase"), [("no_answer=hold", "response_headers"), ("stall_after=0", "first_event")]
)
def test_u03_u04_silence_after_the_200_is_one_error_event(behaviour: str, phase: str, rows: Rows) -> None:
    async def test(row: Row) -> None:
        told = await row.ask(behaviour)
        assert told.status == 200
        assert set(told.kinds[:-1]) <= {"ping"}
        assert told.error is not None
        assert (told.error["type"], told.cause) == ("timeout_error", "upstream_timeout")
        assert f"timeouts.{phase}" in told.error["message"]
        row.ends("upstream_timeout")
        await row.upstream_is_let_go()

    rows.play(test, limits=SOON, timeouts=TimeoutsConfig(**{phase: 0.3}))


def test_u04_headers_then_silence(rows: Rows, stream: bool) -> None:
    async def test(row: Row) -> None:
        told = await row.ask("stall_after=0", stream=stream)
        is_504(told, " + ".join(short))
        row.ends("upstream_timeout")
        await row.upstream_is_let_go()
        assert (row.record.ended, row.record.events) == (Ended.PEER_CLOSED, 0)

    short = until_content(rows, "first_event", stream)
    rows.play(test, timeouts=TimeoutsConfig(**short))


# U15: it hangs up before the first byte. Asking again, elsewhere or here, is for routes of several targets.


@pytest.mark.parametrize("how", ["close", "reset"])
def test_u15_a_hang_up_before_the_first_byte(how: str, rows: Rows, stream: bool) -> None:
    async def test(row: Row) -> None:
        is_502(await row.ask(f"no_answer={how}", stream=stream), "upstream_truncated")
        row.ends("upstream_truncated")
        await row.upstream_is_let_go()
        assert len(row.mock.journal.requests) == 1, "it may have been billed, so it is not asked again"

    rows.play(test)


# U18: something else than an answer.

BODIES = ["html", "text", "error", "json", "empty"]


@pytest.mark.parametrize("body", BODIES)
def test_u18_another_body_than_the_one_due(body: str, rows: Rows, stream: bool) -> None:
    async def test(row: Row) -> None:
        told = await row.ask(f"tokens=3,body={body}", stream=stream)
        if row.is_tap and not stream and body == "json":
            assert told.text == "0 1 2 "  # that was the one due
            row.ends(FINISHED)
            return
        causes = {"error": "upstream_error"} | ({} if row.is_tap and not stream else {"empty": "upstream_truncated"})
        cause = causes.get(body, "upstream_malformed")
        is_502(told, cause)
        row.ends(cause)
        assert b"<html" not in told.body
        await row.serves()

    rows.play(test)


def test_u18_a_stream_under_another_content_type(rows: Rows) -> None:
    async def test(row: Row) -> None:
        is_502(await row.ask("content_type=text/plain"), "upstream_malformed")
        row.ends("upstream_malformed")
        await row.serves()

    rows.play(test)


# U27: a redirect.


def test_u27_a_redirect_is_not_followed(rows: Rows, stream: bool) -> None:
    async def test(row: Row) -> None:
        async with mock_upstream() as elsewhere:
            is_502(await row.ask(f"redirect={elsewhere.url}/v1/messages", stream=stream), "upstream_malformed")
            row.ends("upstream_malformed")
            await row.serves()
            assert not elsewhere.journal.connections

    rows.play(test)


# U28: compressed answers, which nobody asked for.


@pytest.mark.parametrize(
    "coding", ["content_encoding=gzip", "content_encoding=gzip+gzip", "content_encoding=br", "gzip_bomb=10GiB"]
)
def test_u28_a_compressed_answer_is_refused_at_its_head(coding: str, rows: Rows, stream: bool) -> None:
    async def test(row: Row) -> None:
        is_502(await row.ask(f"{coding},framing=close", stream=stream), "upstream_malformed")
        row.ends("upstream_malformed")
        await row.upstream_is_let_go()
        assert row.record.written_bytes < 16 * 2**20, "the bomb is not read"
        await row.serves()

    rows.play(test)


# U29: headers.

FORBIDDEN = [kind for kind in RAW_HEADER_KINDS if kind != "latin1"]


@pytest.mark.parametrize(
    "headers",
    ["header_bytes=1MiB", "header_count=10000", *(f"header_raw={kind}" for kind in FORBIDDEN)],
)
def test_u29_headers_that_nobody_should_read(headers: str, rows: Rows, stream: bool) -> None:
    async def test(row: Row) -> None:
        told = await row.ask(headers, stream=stream)
        is_502(told, "upstream_malformed")
        assert not any("mock" in name for name in told.headers)
        row.ends("upstream_malformed")
        await row.upstream_is_let_go()
        await row.serves()

    rows.play(test)


@pytest.mark.parametrize("headers", ["header_echo", "header_raw=latin1", "header_count=50"])
def test_u29_headers_that_stay_here(headers: str, rows: Rows, stream: bool) -> None:
    async def test(row: Row) -> None:
        told = await row.ask(f"tokens=3,{headers}", stream=stream)
        assert told.text == "0 1 2 "
        assert not any("mock" in name or "echo" in name or "cookie" in name for name in told.headers)
        assert UPSTREAM_KEY not in str(told.headers)
        row.ends(FINISHED)
        await row.upstream_is_kept()

    rows.play(test)


# U30: what stands before an answer, or in its place.


@pytest.mark.parametrize("interim", ["continues=3", "early_hints=3"])
def test_u30_informational_answers_are_passed_over(interim: str, rows: Rows, stream: bool) -> None:
    async def test(row: Row) -> None:
        assert (await row.ask(f"tokens=3,{interim}", stream=stream)).text == "0 1 2 "
        row.ends(FINISHED)
        await row.upstream_is_kept()

    rows.play(test)


@pytest.mark.parametrize("instead", ["upgrade", "status=204"])
def test_u30_no_answer_to_what_was_asked(instead: str, rows: Rows, stream: bool) -> None:
    async def test(row: Row) -> None:
        is_502(await row.ask(instead, stream=stream), "upstream_malformed")
        row.ends("upstream_malformed")
        await row.serves()

    rows.play(test)


# U34: the race for an idle connection.


@pytest.mark.parametrize("kind", ["race", "race_reset"])
def test_u34_a_connection_that_closes_as_the_next_request_comes(kind: str, rows: Rows, stream: bool) -> None:
    async def test(row: Row) -> None:
        first = await row.ask(f"tokens=3,keep_alive={kind}", stream=stream)
        second = await row.ask("tokens=3", stream=stream)
        assert first.text == second.text == "0 1 2 "
        row.ends(FINISHED, FINISHED)
        one, other = row.mock.journal.connections
        assert (one.raced, one.requests, other.requests) == (1, 1, 1), "one dispatch was accepted"

    rows.play(test)


@pytest.mark.parametrize("kind", ["close", "silent"])
def test_u34_a_connection_that_closes_while_it_is_idle(kind: str, rows: Rows, stream: bool) -> None:
    async def test(row: Row) -> None:
        assert (await row.ask(f"tokens=3,keep_alive={kind}", stream=stream)).text == "0 1 2 "
        row.ends(FINISHED)
        await row.upstream_is_let_go()
        await row.serves()
        assert [item.requests for item in row.mock.journal.connections] == [1, 1]

    rows.play(test)


def test_u34_a_fresh_connection_that_breaks_is_not_asked_again(rows: Rows) -> None:
    """Only an idle one may have been closed before the request came; see also U15."""

    async def test(row: Row) -> None:
        await row.serves()
        row.mock.drop_connections()
        await row.upstream_is_let_go()
        is_502(await row.ask("no_answer=reset"), "upstream_truncated")
        row.ends("upstream_truncated")
        assert len(row.mock.journal.requests) == 2

    rows.play(test)


# U35: TLS.


def tls(name: str) -> Tls:
    return Tls(CERTIFICATES / f"{name}.pem", CERTIFICATES / "key.pem")


@pytest.mark.parametrize("certificate", ["expired", "other_name", "untrusted"])
def test_u35_a_certificate_that_is_none_for_us(certificate: str, rows: Rows, stream: bool) -> None:
    async def test(row: Row) -> None:
        is_502(await row.ask(stream=stream), "upstream_unreachable")
        row.ends("upstream_unreachable")
        await row.upstream_is_let_go()
        assert not row.mock.journal.requests, "the key was never sent"

    rows.play(test, tls=tls(certificate), ca_file=AUTHORITY)


def test_u35_a_good_certificate(rows: Rows, stream: bool) -> None:
    async def test(row: Row) -> None:
        assert (await row.ask("tokens=3", stream=stream)).text == "0 1 2 "
        row.ends(FINISHED)
        await row.upstream_is_kept()

    rows.play(test, tls=tls("good"), ca_file=AUTHORITY)


def test_u35_a_handshake_that_stalls(rows: Rows, stream: bool) -> None:
    async def test(row: Row) -> None:
        row.mock.accept(Accept.DEAF)
        is_504(await row.ask(stream=stream), "connect")
        row.ends("upstream_timeout")
        assert not row.mock.journal.requests

    rows.play(test, tls=tls("good"), ca_file=AUTHORITY, timeouts=TimeoutsConfig(connect=SHORT_S))
