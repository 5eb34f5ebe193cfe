"""The gateway as its users have it: `ezai serve`, in a process of its own. For Linux: it looks at /proc and pidfds."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar, cast

import httpx2
import msgspec

from tests import canary
from tests.model_fixture import REPOSITORY_DATA_DIR
from tests.supervise.processes import watched

T = TypeVar("T")

START_TIMEOUT_S = 60
EXIT_TIMEOUT_S = 30
LOG_TIMEOUT_S = 30
METRICS_TIMEOUT_S = 30
LOG_TAIL_LINES = 20_000

_BANNER = re.compile(r"EzAI \S+ is ready at (https?://127\.0\.0\.1:\d+)$")
_ENDING = (signal.SIGTERM, signal.SIGINT)
_INHERITED = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH")


def clean_environment(**variables: str) -> dict[str, str]:
    """What a program needs to run at all, and `variables`: no key, proxy or setting of whoever runs the tests."""
    return {name: os.environ[name] for name in _INHERITED if name in os.environ} | variables


def child_pids(pid: int) -> list[int]:
    """The living processes whose parent is `pid`."""
    return [
        int(status.parent.name)
        for status in Path("/proc").glob("[0-9]*/status")
        if (text := _read_status(status)) and f"\nPPid:\t{pid}\n" in text and "\nState:\tZ" not in text
    ]


def _announced_url(line: str) -> str | None:
    return found[1] if (found := _BANNER.search(line)) else None


def _record(line: str) -> dict[str, Any]:
    """A log line as its fields; of what is no log line, none."""
    return cast(dict[str, Any], msgspec.json.decode(line)) if line.startswith("{") else {}


def _read_status(status: Path) -> str:
    try:
        return status.read_text()
    except (FileNotFoundError, ProcessLookupError):  # it ended between the listing and the look
        return ""


class GatewayProcess:
    """A running `ezai serve` on a free port, from its banner on. Made by `running_gateway`."""

    def __init__(self, config: Path | None, environment: Mapping[str, str], prefix: Sequence[str] = ()) -> None:
        command = [*prefix, sys.executable, "-m", "ezai", "serve", "--port", "0"]
        self._process = subprocess.Popen(
            command if config is None else [*command, "--config", str(config)],
            env=clean_environment(**{"EZAI_DATA_DIR": str(REPOSITORY_DATA_DIR), "EZAI_LOG": "debug", **environment}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._lines: deque[str] = deque(maxlen=LOG_TAIL_LINES)
        self._line_count = 0
        self._log_ended = False
        self._arrived = threading.Condition()
        self.reads_log = threading.Event()
        """Cleared by a test, its log is read no more, and the pipe fills up."""
        self.reads_log.set()
        self._reader = threading.Thread(target=self._read_log, name="gateway-log", daemon=True)
        self._reader.start()
        self.pid = self._process.pid
        self.url = ""
        self.was_ended = False
        """Whether a test has ended it; one that ended by itself has not been."""
        self._was_told_to_end = False

    def wait_ready(self) -> None:
        """Return when the banner is there, and with it `url`."""
        self.url = self._wait_for(_announced_url, "its banner", START_TIMEOUT_S)

    # Its log.

    def log_text(self) -> str:
        """What it wrote to stderr, or the end of it."""
        with self._arrived:
            return "".join(self._lines)

    def wait_for_log(self, message: str, *, times: int = 1, **fields: object) -> dict[str, Any]:
        """The log line of that message and those fields, as soon as it is there; or the last of so many."""
        wanted = {"message": message, **fields}

        def find(line: str) -> dict[str, Any] | None:
            record = _record(line)
            return record if wanted.items() <= record.items() else None

        return self._wait_for(find, f"a line {wanted}", LOG_TIMEOUT_S, times)

    def wait_for_text(self, text: str) -> None:
        """Return when the log holds it."""
        self._wait_for(lambda line: text in line or None, text, LOG_TIMEOUT_S)

    def _wait_for(self, find: Callable[[str], T | None], wanted: str, timeout_s: float, times: int = 1) -> T:
        """What `find` makes of the first line of which it makes something, or of the last of so many."""
        deadline = time.monotonic() + timeout_s
        found: list[T] = []
        seen = 0
        with self._arrived:
            while True:
                new = min(self._line_count - seen, len(self._lines))
                seen = self._line_count
                lines = islice(self._lines, len(self._lines) - new, None)
                found += [made for line in lines if (made := find(line)) is not None]
                if len(found) >= times:
                    return found[times - 1]
                left_s = deadline - time.monotonic()
                if self._log_ended or left_s <= 0:
                    why = "The gateway ended" if self._log_ended else f"{timeout_s} s passed"
                    had = f", {len(found)} of {times} times" if times > 1 else ""
                    raise AssertionError(f"{why} without {wanted}{had}. Its log:\n{''.join(self._lines)}")
                self._arrived.wait(left_s)

    def _read_log(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.reads_log.wait()
            canary.WATCH.look("the log of a gateway process", line)
            with self._arrived:
                self._lines.append(line)
                self._line_count += 1
                self._arrived.notify_all()
        with self._arrived:
            self._log_ended = True
            self._arrived.notify_all()

    # Its end.

    def embedded_child_pid(self) -> int:
        """The one process that it has beside itself."""
        (pid,) = child_pids(self.pid)
        return pid

    def send_signal(self, number: signal.Signals) -> None:
        """Send it, and before one that ends or replaces the process let the watch look at what that has counted."""
        if number in (*_ENDING, signal.SIGUSR2):
            self._show_metrics()
        self._was_told_to_end |= number in _ENDING
        self._process.send_signal(number)

    def _show_metrics(self) -> None:
        """Not of one that is gone, or was told to end: its door is shut, and it was looked at before."""
        if self._was_told_to_end or self._process.poll() is not None:
            return
        page = httpx2.get(f"{self.url}/metrics", verify=False, trust_env=False, timeout=METRICS_TIMEOUT_S)
        assert page.status_code == 200, page.text
        canary.WATCH.look("the metrics of a gateway process", page.content)

    def exit_status(self) -> int:
        """Its exit status, negative for a signal, once it has ended."""
        self.was_ended = True
        try:
            status = self._process.wait(EXIT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"The gateway did not end within {EXIT_TIMEOUT_S} s; {self.log_text()}") from None
        self.reads_log.set()
        self._reader.join()
        assert self._process.stderr is not None
        self._process.stderr.close()
        return status

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it as an operator does. It has to go with status 0, and all that it started has to be gone before it."""
        with ExitStack() as watches:
            children = [watches.enter_context(watched(pid)) for pid in child_pids(self.pid)]
            self.send_signal(number)
            assert self.exit_status() == 0, self.log_text()
            assert all(child.ended for child in children), "the gateway left a process behind"

    def kill(self) -> None:
        """End it as nothing can be guarded against: SIGKILL."""
        self._show_metrics()
        self.kill_now()

    def kill_now(self) -> None:
        """The same of one that may not answer any more."""
        self._process.kill()
        self.exit_status()


@contextmanager
def running_gateway(
    config: Path | None = None, *, prefix: Sequence[str] = (), **environment: str
) -> Iterator[GatewayProcess]:
    """A gateway that is ready; stopped at the end unless the test ended it, killed where the test failed.

    `prefix` is a command that becomes the one that follows it.
    """
    gateway = GatewayProcess(config, environment, prefix)
    try:
        gateway.wait_ready()
        yield gateway
        if not gateway.was_ended:
            gateway.stop()
    except BaseException:
        gateway.kill_now()
        raise
