"""What `EmbeddedChild` promises, with children that are a few lines of script."""

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from ezai.errors import SetupError
from ezai.supervise import embedded
from ezai.supervise.embedded import EmbeddedChild, EmbeddedSettings
from ezai.upstreams.embedded import EmbeddedEndpoint
from tests.supervise.processes import watched

Run = Callable[[Coroutine[Any, Any, None]], None]

SECRET_PATH = Path("/somewhere/secret-file.gguf")
SETTINGS = EmbeddedSettings(SECRET_PATH, context_tokens=100, slots=2)

# A child that says it is ready, at a port that is its own process number, and lives while its stdin does.
OBEDIENT = """
print('{"address": "127.0.0.1", "port": %d, "context": 64}' % os.getpid(), flush=True)
while sys.stdin.read(1): pass
"""
STUBBORN = """
print('{"address": "127.0.0.1", "port": %d, "context": 64}' % os.getpid(), flush=True)
while True: signal.pause()
"""


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    def run_in_its_loop(main: Coroutine[Any, Any, None]) -> None:
        factory = uvloop.new_event_loop if request.param == "uvloop" else None
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main)

    return run_in_its_loop


class Backoff:
    """In place of sleeping: notes each wait, and lets it end when the test says so."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self._reached = asyncio.Event()
        self._over = asyncio.Event()

    async def sleep(self, delay_s: float) -> None:
        self.waits.append(delay_s)
        self._reached.set()
        await self._over.wait()
        self._over.clear()

    async def reached(self) -> None:
        """Return when a wait has begun: the child is down, and noticed to be."""
        await self._reached.wait()
        self._reached.clear()

    def end_wait(self) -> None:
        self._over.set()


async def _no_wait(delay_s: float) -> None:
    """A backoff that is over at once."""


def child_of(
    script: str,
    *,
    start_timeout_s: float = 60,
    sleep: Callable[[float], Awaitable[None]] = _no_wait,
    now: Callable[[], float] = lambda: 0.0,
    stopped_look_s: float = 3600,
) -> EmbeddedChild:
    head = "import json, os, signal, sys\nsettings = json.loads(sys.stdin.buffer.readline())\n"
    return EmbeddedChild(
        SETTINGS,
        command=(sys.executable, "-I", "-S", "-c", head + script),
        start_timeout_s=start_timeout_s,
        sleep=sleep,
        now=now,
        stopped_look_s=stopped_look_s,
    )


def endpoint_of(child: EmbeddedChild) -> EmbeddedEndpoint | None:
    """The endpoint now; the type checker would take what it was before for what it is."""
    return child.endpoint


def pid_of(child: EmbeddedChild) -> int:
    assert child.pid is not None
    return child.pid


# Starting.


def test_a_child_that_is_ready_can_be_reached(run: Run) -> None:
    async def main() -> None:
        child = child_of(OBEDIENT)
        assert endpoint_of(child) is None
        await child.start()
        try:
            endpoint = endpoint_of(child)
            assert endpoint is not None
            assert endpoint.base_url == f"http://127.0.0.1:{child.pid}"
            assert len(endpoint.api_key) >= 40
            assert await child.ready() == endpoint
            assert child.context_tokens == 64, "the model was trained with less than asked for"
        finally:
            await child.aclose()

    run(main())


def test_the_child_is_told_what_to_run(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        child = child_of(f"open({str(tmp_path / 'told')!r}, 'w').write(json.dumps(settings))\n{OBEDIENT}")
        await child.start()
        assert child.endpoint is not None
        told = json.loads((tmp_path / "told").read_text())
        assert told == {
            "parent_pid": os.getpid(),
            "model_path": str(SECRET_PATH),
            "context": 100,
            "slots": 2,
            "threads": 0,
            "api_key": child.endpoint.api_key,
        }
        await child.aclose()

    run(main())


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("""print('{"error": "load_failed"}')""", "could not be loaded: the file is damaged"),
        ("""print('{"error": "runtime_missing"}')""", "xllamacpp, is not installed"),
        ("""print('{"error": "something of later"}')""", "could not be loaded"),
        ("print('Traceback, or whatever')", "ended with exit code 0 before it was ready"),
        ("sys.exit(3)", "ended with exit code 3 before it was ready"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "was ended by SIGSEGV before it was ready"),
        ("os.kill(os.getpid(), signal.SIGRTMIN + 3)", r"was ended by signal \d+ before it was ready"),
    ],
)
def test_a_child_that_does_not_come_up_is_a_sentence(script: str, sentence: str, run: Run) -> None:
    async def main() -> None:
        child = child_of(f"print(settings['model_path'], file=sys.stderr)\n{script}")
        with pytest.raises(SetupError, match=sentence) as refusal:
            await child.start()
        assert "secret" not in str(refusal.value)
        assert str(refusal.value).endswith(".")
        assert child.endpoint is None
        await child.aclose()

    run(main())


def test_a_child_that_is_never_ready(run: Run) -> None:
    async def main() -> None:
        child = child_of("while sys.stdin.read(1): pass", start_timeout_s=0.01)
        with pytest.raises(SetupError, match=r"not ready within 0\.01 s"):
            await child.start()
        await child.aclose()

    run(main())


def test_a_child_that_cannot_be_started_at_all(run: Run) -> None:
    async def main() -> None:
        child = EmbeddedChild(SETTINGS, command=("/nonexistent/program",))
        with pytest.raises(SetupError, match=r"No process could be made .* \(No such file or directory\)"):
            await child.start()
        await child.aclose()

    run(main())


def test_a_start_that_is_cancelled_leaves_no_process(run: Run, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "alive")

    async def main() -> None:
        child = child_of(f"held = open({str(tmp_path / 'alive')!r}, 'w')\nwhile sys.stdin.read(1): pass")
        starting = asyncio.get_running_loop().create_task(child.start())
        # Opening waits until the child has opened the other end; reading, until no one holds it.
        alive = await asyncio.to_thread(open, tmp_path / "alive")
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        with alive:
            assert alive.read() == ""
        await child.aclose()

    run(main())


# Dying.


def test_a_child_that_dies_is_started_again(run: Run) -> None:
    async def main() -> None:
        backoff = Backoff()
        child = child_of(OBEDIENT, sleep=backoff.sleep)
        await child.start()
        before = endpoint_of(child)
        assert before is not None
        os.kill(pid_of(child), signal.SIGKILL)
        await backoff.reached()
        assert endpoint_of(child) is None
        assert child.pid is None
        assert child.context_tokens == 64
        backoff.end_wait()
        after = await child.ready()
        assert after is not None
        assert after == endpoint_of(child)
        assert after.base_url != before.base_url
        assert after.api_key != before.api_key
        await child.aclose()

    run(main())


def test_the_wait_grows_until_a_child_has_run_well(run: Run) -> None:
    async def main() -> None:
        now_s = 0.0
        backoff = Backoff()
        child = child_of(OBEDIENT, sleep=backoff.sleep, now=lambda: now_s)
        await child.start()
        for ran_for_s in (0, 59, 1, 60, 1):
            now_s += ran_for_s
            os.kill(pid_of(child), signal.SIGKILL)
            await backoff.reached()
            backoff.end_wait()
            await child.ready()
        assert backoff.waits == [0.5, 1, 2, 0.5, 1]
        await child.aclose()

    run(main())


def test_a_child_that_fails_to_come_back_is_tried_again(run: Run, tmp_path: Path) -> None:
    # It comes up the first time and the fourth.
    script = f"""
count = open({str(tmp_path / "count")!r}, "a")
count.write("x")
count.close()
if 1 < os.path.getsize({str(tmp_path / "count")!r}) < 4: sys.exit(1)
{OBEDIENT}"""

    async def main() -> None:
        backoff = Backoff()
        child = child_of(script, sleep=backoff.sleep)
        await child.start()
        os.kill(pid_of(child), signal.SIGKILL)
        for _ in range(3):
            await backoff.reached()
            backoff.end_wait()
        assert await child.ready() is not None
        assert backoff.waits == [0.5, 1, 2]
        await child.aclose()

    run(main())


# Ending.


def test_closing_ends_the_process(run: Run) -> None:
    async def main() -> None:
        child = child_of(OBEDIENT)
        await child.start()
        with watched(pid_of(child)) as process:
            await child.aclose()
            assert process.ended
        await child.aclose()
        assert child.endpoint is None
        assert await child.ready() is None

    run(main())


def test_closing_right_after_the_start_ends_the_process(run: Run) -> None:
    async def main() -> None:
        child = child_of(OBEDIENT)
        await child.start()
        pid = pid_of(child)
        await child.aclose()
        with pytest.raises(ProcessLookupError):  # not even a zombie
            os.kill(pid, 0)

    run(main())


def test_a_child_that_does_not_listen_is_killed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "END_GRACE_S", 0.01)

    async def main() -> None:
        child = child_of(STUBBORN)
        await child.start()
        with watched(pid_of(child)) as process:
            await child.aclose()
            assert process.ended

    run(main())


def test_closing_while_the_child_is_down_releases_those_who_wait(run: Run) -> None:
    async def main() -> None:
        backoff = Backoff()
        child = child_of(OBEDIENT, sleep=backoff.sleep)
        await child.start()
        os.kill(pid_of(child), signal.SIGKILL)
        await backoff.reached()
        waiting = asyncio.get_running_loop().create_task(child.ready())
        await asyncio.sleep(0)
        await child.aclose()
        assert await waiting is None

    run(main())


def test_closing_while_the_child_comes_back_ends_it(run: Run, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "alive")
    script = f"""
if os.path.exists({str(tmp_path / "second")!r}):
    held = open({str(tmp_path / "alive")!r}, "w")
    while sys.stdin.read(1): pass
open({str(tmp_path / "second")!r}, "w").close()
{OBEDIENT}"""

    async def main() -> None:
        child = child_of(script)
        await child.start()
        os.kill(pid_of(child), signal.SIGKILL)
        alive = await asyncio.to_thread(open, tmp_path / "alive")
        await child.aclose()
        with alive:
            assert alive.read() == ""

    run(main())


# What is logged.


def test_paths_are_logged_at_debug_level_alone(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="ezai.supervise")

    async def main() -> None:
        backoff = Backoff()
        child = child_of(f"print(settings['model_path'], file=sys.stderr)\n{OBEDIENT}", sleep=backoff.sleep)
        await child.start()
        os.kill(pid_of(child), signal.SIGKILL)
        await backoff.reached()
        await child.aclose()

    run(main())
    told = [record for record in caplog.records if record.name == "ezai.supervise"]
    assert any("secret-file" in record.getMessage() for record in told)
    for record in told:
        assert record.levelno == logging.DEBUG or "secret-file" not in record.getMessage()


def test_the_tail_of_a_long_log_is_kept(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="ezai.supervise")

    async def main() -> None:
        child = child_of("sys.stderr.write('x' * 1_000_000 + 'the end')\nsys.stderr.flush()\nsys.exit(1)")
        with pytest.raises(SetupError):
            await child.start()
        await child.aclose()

    run(main())
    (words,) = (r.getMessage() for r in caplog.records if r.levelno == logging.DEBUG and r.name == "ezai.supervise")
    assert words.endswith("the end")
    assert len(words) < 20_000


# Stopped.


def test_a_child_that_is_stopped_for_long_is_ended_and_started_again(run: Run) -> None:
    async def main() -> None:
        child = child_of(OBEDIENT, stopped_look_s=0.01)
        await child.start()
        changes: asyncio.Queue[EmbeddedEndpoint | None] = asyncio.Queue()
        child.subscribe(lambda: changes.put_nowait(child.endpoint))
        before = pid_of(child)
        os.kill(before, signal.SIGSTOP)
        assert await changes.get() is None
        assert await changes.get() == endpoint_of(child)
        assert pid_of(child) != before
        await child.aclose()

    run(main())


def test_a_child_that_is_continued_lives_on(run: Run) -> None:
    async def main() -> None:
        child = child_of(OBEDIENT, stopped_look_s=3600)
        await child.start()
        life = child._life
        assert life is not None
        assert not life.is_stopped()
        os.kill(pid_of(child), signal.SIGSTOP)
        while not life.is_stopped():  # noqa: ASYNC110  # nothing tells of it
            await asyncio.sleep(0)
        assert life.is_stopped(), "looking changes nothing"
        os.kill(pid_of(child), signal.SIGCONT)
        while life.is_stopped():  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert child.endpoint is not None
        await child.aclose()
        assert not life.is_stopped()

    run(main())
