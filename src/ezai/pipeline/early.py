"""An answer that begins before its upstream has spoken."""

from __future__ import annotations

import asyncio

from ezai.pipeline import silence
from ezai.pipeline.client import Client, Head
from ezai.pipeline.waiting import DeadlinePassed, Waiter
from ezai.ports import Ports


class EarlyAnswer:
    """Sends the head at once, and a ping for each `keep_alive_s` that passes, until `end` or `aclose`.

    It has a task of its own, so that the request's own task goes on waiting for the upstream and only a slow one costs
    a second task.
    """

    def __init__(self, client: Client, head: Head, ports: Ports) -> None:
        self._is_over = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._answer(client, head, ports))

    async def end(self) -> None:
        """Return once everything is sent and nothing follows. Raises what sending raised."""
        self._is_over.set()
        await self._task

    async def aclose(self) -> None:
        """Stop at once, in the middle of a wait for the client too; what sending raised does not matter any more."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _answer(self, client: Client, head: Head, ports: Ports) -> None:
        with Waiter(ports.clock) as waiter:
            await client.start(head)
            while not self._is_over.is_set():
                try:
                    await waiter.wait(self._is_over.wait(), until=ports.clock.now() + ports.keep_alive_s)
                except DeadlinePassed:
                    await client.send(silence.PING)
