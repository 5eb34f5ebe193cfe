"""Who runs the walk, and the registry that a shutdown waits on (contract 4).

A plain stream is run by the task of its own request. While that waits for the upstream, whole events go from the
upstream's connection to the client's without it.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

from ezai.errors import Draining, Overloaded, RequestError
from ezai.pipeline.client import Client
from ezai.pipeline.request import GatewayRequest
from ezai.pipeline.stream import open_stream
from ezai.pipeline.waiting import Waiter
from ezai.ports import Ports

ONE_WRITE_BYTES = 64 * 1024
"""Up to this size the last bytes and the end of the answer are sent as one; more is waited for before."""


class StreamRegistry:
    """The requests that are being served."""

    def __init__(self, limit: int = 2000) -> None:
        self.limit = limit
        self._waiters: dict[Waiter, bool] = {}  # whether each answers in a stream
        self._emptied: asyncio.Event | None = None
        self._closed: RequestError | None = None

    def __len__(self) -> int:
        return len(self._waiters)

    @property
    def closed(self) -> bool:
        """Whether no more requests are taken."""
        return self._closed is not None

    def open_streams(self) -> int:
        """How many of them are to be answered in a stream."""
        return sum(self._waiters.values())

    def enter(self, waiter: Waiter, *, streamed: bool) -> None:
        """Hold a request in the registry, until `leave`.

        Raises `Draining` once it is closed, `Overloaded` when it is full.
        """
        if self._closed is not None:
            raise self._closed
        if len(self._waiters) >= self.limit:
            raise Overloaded("The gateway serves as many requests as it may; try again.", retry_after_s=1)
        self._waiters[waiter] = streamed

    def leave(self, waiter: Waiter) -> None:
        """Let go of it."""
        self._waiters.pop(waiter, None)
        if self._emptied is not None and not self._waiters:
            self._emptied.set()
            self._emptied = None

    def refuse(self) -> None:
        """Take no more requests; those that run go on."""
        self._closed = Draining("The gateway is shutting down; try again.", retry_after_s=1)

    def close(self) -> None:
        """Take no more requests, and end those that run in one error event."""
        self.refuse()
        assert self._closed is not None
        for waiter in self._waiters:
            waiter.interrupt(self._closed)

    async def wait_empty(self) -> None:
        """Return when no request runs."""
        if self._waiters:
            self._emptied = self._emptied or asyncio.Event()
            await self._emptied.wait()


class Attended:
    """An asynchronous context that gives the waiter of one request, which is interrupted when its client leaves or
    the registry closes.

    Entering raises `Draining` or `Overloaded` where the registry takes no more.
    """

    __slots__ = ("_client", "_registry", "_streamed", "_waiter")

    def __init__(self, client: Client, ports: Ports, registry: StreamRegistry, *, streamed: bool) -> None:
        self._client = client
        self._registry = registry
        self._streamed = streamed
        self._waiter = Waiter(ports.clock)

    async def __aenter__(self) -> Waiter:
        self._registry.enter(self._waiter, streamed=self._streamed)
        self._client.watch(self._waiter.interrupt)
        return self._waiter.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._waiter.__exit__(kind, error, trace)
        self._registry.leave(self._waiter)
        await self._client.unwatch()


async def run_plain(request: GatewayRequest, ports: Ports, registry: StreamRegistry, client: Client) -> None:
    """Answer one request in the present task. Raises `Draining` before anything was said, else nothing."""
    attended = Attended(client, ports, registry, streamed=request.message.streamed)
    async with attended as waiter, open_stream(request, ports, waiter, client) as stream:
        if stream.head is None:
            return
        if not stream.head.alone:
            await client.start(stream.head)
        stream.push = client.push
        last = b""
        async for batch in stream.frames:
            if stream.end is None or len(batch) > ONE_WRITE_BYTES:
                await client.send(batch)
            else:
                last = batch  # leaves together with the end
        await client.finish(last)
