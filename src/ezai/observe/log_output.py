"""Writing log lines without waiting for whoever reads them.

A pipe whose reader has stopped would otherwise stop the event loop at the first line that does not fit. What does not
fit waits, up to a limit, for a thread that is there only meanwhile; what is more is dropped, counted, and told of in
the log once it flows again.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import stat
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Protocol

MAX_WAITING_BYTES = 1024 * 1024
FLUSH_S = 1.0
"""How long the end of the process waits for a slow reader."""


class Way(Protocol):
    """A descriptor and how bytes are put into it without waiting."""

    descriptor: int

    def write(self, data: bytes) -> int:
        """How much of it was taken. Raises `BlockingIOError` where nothing can be, `OSError` where it never can."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class LogOutput(logging.Handler):
    """A handler for a descriptor of this process. Whatever its reader does, `emit` returns at once."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self.lost_lines = 0
        """That were dropped, since the start."""
        self._untold = 0
        self.descriptor = descriptor
        self._way = _way_to(descriptor)
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._pump: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Called under the handler's lock."""
        try:
            line = self._encoded(record)
        except Exception:  # noqa: BLE001  # as every handler of the library
            self.handleError(record)
            return
        if not self._waiting:
            line = self._written(line)
        if line:
            self._keep(line)

    def flush(self) -> None:
        """Wait, for a short time, until everything is written: at the end of the process. Not for the event loop."""
        until_s = time.monotonic() + FLUSH_S
        self.acquire()
        try:
            while self._waiting and (left_s := until_s - time.monotonic()) > 0:
                if self._has_room(left_s):
                    self._write_waiting()
        finally:
            self.release()

    def close(self) -> None:
        """Let go of the way, but not of the descriptor that was given."""
        super().close()
        self._way.close()

    def _encoded(self, record: logging.LogRecord) -> bytes:
        return (self.format(record) + "\n").encode("utf-8", "backslashreplace")

    def _written(self, line: bytes) -> bytes:
        """What of the line is still to be written; nothing where nobody will ever read it."""
        try:
            return line[self._way.write(line) :]
        except BlockingIOError:
            return line
        except OSError:
            self._drop()
            return b""

    def _keep(self, line: bytes) -> None:
        if self._waiting_bytes + len(line) > MAX_WAITING_BYTES:
            self._drop()
            return
        self._waiting.append(line)
        self._waiting_bytes += len(line)
        if self._pump is None:
            self._pump = threading.Thread(target=self._write_on, name="ezai-log", daemon=True)
            self._pump.start()

    def _drop(self) -> None:
        self.lost_lines += 1
        self._untold += 1

    def _has_room(self, timeout_s: float | None) -> bool:
        """Wait until something can be written, or never will be."""
        room = select.poll()
        room.register(self._way.descriptor, select.POLLOUT)
        return bool(room.poll(timeout_s and timeout_s * 1000))

    # In the thread.

    def _write_on(self) -> None:
        """Write what waits as there comes room for it, and end when nothing does."""
        is_over = False
        while not is_over:
            self._has_room(None)
            self.acquire()
            try:
                is_over = self._write_waiting()
            finally:
                self.release()

    def _write_waiting(self) -> bool:
        """Whether nothing waits any more."""
        while self._waiting:
            line = self._waiting[0]
            rest = self._written(line)
            self._waiting_bytes -= len(line) - len(rest)
            if rest:
                self._waiting[0] = rest
                return False
            self._waiting.popleft()
        if self._untold:
            self._waiting.append(self._told())
            self._waiting_bytes = len(self._waiting[0])
            return False
        self._pump = None
        return True

    def _told(self) -> bytes:
        """The line that tells of those that are missing."""
        lost, self._untold = self._untold, 0
        record = logging.LogRecord(
            "ezai.log", logging.WARNING, "", 0, "log lines were lost: nobody read them", (), None
        )
        record.fields = {"lines": lost}
        return self._encoded(record)


def _way_to(descriptor: int) -> Way:
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISSOCK(mode):
        return _Socket(descriptor)
    if stat.S_ISREG(mode):
        return _Descriptor(descriptor)  # a disk is waited for, as by everybody
    # A description of our own: to make the inherited one non-blocking would change it for all who share it.
    with suppress(OSError):
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        return _Descriptor(os.open(f"/proc/self/fd/{descriptor}", flags), is_own=True)
    return _Descriptor(descriptor)


class _Descriptor:
    def __init__(self, descriptor: int, *, is_own: bool = False) -> None:
        self.descriptor = descriptor
        self._is_own = is_own

    def write(self, data: bytes) -> int:
        return os.write(self.descriptor, data)

    def close(self) -> None:
        if self._is_own:
            self._is_own = False
            os.close(self.descriptor)


class _Socket:
    """systemd's journal: standard error is a stream socket there."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=os.dup(descriptor))
        self.descriptor = self._socket.fileno()

    def write(self, data: bytes) -> int:
        return self._socket.send(data, socket.MSG_DONTWAIT | getattr(socket, "MSG_NOSIGNAL", 0))

    def close(self) -> None:
        self._socket.close()
