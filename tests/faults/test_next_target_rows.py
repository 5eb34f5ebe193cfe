"""Rows of the fault table at which somebody else can answer: the same upstream again, or the next target of the route.

Every row is played with the second target on both wires, so that each dialect stands in for each. What an upstream
does that stands alone: test_upstream_opening_rows.py, test_upstream_ending_rows.py. No backoff takes time here; how
long one is: tests/pipeline/test_dispatch_dialogues.py.
"""

from __future__ import annotations

import pytest

from ezai.config import LimitsConfig, TimeoutsConfig
from ezai.lab.mock import Accept, Behaviour, Ended, behaviour, black_hole, closed_port
from ezai.protocol.anthropic.events import MESSAGE_START
from tests.faults.rows import FINISHED, LEFT, WIRES, Row, Rows, Told
from tests.faults.test_upstream_ending_rows import SECOND_TOKEN, WHOLE_AT, breaks_off
from tests.faults.test_upstream_opening_rows import is_502, is_504, until_content
from tests.raw_client import LEAVES

SHORT_S = 0.1
NEXT_TEXT = "0 1 "
"""What the second target answers; the first one would say more."""
SOON = LimitsConfig(commit_after=0.02, keep_alive=0.02)
UNREACHABLE, TRUNCATED, TIMEOUT, REFUSED = (
    "upstream_unreachable", "upstream_truncated", "upstream_timeout", "upstream_error",
)  # fmt: skip


@pytest.fixture(params=WIRES)
def next_wire(request: pytest.FixtureRequest) -> str:
    """That of the second target."""
    wire: str = request.param
    return wire


@pytest.fixture
def other_wire(wire: str) -> str:
    """That of the second target, where it is enough that it is not that of the first."""
    return "openai" if wire == "anthropic" else "anthropic"


async def is_answered_by_next(row: Row, told: Told, *failures: str) -> None:
    """The second target has answered, and nothing of the first is to be seen."""
    assert (told.status, told.text) == (200, NEXT_TEXT)
    assert (told.headers["x-ezai-upstream"], told.headers["x-ezai-attempts"]) == ("next", str(len(failures) + 1))
    if told.is_stream:
        assert told.kinds.count(MESSAGE_START) == 1
    row.ends(FINISHED, after=failures)
    assert len(row.next.journal.requests) == 1
    *failed, last = await row.attempts()
    assert all((item["output_tokens"], item["cost_nanousd"]) == (0, 0) for item in failed), "it produced nothing"
    assert last["output_tokens"] == 2


def is_its_own(row: Row) -> None:
    """Nobody else was asked."""
    assert not row.next.journal.connections


# U1, U2: nobody there.


def test_u01_a_refused_connection(rows: Rows, next_wire: str, stream: bool) -> None:
    async def test(row: Row) -> None:
        await is_answered_by_next(row, await row.ask(stream=stream), UNREACHABLE)

    with closed_port() as nobody:
        rows.play(test, at=nobody, next_wire=next_wire)


def test_u01_a_refused_connection_is_tried_as_often_as_is_configured(rows: Rows, stream: bool) -> None:
    async def test(row: Row) -> None:
        told = await row.ask(stream=stream)
        is_502(told, UNREACHABLE)
        assert told.headers["x-ezai-attempts"] == "3"
        row.ends(UNREACHABLE, after=[UNREACHABLE] * 2)

    with closed_port() as nobody:
        rows.play(test, at=nobody, max_retries=2)


@pytest.mark.parametrize("accept", [Accept.CLOSE, Accept.RESET])
def test_u01_a_connection_that_ends_as_it_begins(accept: Accept, rows: Rows, other_wire: str, stream: bool) -> None:
    async def test(row: Row) -> None:
        row.mock.accept(accept)
        told = await row.ask(stream=stream)
        cause = (await row.attempts())[0]["cause"]
        assert cause in {UNREACHABLE, TRUNCATED}, "a reset may come before the connection is known to stand"
        await is_answered_by_next(row, told, cause)

    rows.play(test, next_wire=other_wire)


def test_u02_a_black_hole(rows: Rows, next_wire: str, stream: bool) -> None:
    async def test(row: Row) -> None:
        await is_answered_by_next(row, await row.ask(stream=stream), TIMEOUT)

    with black_hole() as nobody:
        rows.play(test, at=nobody, next_wire=next_wire, timeouts=TimeoutsConfig(connect=SHORT_S))


def test_u02_it_is_tried_once(rows: Rows, stream: bool) -> None:
    async def test(row: Row) -> None:
        is_504(await row.ask(stream=stream), "connect")
        row.ends(TIMEOUT)

    with black_hole() as nobody:
        rows.play(test, at=nobody, max_retries=2, timeouts=TimeoutsConfig(connect=SHORT_S))


# U3, U4: silence before the first event.

SILENCES = [("no_answer=hold", "response_headers"), ("stall_after=0", "first_event")]


@pytest.mark.parametrize(("silence", "phase"), SILENCES)
def test_u03_u04_silence_before_the_first_event(
    silence: str, phase: str, rows: Rows, next_wire: str, stream: bool
) -> None:
    async def test(row: Row) -> None:
        told = await row.ask(silence, stream=stream)
        await is_answered_by_next(row, told, TIMEOUT)
        assert row.record.ended is Ended.PEER_CLOSED, "it was let go before the next one was asked"
        assert len(row.mock.journal.requests) == 1

    short = until_content(rows, phase, stream)
    rows.play(test, next_wire=next_wire, max_retries=2, timeouts=TimeoutsConfig(**short))


@pytest.mark.parametrize(("silence", "phase"), SILENCES)
def test_u03_u04_behind_the_200_the_client_is_kept_fed_until_the_next_answers(
    silence: str, phase: str, rows: Rows, other_wire: str
) -> None:
    async def test(row: Row) -> None:
        told = await row.ask(silence)
        assert told.kinds[0] == "ping"
        assert (told.kinds.count(MESSAGE_START), told.text) == (1, NEXT_TEXT)
        assert told.headers["x-ezai-upstream"] == "up", "who was being asked as the head went out"
        row.ends(FINISHED, after=[TIMEOUT])

    rows.play(test, next_wire=other_wire, limits=SOON, timeouts=TimeoutsConfig(**{phase: 0.3}))


# U5: silence in mid-stream.


def test_u05_a_stream_that_stalls_is_nobody_elses(rows: Rows, other_wire: str) -> None:
    async def test(row: Row) -> None:
        told = await row.ask(f"tokens=3,stall_after={SECOND_TOKEN[row.wire]}")
        breaks_off(told, "upstream_stalled", "timeout_error")
        row.ends("upstream_stalled")
        is_its_own(row)

    rows.play(test, next_wire=other_wire, timeouts=TimeoutsConfig(idle=SHORT_S))


def test_u05_of_a_unary_answer_nothing_was_told(rows: Rows, next_wire: str) -> None:
    async def test(row: Row) -> None:
        told = await row.ask(f"tokens=3,{'stall_in=1' if row.is_tap else 'stall_after=3'}", stream=False)
        assert told.text == NEXT_TEXT
        row.ends(FINISHED, after=["upstream_stalled"])
        if not row.is_tap:
            assert (await row.attempts())[0]["output_tokens"] == 2, "what it used is recorded"

    rows.play(test, next_wire=next_wire, timeouts=TimeoutsConfig(idle=SHORT_S))


# U15, U16: it hangs up.


@pytest.mark.parametrize("how", ["no_answer=close", "no_answer=reset", "end_after=0", "cut_after=0", "reset_after=0"])
def test_u15_a_hang_up_before_the_first_event(how: str, rows: Rows, other_wire: str, stream: bool) -> None:
    async def test(row: Row) -> None:
        told = await row.ask(f"tokens=3,{how}", stream=stream)
        if how == "end_after=0" and row.is_tap and not stream:
            await is_answered_by_next(row, told, "upstream_malformed")  # an empty body, whole by its framing
        else:
            await is_answered_by_next(row, told, TRUNCATED)
        assert len(row.mock.journal.requests) == 1, "it may have been billed, so it is not asked again"

    rows.play(test, next_wire=other_wire, max_retries=2)


@pytest.mark.parametrize("fault", ["end_after", "cut_after", "reset_after"])
def test_u15_behind_any_event_its_stream_is_nobody_elses(fault: str, rows: Rows, other_wire: str) -> None:
    async def test(row: Row) -> None:
        for events in range(1, WHOLE_AT[row.wire]):
            breaks_off(await row.ask(f"tokens=3,{fault}={events}"), TRUNCATED)
            row.ends(TRUNCATED)
            if events % 4 == 0:  # before its breaker opens
                await row.serves()
        is_its_own(row)

    rows.play(test, next_wire=other_wire, max_retries=2)


def test_u15_streams_that_break_again_and_again_open_its_breaker(rows: Rows, other_wire: str) -> None:
    async def test(row: Row) -> None:
        for _ in range(5):
            breaks_off(await row.ask("tokens=3,reset_after=3"), TRUNCATED)
            row.ends(TRUNCATED)
        is_its_own(row)
        for _ in range(3):
            told = await row.ask()
            assert (told.headers["x-ezai-upstream"], told.headers["x-ezai-attempts"]) == ("next", "1")
            row.ends(FINISHED)
        assert len(row.mock.journal.requests) == 5

    rows.play(test, next_wire=other_wire)


def test_u16_a_reset_behind_the_last_event_has_lost_nothing(rows: Rows, other_wire: str, stream: bool) -> None:
    async def test(row: Row) -> None:
        told = await row.ask("tokens=3,framing=chunked,reset_after=last", stream=stream)
        if row.is_tap and not stream:  # the end of its body is told by the framing alone
            await is_answered_by_next(row, told, TRUNCATED)
            return
        assert told.text == "0 1 2 "
        row.ends(FINISHED)
        is_its_own(row)

    rows.play(test, next_wire=other_wire)


# U23: an error as the first event.


@pytest.mark.parametrize("kind", ["overloaded_error", "api_error", "rate_limit_error", "authentication_error"])
def test_u23_an_error_first_goes_to_the_next_target(kind: str, rows: Rows, other_wire: str) -> None:
    async def test(row: Row) -> None:
        await is_answered_by_next(row, await row.ask(f"tokens=3,error_after=0:{kind}"), REFUSED)
        assert len(row.mock.journal.requests) == 1

    rows.play(test, next_wire=other_wire, max_retries=2)


def test_u23_an_error_first_that_is_the_clients_fault_does_not(rows: Rows, other_wire: str) -> None:
    async def test(row: Row) -> None:
        told = await row.ask("tokens=3,error_after=0:invalid_request_error")
        assert (told.status, told.is_stream) == (400, False)
        row.ends(REFUSED)
        is_its_own(row)

    rows.play(test, next_wire=other_wire)


@pytest.mark.parametrize(("kind", "status"), [("overloaded_error", 529), ("api_error", 502), ("rate_limit_error", 429)])
def test_u23_an_error_first_has_the_status_of_its_type(kind: str, status: int, rows: Rows) -> None:
    async def test(row: Row) -> None:
        told = await row.ask(f"tokens=3,error_after=0:{kind}")
        assert (told.status, told.is_stream) == (status, False)
        assert told.error is not None
        assert told.error["type"] == kind
        row.ends(REFUSED)

    rows.play(test)


# U25: refusals.

GOLDEN = {
    400: (400, "invalid_request_error"),
    401: (502, "api_error"),
    402: (502, "api_error"),
    403: (502, "api_error"),
    404: (404, "not_found_error"),
    408: (504, "timeout_error"),
    413: (413, "request_too_large"),
    418: (400, "invalid_request_error"),
    422: (400, "invalid_request_error"),
    429: (429, "rate_limit_error"),
    500: (502, "api_error"),
    502: (502, "api_error"),
    503: (529, "overloaded_error"),
    504: (504, "timeout_error"),
    529: (529, "overloaded_error"),
}
"""As a foreign upstream's are told; an Anthropic one's keep their status and body, but for 401 and 403."""
OF_THE_CLIENT = {400, 404, 413, 418, 422}


@pytest.mark.parametrize("status", GOLDEN)
def test_u25_a_refusal_as_it_is_told(status: int, rows: Rows, stream: bool) -> None:
    async def test(row: Row) -> None:
        told = await row.ask(behaviour(f"status={status}", error_message="No."), stream=stream)
        assert told.error is not None
        if row.is_tap and status not in {401, 403}:
            assert told.status == status
        else:
            assert (told.status, told.error["type"]) == GOLDEN[status]
        assert (told.headers.get("x-should-retry") == "false") is (status in {401, 402, 403})
        row.ends(REFUSED)
        assert len(row.mock.journal.requests) == 1

    rows.play(test)


@pytest.mark.parametrize("status", GOLDEN)
def test_u25_whether_the_next_target_is_asked(status: int, rows: Rows, other_wire: str, stream: bool) -> None:
    async def test(row: Row) -> None:
        told = await row.ask(f"status={status}", stream=stream)
        if status in OF_THE_CLIENT:
            assert 400 <= told.status < 429
            row.ends(REFUSED)
            is_its_own(row)
        else:
            await is_answered_by_next(row, told, REFUSED)
        assert len(row.mock.journal.requests) == 1

    rows.play(test, next_wire=other_wire)


@pytest.mark.parametrize("status", GOLDEN)
def test_u25_whether_it_is_asked_again(status: int, rows: Rows, stream: bool) -> None:
    async def test(row: Row) -> None:
        told = await row.ask(f"tokens=3,status={status},times=1", stream=stream)
        if status in {429, 503, 529}:
            assert told.text == "0 1 2 "
            row.ends(FINISHED, after=[REFUSED])
        else:
            assert told.status != 200
            row.ends(REFUSED)

    rows.play(test, max_retries=1)


# U26: what it says of when to come back.


@pytest.mark.parametrize("junk", ["-5", "1e9", "nan", "soon", "Wed, 99 Oct 2099 07:28:00 GMT"])
@pytest.mark.parametrize("status", [429, 503])
def test_u26_junk_is_no_advice(status: int, junk: str, rows: Rows, stream: bool) -> None:
    async def test(row: Row) -> None:
        told = await row.ask(busy(status, junk, times=1), stream=stream)
        assert told.text == "0 1 2 "
        row.ends(FINISHED, after=[REFUSED])
        told = await row.ask(busy(status, junk), stream=stream)
        assert "retry-after" not in told.headers
        row.ends(REFUSED, after=[REFUSED])

    rows.play(test, max_retries=1)


@pytest.mark.parametrize("advice", ["31", "1000000000", "Wed, 21 Oct 2099 07:28:00 GMT"])
@pytest.mark.parametrize("status", [429, 503])
def test_u26_a_long_wait_is_told_as_60_s_at_most_and_not_waited_for(
    status: int, advice: str, rows: Rows, stream: bool
) -> None:
    async def test(row: Row) -> None:
        told = await row.ask(busy(status, advice), stream=stream)
        assert told.headers["retry-after"] == ("31" if advice == "31" else "60")
        row.ends(REFUSED)

    rows.play(test, max_retries=2)


@pytest.mark.parametrize("advice", ["0", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_u26_what_lies_behind_us_is_waited_for_no_longer(advice: str, rows: Rows, stream: bool) -> None:
    async def test(row: Row) -> None:
        assert (await row.ask(busy(503, advice, times=1), stream=stream)).text == "0 1 2 "
        row.ends(FINISHED, after=[REFUSED])

    rows.play(test, max_retries=1)


@pytest.mark.parametrize("advice", ["2", "3600"])
def test_u26_while_another_target_is_ready_nobody_waits(advice: str, rows: Rows, other_wire: str, stream: bool) -> None:
    async def test(row: Row) -> None:
        await is_answered_by_next(row, await row.ask(busy(503, advice), stream=stream), REFUSED)

    rows.play(test, max_retries=2, next_wire=other_wire)


def test_u26_a_target_that_rate_limits_is_left_alone_for_as_long_as_it_says(
    rows: Rows, other_wire: str, stream: bool
) -> None:
    async def test(row: Row) -> None:
        await is_answered_by_next(row, await row.ask(busy(429, "50"), stream=stream), REFUSED)
        told = await row.ask(stream=stream)
        assert (told.headers["x-ezai-upstream"], told.headers["x-ezai-attempts"]) == ("next", "1")
        row.ends(FINISHED)
        row.next.behave(busy(429, "40"))
        told = await row.ask(stream=stream)
        assert (told.status, told.headers["retry-after"]) == (429, "40")
        row.ends(REFUSED)
        told = await row.ask(stream=stream)
        assert (told.status, told.cause) == (529, "no_target_ready")
        assert 1 <= int(told.headers["retry-after"]) <= 40
        row.told.remove(told)  # it was not admitted
        assert len(row.mock.journal.requests) == 1

    rows.play(test, next_wire=other_wire)


def busy(status: int, retry_after: str, **settings: object) -> Behaviour:
    return behaviour(f"tokens=3,status={status}", retry_after=retry_after, **settings)


# U34: the race for an idle connection is no attempt.


@pytest.mark.parametrize("kind", ["race", "race_reset"])
def test_u34_a_connection_that_closes_as_the_next_request_comes(
    kind: str, rows: Rows, other_wire: str, stream: bool
) -> None:
    async def test(row: Row) -> None:
        first = await row.ask(f"tokens=3,keep_alive={kind}", stream=stream)
        second = await row.ask("tokens=3", stream=stream)
        assert first.text == second.text == "0 1 2 "
        assert second.headers["x-ezai-attempts"] == "1"
        row.ends(FINISHED, FINISHED)
        is_its_own(row)

    rows.play(test, next_wire=other_wire, max_retries=2)


# C1: the client leaves while targets are tried.


@pytest.mark.parametrize("way", LEAVES)
def test_c1_leaving_while_the_next_target_is_asked(way: str, rows: Rows, other_wire: str, stream: bool) -> None:
    async def test(row: Row) -> None:
        row.next.behave("no_answer=hold")
        async with row.asking("status=500", stream=stream) as client:
            await row.next.journal.accepted()
            LEAVES[way](client)
            row.ends(LEFT, after=[REFUSED])
            await row.registry.wait_empty()
            ended = await row.next.journal.ended()
        assert ended.ended in {Ended.PEER_CLOSED, Ended.PEER_RESET}

    rows.play(test, next_wire=other_wire)
