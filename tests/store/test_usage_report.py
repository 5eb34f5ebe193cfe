"""The record of use, added up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ezai.ports import AttemptSettlement
from ezai.protocol.end import End, UsageSource
from ezai.protocol.usage import Usage
from ezai.store import engine
from ezai.store.ledger import SqliteLedger
from ezai.store.usage_report import GROUPINGS, Grouping, UsageRow, add_up, count_requests, total
from tests.store.records import intent, journaling, new_database, run, settlement

DAY_S = 86_400


def used(
    request_id: str, number: int = 1, *, tokens: int = 10, cost: int | None = 100, **fields: Any
) -> AttemptSettlement:
    end = End("finished", Usage(tokens, 1, 2, tokens * 2, 0), UsageSource.UPSTREAM)
    mine = intent(request_id, number, **fields)
    return settlement(mine, end=end, cost_nanousd=cost, final=number == 1 or cost is not None)


def refused(request_id: str, number: int) -> AttemptSettlement:
    """An attempt that brought nothing but an error, such as a 429: it used no tokens, and has no price."""
    end = End("upstream_error", Usage(), UsageSource.NONE)
    return settlement(intent(request_id, number, upstream="busy"), end=end, cost_nanousd=None, final=False)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Two days; three keys, one of them none; one request that took three attempts, of which one
    was refused; one attempt that is open."""
    path = new_database(tmp_path)
    now_s = 0.0

    async def scenario() -> None:
        nonlocal now_s
        async with journaling(path) as journal:
            ledger = SqliteLedger(journal, lambda: now_s)

            async def record(what: AttemptSettlement) -> None:
                await ledger.intend(what.intent)
                await ledger.settle(what)

            now_s = 20_000 * DAY_S
            await record(used("req_1", cost=300))
            await record(used("req_2", key_id="other000", account="", requested_model="gpt-4o"))
            now_s += DAY_S
            await record(used("req_3", tokens=1000, cost=None, key_id=None, account=""))
            await record(used("req_4", cost=None))
            await record(refused("req_4", 3))
            await record(used("req_4", 2, cost=50, upstream="second"))
            await ledger.intend(intent("req_5"))

    run(scenario())
    return path


def report(database: Path, by: Grouping, since_ms: int | None = None) -> list[UsageRow]:
    with engine.reading(database) as connection:
        return add_up(connection, by, since_ms)


def shown(database: Path, by: Grouping) -> dict[str | None, tuple[int, int, int, int]]:
    return {row.group: (row.requests, row.attempts, row.cost_nanousd, row.unpriced) for row in report(database, by)}


def test_by_key(database: Path) -> None:
    assert shown(database, "key") == {"ab12cd34": (3, 5, 350, 1), "other000": (1, 1, 100, 0), None: (1, 1, 0, 1)}


def test_by_account(database: Path) -> None:
    assert shown(database, "account") == {"acme": (3, 5, 350, 1), None: (2, 2, 100, 1)}


def test_by_model_as_it_was_asked_for(database: Path) -> None:
    assert shown(database, "model") == {"claude-x": (4, 6, 350, 2), "gpt-4o": (1, 1, 100, 0)}


def test_by_upstream_a_request_counts_on_each(database: Path) -> None:
    assert shown(database, "upstream") == {"main": (5, 5, 400, 2), "second": (1, 1, 50, 0), "busy": (1, 1, 0, 0)}


def test_what_used_nothing_costs_nothing_whatever_its_price(database: Path) -> None:
    rows = {row.group: (row.attempts, row.open, row.used, row.unpriced) for row in report(database, "upstream")}
    assert rows == {"main": (5, 1, 4, 2), "second": (1, 0, 1, 0), "busy": (1, 0, 0, 0)}


def test_by_day_in_order(database: Path) -> None:
    assert [(row.group, row.requests, row.cost_nanousd) for row in report(database, "day")] == [
        ("2024-10-04", 2, 400),
        ("2024-10-05", 3, 50),
    ]


@pytest.mark.parametrize("by", GROUPINGS)
def test_the_rows_add_up_to_the_whole(database: Path, by: Grouping) -> None:
    with engine.reading(database) as connection:
        whole = total(add_up(connection, by, None), count_requests(connection, None))
    assert whole == UsageRow(None, "", 5, 7, 1, 5, 2, 1040, 10, 5, 2080, 450)


def test_the_dearest_comes_first(database: Path) -> None:
    assert [row.group for row in report(database, "key")] == ["ab12cd34", "other000", None]


def test_only_what_was_admitted_since_then(database: Path) -> None:
    since_ms = 20_001 * DAY_S * 1000
    assert [(row.group, row.requests) for row in report(database, "day", since_ms)] == [("2024-10-05", 3)]
    assert report(database, "day", since_ms + 1) == []
    with engine.reading(database) as connection:
        assert [count_requests(connection, since) for since in (None, since_ms, since_ms + 1)] == [5, 3, 0]


def test_nothing_used_is_no_row(tmp_path: Path) -> None:
    for by in ("key", "account", "model", "upstream", "day"):
        assert report(new_database(tmp_path / by), by) == []
