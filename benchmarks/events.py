"""CPU per event: beside nginx, translated beside tapped, with few and with many streams."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from benchmarks.lab import (
    ATTEMPTS,
    TRANSLATED,
    Journal,
    Lab,
    Run,
    beside,
    disturbance,
    failure_of,
    gateway_config,
    interleaved,
)
from benchmarks.load import GOLDEN, Load, paced_model, running_load
from benchmarks.machine import BusyMeter
from benchmarks.processes import Server, gateway, mock, nginx
from benchmarks.table import Row

STREAMS = 100
EVENTS = 100
RATE = 50.0
"""Events a second of each stream."""
TOGETHER_RATE = STREAMS * RATE
"""Streams a second that start: one after the other within the time between two events of a stream, evenly."""
TOKENS = EVENTS - 6
"""Beside the tokens a mock's answer has message_start, the block's start and stop, a ping, message_delta and _stop."""

CROWDS = (10, 100, 1000)
CROWD_RATE = 4000.0
"""Events a second of all streams together, however many there are."""
CROWD_RUNS = 5
CROWD_OPENING_S = 5 * GOLDEN
SETTLING_S = 0.5
WINDOW_S = 4.0
SPARE_S = 1.5


def per_event(lab: Lab) -> list[Row]:
    """nginx, the gateway tapping and the gateway translating, in turns, under the same load.

    The load of the figure is `together`: all streams open for nearly all of the time, their events spread over it. The
    two others show what that hides: events that come in bursts, and requests that come one at a time.
    """
    tapped, translated = paced_model(TOKENS, RATE), paced_model(TOKENS, RATE, TRANSLATED)
    together = Load(model=tapped, tokens=TOKENS, rate=TOGETHER_RATE, streams=STREAMS)
    in_step = Load(model=tapped, tokens=TOKENS, concurrency=STREAMS, streams=STREAMS, is_paced=True)
    one_by_one = Load(model=tapped, tokens=TOKENS, rate=RATE / GOLDEN, streams=STREAMS)
    other = Load(model=translated, tokens=TOKENS, rate=TOGETHER_RATE, streams=STREAMS)
    with (
        mock(lab.folder, lab.cores.load) as upstream,
        nginx(lab.folder, upstream.url, lab.cores.server) as peer,
        gateway(lab.folder / "events", gateway_config(upstream, models=[tapped, translated]), lab.cores.server) as ours,
    ):
        work = {
            "nginx": (peer, together),
            "tapped": (ours, together),
            "translated": (ours, other),
            "nginx in step": (peer, in_step),
            "tapped in step": (ours, in_step),
            "nginx one by one": (peer, one_by_one),
            "tapped one by one": (ours, one_by_one),
        }
        found = interleaved(lab, work)
    figure = "CPU per relayed event, against nginx"
    return [
        beside(found, "tapped", "nginx", us_per_event, "us", figure=figure, hold=2.2, reach=1.5),
        beside(found, "tapped in step", "nginx in step", us_per_event, "us", figure=f"{figure}, streams in step"),
        beside(
            found, "tapped one by one", "nginx one by one", us_per_event, "us",
            figure=f"{figure}, streams that arrive one by one",
        ),
        beside(
            found, "translated", "tapped", us_per_event, "us",
            figure="CPU per translated event, against a tapped one", hold=2.0, reach=1.5,
        ),
    ]  # fmt: skip


def us_per_event(run: Run) -> float:
    """CPU time per event that clients got, the requests' part in it."""
    return 1e6 * run.cpu_s / run.loaded.events


def flatness(lab: Lab) -> list[Row]:
    """The same number of events a second from few streams and from many, of nginx and of the gateway in turns."""
    with (
        mock(lab.folder, lab.cores.load) as upstream,
        nginx(lab.folder, upstream.url, lab.cores.server) as peer,
        gateway(lab.folder / "crowds", gateway_config(upstream), lab.cores.server) as ours,
    ):
        journal = Journal(upstream)
        found: dict[str, dict[int, list[Window]]] = {
            name: {crowd: [] for crowd in CROWDS} for name in ("ours", "nginx")
        }
        for turn in range(CROWD_RUNS):
            lab.say(f"  turn {turn + 1} of {CROWD_RUNS}")
            for crowd in CROWDS:
                found["nginx"][crowd].append(_undisturbed(lab, peer, journal, crowd))
                found["ours"][crowd].append(_undisturbed(lab, ours, journal, crowd))
    return crowd_rows(found)


def crowd_rows(found: Mapping[str, Mapping[int, Sequence[Window]]]) -> list[Row]:
    """What the windows of "ours" and of "nginx", by the number of streams, say of growth, and of the dearest crowd."""
    each = {name: {crowd: [window.us for window in runs] for crowd, runs in by.items()} for name, by in found.items()}
    cost = {name: {crowd: statistics.median(runs) for crowd, runs in by.items()} for name, by in each.items()}
    beside_nginx = {
        crowd: statistics.median(ours / theirs for ours, theirs in zip(runs, each["nginx"][crowd], strict=True))
        for crowd, runs in each["ours"].items()
    }
    windows = [window for by in found.values() for runs in by.values() for window in runs]
    is_disturbed = any(window.disturbance for window in windows)
    failure = failure_of(sum(window.faults for window in windows))
    runs = {f"{name}, {crowd}": runs for name, by in each.items() for crowd, runs in by.items()}
    growth = f"growth of CPU per event, {CROWDS[0]} to {CROWDS[-1]:,} streams"
    told = f"medians of {CROWD_RUNS} runs at {CROWD_RATE:,.0f} events/s in all"
    return [
        Row(
            figure=f"{growth}, beside nginx", measured=growth_percent(beside_nginx), unit=" %", hold=15, reach=5,
            is_disturbed=is_disturbed, failure=failure, runs=runs,
            detail=", ".join(f"{crowd:,} streams {times:.2f}x" for crowd, times in beside_nginx.items()) + f", {told}",
        ),
        Row(
            figure="CPU per event without requests, against nginx, dearest of these crowds",
            measured=max(beside_nginx.values()), unit="x", digits=2, hold=2.2, reach=1.5,
            is_disturbed=is_disturbed, failure=failure,
        ),
        Row(
            figure=f"{growth}, by itself", measured=growth_percent(cost["ours"]), unit=" %",
            is_disturbed=is_disturbed, failure=failure,
            detail=", ".join(f"{crowd:,} streams {us:.1f} us" for crowd, us in cost["ours"].items())
            + "; nginx " + ", ".join(f"{us:.1f}" for us in cost["nginx"].values())
            + f", so {growth_percent(cost['nginx']):.1f} %",
        ),
    ]  # fmt: skip


def growth_percent(costs: Mapping[int, float]) -> float:
    """How much dearer an event is at most with more streams than with fewer of them; 0 where it never is."""
    grown = (costs[many] / costs[few] for few, many in combinations(sorted(costs), 2))
    return 100 * (max(1.0, *grown) - 1)


class Window(NamedTuple):
    """Some seconds in which all streams are open: neither their start nor their end is in it."""

    us: float
    """CPU time of the server per event that the mock wrote."""
    disturbance: str
    faults: int


def _undisturbed(lab: Lab, server: Server, journal: Journal, streams: int) -> Window:
    window = _window(lab, server, journal, streams)
    for _ in range(ATTEMPTS - 1):
        if window.faults or not window.disturbance:
            break
        lab.say(f"    done again: {window.disturbance}")
        window = _window(lab, server, journal, streams)
    return window


def _window(lab: Lab, server: Server, journal: Journal, streams: int) -> Window:
    rate = CROWD_RATE / streams
    tokens = round(rate * (CROWD_OPENING_S + SETTLING_S + WINDOW_S + SPARE_S))
    load = Load(model=paced_model(tokens, rate), tokens=tokens, rate=streams / CROWD_OPENING_S, streams=streams)
    lab.wait_calm()
    journal.clear()
    with running_load(load, server.url, server.key, lab.cores) as running:
        while journal.progress()[0] < streams:
            time.sleep(0.2)
        time.sleep(SETTLING_S)
        meter, events, cpu_s = BusyMeter(), journal.progress()[1], server.cpu_s()
        time.sleep(WINDOW_S)
        more_events, used_s = journal.progress()[1] - events, server.cpu_s() - cpu_s
        busy = lab.busy(meter, used_s)
        faults = running.result().faults
    return Window(1e6 * used_s / more_events, disturbance(busy, is_paced=True), faults)
