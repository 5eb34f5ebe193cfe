"""The record of use, as log lines."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from msgspec import structs

from ezai.errors import UpstreamTruncated
from ezai.observe.request_log import MOST_WAITING, RequestLog
from ezai.ports import Outcome
from ezai.protocol.end import Cause, End, UsageSource
from ezai.protocol.usage import Usage
from tests.pipeline.fakes import FakeClock

USAGE = Usage(input_tokens=5, cache_read_input_tokens=3, cache_creation_input_tokens=1, output_tokens=7)
FINISHED = Outcome(
    request_id="req_1",
    status=200,
    cause=Cause.FINISHED,
    duration_s=1.5,
    key_id="public",
    model="asked",
    streamed=True,
    route="as*",
    upstream="local",
    upstream_model="actual",
    upstream_request_id="theirs",
    attempts=2,
    first_token_after_s=0.0124,
    end=End(Cause.FINISHED, USAGE, UsageSource.UPSTREAM, stop_reason="end_turn"),
)


def told(caplog: pytest.LogCaptureFixture, *outcomes: Outcome) -> list[dict[str, Any]]:
    """The fields of each line that these give at the level info."""
    with caplog.at_level(logging.INFO, "ezai.requests"):
        clock = FakeClock()
        log = RequestLog(clock)
        for outcome in outcomes:
            log.ended(outcome)
        assert not caplog.records
        clock.advance(1)
    assert {record.getMessage() for record in caplog.records} == {"request ended"}
    return [record.__dict__["fields"] for record in caplog.records]


def test_lines_wait_for_a_tick_or_for_each_other(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "ezai.requests"):
        clock = FakeClock()
        log = RequestLog(clock)
        for _ in range(MOST_WAITING - 1):
            log.ended(FINISHED)
        assert not caplog.records
        log.ended(FINISHED)
        assert len(caplog.records) == MOST_WAITING
        log.ended(FINISHED)
        assert len(caplog.records) == MOST_WAITING
        clock.advance(1)
        assert len(caplog.records) == MOST_WAITING + 1


def test_the_line_of_a_request(caplog: pytest.LogCaptureFixture) -> None:
    assert told(caplog, FINISHED) == [
        {
            "request_id": "req_1",
            "status": 200,
            "cause": "finished",
            "key": "public",
            "model": "asked",
            "route": "as*",
            "upstream": "local",
            "upstream_model": "actual",
            "upstream_request_id": "theirs",
            "attempts": 2,
            "streamed": True,
            "stop_reason": "end_turn",
            "prompt_tokens": 9,
            "cache_read_tokens": 3,
            "cache_write_tokens": 1,
            "output_tokens": 7,
            "usage_source": "upstream",
            "first_token_ms": 12,
            "duration_ms": 1500,
        }
    ]


def test_the_cause_is_the_code_that_the_client_was_told(caplog: pytest.LogCaptureFixture) -> None:
    error = UpstreamTruncated("The upstream's stream ended.")
    ends = [
        End(error.error_code, USAGE, UsageSource.ESTIMATED, error=error),
        End(Cause.CLIENT_LEFT, Usage(), UsageSource.NONE),
    ]
    lines = told(
        caplog, *(structs.replace(FINISHED, cause=end.cause, end=end, first_token_after_s=None) for end in ends)
    )
    shown = [(line["cause"], line["usage_source"], line["stop_reason"], line["first_token_ms"]) for line in lines]
    assert shown == [("upstream_truncated", "estimated", None, None), ("client_left", "none", None, None)]
    assert error.message not in caplog.text


def test_a_request_that_was_refused_used_nothing(caplog: pytest.LogCaptureFixture) -> None:
    (line,) = told(caplog, Outcome(request_id="req_2", status=401, cause="authentication_failed", duration_s=0))
    assert (line["status"], line["cause"], line["attempts"]) == (401, "authentication_failed", 0)
    assert line["key"] is line["model"] is line["upstream"] is line["first_token_ms"] is None
    assert line["upstream_request_id"] is None
    assert not {"prompt_tokens", "cache_read_tokens", "output_tokens", "usage_source", "stop_reason"} & set(line)
