"""The ledger against a dict: whatever was awaited is there after any order of records, filings and crashes."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

from hypothesis import assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from ezai.store.journal import Journal, recover
from ezai.store.ledger import SqliteLedger
from ezai.store.writer import Writer
from tests.store.records import EPOCH_S, copy_as_killed, intent, journals, new_database, rows, settlement

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
        self.journal = Journal(path, self.writer)
        self.loop.run_until_complete(self.journal.start())
        self.ledger = SqliteLedger(self.journal, lambda: EPOCH_S)

    def close(self) -> None:
        self.loop.run_until_complete(self.journal.aclose())
        self.loop.run_until_complete(self.writer.aclose())

    def teardown(self) -> None:
        self.close()
        self.loop.close()
        self.directory.cleanup()

    # What happens.

    @rule(request=REQUESTS, number=NUMBERS)
    def intend(self, request: str, number: int) -> None:
        assume(number == 1 or request in {place[0] for place in self.attempts})
        self.loop.run_until_complete(self.ledger.intend(intent(request, number)))
        self.attempts.setdefault((request, number), None)

    @rule(request=REQUESTS, number=NUMBERS, cause=CAUSES, final=st.booleans())
    def settle(self, request: str, number: int, cause: str, final: bool) -> None:
        assume((request, number) in self.attempts)
        work = self.ledger.settle(settlement(intent(request, number), cause=cause, final=final))
        self.loop.run_until_complete(work)
        if self.attempts[request, number] is None:
            self.attempts[request, number] = cause
            if final:
                self.ended.setdefault(request, cause)

    @rule()
    def tick(self) -> None:
        """A batch may be on its way, or filed, when the next step is taken."""

        async def step() -> None:
            self.journal.check(0)
            await asyncio.sleep(0)

        self.loop.run_until_complete(step())

    @rule()
    def flush(self) -> None:
        assert self.loop.run_until_complete(self.journal.flush())
        self.is_as_told(self.path)

    @rule()
    def close_and_open(self) -> None:
        self.close()
        self.is_as_told(self.path)
        self.open(self.path)

    @rule(is_cleared=st.booleans())
    def crash(self, is_cleared: bool) -> None:
        """Killed: before anything was filed that waits, or after its commit and before its file was cleared."""
        self.loop.run_until_complete(self.writer.read(lambda cursor: None))  # a copy cannot be made of half a commit
        self.lives += 1
        folder = Path(self.directory.name)
        left = copy_as_killed(self.path, folder / str(self.lives))
        if not is_cleared:
            files, left = journals(left), copy_as_killed(left, folder / f"{self.lives}-filed")
            recover(left)
            for file in files:
                shutil.copy(file, left.parent)
        self.close()
        recover(left)
        self.is_as_told(left)
        self.open(left)

    # What holds.

    def is_as_told(self, path: Path) -> None:
        found = rows(path, "SELECT request_id, n, state, cause, cost_nanousd FROM attempt")
        assert {(row["request_id"], row["n"]): row["cause"] for row in found} == self.attempts
        for row in found:
            assert (row["state"] == "settled") == (row["cause"] is not None) == (row["cost_nanousd"] is not None)
        ended = rows(path, "SELECT id, cause FROM request WHERE ended_at_ms IS NOT NULL")
        assert {row["id"]: row["cause"] for row in ended} == self.ended
        assert rows(path, "PRAGMA foreign_key_check") == []


TestLedger = Ledger.TestCase
TestLedger.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
