"""An upstream's answer that is no stream, while it comes."""

from __future__ import annotations

from ezai.errors import UpstreamMalformed
from ezai.ports import Exchange


class ComingBody:
    """What has come of a body so far.

    Reading raises `UpstreamMalformed` above the limit, and whatever broke the exchange; a cancellation loses nothing.
    """

    __slots__ = ("_chunks", "_limit_bytes", "_parts", "is_whole", "size")

    def __init__(self, exchange: Exchange, limit_bytes: int) -> None:
        self._chunks = exchange.chunks()
        self._limit_bytes = limit_bytes
        self._parts: list[bytes] = []
        self.size = 0
        self.is_whole = False

    async def read_some(self) -> None:
        """Return once there is more of it, or no more."""
        try:
            chunk = await anext(self._chunks)
        except StopAsyncIteration:
            self.is_whole = True
            return
        self.size += len(chunk)
        if self.size > self._limit_bytes:
            raise UpstreamMalformed(f"The upstream's answer is larger than {self._limit_bytes} bytes.")
        self._parts.append(chunk)

    async def read_all(self) -> None:
        """Return once it is whole."""
        while not self.is_whole:
            await self.read_some()

    def taken(self) -> bytes:
        """What there is of it."""
        return b"".join(self._parts)
