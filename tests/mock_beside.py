"""The lab's mock in a thread of its own, for tests that are not written as coroutines."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from ezai.lab.mock import mock_upstream
from ezai.lab.mock.journal import RequestRecord
from ezai.lab.mock.server import Mock

WAIT_S = 60


@dataclass
class MockBeside:
    """A running mock."""

    mock: Mock
    loop: asyncio.AbstractEventLoop

    @property
    def url(self) -> str:
        return self.mock.url

    @property
    def requests(self) -> list[RequestRecord]:
        """What asked for messages, oldest first."""
        return [record for record in self.mock.journal.requests if record.method == "POST"]

    def bodies(self) -> list[Any]:
        """What they asked, decoded."""
        return [msgspec.json.decode(record.body) for record in self.requests]

    def until(self, condition: Callable[[], bool], timeout_s: float = WAIT_S) -> None:
        """Return when `condition` holds; it is looked at whenever anything happened to the mock."""
        waiting = self.mock.journal.until(condition)
        asyncio.run_coroutine_threadsafe(asyncio.wait_for(waiting, timeout_s), self.loop).result()

    def behave(self, *behaviours: str) -> None:
        """From now on answer with these in turn."""
        self._call(lambda: self.mock.behave(*behaviours))

    def forget(self) -> None:
        """Leave out of the journal whatever has ended."""
        self._call(self.mock.journal.clear)

    def release(self) -> None:
        """Let stalled answers go on."""
        self._call(self.mock.release)

    def _call(self, action: Callable[[], object]) -> None:
        """Do it in the mock's own thread; it is done on return, and raises here what it raised there."""

        async def call() -> None:
            action()

        asyncio.run_coroutine_threadsafe(call(), self.loop).result()


@contextmanager
def mock_beside(*behaviours: str) -> Iterator[MockBeside]:
    """A mock that answers with these behaviours in turn, running while the block does."""
    started: list[MockBeside] = []
    over: list[asyncio.Event] = []
    ready = threading.Event()

    async def serve() -> None:
        async with mock_upstream(*behaviours) as mock:
            over.append(asyncio.Event())
            started.append(MockBeside(mock, asyncio.get_running_loop()))
            ready.set()
            await over[0].wait()

    def in_thread() -> None:
        try:
            asyncio.run(serve())
        finally:
            ready.set()

    thread = threading.Thread(target=in_thread, name="mock")
    thread.start()
    ready.wait()
    try:
        yield started[0]
    finally:
        for event in over:
            started[0].loop.call_soon_threadsafe(event.set)
        thread.join()
