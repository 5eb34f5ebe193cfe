"""Dates of HTTP, against the standard library's."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import formatdate

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ezai.policy.http_date import read_http_date

moments = st.integers(0, 4_102_444_799)  # 1970 to 2099
EXAMPLE = 784_111_777
"""Of RFC 9110, in each of its three forms."""


@pytest.mark.parametrize(
    "text", ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
)
def test_the_three_forms(text: str) -> None:
    assert read_http_date(text) == EXAMPLE
    assert read_http_date(text.upper()) == EXAMPLE


@given(moments)
def test_every_moment_is_read_back(moment: int) -> None:
    assert read_http_date(formatdate(moment, usegmt=True)) == moment
    when = datetime.fromtimestamp(moment, UTC)
    assert read_http_date(f"{when:%a %b} {when.day:2d} {when:%H:%M:%S %Y}") == moment


@example(946_684_800)  # 2000, whose two digits are 00
@given(st.integers(0, 3_124_223_999))  # to 2068, where the two digits turn
def test_every_moment_of_the_old_form_is_read_back(moment: int) -> None:
    assert read_http_date(f"{datetime.fromtimestamp(moment, UTC):%A, %d-%b-%y %H:%M:%S GMT}") == moment


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Wed, 31 Dec 1969 23:59:59 GMT", -1),
        ("Thu, 29 Feb 2024 12:00:00 GMT", 1_709_208_000),
        ("Mon, 29 Feb 1904 00:00:00 GMT", -2_077_747_200),
        ("Sat, 31 Dec 2016 23:59:60 GMT", 1_483_228_800),  # a leap second
    ],
)
def test_the_edges(text: str, moment: int) -> None:
    assert read_http_date(text) == moment


@pytest.mark.parametrize(
    "text",
    [
        "", "tomorrow", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 CET", "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT", "Sun, 32 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 0000 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT ", "Sun, 06 Foo 1994 08:49:37 GMT",
        "Sun, ٠٦ Nov 1994 08:49:37 GMT", "2026-11-22",
    ],
)  # fmt: skip
def test_what_is_no_date(text: str) -> None:
    assert read_http_date(text) is None


@given(st.text())
def test_any_text_has_an_answer(text: str) -> None:
    assert read_http_date(text) is None or "GMT" in text.upper() or ":" in text
