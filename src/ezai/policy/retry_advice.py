"""What an upstream's answer advises about asking it again, with the junk tamed.

`x-should-retry`, `retry-after-ms` and `retry-after` are what the official SDKs obey, in this order of strength. An
upstream may send anything in them, so nothing of it is waited for, or kept, as it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ezai.policy.http_date import read_http_date

LONGEST_ADVICE_S = 60.0
"""More is taken for this much: the longest wait that the SDKs obey, too. What is out for longer is asked again then,
which costs one request a minute."""

_DECIMAL = re.compile(r"[0-9]+(?:\.[0-9]*)?", re.ASCII)
_LONGEST_VALUE_CHARS = 64


@dataclass(frozen=True, slots=True)
class RetryAdvice:
    """Whether to ask again, and after how long at the earliest; None where nothing is said, or nothing sensible.

    `after_s` is from 0 to `LONGEST_ADVICE_S`.
    """

    should_retry: bool | None = None
    after_s: float | None = None


NO_ADVICE = RetryAdvice()


def read_advice(headers: Sequence[tuple[bytes, bytes]], epoch_s: float) -> RetryAdvice:
    """The advice of an answer's header fields, whose names are lower case; `epoch_s` is now, for a date.

    A negative number, NaN and what is no number are no advice; a date in the past is no wait.
    """
    should_retry: bool | None = None
    after_s: float | None = None
    after_ms: float | None = None
    for name, value in headers:
        if name == b"x-should-retry":
            should_retry = _TRUTH.get(value.strip().lower(), should_retry)
        elif name == b"retry-after":
            after_s = _first(after_s, _seconds(value, epoch_s))
        elif name == b"retry-after-ms":
            after_ms = _first(after_ms, _number(_text(value)))
    if after_ms is not None:
        after_s = after_ms / 1000
    if should_retry is None and after_s is None:
        return NO_ADVICE
    return RetryAdvice(should_retry, None if after_s is None else min(after_s, LONGEST_ADVICE_S))


_TRUTH: dict[bytes, bool | None] = {b"true": True, b"false": False}


def _first(known: float | None, read: float | None) -> float | None:
    return read if known is None else known


def _seconds(value: bytes, epoch_s: float) -> float | None:
    text = _text(value)
    number = _number(text)
    if number is not None:
        return number
    date = read_http_date(text)
    return None if date is None else max(0.0, date - epoch_s)


def _number(text: str) -> float | None:
    """A plain decimal, which is what servers write; `float` alone would take `1e9`, `nan` and `1_000` too."""
    return float(text) if _DECIMAL.fullmatch(text) else None


def _text(value: bytes) -> str:
    return value[:_LONGEST_VALUE_CHARS].decode("latin-1").strip(" \t")
