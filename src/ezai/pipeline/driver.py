"""Who runs the walk, and the registry that a shutdown waits on (contract 4).

A plain stream is run by the task of its own request, with a second one beside it that does nothing but wait for the
client to leave.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Protocol

from ezai.errors import Draining, Overloaded, RequestError
from ezai.pipeline.request import GatewayRequest
from ezai.pipeline.stream import Head, open_stream
from ezai.pipeline.waiting import Waiter
from ezai.ports import Ports
from ezai.protocol.end import Cause


class Client(Protocol):
    """The side that asked."""

    async def start(self, head: Head) -> None:
        """Send status and headers."""
        ...

    async def send(self, batch: bytes) -> None:
        """Send bytes; returns when there is room for more, or when the client has left."""
        ...

    async def finish(self) -> None:
        """End the answer."""
        ...

    async def left(self) -> Cause:
        """Return once the client is gone, and why. Awaited by one task, and cancelled when the answer is over."""
        ...


class StreamRegistry:
    """The requests that are being served."""

    def __init__(self, limit: int = 2000) -> None:
        self._limit = limit
        self._waiters: set[Waiter] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._closed: RequestError | None = None

    def __len__(self) -> int:
        return len(self._waiters)

    @property
    def closed(self) -> bool:
        """Whether no more requests are taken."""
        return self._closed is not None

    @contextmanager
    def entered(self, waiter: Waiter) -> Iterator[None]:
        """Hold a request in the registry. Raises `Draining` once it is closed, `Overloaded` when it is full."""
        if self._closed is not None:
            raise self._closed
        if len(self._waiters) >= self._limit:
            raise Overloaded("The gateway serves as many requests as it may; try again.", retry_after_s=1)
        self._waiters.add(waiter)
        self._empty.clear()
        try:
            yield
        finally:
            self._waiters.discard(waiter)
            if not self._waiters:
                self._empty.set()

    def close(self) -> None:
        """Take no more requests, and end those that run in one error event."""
        self._closed = Draining("The gateway is shutting down; try again.", retry_after_s=1)
        for waiter in self._waiters:
            waiter.interrupt(self._closed)

    async def wait_empty(self) -> None:
        """Return when no request runs."""
        await self._empty.wait()


@asynccontextmanager
async def attended(client: Client, ports: Ports, registry: StreamRegistry) -> AsyncIterator[Waiter]:
    """A waiter for one request, interrupted when its client leaves or the registry closes."""
    with Waiter(ports.clock) as waiter, registry.entered(waiter):
        watching = asyncio.get_running_loop().create_task(_interrupt_when_left(client, waiter))
        try:
            yield waiter
        finally:
            watching.cancel()
            await asyncio.wait({watching})


async def run_plain(request: GatewayRequest, ports: Ports, registry: StreamRegistry, client: Client) -> None:
    """Answer one request in the present task. Raises `Draining` before anything was said, else nothing."""
    async with attended(client, ports, registry) as waiter, open_stream(request, ports, waiter) as stream:
        if stream.head is None or (stream.end is not None and stream.end.cause == Cause.CLIENT_LEFT):
            return
        await client.start(stream.head)
        async for batch in stream.frames:
            await client.send(batch)
        await client.finish()


async def _interrupt_when_left(client: Client, waiter: Waiter) -> None:
    waiter.interrupt(await client.left())
