"""Giving memory back."""

from __future__ import annotations

import platform
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest

from ezai.supervise.heap import KEPT_BYTES, TRIM_EVERY_S, HeapTrim, heap_trim

ROOT = Path(__file__).parents[2]
BURST = """
import os, random
from benchmarks.machine import resident_kib
from ezai.supervise.heap import KEPT_BYTES, heap_trim
trim, sizes = heap_trim(), random.Random(1)
blocks = [bytes([1]) * sizes.randint(2_000, 60_000) for _ in range(3_000)]
kept = blocks[::10]
del blocks
before = resident_kib(os.getpid())
trim(KEPT_BYTES)
print(before, resident_kib(os.getpid()), sum(map(len, kept)) // 1024)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has malloc_trim")
def test_what_a_burst_left_free_goes_back_to_the_system() -> None:
    ran = subprocess.run([sys.executable, "-c", BURST], check=True, capture_output=True, text=True, cwd=ROOT)
    before_kib, after_kib, kept_kib = map(int, ran.stdout.split())
    assert before_kib > 5 * kept_kib, "it was kept between the blocks that are in use"
    assert before_kib - after_kib > 5 * kept_kib


@pytest.mark.parametrize(("took_s", "every_s"), [(0.0, TRIM_EVERY_S), (0.05, 10.0)], ids=["quick", "slow"])
def test_it_is_given_back_every_few_seconds_but_for_half_a_percent_of_the_time(took_s: float, every_s: float) -> None:
    asked: list[int] = []
    times = count(0.0, took_s)
    trim = HeapTrim(asked.append, now=100.0, timer=lambda: next(times))
    trim.check(100.0 + TRIM_EVERY_S / 2)
    assert asked == []
    now = 100.0 + TRIM_EVERY_S
    trim.check(now)
    trim.check(now + every_s * 0.9)
    assert asked == [KEPT_BYTES]
    trim.check(now + every_s)
    assert asked == [KEPT_BYTES] * 2


def test_without_such_a_library_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_library(_name: None) -> object:
        raise OSError("none")

    monkeypatch.setattr("ctypes.CDLL", no_library)
    assert heap_trim() is None
