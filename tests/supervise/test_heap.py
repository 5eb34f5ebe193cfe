"""Giving memory back."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from ezai.supervise.heap import KEPT_BYTES, TRIM_EVERY_S, HeapTrim, heap_trim

BURST = """
import random
from benchmarks.machine import resident_kib
from ezai.supervise.heap import KEPT_BYTES, heap_trim
import os
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
    ran = subprocess.run([sys.executable, "-c", BURST], check=True, capture_output=True, text=True)
    before_kib, after_kib, kept_kib = map(int, ran.stdout.split())
    assert before_kib > 5 * kept_kib, "it was kept between the blocks that are in use"
    assert before_kib - after_kib > 5 * kept_kib


def test_it_is_given_back_every_few_seconds() -> None:
    asked: list[int] = []
    trim = HeapTrim(asked.append, now=100.0)
    trim.check(100.0 + TRIM_EVERY_S / 2)
    assert asked == []
    trim.check(100.0 + TRIM_EVERY_S)
    trim.check(100.0 + TRIM_EVERY_S * 1.5)
    assert asked == [KEPT_BYTES]
    trim.check(100.0 + TRIM_EVERY_S * 2)
    assert asked == [KEPT_BYTES] * 2


def test_without_such_a_library_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_library(_name: None) -> object:
        raise OSError("none")

    monkeypatch.setattr("ctypes.CDLL", no_library)
    assert heap_trim() is None
