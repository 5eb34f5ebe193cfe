"""What Linux tells of its processes and cores: pinning, CPU time, memory, how busy a core was."""

from __future__ import annotations

import os
import re
import resource
import time
from dataclasses import dataclass
from pathlib import Path

_CPUCLOCK_SCHED = 2
_IDLE_FIELDS = (3, 4)
"""Of a core's line in /proc/stat: idle, and waiting for a disk."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Which cores run what: the server that is measured has one to itself."""

    server: frozenset[int]
    load: frozenset[int]

    @classmethod
    def found(cls) -> Cores:
        """The last core for the server, every other one for the mock and the load."""
        *others, last = sorted(os.sched_getaffinity(0))
        return cls(frozenset({last}), frozenset(others or [last]))

    @property
    def are_apart(self) -> bool:
        """Whether server and load have cores of their own: not on a machine with one core."""
        return not self.server & self.load


def cpu_s(pid: int) -> float:
    """CPU time of a process so far, user and system, of all its threads, to the nanosecond.

    It is the clock that clock_getcpuclockid(3) names; /proc/PID/stat has the same in steps of 10 ms.
    """
    return time.clock_gettime(~pid << 3 | _CPUCLOCK_SCHED)


def resident_kib(pid: int) -> int:
    """Resident memory (RSS)."""
    found = re.search(r"^Rss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    assert found
    return int(found[1])


def child_pids(pid: int) -> list[int]:
    """The processes that a process has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def raise_file_limit() -> int:
    """As many open files as the system allows, for this process and those it starts; returns how many."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


class BusyMeter:
    """How busy cores were since it was made: everything that ran there, of whichever process."""

    def __init__(self) -> None:
        self._began_s = time.perf_counter()
        self._began = _busy_and_whole()

    def share(self, cores: frozenset[int]) -> float:
        """The busy part of the busiest of these cores, 0 to 1."""
        now = _busy_and_whole()
        shares = []
        for core in cores:
            busy, whole = (after - before for after, before in zip(now[core], self._began[core], strict=True))
            shares.append(busy / whole if whole else 0.0)
        return max(shares)

    def seconds(self) -> float:
        """Since it was made."""
        return time.perf_counter() - self._began_s


def _busy_and_whole() -> dict[int, tuple[int, int]]:
    """Of each core the ticks it worked, and all of them."""
    found = {}
    for line in Path("/proc/stat").read_text().splitlines():
        if (core := re.match(r"cpu(\d+) (.*)", line)) is not None:
            ticks = [int(text) for text in core[2].split()[:8]]
            whole = sum(ticks)
            found[int(core[1])] = (whole - sum(ticks[field] for field in _IDLE_FIELDS), whole)
    return found


def described() -> str:
    """The machine in one line."""
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    cores = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    return f"{cores} cores ({model[1] if model else 'of an unknown kind'}), load average {load:.2f} at the start"
