"""A clock that is moved by hand, and a transport that only remembers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ezai.ports import Watcher


class FakeClock:
    """Implements `Clock`. Time stands still until `advance`."""

    def __init__(self) -> None:
        self.time_s = 1000.0
        self.watchers: list[Watcher] = []

    def now(self) -> float:
        return self.time_s

    def epoch(self) -> float:
        return 1.7e9 + self.time_s

    def watch(self, watcher: Watcher) -> None:
        self.watchers.append(watcher)

    def unwatch(self, watcher: Watcher) -> None:
        if watcher in self.watchers:
            self.watchers.remove(watcher)

    def advance(self, seconds: float, *, tick: bool = False) -> None:
        self.time_s += seconds
        if tick:
            for watcher in list(self.watchers):
                watcher.check(self.time_s)


class FakeTransport(asyncio.Transport):
    """`unsent_bytes` is what it says about its write buffer; `connection_lost` is called by the test."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.calls: list[str] = []
        self.unsent_bytes = 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        self.writes.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return self.unsent_bytes

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")

    def abort(self) -> None:
        self.calls.append("abort")

    def is_closing(self) -> bool:
        return "abort" in self.calls
