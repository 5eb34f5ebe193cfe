"""What the master does with workers that do not do their part, with workers that are a few lines of script.

What it does with real ones: tests/faults/test_worker_rows.py.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from ezai.config import Config, ServerConfig
from ezai.errors import SetupError
from ezai.supervise import workers as workers_module
from ezai.supervise.snapshot import Snapshot
from ezai.supervise.stopping import Stage, Stopping
from ezai.supervise.workers import Workers

Run = Callable[[Coroutine[Any, Any, None]], None]

# A worker's side in the standard library: `say` and `hear` speak the channel's frames.
SCRIPT = """
import json, os, socket, sys
channel = socket.socket(fileno=int(sys.argv[1]))
def say(**message):
    data = json.dumps(message).encode()
    channel.sendall(len(data).to_bytes(4, "big") + data)
def exactly(size):
    data = b""
    while len(data) < size:
        more = channel.recv(size - len(data))
        if not more:
            os._exit(0)
        data += more
    return data
def hear():
    return json.loads(exactly(int.from_bytes(exactly(4), "big")))
def serve(model="m"):
    order = hear()
    say(type="Serving", number=order["number"], models=[model])
    return order
def tried():
    '''How many of these have begun before.'''
    try:
        os.mkdir(os.environ["TRIES"])
    except FileExistsError:
        pass
    number = 0
    while True:
        try:
            open(os.path.join(os.environ["TRIES"], str(number)), "x").close()
            return number
        except FileExistsError:
            number += 1
"""
OBEDIENT = """
serve()
while True:
    order = hear()
    if order["type"] == "Serve":
        say(type="Serving", number=order["number"], models=["m"])
        say(type="Released", number=order["number"] - 1)
    elif order["type"] == "Stop":
        os._exit(0)
"""


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    def run_in_its_loop(main: Coroutine[Any, Any, None]) -> None:
        async def watched() -> None:
            async with asyncio.timeout(20):
                await main
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not left, left

        factory = uvloop.new_event_loop if request.param == "uvloop" else None
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(watched())

    return run_in_its_loop


def snapshot(number: int = 1, workers: int = 2) -> Snapshot:
    return Snapshot(number, Config(server=ServerConfig(workers=workers)), None)


class Scripted:
    """Makes workers of scripts; what they release is in `released`."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._patch = monkeypatch
        self.released: list[int] = []
        self.waits: list[float] = []
        monkeypatch.setattr(workers_module, "restart_delay_s", self._delay)

    def _delay(self, deaths: int) -> float:
        self.waits.append(deaths)
        return 0.0

    @asynccontextmanager
    async def workers(self, script: str) -> AsyncIterator[Workers]:
        self._patch.setattr(workers_module, "COMMAND", (sys.executable, "-I", "-S", "-c", SCRIPT + script))
        with socket.create_server(("127.0.0.1", 0)) as listening:
            made = Workers(listening, {**os.environ, "TRIES": str(self._folder / "tries")}, self.released.append)
            try:
                yield made
            finally:
                await made.aclose()
            assert made._living == []


@pytest.fixture
def scripted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scripted:
    return Scripted(tmp_path, monkeypatch)


def test_they_serve_and_go_when_they_are_told_to(run: Run, scripted: Scripted) -> None:
    async def test() -> None:
        async with scripted.workers(OBEDIENT) as workers:
            assert await workers.start(snapshot()) == ("m",)
            assert len(workers._living) == 2
            assert await workers.use(snapshot(2)) == ("m",)
            while scripted.released != [1]:  # noqa: ASYNC110
                await asyncio.sleep(0)
            stopping = Stopping()
            stopping.advance(Stage.DRAINING)
            await workers.stop(stopping)
            assert workers._living == []

    run(test())


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ('order = hear(); say(type="Refused", number=order["number"], sentence="It cannot.")', "It cannot."),
        ("hear(); os._exit(3)", "A worker ended with exit code 3 before it served; its log says why."),
        ("import signal; os.kill(os.getpid(), signal.SIGKILL)", "A worker was ended by SIGKILL before it served; "),
    ],
)
def test_a_worker_that_does_not_serve_at_the_start_is_a_sentence(
    script: str, sentence: str, run: Run, scripted: Scripted
) -> None:
    async def test() -> None:
        async with scripted.workers(script) as workers:
            with pytest.raises(SetupError) as caught:
                await workers.start(snapshot())
            assert str(caught.value).startswith(sentence)

    run(test())


def test_a_worker_that_never_says_anything_is_a_sentence(
    run: Run, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers_module, "START_TIMEOUT_S", 0.05)

    async def test() -> None:
        async with scripted.workers("while True: hear()") as workers:
            with pytest.raises(SetupError, match="did not serve within"):
                await workers.start(snapshot())

    run(test())


def test_a_start_that_is_cancelled_leaves_nothing(run: Run, scripted: Scripted) -> None:
    async def test() -> None:
        async with scripted.workers("while True: hear()") as workers:
            starting = asyncio.get_running_loop().create_task(workers.start(snapshot()))
            while len(workers._living) < 2 or not all(worker.pid for worker in workers._living):  # noqa: ASYNC110
                await asyncio.sleep(0)
            starting.cancel()
            await asyncio.wait({starting})
            assert workers._living == []

    run(test())


def test_one_that_dies_again_and_again_is_replaced_with_growing_waits(
    run: Run, scripted: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    """Four that serve and die, one that does not even serve, and one that stays."""
    script = """
number = tried()
if number == 4:
    os._exit(3)
serve()
if number < 4:
    os._exit(4)
while True:
    hear()
"""

    async def test() -> None:
        async with scripted.workers(script) as workers:
            await workers.start(snapshot(workers=1))
            while caplog.text.count("a worker took its place") < 4:  # noqa: ASYNC110
                await asyncio.sleep(0)
        assert scripted.waits == [1, 2, 3, 4, 5]
        assert caplog.text.count("a worker ended with exit code 4; another takes its place") == 4
        assert "a worker could not be started: A worker ended with exit code 3 before it served" in caplog.text

    with caplog.at_level(logging.INFO, "ezai"):
        run(test())


def test_a_reload_that_the_first_refuses_changes_nothing(run: Run, scripted: Scripted) -> None:
    script = """
serve()
while True:
    order = hear()
    if order["type"] == "Serve":
        say(type="Refused", number=order["number"], sentence="Not that.")
"""

    async def test() -> None:
        async with scripted.workers(script) as workers:
            await workers.start(snapshot())
            before = list(workers._living)
            with pytest.raises(SetupError, match="Not that"):
                await workers.use(snapshot(2))
            assert scripted.released == [2]
            assert workers._living == before

    run(test())


def test_one_that_refuses_what_another_took_is_replaced(
    run: Run, scripted: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    script = """
number = tried()
serve(str(number))
while True:
    order = hear()
    if number != 1 and order["type"] == "Serve":
        say(type="Serving", number=order["number"], models=["m"])
        say(type="Released", number=order["number"] - 1)
    elif order["type"] == "Serve":
        say(type="Refused", number=order["number"], sentence="Not that.")
"""

    async def test() -> None:
        async with scripted.workers(script) as workers:
            await workers.start(snapshot())
            workers._living.sort(key=lambda worker: worker.models)  # whoever was ready first: 1 is the one that refuses
            before = list(workers._living)
            await workers.use(snapshot(2))
            while "a worker took its place" not in caplog.text:  # noqa: ASYNC110
                await asyncio.sleep(0)
            assert workers._living != before
            assert {number for worker in workers._living for number in worker.snapshots} == {2}

    with caplog.at_level(logging.INFO, "ezai"):
        run(test())


def test_one_that_dies_during_a_reload_is_no_refusal(run: Run, scripted: Scripted) -> None:
    script = """
number = tried()
serve()
while True:
    order = hear()
    if order["type"] == "Serve":
        if number == 0:
            os._exit(5)
        say(type="Serving", number=order["number"], models=["m"])
        say(type="Released", number=order["number"] - 1)
"""

    async def test() -> None:
        async with scripted.workers(script) as workers:
            await workers.start(snapshot())
            await workers.use(snapshot(2))
            while sum(2 in worker.snapshots for worker in workers._living) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0)
            assert scripted.released == [1]

    run(test())


def test_a_reload_that_none_survives_is_refused_and_they_come_back_with_the_former(
    run: Run, scripted: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    script = """
serve()
while True:
    if hear()["type"] == "Serve":
        os._exit(5)
"""

    async def test() -> None:
        async with scripted.workers(script) as workers:
            await workers.start(snapshot())
            with pytest.raises(SetupError, match="No worker came to serve by it"):
                await workers.use(snapshot(2))
            while caplog.text.count("a worker took its place") < 2:  # noqa: ASYNC110
                await asyncio.sleep(0)
            assert [worker.snapshots for worker in workers._living] == [{1}, {1}]
            assert scripted.released == [2]

    with caplog.at_level(logging.INFO, "ezai"):
        run(test())


def test_those_that_do_not_go_are_cut(run: Run, scripted: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers_module, "GOING_S", 0.02)

    async def test() -> None:
        async with scripted.workers("serve()\nwhile True: hear()") as workers:
            await workers.start(snapshot())
            stopping = Stopping()
            stopping.advance(Stage.CUTTING)
            await workers.stop(stopping)
            assert len(workers._living) == 2

    run(test())
