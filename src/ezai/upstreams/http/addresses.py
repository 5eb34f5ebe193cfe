"""From a host's name to a TCP connection: its addresses, and the first of them that answers.

The addresses are raced as RFC 8305 ("Happy Eyeballs") has it: one after the other, the next as soon as the one
before failed or let `STAGGER_S` pass, and all of them stay in the race. So an address family that leads nowhere
costs a quarter of a second, and not the time that there is for connecting.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from contextlib import suppress
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

STAGGER_S: Final = 0.25
"""RFC 8305 section 5, "Connection Attempt Delay"."""

Address = tuple[str, int]
"""An IP address and a port."""


class Abortable(Protocol):
    """What is won in a race, and thrown away by whoever comes second."""

    def abort(self) -> None: ...


Won = TypeVar("Won", bound=Abortable)


async def resolve(host: str, port: int) -> Sequence[Address]:
    """Return the addresses of a host in the order of the system's resolver, its families taking turns.

    There is at least one. Raises `OSError` when the name has none, and `UnicodeError` for what is no name.
    """
    if _is_address(host):
        return [(host, port)]
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    families: dict[int, list[Address]] = {}
    for family, _, _, _, address in found:
        families.setdefault(family, []).append((str(address[0]), port))
    turns = chain.from_iterable(zip_longest(*families.values()))
    addresses = list(dict.fromkeys(address for address in turns if address is not None))
    if not addresses:
        raise OSError("the resolver gave no address")
    return addresses


def _is_address(host: str) -> bool:
    """Whether there is nothing to look up. The zone of an address (`fe80::1%eth0`) is the loop's to read."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


async def first_to_connect(
    addresses: Sequence[Address], connect: Callable[[Address], Awaitable[Won]], *, stagger_s: float
) -> Won:
    """Return what `connect` returned for the first address that answered.

    Nothing of the others is left when this returns or raises, a cancellation too. Raises the `OSError` of the
    first address that failed when all have.
    """
    if len(addresses) == 1:
        return await connect(addresses[0])
    race = _Race(connect)
    try:
        async with asyncio.TaskGroup() as group:
            await race.run(addresses, group, stagger_s)
    except BaseException:
        for connection in race.arrived:
            connection.abort()
        raise
    if not race.arrived:
        raise race.errors[0]
    first, *late = race.arrived
    for connection in late:
        connection.abort()
    return first


class _Race(Generic[Won]):
    """The attempts of one race, each a task of the group that it is run in."""

    def __init__(self, connect: Callable[[Address], Awaitable[Won]]) -> None:
        self.arrived: list[Won] = []
        self.errors: list[OSError] = []
        self._connect = connect
        self._ended = asyncio.Event()

    async def run(self, addresses: Sequence[Address], group: asyncio.TaskGroup, stagger_s: float) -> None:
        """Return when one has arrived or all have failed. Those under way are told to stop; the group awaits them."""
        attempts = []
        for address in addresses:
            attempts.append(group.create_task(self._attempt(address)))
            await self._wait_for_an_end(stagger_s)
            if self.arrived:
                break
        while not self.arrived and len(self.errors) < len(attempts):
            await self._wait_for_an_end(None)
        for attempt in attempts:
            attempt.cancel()

    async def _attempt(self, address: Address) -> None:
        try:
            self.arrived.append(await self._connect(address))
        except OSError as error:
            self.errors.append(error)
        self._ended.set()

    async def _wait_for_an_end(self, limit_s: float | None) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._ended.wait()
        self._ended.clear()
