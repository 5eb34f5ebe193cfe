"""Which origins an operator may list."""

from __future__ import annotations

import pytest

from ezai.policy.origins import origin_problem


@pytest.mark.parametrize(
    "origin",
    ["https://app.example.com", "http://localhost:3000", "http://127.0.0.1:8001", "http://[::1]:5173", "https://a"],
)
def test_origins_as_browsers_send_them(origin: str) -> None:
    assert origin_problem(origin) is None


@pytest.mark.parametrize(
    ("origin", "problem"),
    [
        ("*", "every web page"),
        ("null", "sandboxed frame"),
        ("https://*.example.com", "is no origin"),
        ("https://app.example.com/", "is no origin"),
        ("https://App.example.com", "is no origin"),
        ("app.example.com", "is no origin"),
        ("https://user@app.example.com", "is no origin"),
        ("https://app.example.com\nhttps://b", "is no origin"),
        ("file:///tmp/page.html", "is no origin"),
        ("", "is no origin"),
        ("https://app.example.com:443", "port that browsers leave out"),
        ("http://[::1]:80", "port that browsers leave out"),
    ],
)
def test_what_is_no_origin_is_told_with_its_fix(origin: str, problem: str) -> None:
    told = origin_problem(origin)
    assert told is not None
    assert problem in told[0]
    assert told[1].endswith(".")
