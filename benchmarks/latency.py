"""Time to first token that the gateway adds, over asking the mock directly."""

from __future__ import annotations

import statistics
from collections.abc import Callable

from benchmarks.lab import RUNS, Lab, Run, failure_of, faults_of, gateway_config, interleaved
from benchmarks.load import GOLDEN, Load, paced_model
from benchmarks.processes import gateway, mock
from benchmarks.table import Row

REQUEST_RATE = 50.0
TOKENS = 30
STREAMS = 300
"""Of a run: six seconds of them."""


def added(lab: Lab) -> list[Row]:
    """The same arrivals at the mock itself and at the gateway before it, in turns."""
    model = paced_model(TOKENS, REQUEST_RATE * GOLDEN)  # a stream lasts a second, so that about 50 are open
    load = Load(model=model, tokens=TOKENS, rate=REQUEST_RATE, streams=STREAMS)
    with (
        mock(lab.folder, lab.cores.load) as upstream,
        gateway(lab.folder / "latency", gateway_config(upstream, models=[model]), lab.cores.server) as ours,
    ):
        found = interleaved(lab, {"direct": (upstream, load), "gateway": (ours, load)})

    def row(name: str, value: Callable[[Run], float], hold: float, reach: float) -> Row:
        each = {kind: [value(run) for run in runs] for kind, runs in found.items()}
        differences = [ours - direct for ours, direct in zip(each["gateway"], each["direct"], strict=True)]
        middle = {kind: statistics.median(values) for kind, values in each.items()}
        return Row(
            figure=f"added time to first token at {REQUEST_RATE:.0f} requests/s, {name}",
            measured=statistics.median(differences), unit=" ms", hold=hold, reach=reach, digits=2,
            is_disturbed=any(run.disturbance for runs in found.values() for run in runs),
            failure=failure_of(faults_of(found.values())),
            detail=f"{middle['gateway']:.2f} ms against {middle['direct']:.2f} ms, medians of {RUNS} runs of "
            f"{STREAMS} streams",
            runs=each,
        )  # fmt: skip

    return [
        row("p50", lambda run: 1000 * (run.loaded.first_token.p50_s or 0), 2, 1),
        row("p99", lambda run: 1000 * (run.loaded.first_token.p99_s or 0), 10, 5),
    ]
