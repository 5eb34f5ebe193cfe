"""Stdout for the time of a command: what cannot be written to it is told from every other failure."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import Any, TextIO, cast


class OutputError(Exception):
    """Stdout takes no more; `cause` says why.

    No `OSError`: argparse passes over those, rich leaves with a status of its own.
    """

    def __init__(self, cause: OSError) -> None:
        super().__init__(str(cause))
        self.cause = cause


@contextmanager
def guarded_stdout() -> Iterator[None]:
    """Within it, and at its end, what fails of stdout raises `OutputError`; a failure in flight goes before.

    Afterwards nothing is left to the flush at exit, of which nobody could catch anything.
    """
    stdout = sys.stdout
    if stdout is None:  # it was closed before the program began: what commands print goes nowhere
        with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
            yield
        return
    guarded = _Guarded(stdout)
    sys.stdout = cast(TextIO, guarded)
    try:
        yield
        guarded.flush()
    except SystemExit as leaving:
        if not leaving.code:
            guarded.flush()
        raise
    except BrokenPipeError as error:  # of another file; but stderr may go into the same pipe
        if _is_broken(stdout):
            raise OutputError(error) from error
        raise
    finally:
        sys.stdout = stdout
        drop_unwritten(stdout)
        drop_unwritten(sys.stderr)


def drop_unwritten(stream: TextIO | None) -> None:
    """Write what is pending; where it cannot be written, point the stream at nowhere."""
    if stream is None:
        return
    try:
        stream.flush()
    except OSError:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())


class _Guarded:
    """A stream whose `OSError` is an `OutputError`; in all else the stream itself."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            raise OutputError(error) from error

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            raise OutputError(error) from error


def _is_broken(stream: TextIO) -> bool:
    """Whether nobody has the other end open any more."""
    import select

    with suppress(OSError):  # it has no descriptor
        poll = select.poll()
        poll.register(stream.fileno(), 0)  # errors and hang-ups are told unasked
        return bool(poll.poll(0))
    return False
