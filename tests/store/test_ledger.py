"""The record of use: intents, settlements, and that each is there once."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from ezai.errors import Overloaded
from ezai.ports import AttemptIntent
from ezai.protocol.end import Cause, End, UsageSource
from ezai.protocol.usage import Usage
from ezai.store.ledger import MAX_TEXT_CHARS, SqliteLedger
from tests.store.records import (
    EPOCH_S,
    PRICE,
    intent,
    journaling,
    new_database,
    recording,
    rows,
    run,
    settlement,
)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return new_database(tmp_path)


def on_ledger(database: Path, *work: Any) -> None:
    """Call each of `work` with a ledger, one after the other."""

    async def scenario() -> None:
        async with recording(database) as ledger:
            for step in work:
                await step(ledger)

    run(scenario())


def intending(what: AttemptIntent) -> Any:
    return lambda ledger: ledger.intend(what)


def settling(what: Any) -> Any:
    return lambda ledger: ledger.settle(what)


def requests(database: Path) -> list[dict[str, Any]]:
    return rows(database, "SELECT * FROM request ORDER BY id")


def attempts(database: Path) -> list[dict[str, Any]]:
    return rows(database, "SELECT * FROM attempt ORDER BY request_id, n")


def test_the_first_intent_records_the_request_and_its_attempt(database: Path) -> None:
    on_ledger(database, intending(intent()))
    assert requests(database) == [
        {
            "id": "req_1",
            "key_id": "ab12cd34",
            "account": "acme",
            "dialect": "anthropic",
            "requested_model": "claude-x",
            "route": "claude-*",
            "streamed": 1,
            "admitted_at_ms": 1_800_000_000_250,
            "ended_at_ms": None,
            "cause": None,
        }
    ]
    (attempt,) = attempts(database)
    known = {name: value for name, value in attempt.items() if value is not None}
    assert known == {
        "request_id": "req_1",
        "n": 1,
        "upstream": "main",
        "upstream_model": "claude-x-1",
        "state": "intended",
        "started_at_ms": 1_800_000_000_250,
    }


def test_the_settlement_of_the_final_attempt_ends_the_request(database: Path) -> None:
    on_ledger(database, intending(intent()), settling(settlement(intent())))
    (request,) = requests(database)
    assert (request["ended_at_ms"], request["cause"]) == (1_800_000_000_250, "finished")
    (attempt,) = attempts(database)
    del attempt["request_id"], attempt["n"], attempt["upstream"], attempt["upstream_model"], attempt["started_at_ms"]
    assert attempt == {
        "state": "settled",
        "first_event_ms": 120,
        "duration_ms": 3300,
        "input_tokens": 1200,
        "cache_read_input_tokens": 800,
        "cache_creation_input_tokens": 0,
        "cache_creation_1h_input_tokens": 0,
        "output_tokens": 340,
        "thinking_tokens": 40,
        "usage_source": "upstream",
        "cause": "finished",
        "stop_reason": "end_turn",
        "upstream_request_id": "req_upstream",
        "input_picousd": PRICE.input_picousd,
        "output_picousd": PRICE.output_picousd,
        "cache_read_picousd": PRICE.cache_read_picousd,
        "cache_write_picousd": PRICE.cache_write_picousd,
        "cache_write_1h_picousd": PRICE.cache_write_1h_picousd,
        "cost_nanousd": 8_940_000,
    }


def test_a_request_of_several_attempts_ends_with_its_final_one(database: Path) -> None:
    first, second = intent(number=1), intent(number=2, upstream="other")
    on_ledger(
        database,
        intending(first),
        settling(settlement(first, final=False, cause="upstream_unreachable")),
        intending(second),
    )
    assert [request["ended_at_ms"] for request in requests(database)] == [None]
    on_ledger(database, settling(settlement(second)))
    assert [request["cause"] for request in requests(database)] == ["finished"]
    assert [(attempt["n"], attempt["cause"], attempt["upstream"]) for attempt in attempts(database)] == [
        (1, "upstream_unreachable", "main"),
        (2, "finished", "other"),
    ]


def test_without_price_usage_or_answer_the_fields_are_null(database: Path) -> None:
    end = End(Cause.CLIENT_LEFT, Usage(), UsageSource.NONE)
    bare = settlement(
        intent(key_id=None),
        end=end,
        first_event_after_s=None,
        upstream_request_id=None,
        price=None,
        cost_nanousd=None,
    )
    on_ledger(database, intending(bare.intent), settling(bare))
    (attempt,) = attempts(database)
    assert {name for name, value in attempt.items() if value is None} == {
        "first_event_ms",
        "stop_reason",
        "upstream_request_id",
        "input_picousd",
        "output_picousd",
        "cache_read_picousd",
        "cache_write_picousd",
        "cache_write_1h_picousd",
        "cost_nanousd",
    }
    assert (attempt["usage_source"], attempt["cause"], requests(database)[0]["key_id"]) == ("none", "client_left", None)


def test_an_attempt_is_settled_once(database: Path, caplog: pytest.LogCaptureFixture) -> None:
    on_ledger(database, intending(intent()), settling(settlement(intent())))
    before = (requests(database), attempts(database))
    with caplog.at_level(logging.WARNING):
        on_ledger(database, settling(settlement(intent(), cause="upstream_stalled", cost_nanousd=1)))
    assert (requests(database), attempts(database)) == before
    assert "its attempt not open" in caplog.text


def test_what_was_never_intended_is_not_settled(database: Path, caplog: pytest.LogCaptureFixture) -> None:
    on_ledger(database, settling(settlement(intent())))
    assert (requests(database), attempts(database)) == ([], [])
    assert "its attempt not open" in caplog.text


def test_an_attempt_is_intended_once(database: Path, caplog: pytest.LogCaptureFixture) -> None:
    on_ledger(database, intending(intent()), intending(intent(upstream="other")))
    assert [attempt["upstream"] for attempt in attempts(database)] == ["main"]
    assert "was there before" in caplog.text


def test_an_attempt_needs_its_request(database: Path, caplog: pytest.LogCaptureFixture) -> None:
    on_ledger(database, intending(intent()), intending(intent("req_2", number=2)), intending(intent("req_3")))
    assert [attempt["request_id"] for attempt in attempts(database)] == ["req_1", "req_3"]
    assert "cannot be filed" in caplog.text


def test_what_others_chose_is_kept_short(database: Path) -> None:
    long = intent(requested_model="m" * 10_000_000, upstream_model="u" * 10_000_000)
    end = End("finished", Usage(), UsageSource.UPSTREAM, "s" * 10_000_000)
    on_ledger(
        database,
        intending(long),
        settling(settlement(long, end=end, upstream_request_id="r" * 10_000_000)),
    )
    (request,), (attempt,) = requests(database), attempts(database)
    cut = (request["requested_model"], attempt["upstream_model"], attempt["stop_reason"])
    assert {len(text) for text in (*cut, attempt["upstream_request_id"])} == {MAX_TEXT_CHARS}


def test_many_at_once_are_all_there(database: Path) -> None:
    async def whole(ledger: SqliteLedger, number: int) -> None:
        mine = intent(f"req_{number:03}")
        await ledger.intend(mine)
        await ledger.settle(settlement(mine))

    async def all_at_once(ledger: SqliteLedger) -> None:
        await asyncio.gather(*(whole(ledger, number) for number in range(100)))

    on_ledger(database, all_at_once)
    assert {attempt["state"] for attempt in attempts(database)} == {"settled"}
    assert [request["id"] for request in requests(database)] == [f"req_{number:03}" for number in range(100)]


def test_settling_is_not_refused_for_what_waits(database: Path) -> None:
    async def scenario() -> None:
        async with journaling(database, max_waiting=0) as journal:
            ledger = SqliteLedger(journal, lambda: EPOCH_S)
            with pytest.raises(Overloaded):
                await ledger.intend(intent())
            await ledger.settle(settlement(intent()))

    run(scenario())
    assert requests(database) == []


def test_a_closed_ledger_refuses(database: Path) -> None:
    async def scenario() -> None:
        async with journaling(database) as journal:
            ledger = SqliteLedger(journal, lambda: EPOCH_S)
        for work in (ledger.intend(intent()), ledger.settle(settlement(intent()))):
            with pytest.raises(Overloaded, match="closed"):
                await work

    run(scenario())
