"""`ezai usage`: what was used and what it cost, from the record of use."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ezai.cli.arguments import add_config, duration_s

if TYPE_CHECKING:
    from ezai.store.usage_report import UsageRow

_GROUPINGS = ("key", "account", "model", "upstream", "day")
_NOBODY = {"key": "(no key)", "account": "(none)"}


def add_usage(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = commands.add_parser("usage", help="what was used, and what it cost")
    command.add_argument("--by", choices=_GROUPINGS, default="key", help="what is added up (key); a day is one of UTC")
    command.add_argument("--since", type=duration_s, metavar="7d", help="how far back (everything)")
    form = command.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--csv", action="store_true", help="print CSV")
    add_config(command)
    command.set_defaults(run=_usage)


def _usage(parsed: argparse.Namespace) -> int:
    from ezai.config import load
    from ezai.errors import SetupError
    from ezai.store.database import prepare, sqlite_path
    from ezai.store.engine import reading
    from ezai.store.journal import recover
    from ezai.store.usage_report import add_up, count_requests, total

    settings = load(parsed.config)
    path = sqlite_path(settings.store.url, settings.data_dir)
    prepare(path)
    try:
        recover(path)
    except SetupError as error:
        print(f"Not counted yet: {error}", file=sys.stderr)
    since_ms = None if parsed.since is None else time.time_ns() // 1_000_000 - parsed.since * 1000
    with reading(path) as connection:
        rows = add_up(connection, parsed.by, since_ms)
        whole = total(rows, count_requests(connection, since_ms))
    if parsed.json:
        _print_json(parsed.by, since_ms, rows, whole)
    elif parsed.csv:
        _print_csv(parsed.by, rows)
    else:
        _print_table(parsed.by, rows, whole)
    return 0


def _print_json(by: str, since_ms: int | None, rows: Sequence[UsageRow], whole: UsageRow) -> None:
    import msgspec

    value = {
        "by": by,
        "since_ms": since_ms,
        "rows": [_fields(by, row) for row in rows],
        "total": _fields(by, whole),
    }
    print(msgspec.json.format(msgspec.json.encode(value)).decode())


def _print_csv(by: str, rows: Sequence[UsageRow]) -> None:
    import csv
    from dataclasses import fields

    from ezai.store.usage_report import UsageRow

    names = [by, *(field.name for field in fields(UsageRow) if field.name != "group"), "cost_usd"]
    writer = csv.DictWriter(sys.stdout, names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        values = _fields(by, row)
        writer.writerow(values | {name: _inert(values[name]) for name in (by, "name")})


def _inert(text: str | None) -> str:
    """A name that clients chose, such that no spreadsheet takes it for a formula."""
    return f"'{text}" if text and text[0] in "=+-@\t\r" else text or ""


def _fields(by: str, row: UsageRow) -> dict[str, Any]:
    """A row as programs take it: what it is grouped by under its own name, the cost exact and as a decimal.

    `cost_usd` is null where no price is known of anything that was used; `unpriced` attempts are not in it.
    """
    values = asdict(row)
    group = values.pop("group")
    return {by: group, **values, "cost_usd": _cost(row)}


def _cost(row: UsageRow) -> str | None:
    from ezai.policy.pricing import usd_text

    return None if row.unpriced and row.unpriced == row.used else usd_text(row.cost_nanousd)


def _print_table(by: str, rows: Sequence[UsageRow], whole: UsageRow) -> None:
    from rich.table import Table

    from ezai.cli.tables import table_console

    console = table_console()
    if not rows:
        console.print("Nothing was used.")
        return
    table = Table(show_footer=len(rows) > 1)
    table.add_column("day (UTC)" if by == "day" else by, overflow="fold")
    for name in ("requests", "input", "cache read", "cache write", "output"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("USD", justify="right")
    for row in rows:
        label = f"{row.group or _NOBODY.get(by, '')} {row.name}".strip()
        table.add_row(label if label.isprintable() else repr(label), *_cells(row))  # clients choose names of models
    for column, cell in zip(table.columns, ("all", *_cells(whole)), strict=True):
        column.footer = cell
    console.print(table)
    for count, said in ((whole.unpriced, "of no known price: not in the cost"), (whole.open, "not ended yet")):
        if count:
            console.print(f"{count} of {whole.attempts} attempts {'is' if count == 1 else 'are'} {said}.")


def _cells(row: UsageRow) -> tuple[str, ...]:
    counts = (
        row.requests,
        row.input_tokens,
        row.cache_read_input_tokens,
        row.cache_creation_input_tokens,
        row.output_tokens,
    )
    cost = _cost(row)
    if cost is None:
        cost = "no price"
    elif row.unpriced:
        cost = f"{cost} + no price"
    return (*(f"{count:,}" for count in counts), cost)
