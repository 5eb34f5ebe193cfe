"""Signals of a real process: a terminal that goes away, and one that nobody may hang up."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.gateway_process import clean_environment

ON_A_TERMINAL = """
import fcntl, os, signal, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
if sys.argv[1] == "nohup":
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
os.execv(sys.executable, [sys.executable, "-m", "ezai", "serve", "--config", sys.argv[2]])
"""


class OnATerminal:
    """A gateway whose terminal is `terminal`, as a shell starts one; it logs to a pipe."""

    def __init__(self, folder: Path, way: str) -> None:
        config = folder / "ezai.toml"
        config.write_text('[server]\nport = 0\n[[upstreams]]\nname = "u"\nkind = "openai"\nbase_url = "http://h"\n')
        self.terminal, inner = os.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", ON_A_TERMINAL, way, str(config)],
            env=clean_environment(EZAI_DATA_DIR=str(folder)),
            stdin=inner,
            stdout=inner,
            stderr=subprocess.PIPE,
            text=True,
        )
        os.close(inner)
        assert self.process.stderr is not None
        self.log = self.process.stderr
        self.url = self.until(r"is ready at (http://\S+)")[1]

    def until(self, pattern: str) -> re.Match[str]:
        for line in self.log:
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"it ended without {pattern}")

    def hang_up(self) -> None:
        os.close(self.terminal)
        self.terminal = -1


@contextmanager
def on_a_terminal(folder: Path, way: str) -> Iterator[OnATerminal]:
    made = OnATerminal(folder, way)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.communicate()
        if made.terminal >= 0:
            made.hang_up()


def test_it_ends_with_its_terminal(tmp_path: Path) -> None:
    """SIGHUP is a reload, but a window that was closed must not leave a gateway behind."""
    with on_a_terminal(tmp_path, "shell") as gateway:
        gateway.hang_up()
        gateway.until('"message":"stopping"')
        assert gateway.process.wait(30) == 0


def test_with_its_terminal_there_a_hangup_signal_is_a_reload(tmp_path: Path) -> None:
    with on_a_terminal(tmp_path, "shell") as gateway:
        gateway.process.send_signal(signal.SIGHUP)
        gateway.until('"message":"the configuration was reloaded"')
        assert httpx2.get(f"{gateway.url}/readyz", trust_env=False).status_code == 200


def test_under_nohup_it_outlives_its_terminal(tmp_path: Path) -> None:
    with on_a_terminal(tmp_path, "nohup") as gateway:
        gateway.hang_up()
        gateway.until('"message":"the configuration was reloaded"')
        assert httpx2.get(f"{gateway.url}/readyz", trust_env=False).status_code == 200
        gateway.process.terminate()
        assert gateway.process.wait(30) == 0


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_at_the_terminal_ends_it(times: int, tmp_path: Path) -> None:
    """The terminal sends SIGINT to the whole foreground group: master, workers and the model's process."""
    with on_a_terminal(tmp_path, "shell") as gateway:
        assert fcntl.ioctl(gateway.terminal, termios.TIOCGPGRP, bytes(4)) != bytes(4)
        os.write(gateway.terminal, b"\x03" * times)
        gateway.until('"message":"stopping"')
        assert gateway.process.wait(30) == 0
        assert "Traceback" not in gateway.log.read()
