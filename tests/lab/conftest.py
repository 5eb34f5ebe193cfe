from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

Run = Callable[[Coroutine[Any, Any, None]], None]

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


def run_on(loop_factory: Callable[[], asyncio.AbstractEventLoop], main: Coroutine[Any, Any, None]) -> None:
    """Run a test's coroutine; no task is left, and the loop had nothing to complain about."""
    complaints: list[dict[str, Any]] = []

    async def watched() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        await main
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(watched())
    assert complaints == []


@pytest.fixture
def run() -> Run:
    """Run a test's coroutine on the loop that users have."""
    return lambda main: run_on(uvloop.new_event_loop, main)


@pytest.fixture(params=LOOPS)
def run_on_both(request: pytest.FixtureRequest) -> Run:
    """Run it on each kind of loop: for what is done to sockets."""
    return lambda main: run_on(LOOPS[request.param], main)
