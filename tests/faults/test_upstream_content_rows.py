"""Rows of the fault table at which an upstream's events hold what they should not, or stand where they should not."""

from __future__ import annotations

import pytest

from ezai.config import LimitsConfig
from ezai.lab.mock import Ended
from ezai.protocol.usage import MAX_COUNT
from tests.faults.rows import FINISHED, Row, Rows
from tests.faults.test_upstream_ending_rows import SECOND_TOKEN, breaks_off, is_refused, tokens_in

SMALL_EVENTS = LimitsConfig(event_mib=1)
KIB = 1024
MIB = 1024 * KIB
READ_AHEAD_BYTES = 16 * MIB
"""More than all buffers between the mock and the gateway hold."""


# U10, U17: no UTF-8, no JSON.


@pytest.mark.parametrize("fault", ["invalid_utf8", "lone_surrogate", "garbage"])
def test_u10_u17_an_event_that_cannot_be_read(fault: str, rows: Rows) -> None:
    async def test(row: Row) -> None:
        told = await row.ask(f"tokens=3,{fault}={SECOND_TOKEN[row.wire]}")
        breaks_off(told, "upstream_malformed")
        assert tokens_in(told.text) == 1, "what stood before it was whole"
        row.ends("upstream_malformed")
        assert (await row.attempts())[0]["output_tokens"] == 1
        await row.serves()

    rows.play(test)


@pytest.mark.parametrize("fault", ["invalid_utf8", "garbage"])
def test_u10_u17_a_first_event_or_a_body_that_cannot_be_read(fault: str, rows: Rows, stream: bool) -> None:
    async def test(row: Row) -> None:
        is_refused(await row.ask(f"tokens=3,{fault}=1", stream=stream), 502, "upstream_malformed")
        row.ends("upstream_malformed")
        await row.serves()

    rows.play(test)


# U19, U20: large events.


def test_u19_an_event_within_the_limit(rows: Rows, stream: bool) -> None:
    async def test(row: Row) -> None:
        told = await row.ask(f"tokens=1,huge_event={1000 * KIB}", stream=stream)
        assert len(told.text) >= 1000 * KIB if stream or not row.is_tap else told.text == "0 "
        row.ends(FINISHED)
        await row.upstream_is_kept()

    rows.play(test, limits=SMALL_EVENTS)


def test_u19_an_event_over_the_limit(rows: Rows) -> None:
    async def test(row: Row) -> None:
        told = await row.ask(f"tokens=1,huge_event={2 * MIB}")
        breaks_off(told, "upstream_malformed")
        assert told.text == ""
        row.ends("upstream_malformed")
        await row.serves()

    rows.play(test, limits=SMALL_EVENTS)


@pytest.mark.parametrize("wire", ["openai"])
def test_u19_an_event_over_the_limit_of_a_unary_answer(rows: Rows) -> None:
    async def test(row: Row) -> None:
        is_refused(await row.ask(f"tokens=1,huge_event={2 * MIB}", stream=False), 502, "upstream_malformed")
        row.ends("upstream_malformed")

    rows.play(test, limits=SMALL_EVENTS)


def test_u20_a_line_without_end(rows: Rows) -> None:
    async def test(row: Row) -> None:
        breaks_off(await row.ask("tokens=1,long_line=1GiB"), "upstream_malformed")
        row.ends("upstream_malformed")
        await row.upstream_is_let_go()
        assert row.record.ended in {Ended.PEER_CLOSED, Ended.PEER_RESET}
        assert row.record.written_bytes < READ_AHEAD_BYTES, "it is not read to its end"
        await row.serves()

    rows.play(test, limits=SMALL_EVENTS)


# U21, U22: floods.


@pytest.mark.parametrize("tokens", [20_000, pytest.param(100_000, marks=pytest.mark.full)])
def test_u21_tiny_events_as_fast_as_possible(tokens: int, rows: Rows) -> None:
    async def test(row: Row) -> None:
        told = await row.ask(f"tokens={tokens}", max_tokens=tokens)
        assert tokens_in(told.text) == tokens
        row.ends(FINISHED)
        assert (await row.attempts())[0]["output_tokens"] == tokens
        await row.upstream_is_kept()

    rows.play(test)


@pytest.mark.parametrize("flood", ["blank_lines", "comments"])
@pytest.mark.parametrize("lines", [20_000, pytest.param(1_000_000, marks=pytest.mark.full)])
def test_u22_lines_that_say_nothing(lines: int, flood: str, rows: Rows) -> None:
    async def test(row: Row) -> None:
        told = await row.ask(f"tokens=3,{flood}={lines}")
        assert told.text == "0 1 2 "
        row.ends(FINISHED)
        await row.upstream_is_kept()

    rows.play(test)


# U24: an error in mid-stream.

ERROR_TYPES = {
    "overloaded_error": "overloaded_error",
    "rate_limit_error": "rate_limit_error",
    "invalid_request_error": "invalid_request_error",
    "authentication_error": "api_error",  # of the gateway's own credential
    "permission_error": "api_error",
    "api_error": "api_error",
}


@pytest.mark.parametrize(("said", "told_as"), ERROR_TYPES.items())
def test_u24_an_error_in_mid_stream(said: str, told_as: str, rows: Rows) -> None:
    async def test(row: Row) -> None:
        told = await row.ask(f"tokens=3,error_after={SECOND_TOKEN[row.wire]}:{said}")
        breaks_off(told, "upstream_error", told_as)
        assert tokens_in(told.text) == 2
        row.ends("upstream_error")
        (attempt,) = await row.attempts()
        assert (attempt["output_tokens"], attempt["usage_source"]) == (2, "estimated")
        await row.serves()

    rows.play(test)


@pytest.mark.parametrize("wire", ["openai"])
def test_u24_an_error_in_the_stream_of_a_unary_answer_is_a_status(rows: Rows) -> None:
    async def test(row: Row) -> None:
        is_refused(await row.ask("tokens=3,error_after=3:overloaded_error", stream=False), 529, "upstream_error")
        row.ends("upstream_error")

    rows.play(test)


# U31: orders.


@pytest.mark.parametrize("wire", ["anthropic"])
@pytest.mark.parametrize(
    "fault",
    ["repeat=message_start", "swap=message_start", "swap=content_block_stop", "repeat=content_block_stop",
     "repeat=content_block_start", "drop=content_block_start", "drop=content_block_stop", "drop=message_start",
     "index_gap=content_block_start", "index_gap=ping"],
)  # fmt: skip
def test_u31_an_order_that_breaks_an_sdk(fault: str, rows: Rows) -> None:
    async def test(row: Row) -> None:
        told = await row.ask(f"tokens=3,{fault}")
        if fault in {"swap=message_start", "drop=message_start"}:
            is_refused(told, 502, "illegal_stream")  # the first event already
        else:
            breaks_off(told, "illegal_stream")
        row.ends("illegal_stream")
        await row.serves()

    rows.play(test)


@pytest.mark.parametrize("wire", ["anthropic"])
@pytest.mark.parametrize("fault", ["unknown_event=0", "unknown_event=4", "unknown_delta=4", "repeat=ping", "swap=ping"])
def test_u31_what_no_sdk_minds_passes_untouched(fault: str, rows: Rows) -> None:
    async def test(row: Row) -> None:
        told = await row.ask(f"tokens=3,{fault}")
        assert told.text == "0 1 2 "
        assert (b"mock_unknown" in told.body or b"mock_delta" in told.body) == fault.startswith("unknown")
        row.ends(FINISHED)
        await row.upstream_is_kept()

    rows.play(test)


@pytest.mark.parametrize("wire", ["openai"])
@pytest.mark.parametrize(
    ("fault", "text"),
    [("repeat=role", "0 1 2 "), ("swap=role", "0 1 2 "), ("drop=role", "0 1 2 "), ("swap=3", "0 2 1 "),
     ("unknown_event=3", "0 1 2 "), ("unknown_delta=3", "0 1 2 "), ("repeat=finish", "0 1 2 "),
     ("swap=finish", "0 1 2 "), ("swap=usage", "0 1 2 ")],
)  # fmt: skip
def test_u31_a_translated_stream_is_legal_whatever_the_order(fault: str, text: str, rows: Rows, stream: bool) -> None:
    async def test(row: Row) -> None:
        assert (await row.ask(f"tokens=3,{fault}", stream=stream)).text == text
        row.ends(FINISHED)
        await row.serves()

    rows.play(test)


# U32: absurd usage.


@pytest.mark.parametrize("kind", ["negative", "huge", "float", "text", "null"])
def test_u32_usage_that_is_none_is_not_recorded(kind: str, rows: Rows, stream: bool) -> None:
    async def test(row: Row) -> None:
        told = await row.ask(f"tokens=3,usage={kind}", stream=stream)
        assert told.text == "0 1 2 "
        row.ends(FINISHED)
        (attempt,) = await row.attempts()
        counted = (0, "none") if row.is_tap and not stream else (3, "estimated")
        assert (attempt["output_tokens"], attempt["usage_source"]) == counted
        assert 0 <= attempt["input_tokens"] <= MAX_COUNT
        assert attempt["cost_nanousd"] == counted[0] * 15_000 + attempt["input_tokens"] * 3_000
        await row.upstream_is_kept()

    rows.play(test)


@pytest.mark.parametrize("wire", ["openai"])
def test_u32_no_usage_is_estimated(rows: Rows, stream: bool) -> None:
    async def test(row: Row) -> None:
        assert (await row.ask("tokens=3,usage=missing", stream=stream)).text == "0 1 2 "
        row.ends(FINISHED)
        (attempt,) = await row.attempts()
        assert (attempt["output_tokens"], attempt["usage_source"]) == (3, "estimated")

    rows.play(test)


@pytest.mark.parametrize("wire", ["anthropic"])
def test_u32_no_usage_breaks_an_sdk(rows: Rows, stream: bool) -> None:
    """Both SDKs fail at a `message_start` without it (reference, "What breaks the accumulators")."""

    async def test(row: Row) -> None:
        cause = "illegal_stream" if stream else "upstream_malformed"
        is_refused(await row.ask("tokens=3,usage=missing", stream=stream), 502, cause)
        row.ends(cause)

    rows.play(test)


def test_u32_usage_that_shrinks(rows: Rows, stream: bool) -> None:
    """Each report is a total: the last one is recorded."""

    async def test(row: Row) -> None:
        assert (await row.ask("tokens=3,usage=shrinking", stream=stream)).text == "0 1 2 "
        row.ends(FINISHED)
        (attempt,) = await row.attempts()
        assert (attempt["output_tokens"], attempt["usage_source"]) == (3, "upstream")

    rows.play(test)


# U33: what servers of the Chat Completions dialect do.

ESTIMATED = {"drop=usage"}


@pytest.mark.parametrize("wire", ["openai"])
@pytest.mark.parametrize(
    "fault",
    ["drop=usage", "drop=done", "drop=done,framing=close", "drop=finish", "finish_null", "usage_on=finish",
     "usage_on=every", "empty_choices=0", "empty_choices=3", "role_repeats", "unnamed", "line_end=crlf"],
)  # fmt: skip
def test_u33_streams_as_servers_send_them(fault: str, rows: Rows, stream: bool) -> None:
    async def test(row: Row) -> None:
        told = await row.ask(f"tokens=3,{fault}", stream=stream)
        assert told.text == "0 1 2 "
        row.ends(FINISHED)
        (attempt,) = await row.attempts()
        assert attempt["output_tokens"] == 3
        assert attempt["usage_source"] == ("estimated" if fault in ESTIMATED else "upstream")
        await row.serves()

    rows.play(test)


@pytest.mark.parametrize("wire", ["openai"])
@pytest.mark.parametrize("fault", ["tools=2", "tools=2,tool_index=missing", "tools=2,tool_index=zero", "thinking=3"])
def test_u33_pieces_of_tool_calls_and_thinking_leave_the_stream_legal(fault: str, rows: Rows, stream: bool) -> None:
    async def test(row: Row) -> None:
        assert (await row.ask(f"tokens=3,{fault}", stream=stream)).text == "0 1 2 "
        row.ends(FINISHED)
        await row.serves()

    rows.play(test)
