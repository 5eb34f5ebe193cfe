"""A file of records that are not in the database yet, beside it and under its name.

Each record is a line feed and its JSON, appended in one write. What was written survives the end of the process,
however it ends; nothing is flushed to the disk, so the last records before a loss of power may be lost, as with a
commit of the database (`ezai.store.database.connect`). A record whose write was cut short is no JSON: who appended it
was told so.

A file belongs to whoever holds its lock, and the lock ends with the process.
"""

from __future__ import annotations

import logging
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from ezai.store.records import Record, decode_record, encode_record

logger = logging.getLogger("ezai.store")

_INFIX = ".journal-"


class JournalFile:
    """One's own file, empty at first. Raises `OSError` where it cannot be made."""

    def __init__(self, database: Path) -> None:
        self.path, self._descriptor = _make(database)

    def append(self, record: Record) -> None:
        """Add it at the end. Raises `OSError`; then the record counts for nothing."""
        line = b"\n" + encode_record(record)
        if os.write(self._descriptor, line) != len(line):
            raise OSError(28, "the disk took only a part of it")  # ENOSPC, as a second write would tell

    def clear(self) -> None:
        """Forget every record. Raises `OSError`."""
        os.ftruncate(self._descriptor, 0)

    def close(self) -> None:
        """Leave the file to whoever finds it."""
        os.close(self._descriptor)

    def remove(self) -> None:
        """Leave nothing."""
        self.path.unlink(missing_ok=True)
        self.close()


@contextmanager
def left_behind(database: Path) -> Iterator[list[Record]]:
    """The records in the files of processes that have ended. The files are removed at the exit, unless it fails.

    One with records that this program does not know stays, and the log says so. Raises `OSError`.
    """
    found: list[Record] = []
    taken: list[tuple[Path, int]] = []
    try:
        for path in sorted(database.parent.glob(f"{database.name}{_INFIX}*")):
            descriptor = _take(path)
            if descriptor is not None:
                taken.append((path, descriptor))
                if not _read(path, found):
                    os.close(taken.pop()[1])
        yield found
        for path, _ in taken:
            path.unlink(missing_ok=True)
    finally:
        for _, descriptor in taken:
            os.close(descriptor)


def _make(database: Path) -> tuple[Path, int]:
    while True:
        path = database.with_name(f"{database.name}{_INFIX}{secrets.token_hex(4)}")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        _lock(descriptor, waits=True)
        if os.fstat(descriptor).st_nlink:
            return path, descriptor
        os.close(descriptor)  # somebody took it, before it was locked, for one that was left behind


def _take(path: Path) -> int | None:
    """The descriptor of a file that nobody holds; None where somebody does."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return None  # another one was faster
    if _lock(descriptor, waits=False) and os.fstat(descriptor).st_nlink:
        return descriptor
    os.close(descriptor)
    return None


def _lock(descriptor: int, *, waits: bool) -> bool:
    if sys.platform == "win32":
        return waits  # there is no such lock: nothing that another process made is touched
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if waits else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(path: Path, found: list[Record]) -> bool:
    """Add what is in the file to what was found; whether all of it could be read."""
    records: list[Record] = []
    for line in path.read_bytes().split(b"\n"):
        try:
            if line:
                records.append(decode_record(line))
        except msgspec.ValidationError:
            logger.error("%s: written by another version of EzAI; it is left as it is", path.name)
            return False
        except (msgspec.DecodeError, UnicodeDecodeError):
            logger.warning("%s: the last words of a process that was cut short are left out", path.name)
    found += records
    return True
