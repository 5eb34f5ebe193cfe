"""The side that asked, as the walk sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from ezai.pipeline.relay import Push
from ezai.ports import Headers
from ezai.protocol.end import Cause


class Head(msgspec.Struct, frozen=True):
    """Status and headers of the answer; the server adds `request-id` and framing."""

    status: int
    headers: Headers
    in_pieces: bool = False
    """Whether a body of unknown length follows, piece by piece."""
    alone: bool = False
    """Whether an `EarlyAnswer` sends it, before there is anything to follow it; then nobody else does."""


class Client(Protocol):
    """The side that asked."""

    async def start(self, head: Head) -> None:
        """Send status and headers. They may wait for the bytes that follow, unless `head.alone`."""
        ...

    async def send(self, batch: bytes) -> None:
        """Send bytes; returns when there is room for more, or when the client has left."""
        ...

    async def finish(self, last: bytes) -> None:
        """Send the last bytes and end the answer."""
        ...

    @property
    def push(self) -> Push | None:
        """Sends bytes at once and without waiting, while the answer runs; None where the server has no such way.

        Returns whether there is room for more. Where there is none, `send` waits for it.
        """
        ...

    def watch(self, left: Callable[[Cause], None]) -> None:
        """Call `left` with the reason when the client leaves, or has left already; until `unwatch`."""
        ...

    async def unwatch(self) -> None:
        """Stop watching. Harmless when nothing is watched."""
        ...
