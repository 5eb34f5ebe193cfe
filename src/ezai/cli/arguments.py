"""Kinds of arguments that several commands take."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_MAX_S = 100 * 366 * 86_400


def add_config(command: argparse.ArgumentParser) -> None:
    command.add_argument("--config", type=Path, metavar="FILE", help="configuration, in TOML (EZAI_CONFIG)")


def duration_s(text: str) -> int:
    """A duration such as 90s, 12h, 30d or 2w, in seconds."""
    match = re.fullmatch(r"(\d{1,10})([smhdw])", text)
    seconds = int(match[1]) * _SECONDS[match[2]] if match else 0
    if not 0 < seconds <= _MAX_S:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration, such as 12h, 30d or 2w")
    return seconds


def usd(text: str) -> int:
    """An amount in USD, in nano-USD."""
    from ezai.policy.pricing import read_usd

    try:
        return read_usd(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def globs(text: str) -> tuple[str, ...]:
    """Globs over model names, separated by commas."""
    return tuple(part.strip() for part in text.split(","))
