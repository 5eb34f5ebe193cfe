"""What a virtual key is made with: whose it is, what it may ask for, and how much.

Checked once, where a key is made, so that whoever reads a stored key may rely on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ezai.policy.pricing import usd_text

Period = Literal["day", "week", "month", "total"]
PERIODS: tuple[str, ...] = get_args(Period)

MAX_LABEL_CHARS = 100
MAX_MODELS = 100
MAX_BUDGET_NANOUSD = 10**18
"""A billion USD: sums of it fit 64 bits."""
MAX_LIMIT = 10**12


@dataclass(frozen=True, slots=True)
class KeyTerms:
    """The terms of one key; None is no limit, no globs is every model.

    Raises `ValueError`, one sentence that starts with the field, for terms that make no sense.
    """

    name: str = ""
    account: str = ""
    admin: bool = False
    models: tuple[str, ...] = ()
    budget_nanousd: int | None = None
    budget_period: Period | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent_requests: int | None = None
    expires_at_ms: int | None = None

    def __post_init__(self) -> None:
        for field in ("name", "account"):
            _check_label(field, getattr(self, field))
        _check_models(self.models)
        _check_count("budget", self.budget_nanousd, MAX_BUDGET_NANOUSD, f"{usd_text(MAX_BUDGET_NANOUSD)} USD")
        if self.budget_nanousd is None and self.budget_period is not None:
            raise ValueError("period: is of a budget; give one")
        if self.budget_nanousd is not None and self.budget_period not in PERIODS:
            raise ValueError(f"period: a budget needs one of {', '.join(PERIODS)}")
        for field in ("requests_per_minute", "tokens_per_minute", "concurrent_requests"):
            _check_count(field, getattr(self, field), MAX_LIMIT, str(MAX_LIMIT))


def _check_label(field: str, label: str) -> None:
    if len(label) > MAX_LABEL_CHARS:
        raise ValueError(f"{field}: is longer than {MAX_LABEL_CHARS} characters")
    if not label.isprintable() or label != label.strip():
        raise ValueError(f"{field}: has control characters in it, or blanks around it")


def _check_models(globs: tuple[str, ...]) -> None:
    if len(globs) > MAX_MODELS:
        raise ValueError(f"models: are more than {MAX_MODELS}")
    for glob in globs:
        if not glob or len(glob) > MAX_LABEL_CHARS or not glob.isprintable() or " " in glob or "," in glob:
            raise ValueError(f"models: {glob[:MAX_LABEL_CHARS]!r} is no glob over model names")


def _check_count(field: str, count: int | None, most: int, told: str) -> None:
    if count is not None and not 1 <= count <= most:
        raise ValueError(f"{field}: has to be above zero, and not above {told}")
