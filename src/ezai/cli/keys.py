"""`ezai keys create | list | show | revoke`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ezai.cli.arguments import add_config, duration_s, globs, usd

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from ezai.policy.key_terms import KeyTerms
    from ezai.store.key_records import KeyRecord

NOT_ENFORCED = "not enforced yet"
"""What limits the use of a key is kept with it, and looked at by nothing."""
_OPTIONS = {"requests_per_minute": "rpm", "tokens_per_minute": "tpm", "concurrent_requests": "concurrency"}
"""The options of terms that are called otherwise here."""


def add_keys(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its actions."""
    command = commands.add_parser("keys", help="the keys of those who may use the gateway")
    actions = command.add_subparsers(required=True, metavar="ACTION")
    _add_create(actions)
    listing = actions.add_parser("list", help="which there are")
    listing.set_defaults(run=_list)
    showing = actions.add_parser("show", help="one key, without its secret")
    showing.set_defaults(run=_show)
    revoking = actions.add_parser("revoke", help="accept a key no more, from now on")
    revoking.set_defaults(run=_revoke)
    for action in (showing, revoking):
        action.add_argument("id", metavar="ID", help="the eight characters after sk-ezai-")
    for action in (listing, showing):
        action.add_argument("--json", action="store_true", help="print JSON")
    for action in (listing, showing, revoking):
        add_config(action)


def _add_create(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from ezai.policy.key_terms import PERIODS

    action = actions.add_parser("create", help="make one; it is shown once")
    action.add_argument("--name", default="", help="what it is called in lists")
    action.add_argument("--account", default="", help="whose use it is counted as")
    action.add_argument("--admin", action="store_true", help="may administrate the gateway")
    action.add_argument("--models", type=globs, default=(), metavar="GLOB,...", help="models it may ask for (all)")
    action.add_argument("--expires", type=duration_s, metavar="30d", help="how long it is accepted (for ever)")
    action.add_argument("--budget", type=usd, metavar="USD", help=f"how much may be spent in a period ({NOT_ENFORCED})")
    action.add_argument("--period", choices=PERIODS, help=f"of the budget (total; {NOT_ENFORCED})")
    action.add_argument("--rpm", type=int, metavar="N", help=f"requests a minute ({NOT_ENFORCED})")
    action.add_argument("--tpm", type=int, metavar="N", help=f"tokens a minute ({NOT_ENFORCED})")
    action.add_argument("--concurrency", type=int, metavar="N", help=f"requests at a time ({NOT_ENFORCED})")
    action.add_argument("--quiet", action="store_true", help="print the key alone")
    add_config(action)
    action.set_defaults(run=_create)


# The actions.


def _create(parsed: argparse.Namespace) -> int:
    from ezai.config import load
    from ezai.errors import SetupError
    from ezai.policy.key_terms import KeyTerms
    from ezai.store.key_records import create_key
    from ezai.store.keys import KeyDigests
    from ezai.store.root_secret import load_root_secret

    now_ms = _now_ms()
    try:
        terms = KeyTerms(
            name=parsed.name,
            account=parsed.account,
            admin=parsed.admin,
            models=parsed.models,
            budget_nanousd=parsed.budget,
            budget_period=parsed.period or ("total" if parsed.budget is not None else None),
            requests_per_minute=parsed.rpm,
            tokens_per_minute=parsed.tpm,
            concurrent_requests=parsed.concurrency,
            expires_at_ms=None if parsed.expires is None else now_ms + parsed.expires * 1000,
        )
    except ValueError as error:
        field, _, problem = str(error).partition(":")
        raise SetupError(f"--{_OPTIONS.get(field, field)}:{problem}.") from None
    data_dir = load(parsed.config).data_dir
    digests = KeyDigests(load_root_secret(data_dir, os.environ.get("EZAI_ROOT_KEY")))
    with _database(parsed.config, writes=True) as connection:
        key, _ = create_key(connection, digests, terms, now_ms)
    print(key)
    if not parsed.quiet:
        print("\nIt is shown this once and kept nowhere: put it where its user finds it.")
    if _limits_use(terms):
        told = sys.stderr if parsed.quiet else sys.stdout
        print(f"What limits its use is kept with it, and {NOT_ENFORCED}.", file=told)
    return 0


def _list(parsed: argparse.Namespace) -> int:
    from ezai.store.key_records import list_keys

    with _database(parsed.config) as connection:
        records = list_keys(connection)
    if parsed.json:
        now_ms = _now_ms()
        _print_json({"keys": [_fields(record, now_ms) for record in records]})
    elif records:
        _print_table(records)
    else:
        print("There are no keys: `ezai keys create` makes one.")
    return 0


def _show(parsed: argparse.Namespace) -> int:
    from ezai.store.key_records import find_key

    with _database(parsed.config) as connection:
        record = find_key(connection, parsed.id)
    if parsed.json:
        _print_json(_fields(record, _now_ms()))
    else:
        print("\n".join(f"{name:<12} {value}" for name, value in _described(record)))
    return 0


def _revoke(parsed: argparse.Namespace) -> int:
    from ezai.store.key_records import revoke_key

    with _database(parsed.config, writes=True) as connection:
        record = revoke_key(connection, parsed.id, _now_ms())
    if record.revoked_at_ms is not None:
        print(f"{record.masked} was revoked before, at {_moment(record.revoked_at_ms)}.")
    else:
        print(f"{record.masked} is revoked: a running gateway accepts it no more within a second.")
    return 0


# The store.


@contextmanager
def _database(config_file: Path | None, *, writes: bool = False) -> Iterator[Connection]:
    from ezai.config import load
    from ezai.store.database import prepare, sqlite_path
    from ezai.store.engine import reading, writing

    settings = load(config_file)
    path = sqlite_path(settings.store.url, settings.data_dir)
    prepare(path)
    with (writing if writes else reading)(path) as connection:
        yield connection


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


# What is printed.


def _print_table(records: Sequence[KeyRecord]) -> None:
    """The key stays whole at any width, since `show` and `revoke` want a part of it."""
    from rich.table import Table

    from ezai.cli.tables import table_console

    table = Table()
    table.add_column("key", no_wrap=True, min_width=max(len(record.masked) for record in records))
    for name in ("name", "account", "models"):
        table.add_column(name, overflow="fold")
    table.add_column("made", no_wrap=True, min_width=len("2026-01-31"))
    table.add_column("state", overflow="fold")
    now_ms = _now_ms()
    for record in records:
        terms = record.terms
        state = record.state(now_ms) + (", admin" if terms.admin else "")
        models = ", ".join(terms.models) or "all"
        table.add_row(record.masked, terms.name, terms.account, models, _moment(record.created_at_ms)[:10], state)
    table_console().print(table)


def _print_json(value: dict[str, Any]) -> None:
    import msgspec

    print(msgspec.json.format(msgspec.json.encode(value)).decode())


def _fields(record: KeyRecord, now_ms: int) -> dict[str, Any]:
    """A key as programs take it: `id` is what `show` and `revoke` want, null is no limit, no globs is every model."""
    from ezai.policy.pricing import usd_text

    terms = record.terms
    budget = terms.budget_nanousd
    return {
        "id": record.parts.public_id,
        "key": record.masked,
        "state": record.state(now_ms),
        "name": terms.name,
        "account": terms.account,
        "admin": terms.admin,
        "models": terms.models,
        "limits": {
            "enforced": False,
            "budget_usd": None if budget is None else usd_text(budget),
            "budget_period": terms.budget_period,
            "requests_per_minute": terms.requests_per_minute,
            "tokens_per_minute": terms.tokens_per_minute,
            "concurrent_requests": terms.concurrent_requests,
        },
        "created_at_ms": record.created_at_ms,
        "expires_at_ms": terms.expires_at_ms,
        "revoked_at_ms": record.revoked_at_ms,
    }


def _limits_use(terms: KeyTerms) -> bool:
    """Whether it has terms that are not enforced."""
    limits = (terms.budget_nanousd, terms.requests_per_minute, terms.tokens_per_minute, terms.concurrent_requests)
    return any(limit is not None for limit in limits)


def _described(record: KeyRecord) -> list[tuple[str, str]]:
    from ezai.policy.pricing import usd_text

    terms = record.terms
    budget = terms.budget_nanousd
    return [
        ("key", record.masked),
        ("state", record.state(_now_ms())),
        ("name", terms.name or "-"),
        ("account", terms.account or "-"),
        ("admin", "yes" if terms.admin else "no"),
        ("models", ", ".join(terms.models) or "all"),
        ("budget", _limit(None if budget is None else f"{usd_text(budget)} USD, {terms.budget_period}")),
        ("rpm", _limit(terms.requests_per_minute)),
        ("tpm", _limit(terms.tokens_per_minute)),
        ("concurrency", _limit(terms.concurrent_requests)),
        ("made", _moment(record.created_at_ms)),
        ("expires", "-" if terms.expires_at_ms is None else _moment(terms.expires_at_ms)),
        ("revoked", "-" if record.revoked_at_ms is None else _moment(record.revoked_at_ms)),
    ]


def _limit(value: int | str | None) -> str:
    return "-" if value is None else f"{value} ({NOT_ENFORCED})"


def _moment(epoch_ms: int) -> str:
    return datetime.fromtimestamp(epoch_ms // 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
