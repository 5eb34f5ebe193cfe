"""`python -m benchmarks [--only NAME ...] [--json FILE]`: measure, and print the table.

Exit status: 0 where everything that is promised holds, 1 where something does not or was measured over requests that
failed, 2 where it cannot be measured.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks.figures import FIGURES, Figure
from benchmarks.lab import Lab
from benchmarks.machine import Cores, described, raise_file_limit
from benchmarks.processes import Missing, nginx_version
from benchmarks.table import Row, Verdict, rendered


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    parsed = _parser().parse_args(arguments)
    chosen = [figure for figure in FIGURES if not parsed.only or figure.name in parsed.only]
    try:
        about = _about(chosen)
    except Missing as missing:
        print(missing, file=sys.stderr)
        return 2
    print("\n".join(about), file=sys.stderr)
    began_s = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="ezai-bench-") as folder:
        rows = _measured(chosen, Lab(Path(folder), Cores.found(), raise_file_limit()))
    print("\n".join(["", *about, f"measured in {time.perf_counter() - began_s:.0f} s", "", rendered(rows)]))
    if parsed.json is not None:
        told = {"about": about, "rows": [row.values() for row in rows]}
        parsed.json.write_bytes(msgspec.json.format(msgspec.json.encode(told)) + b"\n")
    return int(any(row.verdict in {Verdict.MISSED, Verdict.FAILED} for row in rows))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure, and print the table.")
    names = [figure.name for figure in FIGURES]
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help=f"one of: {', '.join(names)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number there")
    return parser


def _about(chosen: Sequence[Figure]) -> list[str]:
    """What is measured on, and beside what. Raises `Missing`."""
    about = [described(), f"Python {platform.python_version()}"]
    if any(figure.needs_nginx for figure in chosen):
        about.append(nginx_version())
    return about


def _measured(chosen: Sequence[Figure], lab: Lab) -> list[Row]:
    rows: list[Row] = []
    for figure in chosen:
        lab.say(f"{figure.name} ...")
        rows += figure.measure(lab)
    return rows


if __name__ == "__main__":
    sys.exit(main())
