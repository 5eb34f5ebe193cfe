"""Two files of records that are not in the database yet, beside it and under its name.

Records go to one of them while those of the other are brought into the database. Each is a line feed and its JSON,
appended in one write. What was written survives the end of the process, however it ends; nothing is flushed to the
disk, so the last records before a loss of power may be lost, as with a commit of the database
(`ezai.store.database.connect`). A record whose write was cut short is no JSON: who appended it was told so.

The pair belongs to whoever holds the lock of its first file, and the lock ends with the process. It is read and removed
as a whole, because the end of an attempt may stand in another file than its beginning. Where a system has no such lock
(Windows) nothing is found again.
"""

from __future__ import annotations

import errno
import glob
import logging
import os
import re
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from ezai.store.records import Record, decode_record, encode_record

logger = logging.getLogger("ezai.store")

_FIRST = re.compile(r"\.records-[0-9a-f]{8}\.a")


class JournalFiles:
    """One's own pair, empty at first. Raises `OSError` where it cannot be made."""

    def __init__(self, database: Path) -> None:
        self._first, descriptor = _make_first(database)
        self._second = self._first.with_suffix(".b")
        self._open = [descriptor]
        self._at = 0  # which of them is appended to
        try:
            os.fchmod(descriptor, database.stat().st_mode & 0o777)  # as SQLite has its own files
            self._open.append(os.open(self._second, _NEW, database.stat().st_mode & 0o777))
        except OSError:
            self.close(remove=True)
            raise

    def append(self, record: Record) -> None:
        """Add it at the end. Raises `OSError`; then the record counts for nothing."""
        line = b"\n" + encode_record(record)
        if os.write(self._open[self._at], line) != len(line):
            raise OSError(errno.ENOSPC, "the disk took only a part of it")  # as a second write would tell

    def change_places(self) -> None:
        """Append to the other file from now on, which must be clear."""
        self._at = 1 - self._at

    def clear_other(self) -> None:
        """Forget every record of the file that is not appended to. Raises `OSError`; waits for the disk."""
        os.ftruncate(self._open[1 - self._at], 0)

    def close(self, *, remove: bool) -> None:
        """Leave nothing, or the files to whoever finds them; the lock is let go of last."""
        if remove:
            for path in (self._second, self._first):
                with suppress(OSError):  # it is found, and removed, by the next start
                    path.unlink()
        for descriptor in reversed(self._open):
            os.close(descriptor)
        self._open.clear()


@contextmanager
def left_behind(database: Path) -> Iterator[list[Record]]:
    """The records of processes that have ended. Their files are removed at the exit, unless it fails.

    A pair with records that this program does not know stays whole, and the log says so. Raises `OSError`.
    """
    found: list[Record] = []
    taken: list[tuple[Path, int]] = []
    try:
        for first in _firsts(database):
            descriptor = _take(first)
            if descriptor is None:
                continue
            taken.append((first, descriptor))
            records = _read(first)
            if records is None:
                os.close(taken.pop()[1])
            else:
                found += records
        yield found
        for first, _ in taken:
            first.with_suffix(".b").unlink(missing_ok=True)
            first.unlink(missing_ok=True)
    finally:
        for _, descriptor in taken:
            os.close(descriptor)


_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND


def _firsts(database: Path) -> list[Path]:
    found = database.parent.glob(f"{glob.escape(database.name)}.records-*.a")
    return sorted(path for path in found if _FIRST.fullmatch(path.name, len(database.name)))


def _make_first(database: Path) -> tuple[Path, int]:
    while True:
        path = database.with_name(f"{database.name}.records-{secrets.token_hex(4)}.a")
        descriptor = os.open(path, _NEW, 0o600)
        try:
            _lock(descriptor, waits=True)
            if os.fstat(descriptor).st_nlink:
                return path, descriptor
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)  # somebody took it, before it was locked, for one that was left behind


def _take(first: Path) -> int | None:
    """The descriptor of a file that nobody holds; None where somebody does, or it is not for us to open."""
    try:
        descriptor = os.open(first, os.O_RDWR)
    except (FileNotFoundError, PermissionError):
        return None
    if _lock(descriptor, waits=False) and os.fstat(descriptor).st_nlink:
        return descriptor
    os.close(descriptor)
    return None


def _lock(descriptor: int, *, waits: bool) -> bool:
    if sys.platform == "win32":
        return waits
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if waits else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(first: Path) -> list[Record] | None:
    """The records of a pair; None where some of them are another program's."""
    records: list[Record] = []
    for path in (first, first.with_suffix(".b")):
        for line in path.read_bytes().split(b"\n") if path.exists() else ():
            try:
                if line:
                    records.append(decode_record(line))
            except msgspec.ValidationError:
                logger.error("%s: written by another version of EzAI; it is left as it is", path.name)
                return None
            except (msgspec.DecodeError, UnicodeDecodeError):
                logger.warning("%s: an incomplete record is left out", path.name)
    return records
