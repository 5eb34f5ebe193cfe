"""Memory per open quiet stream, and how many streams are held."""

from __future__ import annotations

import re
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import httpx2
import trustme

from benchmarks.lab import Journal, Lab, failure_of, gateway_config
from benchmarks.load import Load, RunningLoad, paced_model, running_load
from benchmarks.machine import resident_kib
from benchmarks.processes import Server, gateway, mock
from benchmarks.table import Row

QUIET_AFTER = 5
"""Events that a quiet stream has had: message_start, the block's start, a ping and two words."""
QUIET_MODEL = f"mock-tokens=20,stall_after={QUIET_AFTER}"
STEP = 1000
"""Streams are opened in two steps of so many."""
OPENED_A_SECOND = 250.0
CALM_S = 2.0

HELD = (2000, 5000)
HELD_OPENING_S = 12.5
HELD_LASTING_S = 25
FILES_A_STREAM = 2


def memory(lab: Lab) -> list[Row]:
    """With an upstream in plaintext and one over TLS."""
    with mock(lab.folder, lab.cores.load) as upstream:
        config = gateway_config(upstream, models=[QUIET_MODEL])
        rows = _quiet(lab, config, Journal(upstream), "plaintext", (48, 32))
    ca_file, certificate = _certificates(lab.folder)
    with mock(lab.folder, lab.cores.load, certificate=certificate) as upstream:
        config = gateway_config(upstream, models=[QUIET_MODEL], tls=(upstream, ca_file))
        return rows + _quiet(lab, config, Journal(upstream, ca_file), "TLS", (110, 90))


def _quiet(lab: Lab, config: str, journal: Journal, kind: str, limits: tuple[float, float]) -> list[Row]:
    rows = []
    warming = Load(model="mock-tokens=20", tokens=20, concurrency=10, streams=50)
    load = Load(model=QUIET_MODEL, tokens=20, rate=OPENED_A_SECOND, streams=STEP)
    with gateway(lab.folder / f"quiet-{kind}", config, lab.cores.server) as ours, ExitStack() as running:
        with running_load(warming, ours.url, ours.key, lab.cores) as warm:
            warm.result()
        time.sleep(CALM_S)
        journal.clear()
        before_kib = resident_kib(ours.pid)
        loads: list[RunningLoad] = []
        for step in (1, 2):
            lab.say(f"  {kind}: {step * STEP:,} streams")
            loads.append(running.enter_context(running_load(load, ours.url, ours.key, lab.cores)))
            journal.wait_events(step * STEP * QUIET_AFTER)
            time.sleep(CALM_S)
            now_kib = resident_kib(ours.pid)
            rows.append(
                Row(
                    figure=f"memory per quiet stream, {kind} upstream, {step * STEP:,} streams",
                    measured=(now_kib - before_kib) / (step * STEP), unit=" KiB", hold=limits[0], reach=limits[1],
                    detail=f"{before_kib / 1024:.1f} MiB before, {now_kib / 1024:.1f} MiB with them (RSS)",
                )
            )  # fmt: skip
        journal.release()
        faults = sum(load.result().faults for load in loads)
    return [replace(row, failure=failure_of(faults)) for row in rows]


def _certificates(folder: Path) -> tuple[Path, tuple[Path, Path]]:
    """An authority, and a certificate with its key for the loopback address: made now, and gone with the folder."""
    authority = trustme.CA()
    leaf = authority.issue_cert("127.0.0.1")
    ca_file, certificate, key = folder / "ca.pem", folder / "certificate.pem", folder / "key.pem"
    authority.cert_pem.write_to_path(ca_file)
    leaf.private_key_pem.write_to_path(key)
    certificate.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    return ca_file, (certificate, key)


def held(lab: Lab) -> list[Row]:
    """So many at a time, each given a word a second: how many come through with every word."""
    most, told = 0, []
    for streams in HELD:
        if lab.file_limit < FILES_A_STREAM * streams + 200:
            told.append(f"{streams:,} not tried: the system allows {lab.file_limit:,} open files")
            continue
        lab.say(f"  {streams:,} streams")
        peak, faults = _hold(lab, streams)
        told.append(f"{streams:,}: {peak:,} open at a time, {faults} streams or words not as they should be")
        if faults or peak < streams:
            break
        most = streams
    return [
        Row(
            figure="streams held by one process, none losing an event",
            measured=most, unit="", hold=HELD[0], reach=HELD[-1], more_is_better=True, digits=0,
            detail="; ".join(told),
        )
    ]  # fmt: skip


def _hold(lab: Lab, streams: int) -> tuple[int, int]:
    """How many were open at a time as the gateway counts them, and what was not as it should be."""
    model = paced_model(HELD_LASTING_S, 1.0)
    load = Load(model=model, tokens=HELD_LASTING_S, rate=streams / HELD_OPENING_S, streams=streams)
    with mock(lab.folder, lab.cores.load) as upstream:
        config = gateway_config(upstream, models=[model])
        with (
            gateway(lab.folder / f"held-{streams}", config, lab.cores.server) as ours,
            running_load(load, ours.url, ours.key, lab.cores) as running,
        ):
            time.sleep(HELD_OPENING_S)
            peak, until_s = 0, time.perf_counter() + HELD_LASTING_S
            while peak < streams and time.perf_counter() < until_s:
                peak = max(peak, open_requests(ours))
                time.sleep(0.5)
            return peak, running.result().faults


def open_requests(server: Server) -> int:
    """As /metrics tells it."""
    told = httpx2.get(f"{server.url}/metrics", headers={"x-api-key": server.key}, timeout=30, trust_env=False).text
    found = re.search(r"^ezai_open_requests (\S+)$", told, re.MULTILINE)
    assert found, told
    return int(float(found[1]))
