"""One load, put on a server by `ezai bench` in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec

from benchmarks.machine import Cores

GOLDEN = (5**0.5 - 1) / 2
"""Between two arrivals lies this part of the time between two events of a stream (or a multiple of it), so that the
streams' events are spread over time. Were it a whole fraction, many would fall on the same moment and be read at once.
"""


class Spread(msgspec.Struct):
    """As `ezai bench --json` tells durations."""

    count: int = 0
    p50_s: float | None = None
    p99_s: float | None = None
    max_s: float | None = None


class Loaded(msgspec.Struct):
    """What the load saw; the part of `ezai bench --json` that is read here."""

    seconds: float
    started: int
    ended: dict[str, int]
    events: int
    tokens: int
    lost: int
    cut_off: int
    doubled: int
    reordered: int
    foreign: int
    first_token: Spread
    whole: Spread
    late: Spread
    cpu_s: float

    @property
    def faults(self) -> int:
        """Words lost, doubled, out of order or another stream's, and streams that did not end whole."""
        words = self.lost + self.cut_off + self.doubled + self.reordered + self.foreign
        return words + self.started - self.ended.get("whole", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What `ezai bench` is told; see docs/mock.md."""

    model: str
    tokens: int = 0
    rate: float = 0.0
    concurrency: int = 0
    streams: int = 0
    duration_s: float = 3600.0
    is_unary: bool = False
    is_paced: bool = True
    """Whether time gives the pace of it, so that it may be late; else each request waits for one before it."""

    def arguments(self, url: str, key: str) -> list[str]:
        """The command line behind `ezai bench`."""
        how_often = ["--rate", repr(self.rate)] if self.rate else ["--concurrency", str(self.concurrency)]
        return [
            url, "--json", "--key", key, "--model", self.model, *how_often,
            "--tokens", str(self.tokens or 4096),
            "--streams", str(self.streams),
            "--duration", repr(self.duration_s),
            *(["--unary"] if self.is_unary else []),
        ]  # fmt: skip


class RunningLoad:
    """A load that runs."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def result(self) -> Loaded:
        """Wait for its end. Its exit status is not looked at: the result says what was lost."""
        told, _ = self._process.communicate()
        if not told:
            raise RuntimeError("the load failed; what it wrote stands above")
        return msgspec.json.decode(told, type=Loaded)


@contextmanager
def running_load(load: Load, url: str, key: str, cores: Cores) -> Iterator[RunningLoad]:
    """A load that was just started, on the load's cores. It is ended with the block, if it has not ended by then."""
    command = [sys.executable, "-m", "ezai", "bench", *load.arguments(url, key)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    os.sched_setaffinity(process.pid, cores.load)
    try:
        yield RunningLoad(process)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def paced_model(tokens: int, rate: float, *extra: str) -> str:
    """The model name that makes a mock give so many tokens at so many a second."""
    return ",".join([f"mock-tokens={tokens}", f"rate={rate:.9g}", *extra])
