"""The ledger against a dict: whatever was awaited is there after any order of records, cancelled waits and crashes."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ezai.store.ledger import SqliteLedger
from ezai.store.writer import Writer
from tests.store.records import EPOCH_S, copy_as_killed, intent, new_database, rows, settlement

REQUESTS = st.sampled_from(["req_a", "req_b", "req_c"])
NUMBERS = st.integers(1, 3)
CAUSES = st.sampled_from(["finished", "client_left", "upstream_stalled"])


class Ledger(RuleBasedStateMachine):
    """`attempts` is the model: (request, n) to the cause of its end, None while it is open."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.directory = tempfile.TemporaryDirectory()
        self.lives = 0
        self.attempts: dict[tuple[str, int], str | None] = {}
        self.ended: dict[str, str] = {}

    @initialize()
    def begin(self) -> None:
        self.open(new_database(Path(self.directory.name) / "0"))

    def open(self, path: Path) -> None:
        self.path = path
        self.writer = Writer(path)
        self.loop.run_until_complete(self.writer.start())
        self.ledger = SqliteLedger(self.writer, lambda: EPOCH_S)

    def teardown(self) -> None:
        self.loop.run_until_complete(self.writer.aclose())
        self.loop.close()
        self.directory.cleanup()

    # What happens.

    @rule(request=REQUESTS, number=NUMBERS, cancelled=st.booleans())
    def intend(self, request: str, number: int, cancelled: bool) -> None:
        taken = self.do(self.ledger.intend(intent(request, number)), cancelled=cancelled)
        known = {place[0] for place in self.attempts}
        legal = (request not in known) if number == 1 else (request in known and (request, number) not in self.attempts)
        assert taken == legal or cancelled
        if legal:
            self.attempts[request, number] = None

    @rule(request=REQUESTS, number=NUMBERS, cause=CAUSES, final=st.booleans(), cancelled=st.booleans())
    def settle(self, request: str, number: int, cause: str, final: bool, cancelled: bool) -> None:
        work = self.ledger.settle(settlement(intent(request, number), cause=cause, final=final))
        assert self.do(work, cancelled=cancelled) or cancelled
        if self.attempts.get((request, number), "unknown") is None:
            self.attempts[request, number] = cause
            if final:
                self.ended.setdefault(request, cause)

    @rule()
    def close_and_open(self) -> None:
        self.loop.run_until_complete(self.writer.aclose())
        self.open(self.path)

    @rule(request=REQUESTS, number=NUMBERS)
    def crash(self, request: str, number: int) -> None:
        """The process ends while records wait to be written: those are lost, nothing else is."""
        self.lives += 1
        path = self.loop.run_until_complete(self.crashed(request, number))
        self.open(path)

    async def crashed(self, request: str, number: int) -> Path:
        free, held = threading.Event(), asyncio.Event()

        def hold(cursor: object) -> None:
            self.loop.call_soon_threadsafe(held.set)
            free.wait()

        lost = [self.writer.read(hold), self.ledger.intend(intent(request, number))]
        lost += [self.ledger.settle(settlement(intent(*place))) for place in self.attempts]
        tasks = [self.loop.create_task(work) for work in lost]
        await held.wait()
        left = copy_as_killed(self.path, Path(self.directory.name) / str(self.lives))
        free.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.writer.aclose()
        return left

    def do(self, work: Any, *, cancelled: bool) -> bool:
        """Whether the record was taken."""

        async def step() -> bool:
            task = self.loop.create_task(work)
            if cancelled:
                await asyncio.sleep(0)
                task.cancel()
            results: list[object] = await asyncio.gather(task, return_exceptions=True)
            await self.writer.read(lambda cursor: None)  # what was given in before is done now
            return results == [None]

        return self.loop.run_until_complete(step())

    # What holds.

    @invariant()
    def the_database_is_the_model(self) -> None:
        if not hasattr(self, "path"):
            return
        found = rows(self.path, "SELECT request_id, n, state, cause, cost_nanousd FROM attempt")
        assert {(row["request_id"], row["n"]): row["cause"] for row in found} == self.attempts
        for row in found:
            assert (row["state"] == "settled") == (row["cause"] is not None) == (row["cost_nanousd"] is not None)
        ended = rows(self.path, "SELECT id, cause FROM request WHERE ended_at_ms IS NOT NULL")
        assert {row["id"]: row["cause"] for row in ended} == self.ended

    @invariant()
    def the_database_is_whole(self) -> None:
        if hasattr(self, "path"):
            assert rows(self.path, "PRAGMA foreign_key_check") == []


TestLedger = Ledger.TestCase
TestLedger.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
