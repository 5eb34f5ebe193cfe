"""What an upstream's headers advise, junk included (row U26)."""

from __future__ import annotations

import math
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezai.policy.retry_advice import LONGEST_ADVICE_S, NO_ADVICE, RetryAdvice, read_advice

NOW = 1_800_000_000.5


def after_s(*values: bytes, name: bytes = b"retry-after") -> float | None:
    return read_advice([(name, value) for value in values], NOW).after_s


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"7", 7), (b"0", 0), (b"1.5", 1.5), (b" 7\t", 7), (b"007", 7), (b"60", 60), (b"3600", 60),
        (b"1000000000", 60), (b"9" * 63, 60),
    ],
)  # fmt: skip
def test_u26_seconds(value: bytes, expected: float) -> None:
    assert after_s(value) == expected


@pytest.mark.parametrize(
    "value",
    [b"", b"-1", b"+1", b"nan", b"NaN", b"inf", b"-inf", b"1e9", b"1_000", b"0x10", b"soon", b"7 s", b"7,8", b".5",
     b"\xb2", b"\xff\xfe", b"Fri, 99 Foo 2026"],
)  # fmt: skip
def test_u26_junk_is_no_advice(value: bytes) -> None:
    assert read_advice([(b"retry-after", value)], NOW) is NO_ADVICE
    assert after_s(value, name=b"retry-after-ms") is None


@pytest.mark.parametrize(
    ("offset_s", "expected"), [(30, 29.5), (1, 0.5), (0, 0), (-1, 0), (-1e9, 0), (61, 60), (1e9, 60)]
)
def test_u26_a_date(offset_s: float, expected: float) -> None:
    assert after_s(formatdate(int(NOW + offset_s), usegmt=True).encode()) == expected


def test_milliseconds_stand_above_seconds() -> None:
    fields = [(b"retry-after", b"9"), (b"retry-after-ms", b"250")]
    assert read_advice(fields, NOW).after_s == 0.25
    assert read_advice(fields[::-1], NOW).after_s == 0.25
    assert read_advice([(b"retry-after", b"9"), (b"retry-after-ms", b"x")], NOW).after_s == 9


def test_the_first_sensible_value_counts() -> None:
    assert after_s(b"soon", b"3", b"8") == 3


@pytest.mark.parametrize(
    ("value", "expected"), [(b"true", True), (b"false", False), (b" TRUE ", True), (b"1", None), (b"", None)]
)
def test_whether_to_retry(value: bytes, expected: bool | None) -> None:
    assert read_advice([(b"x-should-retry", value)], NOW).should_retry is expected


def test_both_together() -> None:
    fields = [(b"content-type", b"x"), (b"x-should-retry", b"false"), (b"retry-after", b"2")]
    assert read_advice(fields, NOW) == RetryAdvice(should_retry=False, after_s=2)


@given(st.lists(st.tuples(st.sampled_from([b"retry-after", b"retry-after-ms", b"x-should-retry"]), st.binary())))
def test_u26_nothing_leads_beyond_the_longest(fields: list[tuple[bytes, bytes]]) -> None:
    told = read_advice(fields, NOW).after_s
    assert told is None or (math.isfinite(told) and 0 <= told <= LONGEST_ADVICE_S)


@given(st.floats() | st.integers())
def test_u26_any_number_in_any_writing(number: float) -> None:
    for name in (b"retry-after", b"retry-after-ms"):
        told = after_s(repr(number).encode(), name=name)
        assert told is None or (number >= 0 and told <= min(number, LONGEST_ADVICE_S))
