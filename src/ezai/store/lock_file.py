"""One process at a time, for what is made once: the root secret, the schema."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def held_alone(path: Path) -> Iterator[None]:
    """Hold the lock file beside `path`; waits for whoever holds it. The lock ends with the process, however it ends.

    Raises `OSError` where the file cannot be made.
    """
    if sys.platform == "win32":
        # There is no lock of this kind. SQLite's own still lets one migration after the other.
        yield
        return
    import fcntl

    descriptor = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
