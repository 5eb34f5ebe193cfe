"""How reports of usage merge."""

from __future__ import annotations

import pytest
from hypothesis import given

from ezai.protocol.usage import MAX_COUNT, OutputDetails, Usage, UsageReport
from tests.properties.strategies import usages

START = Usage(input_tokens=10, cache_read_input_tokens=40, output_tokens=1)


def test_reports_are_totals_that_overwrite() -> None:
    assert START.updated(UsageReport(output_tokens=5)).updated(UsageReport(output_tokens=9)).output_tokens == 9


def test_what_a_report_leaves_out_keeps_its_value() -> None:
    after = START.updated(UsageReport(output_tokens=9))
    assert (after.input_tokens, after.cache_read_input_tokens) == (10, 40)


def test_a_zero_is_a_value() -> None:
    assert START.updated(UsageReport(cache_read_input_tokens=0)).cache_read_input_tokens == 0


def test_a_negative_count_is_none() -> None:
    assert START.updated(UsageReport(input_tokens=-5)) == START


@pytest.mark.parametrize("count", [MAX_COUNT + 1, 10**18, 10**30])
def test_a_count_that_no_answer_can_have_is_none(count: int) -> None:
    assert START.updated(UsageReport(output_tokens=count)) == START
    assert START.updated(UsageReport(output_tokens=MAX_COUNT)).output_tokens == MAX_COUNT


def test_thinking_is_part_of_the_output() -> None:
    after = START.updated(UsageReport(output_tokens=9, output_tokens_details=OutputDetails(4)))
    assert (after.output_tokens, after.thinking_tokens) == (9, 4)


@given(usages())
def test_no_report_changes_nothing(usage: Usage) -> None:
    assert usage.updated(None) is usage
    assert usage.updated(UsageReport()) == usage


@given(usages())
def test_the_prompt_is_the_sum_of_its_parts(usage: Usage) -> None:
    parts = usage.input_tokens + usage.cache_read_input_tokens + usage.cache_creation_input_tokens
    assert usage.prompt_tokens == parts
