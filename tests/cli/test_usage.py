"""`ezai usage`."""

from __future__ import annotations

import csv
import io
import re
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ezai.protocol.end import End, UsageSource
from ezai.protocol.usage import Usage
from ezai.store import journal
from ezai.store.database import connect
from ezai.store.journal_file import JournalFiles
from ezai.store.ledger import SqliteLedger
from ezai.store.records import IntentRecord
from tests.cli.store_commands import Commands, commands_on
from tests.store.records import intent, journaling, journals, recording, run, settlement

DAY_S = 86_400


@pytest.fixture
def ezai(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Commands:
    return commands_on(tmp_path, capsys, monkeypatch)


USED = End("finished", Usage(1000, 200, 3000, 50, 0), UsageSource.UPSTREAM)
REFUSED = End("upstream_error", Usage(), UsageSource.NONE)


def record(
    ezai: Commands, request_id: str, *, cost: int | None, age_s: float = 0, end: End = USED, **fields: Any
) -> None:
    mine = intent(request_id, **fields)

    async def scenario() -> None:
        async with journaling(ezai.database) as journal:
            ledger = SqliteLedger(journal, lambda: time.time() - age_s)
            await ledger.intend(mine)
            await ledger.settle(settlement(mine, end=end, cost_nanousd=cost))

    run(scenario())


def as_json(ezai: Commands, *arguments: str) -> Any:
    return msgspec.json.decode(ezai.run("usage", "--json", *arguments))


def cells(out: str) -> list[list[str]]:
    """The table as its words between the lines."""
    lines = [line for line in out.splitlines() if re.search(r"[\u2502\u2503|]", line)]
    return [[cell.strip() for cell in re.split(r"[\u2502\u2503|]", line)[1:-1]] for line in lines]


def test_nothing_used(ezai: Commands) -> None:
    assert ezai.run("usage") == "Nothing was used.\n"
    assert ezai.run("usage", "--csv").count("\n") == 1
    whole = as_json(ezai)
    assert (whole["rows"], whole["total"]["requests"], whole["total"]["cost_usd"]) == ([], 0, "0.00")


def test_the_table(ezai: Commands) -> None:
    record(ezai, "req_1", cost=8_100_000)
    record(ezai, "req_2", cost=None)
    record(ezai, "req_3", cost=None, key_id=None)
    assert cells(ezai.run("usage")) == [
        ["key", "requests", "input", "cache read", "cache write", "output", "USD"],
        ["ab12cd34", "2", "2,000", "6,000", "400", "100", "0.0081 + no price"],
        ["(no key)", "1", "1,000", "3,000", "200", "50", "no price"],
        ["all", "3", "3,000", "9,000", "600", "150", "0.0081 + no price"],
    ]
    assert "2 of 3 attempts are of no known price: not in the cost." in ezai.out


def test_an_attempt_that_used_nothing_leaves_the_cost_whole(ezai: Commands) -> None:
    record(ezai, "req_1", cost=None, end=REFUSED, upstream="busy")
    record(ezai, "req_2", cost=8_100_000)
    assert [row[-1] for row in cells(ezai.run("usage", "--by", "upstream"))] == ["USD", "0.0081", "0.00", "0.0081"]
    assert "no known price" not in ezai.out
    record(ezai, "req_3", cost=None, requested_model="gpt-4o")
    record(ezai, "req_4", cost=None, end=REFUSED, requested_model="gpt-4o")
    rows = {row["model"]: row["cost_usd"] for row in as_json(ezai, "--by", "model")["rows"]}
    assert rows == {"claude-x": "0.0081", "gpt-4o": None}, "of what gpt-4o used no price is known"
    ezai.run("usage")
    assert "1 of 4 attempts is of no known price: not in the cost." in ezai.out


def test_days_are_said_to_be_utc(ezai: Commands) -> None:
    record(ezai, "req_1", cost=1)
    assert cells(ezai.run("usage", "--by", "day"))[0][0] == "day (UTC)"
    assert "UTC" in ezai.usage("usage")
    assert "day" in as_json(ezai, "--by", "day")["rows"][0], "for programs it is called as it is asked for"


def test_a_pipe_gets_whole_cells(ezai: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    name = "a-model-of-many-words-" * 5
    record(ezai, "req_1", cost=1, requested_model=name)
    assert cells(ezai.run("usage", "--by", "model"))[1][0] == name


def test_a_key_is_shown_with_its_name(ezai: Commands) -> None:
    key = ezai.run("keys", "create", "--quiet", "--name", "the app").strip()
    record(ezai, "req_1", cost=1, key_id=key[8:16])
    assert cells(ezai.run("usage"))[1][0] == f"{key[8:16]} the app"


def test_what_has_not_ended_is_told(ezai: Commands) -> None:
    async def scenario() -> None:
        async with recording(ezai.database) as ledger:
            await ledger.intend(intent())

    run(scenario())
    assert cells(ezai.run("usage"))[1][-1] == "0.00"
    assert "1 of 1 attempts is not ended yet." in ezai.out


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        ("key", ["ab12cd34"]),
        ("account", ["acme", "other"]),
        ("model", ["gpt-4o", "claude-x"]),
        ("upstream", ["main"]),
    ],
)
def test_groups(ezai: Commands, by: str, groups: list[str]) -> None:
    record(ezai, "req_1", cost=1)
    record(ezai, "req_2", cost=2, requested_model="gpt-4o")
    record(ezai, "req_3", cost=0, account="other", requested_model="gpt-4o")
    assert [row[by] for row in as_json(ezai, "--by", by)["rows"]] == groups


def test_json_is_exact_and_says_what_is_unknown(ezai: Commands) -> None:
    record(ezai, "req_1", cost=8_100_001)
    record(ezai, "req_2", cost=None, account="other")
    value = as_json(ezai, "--by", "account")
    assert (value["by"], value["since_ms"]) == ("account", None)
    assert value["rows"] == [
        {
            "account": "acme",
            "name": "",
            "requests": 1,
            "attempts": 1,
            "open": 0,
            "used": 1,
            "unpriced": 0,
            "input_tokens": 1000,
            "cache_read_input_tokens": 3000,
            "cache_creation_input_tokens": 200,
            "output_tokens": 50,
            "cost_nanousd": 8_100_001,
            "cost_usd": "0.008100001",
        },
        value["rows"][1],
    ]
    assert (value["rows"][1]["unpriced"], value["rows"][1]["cost_usd"]) == (1, None)
    assert (value["total"]["requests"], value["total"]["cost_usd"]) == (2, "0.008100001")


def test_csv(ezai: Commands) -> None:
    record(ezai, "req_1", cost=8_100_000)
    record(ezai, "req_2", cost=None, account="")
    rows = list(csv.DictReader(io.StringIO(ezai.run("usage", "--csv", "--by", "account"))))
    assert [(row["account"], row["requests"], row["cost_usd"]) for row in rows] == [
        ("acme", "1", "0.0081"),
        ("", "1", ""),
    ]


def test_since(ezai: Commands) -> None:
    record(ezai, "req_1", cost=1, age_s=8 * DAY_S)
    record(ezai, "req_2", cost=2, age_s=6 * DAY_S)
    assert as_json(ezai, "--since", "7d")["total"]["cost_nanousd"] == 2
    assert as_json(ezai, "--since", "2w")["total"]["cost_nanousd"] == 3
    assert len(as_json(ezai, "--by", "day")["rows"]) == 2


@pytest.mark.parametrize("model", ["[bold]x", "[/]", "\x1b[31mred", ":smile:", "=1+1", "@x", "\u202ereversed"])
def test_names_that_clients_chose_do_nothing(ezai: Commands, model: str) -> None:
    record(ezai, "req_1", cost=1, requested_model=model)
    (row,) = as_json(ezai, "--by", "model")["rows"]
    assert row["model"] == model
    shown = cells(ezai.run("usage", "--by", "model"))[1][0]
    assert shown == (model if model.isprintable() else repr(model))
    assert "\x1b" not in ezai.out
    (sheet,) = csv.DictReader(io.StringIO(ezai.run("usage", "--csv", "--by", "model")))
    assert sheet["model"][0] not in "=+-@"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--by", "colour"], "invalid choice"),
        (["--since", "yesterday"], "'yesterday' is no duration"),
        (["--json", "--csv"], "not allowed with"),
    ],
)
def test_arguments_that_are_none_are_refused(ezai: Commands, arguments: list[str], said: str) -> None:
    assert said in ezai.refused("usage", *arguments)


def leave_records(database: Path) -> None:
    """What a killed gateway leaves."""
    files = JournalFiles(database)
    request = ("req_1", None, "", "anthropic", "model", "*", 1, 5)
    files.append(IntentRecord("req_1", ("req_1", 1, "up", "model", 5), request))
    files.close(remove=False)


def test_what_a_killed_gateway_left_is_counted(ezai: Commands) -> None:
    leave_records(ezai.database)
    assert cells(ezai.run("usage"))[1][1] == "1"
    assert journals(ezai.database) == []


def test_what_cannot_be_filed_now_is_told_and_the_rest_is_counted(
    ezai: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(ezai, "req_0", cost=None)
    leave_records(ezai.database)
    monkeypatch.setattr(journal, "connect", lambda path: connect(path, busy_timeout_ms=0))
    with closing(sqlite3.connect(ezai.database, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        assert cells(ezai.run("usage"))[1][1] == "1"
    assert "Not counted yet" in ezai.err
    assert len(journals(ezai.database)) == 2
