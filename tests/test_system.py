"""The ports `Clock` and `Ids` on the real system. The clock ticks for real here, a thousand times a second."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from ezai.system import DEFAULT_TICK_S, RandomIds, SystemClock

Run = Callable[[Coroutine[Any, Any, None]], None]

TICK_S = 0.001


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Run a test's coroutine on each kind of loop, which had nothing to complain about."""

    def run_it(main: Coroutine[Any, Any, None]) -> None:
        complaints: list[dict[str, Any]] = []

        async def watched() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
            await main

        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(watched())
        assert complaints == []

    return run_it


class Counting:
    """A watcher that counts its ticks, and does something at each."""

    def __init__(self, at_tick: Callable[[], None] = lambda: None) -> None:
        self.ticks: list[float] = []
        self._at_tick = at_tick
        self._ticked = asyncio.Event()

    def check(self, now: float) -> None:
        self.ticks.append(now)
        self._at_tick()
        self._ticked.set()

    async def more(self, count: int) -> None:
        """Return after that many more ticks."""
        until = len(self.ticks) + count
        while len(self.ticks) < until:
            self._ticked.clear()
            await self._ticked.wait()


def test_a_watcher_that_fails_stops_nobodys_time(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise ValueError("a defect")

    async def test() -> None:
        clock = SystemClock(TICK_S)
        failing, other = Counting(fail), Counting()
        clock.watch(failing)
        clock.watch(other)
        clock.start()
        await other.more(3)
        clock.stop()
        assert len(failing.ticks) >= 2

    run(test())
    assert "a watcher of the clock failed" in caplog.text


# The clock.


def test_each_tick_checks_each_watcher_with_the_time(run: Run) -> None:
    async def test() -> None:
        clock, first, second = SystemClock(TICK_S), Counting(), Counting()
        before = clock.now()
        clock.start()
        clock.watch(first)
        clock.watch(second)
        await first.more(3)
        clock.stop()
        assert first.ticks == second.ticks
        seen = [before, *first.ticks, clock.now()]
        assert seen == sorted(seen)

    run(test())


def test_a_watcher_is_checked_once_a_tick_however_often_it_was_watched(run: Run) -> None:
    async def test() -> None:
        clock, once, twice = SystemClock(TICK_S), Counting(), Counting()
        clock.start()
        for watcher in (once, twice, twice):
            clock.watch(watcher)
        await once.more(3)
        clock.unwatch(twice)
        seen = len(twice.ticks)
        await once.more(3)
        clock.stop()
        assert len(twice.ticks) == seen == 3

    run(test())


def test_unwatching_what_is_not_watched_is_harmless() -> None:
    SystemClock().unwatch(Counting())


def test_a_watcher_may_end_its_own_watch_in_a_tick(run: Run) -> None:
    async def test() -> None:
        clock, other = SystemClock(TICK_S), Counting()
        leaving = Counting(lambda: clock.unwatch(leaving))
        clock.start()
        clock.watch(leaving)
        clock.watch(other)
        await other.more(3)
        clock.stop()
        assert len(leaving.ticks) == 1

    run(test())


def test_a_watcher_may_end_the_watch_of_others_in_a_tick(run: Run) -> None:
    """`unwatch` promises that no check follows: of two that end each other's watch only one is ever checked."""

    async def test() -> None:
        clock, other = SystemClock(TICK_S), Counting()
        first = Counting(lambda: clock.unwatch(second))
        second = Counting(lambda: clock.unwatch(first))
        clock.start()
        for watcher in (first, second, other):
            clock.watch(watcher)
        await other.more(3)
        clock.stop()
        assert 0 in {len(first.ticks), len(second.ticks)}
        assert len(first.ticks) + len(second.ticks) >= 3

    run(test())


def test_a_watcher_may_begin_another_watch_in_a_tick(run: Run) -> None:
    async def test() -> None:
        clock, late = SystemClock(TICK_S), Counting()
        first = Counting(lambda: clock.watch(late))
        clock.start()
        clock.watch(first)
        await late.more(2)
        clock.stop()

    run(test())


def test_after_stop_nothing_is_checked(run: Run) -> None:
    async def test() -> None:
        clock, watcher = SystemClock(TICK_S), Counting()
        clock.watch(watcher)
        clock.stop()  # before the start: harmless
        clock.start()
        await watcher.more(2)
        clock.stop()
        clock.stop()
        seen = len(watcher.ticks)
        await ticks_of_another_clock(10)
        assert len(watcher.ticks) == seen
        clock.start()
        await watcher.more(2)
        clock.stop()

    run(test())


def test_a_clock_that_stops_ticks_once_more(run: Run) -> None:
    async def test() -> None:
        clock, watcher = SystemClock(3600), Counting()
        clock.watch(watcher)
        clock.start()
        clock.stop()
        clock.stop()
        assert len(watcher.ticks) == 1

    run(test())


def test_a_watcher_may_stop_the_clock(run: Run) -> None:
    async def test() -> None:
        clock = SystemClock(TICK_S)
        watcher = Counting(clock.stop)
        clock.watch(watcher)
        clock.start()
        await watcher.more(1)
        await ticks_of_another_clock(10)
        clock.stop()
        assert len(watcher.ticks) == 1

    run(test())


async def ticks_of_another_clock(count: int) -> None:
    """Let that many ticks' time pass."""
    clock, watcher = SystemClock(TICK_S), Counting()
    clock.watch(watcher)
    clock.start()
    await watcher.more(count)
    clock.stop()


def test_both_times_are_those_of_the_system() -> None:
    clock = SystemClock()
    monotonic, epoch = time.monotonic(), time.time()
    assert 0 <= clock.now() - monotonic < 3600
    assert abs(clock.epoch() - epoch) < 3600


def test_a_tick_is_coarse() -> None:
    """Docs say a quarter second: deadlines are exact to that."""
    assert DEFAULT_TICK_S == 0.25


# Ids.


@pytest.mark.parametrize("prefix", ["req_", "msg_", ""])
def test_an_id_is_its_prefix_and_24_base62_characters(prefix: str) -> None:
    assert re.fullmatch(re.escape(prefix) + "[0-9A-Za-z]{24}", RandomIds().new(prefix))


def test_ids_differ_and_use_every_character() -> None:
    ids = RandomIds()
    made = [ids.new("") for _ in range(1000)]
    assert len(set(made)) == 1000
    assert len(Counter("".join(made))) == 62


def test_every_byte_of_the_system_becomes_a_character_none_much_likelier(monkeypatch: pytest.MonkeyPatch) -> None:
    made = ""
    for byte in range(256):
        monkeypatch.setattr(os, "urandom", lambda length, value=byte: bytes([value]) * length)
        made += RandomIds().new("")[0]
    assert set(Counter(made).values()) == {4, 5}
    assert made.isascii()
    assert made.isalnum()
