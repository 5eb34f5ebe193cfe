"""The terms of a key, checked where it is made."""

from __future__ import annotations

from typing import Any

import pytest

from ezai.policy.key_terms import MAX_BUDGET_NANOUSD, MAX_LABEL_CHARS, KeyTerms


@pytest.mark.parametrize(
    "terms",
    [
        {},
        {"name": "CI of the \u00fcber team", "account": "acme"},
        {"models": ("claude-*", "org/model[12]", "*")},
        {"budget_nanousd": 1, "budget_period": "day"},
        {"budget_nanousd": MAX_BUDGET_NANOUSD, "budget_period": "total"},
        {"requests_per_minute": 1, "tokens_per_minute": 1, "concurrent_requests": 1},
    ],
)
def test_terms_that_make_sense(terms: dict[str, Any]) -> None:
    KeyTerms(**terms)


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        ({"name": "x" * (MAX_LABEL_CHARS + 1)}, "name: is longer"),
        ({"name": "a\nb"}, "name: has control characters"),
        ({"account": "\x1b[31m"}, "account: has control characters"),
        ({"account": " acme"}, "account: .* blanks around it"),
        ({"models": ("",)}, "models: '' is no glob"),
        ({"models": ("a,b",)}, "models: 'a,b' is no glob"),
        ({"models": ("a b",)}, "models: 'a b' is no glob"),
        ({"models": ("a",) * 101}, "models: are more than 100"),
        ({"budget_nanousd": 0, "budget_period": "day"}, "budget: has to be above zero"),
        ({"budget_nanousd": -1, "budget_period": "day"}, "budget: has to be above zero"),
        (
            {"budget_nanousd": MAX_BUDGET_NANOUSD + 1, "budget_period": "day"},
            "budget: has to be above zero, and not above 1000000000.00 USD",
        ),
        ({"budget_nanousd": 1}, "period: a budget needs one of day, week, month, total"),
        ({"budget_nanousd": 1, "budget_period": "year"}, "period: "),
        ({"budget_period": "day"}, "period: is of a budget"),
        ({"requests_per_minute": 0}, "requests_per_minute: "),
        ({"tokens_per_minute": -5}, "tokens_per_minute: "),
        ({"concurrent_requests": 10**13}, "concurrent_requests: "),
    ],
)
def test_terms_that_make_none(terms: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=f"^{said}"):
        KeyTerms(**terms)
