"""`ezai check`: configuration, machine and upstreams, looked at before or while the gateway serves."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ezai.cli.arguments import add_config

if TYPE_CHECKING:
    from rich.console import Console

    from ezai.cli.findings import Finding


def add_check(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = commands.add_parser("check", help="look at the configuration, this machine and each upstream")
    add_config(command)
    command.set_defaults(run=_check)


def _check(parsed: argparse.Namespace) -> int:
    """Print a table; 1 where there is trouble."""
    import asyncio
    import os

    from ezai.cli.check_machine import look_around
    from ezai.cli.check_upstreams import ask_upstreams
    from ezai.cli.findings import State, ok, trouble
    from ezai.cli.tables import table_console
    from ezai.config import load
    from ezai.errors import ConfigurationError
    from ezai.observe.log import start_logging
    from ezai.supervise.loop import event_loop

    console = table_console()
    try:
        config = load(parsed.config)
    except ConfigurationError as error:
        _print(console, [trouble("configuration", f"{error.where}: {error.key}: {error.problem}", error.fix)])
        return 1
    start_logging("error", "text")
    where = parsed.config or os.environ.get("EZAI_CONFIG") or "no file, the defaults"
    told = f"{where}: {_counted(config.upstreams, 'upstream')}, {_counted(config.routes, 'route')}"
    findings = [ok("configuration", told), *look_around(config, os.environ)]
    with console.status("asking the upstreams"), asyncio.Runner(loop_factory=event_loop()) as runner:
        findings += runner.run(ask_upstreams(config))
    _print(console, findings)
    return int(any(finding.state is State.TROUBLE for finding in findings))


def _counted(things: Sequence[object], name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


def _print(console: Console, findings: Sequence[Finding]) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE)
    for name in ("", "what", "found", "what to do"):
        table.add_column(name, overflow="fold")
    for finding in findings:
        cells = (str(finding.state), finding.subject, finding.found, finding.advice)
        table.add_row(*(cell if cell.isprintable() else repr(cell) for cell in cells), style=_STYLES[finding.state])
    console.print(table)


_STYLES = {"ok": "", "note": "yellow", "trouble": "bold red"}
