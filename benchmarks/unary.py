"""CPU per small unary request, beside nginx: key check, limits and a durable record are all in it."""

from __future__ import annotations

from benchmarks.lab import Lab, Run, beside, gateway_config, interleaved
from benchmarks.load import Load
from benchmarks.processes import gateway, mock, nginx
from benchmarks.table import Row

CONCURRENCY = 32
REQUESTS = 3000
ANSWER_AFTER_S = 0.04
"""How long the mock takes for an answer where it takes its time: then nobody is at a limit, and nginx and the gateway
get the same number of requests a second."""


def per_request(lab: Lab) -> list[Row]:
    """The same load on nginx and on the gateway, in turns; as fast as they go, and with time to spare."""
    fast, slow = "mock-tokens=8", f"mock-tokens=8,headers_delay_s={ANSWER_AFTER_S}"
    loads = [
        Load(model=model, tokens=8, concurrency=CONCURRENCY, streams=REQUESTS, is_unary=True, is_paced=False)
        for model in (fast, slow)
    ]
    with (
        mock(lab.folder, lab.cores.load) as upstream,
        nginx(lab.folder, upstream.url, lab.cores.server) as peer,
        gateway(lab.folder / "unary", gateway_config(upstream, models=[fast, slow]), lab.cores.server) as ours,
    ):
        work = {
            "nginx": (peer, loads[0]),
            "gateway": (ours, loads[0]),
            "nginx at leisure": (peer, loads[1]),
            "gateway at leisure": (ours, loads[1]),
        }
        found = interleaved(lab, work)
    figure = "CPU per small unary request, against nginx"
    return [
        beside(found, "gateway", "nginx", us_per_request, "us", figure=figure, hold=10, reach=6),
        beside(found, "gateway at leisure", "nginx at leisure", us_per_request, "us", figure=f"{figure}, at leisure"),
    ]


def us_per_request(run: Run) -> float:
    """CPU time per answer that clients got."""
    return 1e6 * run.cpu_s / run.loaded.started
