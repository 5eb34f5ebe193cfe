"""What every figure is measured with, and one run of a load on one server."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import msgspec

from benchmarks.load import Load, Loaded, running_load
from benchmarks.machine import BusyMeter, Cores
from benchmarks.processes import Server
from benchmarks.table import Row

RUNS = 5
BUSIEST_LOAD = 0.85
"""A load whose core was busier than this may have been late with its events: several then come in one read, and the
cost of each is less than it would be. Such a run is not counted."""
MOST_FOREIGN = 0.10
"""As little of the server's core may have gone to other processes: they throw out of the caches what is measured."""
ATTEMPTS = 4
CALM = 0.05
"""A core that is less busy than this has no other work."""
CALM_TIMEOUT_S = 60.0

TRANSLATED = "tool_name=translated"
"""In a model's name, it leads to the upstream that is translated. The mock makes nothing of it."""


@dataclass(slots=True)
class Lab:
    """Where figures are measured."""

    folder: Path
    """For everything that is written; gone afterwards."""
    cores: Cores
    file_limit: int
    say: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True)

    def run(self, server: Server, load: Load) -> Run:
        """Put a load on a server. A run that was disturbed is done again, a few times; then it is marked.

        One with faults is not: those are the server's.
        """
        run = self._run_once(server, load)
        for _ in range(ATTEMPTS - 1):
            if run.loaded.faults or not run.disturbance:
                break
            self.say(f"    done again: {run.disturbance}")
            run = self._run_once(server, load)
        return run

    def wait_calm(self) -> None:
        """Return once no core has anything to do for half a second, or after a while in any case."""
        until_s = time.perf_counter() + CALM_TIMEOUT_S
        while time.perf_counter() < until_s:
            meter = BusyMeter()
            time.sleep(0.5)
            if meter.share(self.cores.server | self.cores.load) < CALM:
                return

    def busy(self, meter: BusyMeter, used_s: float) -> Busy:
        """What went on beside a server that has used so much CPU time since `meter` was made."""
        foreign = meter.share(self.cores.server) - used_s / meter.seconds() if self.cores.are_apart else 0.0
        return Busy(meter.share(self.cores.load), max(0.0, foreign))

    def _run_once(self, server: Server, load: Load) -> Run:
        self.wait_calm()
        with running_load(load, server.url, server.key, self.cores) as running:
            meter, before_s = BusyMeter(), server.cpu_s()
            loaded = running.result()
            used_s = server.cpu_s() - before_s
            busy = self.busy(meter, used_s)
        return Run(used_s, loaded, busy, disturbance(busy, is_paced=load.is_paced))


class Busy(NamedTuple):
    """What went on beside the server that was measured."""

    load: float
    """The busy part of the load's core."""
    foreign: float
    """The part of the server's core that went to other processes and to interrupts."""


class Run(NamedTuple):
    """What a load cost the server."""

    cpu_s: float
    loaded: Loaded
    busy: Busy
    disturbance: str
    """Why the run should not count; empty where it should."""


def failure_of(faults: int) -> str:
    """What a row says that was measured over so many faults; empty over none."""
    return f"{faults} streams or words were not as they should be" if faults else ""


def faults_of(runs: Iterable[Sequence[Run]]) -> int:
    """All that went wrong with the requests of these runs."""
    return sum(run.loaded.faults for several in runs for run in several)


def disturbance(busy: Busy, *, is_paced: bool) -> str:
    """Why a run does not count; empty where it does.

    A load that is not paced may keep its core as busy as it likes: each of its requests waits for one before it.
    """
    if is_paced and busy.load > BUSIEST_LOAD:
        return f"the load's core was {busy.load:.0%} busy"
    if busy.foreign > MOST_FOREIGN:
        return f"other processes took {busy.foreign:.0%} of the server's core"
    return ""


def interleaved(lab: Lab, work: Mapping[str, tuple[Server, Load]], times: int = RUNS) -> dict[str, list[Run]]:
    """Each server's load in turn, so that whatever the machine does meets all of them; a first turn is not counted."""
    for server, load in work.values():
        lab.run(server, load)
    found: dict[str, list[Run]] = {name: [] for name in work}
    for turn in range(times):
        lab.say(f"  turn {turn + 1} of {times}")
        for name, (server, load) in work.items():
            found[name].append(lab.run(server, load))
    return found


def beside(
    found: Mapping[str, Sequence[Run]], name: str, peer: str, cost: Callable[[Run], float], unit: str, **row: Any
) -> Row:
    """The row of what a server costs against a peer: the median of the turns' ratios."""
    each = {kind: [cost(run) for run in found[kind]] for kind in (name, peer)}
    middle = {kind: statistics.median(costs) for kind, costs in each.items()}
    busiest = max(run.busy.load for kind in each for run in found[kind])
    return Row(
        measured=statistics.median(ours / theirs for ours, theirs in zip(each[name], each[peer], strict=True)),
        unit="x",
        digits=2,
        is_disturbed=any(run.disturbance for kind in each for run in found[kind]),
        failure=failure_of(faults_of(found[kind] for kind in each)),
        detail=f"{middle[name]:.1f} {unit} against {middle[peer]:.1f} {unit}, medians of {len(each[name])} runs; "
        f"the load's core was at most {busiest:.0%} busy",
        runs=each,
        **row,
    )


def gateway_config(plain: Server, *, models: Sequence[str] = (), tls: tuple[Server, Path] | None = None) -> str:
    """Two upstreams at the mock, one tapped and one translated; over TLS instead, where there is such a mock.

    Everything is on: keys, the record of use, prices for `models`, the log at info, metrics. Only the limits on
    streams and connections are higher than by default.
    """
    server, ca_file = tls or (plain, None)
    trust = f'ca_file = "{ca_file}"' if ca_file else ""
    prices = "".join(f'[prices."{model}"]\ninput = 3.0\noutput = 15.0\n' for model in models)
    return f"""
[server]
port = 0
[limits]
streams = 6000
connections = 6500
[log]
level = "info"
format = "json"
{prices}
[[upstreams]]
name = "tapped"
kind = "anthropic"
base_url = "{server.url}"
api_key = "sk-of-the-mock"
proxy = "none"
{trust}
[[upstreams]]
name = "translated"
kind = "openai"
base_url = "{server.url}/v1"
api_key = "sk-of-the-mock"
proxy = "none"
{trust}
[[routes]]
model = "*{TRANSLATED}"
targets = [{{ upstream = "translated" }}]
[[routes]]
model = "*"
targets = [{{ upstream = "tapped" }}]
"""


class Journal:
    """What the mock has written, and letting go on what it holds back."""

    def __init__(self, mock: Server, ca_file: Path | None = None) -> None:
        verify = str(ca_file) if ca_file else True
        self._client = httpx2.Client(base_url=mock.url, timeout=60, verify=verify, trust_env=False)

    def progress(self) -> tuple[int, int]:
        """Requests since `clear`, and events written since then."""
        told = msgspec.json.decode(self._client.get("/mock/journal").content, type=_Told)
        return len(told.requests), sum(request.events for request in told.requests)

    def clear(self) -> None:
        """Forget what was before."""
        self._client.delete("/mock/journal").raise_for_status()

    def release(self) -> None:
        """Let every answer go on that is held back."""
        self._client.post("/mock/release").raise_for_status()

    def wait_events(self, events: int, timeout_s: float = 60.0) -> None:
        """Return once so many were written since `clear`."""
        until_s = time.perf_counter() + timeout_s
        while time.perf_counter() < until_s:
            if self.progress()[1] >= events:
                return
            time.sleep(0.2)
        raise RuntimeError(f"the mock wrote {self.progress()} requests and events, and not {events} events")


class _Request(msgspec.Struct):
    events: int


class _Told(msgspec.Struct):
    requests: list[_Request]
