"""Rows of the fault table at which a running stream stalls, is cut or loses its framing.

The client gets whole events and one error event, and never a `message_stop` that was not told; a unary answer that
cannot become whole is a status. With `tokens=3` the events are, on the Anthropic wire: 1 message_start,
2 content_block_start, 3 ping, 4 5 6 deltas, 7 content_block_stop, 8 message_delta, 9 message_stop; on the OpenAI wire:
1 role, 2 3 4 content, 5 finish, 6 usage, 7 done.
"""

from __future__ import annotations

import re

import pytest

from ezai.config import TimeoutsConfig
from ezai.lab.mock import Ended
from tests.faults.rows import FINISHED, Row, Rows, Told

SHORT_S = 0.15
SECOND_TOKEN = {"anthropic": 5, "openai": 3}
"""The event that brings it."""
WHOLE_AT = {"anthropic": 9, "openai": 5}
"""The event with which the answer is whole, whatever follows: on the OpenAI wire the one that says why it ended."""


def breaks_off(told: Told, cause: str, wire_type: str = "api_error") -> None:
    """Its stream is whole events and the one error event."""
    assert (told.status, told.is_stream) == (200, True)
    assert told.error is not None
    assert (told.error["type"], told.cause) == (wire_type, cause)
    assert "message_stop" not in told.kinds


def is_refused(told: Told, status: int, cause: str) -> None:
    assert (told.status, told.is_stream, told.cause) == (status, False, cause)


def tokens_in(text: str) -> int:
    """How many of the numbered tokens; they have to come in order and without a gap."""
    assert text == "".join(f"{number} " for number in range(len(text.split())))
    return len(text.split())


# U5, U6: silence, and an answer without end.


@pytest.mark.parametrize("fault", ["stall_after", "stall_in"])
def test_u05_a_stall_in_mid_stream(fault: str, rows: Rows) -> None:
    async def test(row: Row) -> None:
        told = await row.ask(f"tokens=3,{fault}={SECOND_TOKEN[row.wire]}")
        breaks_off(told, "upstream_stalled", "timeout_error")
        whole = 2 if fault == "stall_after" else 1
        assert tokens_in(told.text) == whole, "half an event is no event"
        row.ends("upstream_stalled")
        await row.upstream_is_let_go()
        assert row.record.ended is Ended.PEER_CLOSED
        (attempt,) = await row.attempts()
        assert attempt["output_tokens"] == whole
        assert attempt["usage_source"] == ("estimated" if whole > 1 or not row.is_tap else "partial_upstream")
        await row.serves()

    rows.play(test, timeouts=TimeoutsConfig(idle=SHORT_S))


def test_u05_a_stall_in_a_unary_answer(rows: Rows) -> None:
    async def test(row: Row) -> None:
        place = "stall_in=1" if row.is_tap else "stall_after=3"
        is_refused(await row.ask(f"tokens=3,{place}", stream=False), 504, "upstream_stalled")
        row.ends("upstream_stalled")
        await row.upstream_is_let_go()
        assert row.record.ended is Ended.PEER_CLOSED

    rows.play(test, timeouts=TimeoutsConfig(idle=SHORT_S))


def test_u05_a_pause_shorter_than_the_phase_costs_nothing(rows: Rows) -> None:
    async def test(row: Row) -> None:
        assert (await row.ask(f"tokens=3,pause_after={SECOND_TOKEN[row.wire]}:0.05")).text == "0 1 2 "
        row.ends(FINISHED)
        await row.upstream_is_kept()

    rows.play(test)


def test_u06_a_drip_without_end_is_cut_at_the_total_time(rows: Rows) -> None:
    async def test(row: Row) -> None:
        told = await row.ask("endless,rate=200")
        breaks_off(told, "upstream_timeout", "timeout_error")
        assert told.error is not None
        assert "timeouts.total" in told.error["message"]
        row.ends("upstream_timeout")
        await row.upstream_is_let_go()
        (attempt,) = await row.attempts()
        assert attempt["output_tokens"] >= tokens_in(told.text) > 0, "billed to the cut"

    rows.play(test, timeouts=TimeoutsConfig(total=0.3, idle=60))


@pytest.mark.parametrize("wire", ["openai"])
def test_u06_a_drip_without_end_in_a_unary_answer(rows: Rows) -> None:
    async def test(row: Row) -> None:
        is_refused(await row.ask("endless,rate=200", stream=False), 504, "upstream_timeout")
        row.ends("upstream_timeout")
        await row.upstream_is_let_go()
        assert (await row.attempts())[0]["output_tokens"] > 0

    rows.play(test, timeouts=TimeoutsConfig(total=0.3, idle=60))


# U7-U9: the same bytes in other pieces.

SPOKEN = "text=Grüße 😀👩‍👩‍👧 e\u0301 \u2028 日本,tokens=7"
SPOKEN_TEXT = "Grüße 😀👩‍👩‍👧 e\u0301 \u2028 日本"
STEP_BYTES = 89


def without_ids(body: bytes) -> bytes:
    return re.sub(rb"msg_\w+", b"msg_", body)


def test_u07_one_byte_at_a_time(rows: Rows, stream: bool) -> None:
    async def test(row: Row) -> None:
        whole = await row.ask(f"{SPOKEN}", stream=stream)
        sliced = await row.ask(f"{SPOKEN},slice=1", stream=stream)
        assert without_ids(sliced.body) == without_ids(whole.body)
        assert sliced.text == SPOKEN_TEXT
        row.ends(FINISHED, FINISHED)
        one, other = await row.attempts()
        assert [one["output_tokens"], one["usage_source"]] == [other["output_tokens"], other["usage_source"]]
        await row.upstream_is_kept()

    rows.play(test)


def test_u08_u09_cut_at_every_byte(rows: Rows) -> None:
    """Also inside code points. Every answer is cut at places far apart, and all of them together at each byte."""

    async def test(row: Row) -> None:
        whole = await row.ask(SPOKEN)
        row.ends(FINISHED)
        size_bytes = row.record.written_bytes
        for first in range(1, STEP_BYTES + 1):
            cuts = "+".join(str(offset) for offset in range(first, size_bytes, STEP_BYTES))
            told = await row.ask(f"{SPOKEN},split={cuts}")
            assert without_ids(told.body) == without_ids(whole.body)
            row.ends(FINISHED)
        usages = {(item["output_tokens"], item["usage_source"]) for item in await row.attempts()}
        assert len(usages) == 1

    rows.play(test)


# U11, U12: an end that was not told.


@pytest.mark.parametrize("fault", ["end_in", "cut_in", "reset_in"])
def test_u11_half_an_event_and_the_end(fault: str, rows: Rows) -> None:
    async def test(row: Row) -> None:
        told = await row.ask(f"tokens=3,{fault}={SECOND_TOKEN[row.wire]}")
        breaks_off(told, "upstream_truncated")
        assert tokens_in(told.text) == 1
        row.ends("upstream_truncated")
        assert (await row.attempts())[0]["output_tokens"] == 1
        await row.serves()

    rows.play(test)


def test_u11_half_a_unary_answer(rows: Rows) -> None:
    async def test(row: Row) -> None:
        place = 1 if row.is_tap else 3
        for fault, cause in (
            ("end_in", "upstream_malformed" if row.is_tap else "upstream_truncated"),
            ("cut_in", "upstream_truncated"),
            ("reset_in", "upstream_truncated"),
        ):
            is_refused(await row.ask(f"tokens=3,{fault}={place}", stream=False), 502, cause)
            row.ends(cause)
        await row.serves()

    rows.play(test)


@pytest.mark.parametrize("fault", ["end_after", "cut_after", "framing=close,cut_after", "reset_after"])
def test_u12_u15_an_end_after_each_event(fault: str, rows: Rows) -> None:
    """A clean end of the body, a FIN, one that cannot be told from an end of the body, a RST."""

    async def test(row: Row) -> None:
        for events in range(WHOLE_AT[row.wire]):
            told = await row.ask(f"tokens=3,{fault}={events}")
            if events == 0:
                is_refused(told, 502, "upstream_truncated")
            else:
                breaks_off(told, "upstream_truncated")
                assert tokens_in(told.text) == max(0, min(3, events - SECOND_TOKEN[row.wire] + 2))
            row.ends("upstream_truncated")
        await row.serves()
        assert len(row.mock.journal.requests) == WHOLE_AT[row.wire] + 1, "each was asked once"
        assert len(await row.attempts()) == WHOLE_AT[row.wire] + 1, "each was settled once"

    rows.play(test)


@pytest.mark.parametrize("wire", ["openai"])
@pytest.mark.parametrize("events", range(5))
def test_u12_u15_an_end_after_each_event_of_a_unary_answer(events: int, rows: Rows) -> None:
    async def test(row: Row) -> None:
        for fault in ("end_after", "cut_after", "reset_after"):
            is_refused(await row.ask(f"tokens=3,{fault}={events}", stream=False), 502, "upstream_truncated")
            row.ends("upstream_truncated")

    rows.play(test)


@pytest.mark.parametrize("wire", ["anthropic"])
def test_u12_no_message_stop(rows: Rows) -> None:
    async def test(row: Row) -> None:
        told = await row.ask("tokens=3,drop=message_stop")
        breaks_off(told, "upstream_truncated")
        assert told.kinds[-2] == "message_delta"
        row.ends("upstream_truncated")
        (attempt,) = await row.attempts()
        assert (attempt["output_tokens"], attempt["usage_source"]) == (3, "upstream")
        await row.upstream_is_kept()

    rows.play(test)


@pytest.mark.parametrize("wire", ["anthropic"])
def test_u13_no_message_delta(rows: Rows) -> None:
    """It has the stop reason, without which an SDK takes the message for unfinished: so it is an illegal stream."""

    async def test(row: Row) -> None:
        told = await row.ask("tokens=3,drop=message_delta")
        breaks_off(told, "illegal_stream")
        assert tokens_in(told.text) == 3
        row.ends("illegal_stream")
        (attempt,) = await row.attempts()
        assert (attempt["output_tokens"], attempt["usage_source"]) == (3, "estimated")
        await row.serves()

    rows.play(test)


# U14: framing.


@pytest.mark.parametrize("fault", ["chunk_longer", "chunk_shorter", "chunk_junk", "chunk_enormous"])
def test_u14_a_chunk_that_lies(fault: str, rows: Rows) -> None:
    async def test(row: Row) -> None:
        told = await row.ask(f"tokens=3,{fault}={SECOND_TOKEN[row.wire]}")
        breaks_off(told, "upstream_malformed")
        assert tokens_in(told.text) in {1, 2}
        row.ends("upstream_malformed")
        await row.upstream_is_let_go()
        await row.serves()

    rows.play(test)


@pytest.mark.parametrize("kind", ["junk", "negative", "twice", "beside_chunks"])
def test_u14_a_length_that_is_none(kind: str, rows: Rows, stream: bool) -> None:
    async def test(row: Row) -> None:
        chunked = ",framing=chunked" if kind == "beside_chunks" else ""
        told = await row.ask(f"tokens=3,content_length={kind}{chunked}", stream=stream)
        is_refused(told, 502, "upstream_malformed")
        row.ends("upstream_malformed")
        await row.upstream_is_let_go()
        await row.serves()

    rows.play(test)


def test_u14_a_length_that_is_too_short(rows: Rows, stream: bool) -> None:
    """On the OpenAI wire the five bytes are of `[DONE]`, without which the answer is whole."""

    async def test(row: Row) -> None:
        told = await row.ask("tokens=3,content_length=short", stream=stream)
        cause = FINISHED if not row.is_tap else "upstream_truncated" if stream else "upstream_malformed"
        assert told.cause == cause
        row.ends(cause)
        await row.upstream_is_let_go()
        await row.serves()

    rows.play(test)


def test_u14_a_length_that_is_too_long(rows: Rows) -> None:
    """The stream has told its end: what its framing still promises is not waited for."""

    async def test(row: Row) -> None:
        assert (await row.ask("tokens=3,content_length=long")).text == "0 1 2 "
        row.ends(FINISHED)
        await row.serves()
        first, second = row.mock.journal.requests
        assert first.connection != second.connection

    rows.play(test)


@pytest.mark.parametrize("wire", ["anthropic"])
def test_u14_a_length_that_is_too_long_for_a_unary_answer(rows: Rows) -> None:
    async def test(row: Row) -> None:
        is_refused(await row.ask("tokens=3,content_length=long", stream=False), 504, "upstream_timeout")
        row.ends("upstream_timeout")
        await row.upstream_is_let_go()

    rows.play(test, timeouts=TimeoutsConfig(total=SHORT_S))


@pytest.mark.parametrize("fault", ["bad_trailer", "no_last_chunk", "reset_after=last"])
def test_u14_u16_what_breaks_behind_the_last_event_has_lost_nothing(fault: str, rows: Rows, stream: bool) -> None:
    async def test(row: Row) -> None:
        told = await row.ask(f"tokens=3,framing=chunked,{fault}", stream=stream)
        if row.is_tap and not stream:  # the end of its body is told by the framing alone
            cause = "upstream_malformed" if fault == "bad_trailer" else "upstream_truncated"
            is_refused(told, 502, cause)
        else:
            cause = FINISHED
            assert told.text == "0 1 2 "
            (attempt,) = await row.attempts()
            assert (attempt["output_tokens"], attempt["usage_source"]) == (3, "upstream")
        row.ends(cause)
        await row.serves()

    rows.play(test)
