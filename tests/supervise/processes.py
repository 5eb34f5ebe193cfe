"""Waiting for processes that are not our children, without polling them."""

import os
import select
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def watched(pid: int) -> Iterator["Watched"]:
    """Hold on to the process of this number, so that the number cannot come to mean another."""
    watched_process = Watched(os.pidfd_open(pid))
    try:
        yield watched_process
    finally:
        os.close(watched_process.descriptor)


class Watched:
    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def wait(self) -> None:
        """Return when the process has ended."""
        select.select([self.descriptor], [], [])

    @property
    def ended(self) -> bool:
        return bool(select.select([self.descriptor], [], [], 0)[0])
