"""Idle memory, and from the start of the process to its first answer, without an embedded model."""

from __future__ import annotations

import statistics
import time

import httpx2

from benchmarks.lab import RUNS, Lab, gateway_config
from benchmarks.machine import resident_kib
from benchmarks.processes import Server, gateway
from benchmarks.table import Row

NOWHERE = Server("http://127.0.0.1:9", 0)


def starting(lab: Lab) -> list[Row]:
    """A gateway with a key and two upstreams that nobody asks; the price library is loaded, as one of them needs it."""
    seconds, mib = [], []
    for turn in range(RUNS):
        with gateway(lab.folder / f"start-{turn}", gateway_config(NOWHERE), cores=None) as ours:
            asked_s = time.perf_counter()
            httpx2.get(f"{ours.url}/readyz", timeout=10, trust_env=False).raise_for_status()
            seconds.append(ours.ready_s + time.perf_counter() - asked_s)
            mib.append(resident_kib(ours.pid) / 1024)
    return [
        Row(
            figure="idle memory, no model", measured=statistics.median(mib), unit=" MiB", hold=70, reach=50,
            detail="RSS once it is ready, before any request to a model", runs={"MiB": mib},
        ),
        Row(
            figure="start to ready, no model", measured=statistics.median(seconds), unit=" s", hold=1, reach=0.6,
            digits=2, detail=f"median of {RUNS} starts with an existing store", runs={"seconds": seconds},
        ),
    ]  # fmt: skip
