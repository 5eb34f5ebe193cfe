"""How long the event loop is held up while large bodies come in."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec

from benchmarks.bodies import AT_A_TIME, SHAPES, WHOLE
from benchmarks.lab import TRANSLATED, Lab, gateway_config
from benchmarks.processes import Server, gateway, mock
from benchmarks.table import Row

SECONDS = 8.0
WARMING_S = 2.0
MODELS = {"tapped": "mock-tokens=2", "translated": f"mock-tokens=2,{TRANSLATED}"}


def lag(lab: Lab) -> list[Row]:
    """/healthz is asked all the time. An answer waits for whatever the loop does: the slowest one tells the longest."""
    rows = []
    with (
        mock(lab.folder, lab.cores.load) as upstream,
        gateway(lab.folder / "lag", gateway_config(upstream), lab.cores.server) as ours,
    ):
        quiet = _probed(lab, ours, None)
        for name, model in MODELS.items():
            worst, told = 0.0, [f"{max(quiet):.1f} ms without any"]
            failed: list[str] = []
            for shape in SHAPES:
                lab.say(f"  {name}, {shape}")
                _probed(lab, ours, (model, shape), WARMING_S)
                waits, ends = _probed_and_posted(lab, ours, (model, shape))
                worst = max(worst, *waits)
                told.append(f"{shape}: worst {max(waits):.1f}, p99 {_at(waits, 0.99):.1f} ms, {_told(ends)}")
                if set(ends) != {WHOLE}:
                    failed.append(f"{shape}: {_told(ends) or 'no body was answered'}")
            rows.append(
                Row(
                    figure=f"event-loop lag, bodies up to 4 MiB, {AT_A_TIME} at a time, {name}",
                    measured=worst, unit=" ms", hold=50, reach=20, detail="; ".join(told), failure="; ".join(failed),
                )
            )  # fmt: skip
    return rows


def _probed(lab: Lab, ours: Server, posting: tuple[str, str] | None, seconds: float = SECONDS) -> list[float]:
    """Milliseconds that each answer of /healthz took."""
    return _probed_and_posted(lab, ours, posting, seconds)[0]


def _probed_and_posted(
    lab: Lab, ours: Server, posting: tuple[str, str] | None, seconds: float = SECONDS
) -> tuple[list[float], dict[str, int]]:
    """The same, and what became of how many of the bodies that were posted meanwhile."""
    address = urlsplit(ours.url)
    probe = _started(lab, "benchmarks.probe", str(address.hostname), str(address.port), str(seconds))
    poster = _started(lab, "benchmarks.bodies", ours.url, ours.key, *posting, str(seconds)) if posting else None
    ends: dict[str, int] = {}
    if poster is not None:
        ends = msgspec.json.decode(poster.communicate()[0], type=dict[str, int])
    waits = msgspec.json.decode(probe.communicate()[0], type=list[float])
    return waits, ends


def _told(ends: Mapping[str, int]) -> str:
    return ", ".join(f"{count} answered {end}" for end, count in ends.items())


def _started(lab: Lab, module: str, *arguments: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE)
    os.sched_setaffinity(process.pid, lab.cores.load)
    return process


def _at(values: list[float], part: float) -> float:
    return sorted(values)[max(0, math.ceil(part * len(values)) - 1)]
