"""A program on a terminal: a real pseudo-terminal, whose output an emulator draws as a person would see it."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pyte

from tests.gateway_process import clean_environment

WAIT_S = 60
CTRL_C, CTRL_D, ENTER = "\x03", "\x04", "\r"

# The terminal has to be the controlling one, so that Ctrl-C is a signal; a shell may have ignored that for the tests.
_AS_A_SHELL_STARTS_IT = (
    "import os, signal; os.login_tty(0); signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from ezai.cli import main; raise SystemExit(main())"
)


class Terminal:
    """What `ezai` with these arguments shows, and what is typed at it."""

    def __init__(self, arguments: Sequence[str], rows: int, columns: int, **environment: str) -> None:
        self._master, slave = os.openpty()
        self._emulated = pyte.HistoryScreen(columns, rows, history=10_000, ratio=0.5)
        self._stream = pyte.ByteStream(self._emulated)
        self.output = b""
        """Every byte that was written to the terminal."""
        self.resize(rows, columns)
        self.process = subprocess.Popen(
            [sys.executable, "-c", _AS_A_SHELL_STARTS_IT, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=clean_environment(**{"TERM": "xterm-256color", **environment}),
        )
        os.close(slave)

    def resize(self, rows: int, columns: int) -> None:
        """Make the window larger or smaller; the program is told as it always is."""
        self._emulated.resize(rows, columns)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def lines(self) -> list[str]:
        """What has scrolled away and what is on the screen, top to bottom, without empty lines at the end."""
        columns = self._emulated.columns
        above = ["".join(row[place].data for place in range(columns)) for row in self._emulated.history.top]
        lines = [line.rstrip() for line in (*above, *self._emulated.display)]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def style_of(self, text: str) -> pyte.screens.Char:
        """How the first character of a text on the screen is drawn."""
        for row, line in enumerate(self._emulated.display):
            if (column := line.find(text)) >= 0:
                return self._emulated.buffer[row][column]
        raise AssertionError(f"{text!r} is not on the screen:\n" + "\n".join(self.lines()))

    def cursor_is_shown(self) -> bool:
        return not self._emulated.cursor.hidden

    def wait_for(self, wanted: str | Callable[[list[str]], bool]) -> list[str]:
        """The lines, once a text is in them or the condition holds for them."""
        deadline = time.monotonic() + WAIT_S
        while True:
            lines = self.lines()
            if any(wanted in line for line in lines) if isinstance(wanted, str) else wanted(lines):
                return lines
            if not self._read(deadline - time.monotonic()):
                raise AssertionError(f"{wanted!r} did not come:\n" + "\n".join(lines))

    def exit_status(self) -> int:
        """Read to the end; its exit status."""
        deadline = time.monotonic() + WAIT_S
        while self._read(deadline - time.monotonic()):
            pass
        return self.process.wait(WAIT_S)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)

    def _read(self, timeout_s: float) -> bool:
        """Take in what comes next; False at the end, or when nothing comes."""
        if not select.select([self._master], [], [], max(0.0, timeout_s))[0]:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # Linux says so when nobody has the other side open any more
            return False
        self.output += data
        self._stream.feed(data)
        return bool(data)


@contextmanager
def terminal(*arguments: str, rows: int = 24, columns: int = 80, **environment: str) -> Iterator[Terminal]:
    """`ezai ARGUMENTS` on a terminal of that size, gone at the end of the block."""
    started = Terminal(arguments, rows, columns, **environment)
    try:
        yield started
    finally:
        started.close()
