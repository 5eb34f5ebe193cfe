"""The event loop gives way to a thread that does not come to run."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from ezai.store.handover import PATIENCE_S, HandOver


class FakeLoop:
    """Timers, fired by hand."""

    def __init__(self) -> None:
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def call_later(self, delay: float, callback: Callable[..., None], *arguments: Any) -> object:
        self.timers.append((delay, lambda: callback(*arguments)))
        return object()

    def fire(self) -> None:
        (_, callback) = self.timers.pop(0)
        callback()

    @property
    def delays(self) -> list[float]:
        return [delay for delay, _ in self.timers]


def test_one_timer_watches_over_all_jobs_and_ends_with_them() -> None:
    loop: Any = FakeLoop()
    hand_over = HandOver()
    hand_over.given(loop)
    hand_over.given(loop)
    assert loop.delays == [PATIENCE_S]
    hand_over.finished(2)
    loop.fire()
    assert loop.delays == []
    hand_over.given(loop)
    assert loop.delays == [PATIENCE_S]


def test_a_job_that_came_later_is_not_waited_for_yet() -> None:
    loop: Any = FakeLoop()
    hand_over = HandOver()
    hand_over.given(loop)
    hand_over.given(loop)
    hand_over.finished(1)
    loop.fire()  # the first look: both were given before it, or after it was set
    assert loop.delays == [PATIENCE_S]


def test_the_loop_stands_still_until_the_thread_has_done_something() -> None:
    loop: Any = FakeLoop()
    hand_over = HandOver()
    hand_over.given(loop)
    thread = threading.Thread(target=hand_over.finished, args=(1,))
    stood_still = hand_over._stand_still

    def stand_still(given: int) -> bool:
        thread.start()
        return stood_still(given)

    hand_over._stand_still = stand_still  # type: ignore[method-assign]
    loop.fire()
    thread.join()
    assert loop.delays == []


def test_in_vain_it_stands_still_ever_more_rarely() -> None:
    loop: Any = FakeLoop()
    hand_over = HandOver()
    hand_over.given(loop)
    seen = []
    for _ in range(12):
        seen.append(loop.delays[0])
        loop.fire()
    assert seen[:3] == [PATIENCE_S, 2 * PATIENCE_S, 4 * PATIENCE_S]
    assert seen[-1] == 0.05
    hand_over.finished(1)
    hand_over.given(loop)
    loop.fire()
    assert loop.delays == [PATIENCE_S], "patience is as short as before"
