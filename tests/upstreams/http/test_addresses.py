"""Names, their addresses, and the race between these; on fakes, and on loopback in both families."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Any

import pytest

from ezai.errors import UpstreamTimeout, UpstreamUnreachable
from ezai.ports import Timeouts, UpstreamRequest
from ezai.upstreams.http import HttpClient
from ezai.upstreams.http.addresses import Address, first_to_connect, resolve
from ezai.upstreams.http.dial import Dialer
from tests.upstreams.http.conftest import Run
from tests.upstreams.http.fakes import FakeClock
from tests.upstreams.http.scripted import NAME, Deaf, scripted_server, until

REQUEST = UpstreamRequest("POST", "/v1/messages", [], b"{}")
TIMEOUTS = Timeouts()
NEVER = 3600.0

A, B, C = ("192.0.2.1", 1), ("192.0.2.2", 1), ("192.0.2.3", 1)


# Names.


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "2001:db8::1", "fe80::1%eth0"])
def test_an_address_is_not_looked_up(run: Run, host: str) -> None:
    async def main() -> None:
        assert await resolve(host, 80) == [(host, 80)]

    run(main())


def test_a_name_has_its_addresses(run: Run) -> None:
    async def main() -> None:
        assert set(await resolve("localhost", 80)) <= {("127.0.0.1", 80), ("::1", 80)}

    run(main())


def test_what_is_no_name_has_no_addresses(run: Run) -> None:
    async def main() -> None:
        with pytest.raises(UnicodeError):
            await resolve(f"{'a' * 64}.invalid", 80)

    run(main())


SIX, FOUR = socket.AF_INET6, socket.AF_INET
FOUND: list[tuple[list[tuple[int, str]], list[str]]] = [
    ([(FOUR, "a")], ["a"]),
    ([(SIX, "x"), (SIX, "y"), (FOUR, "a"), (FOUR, "b")], ["x", "a", "y", "b"]),
    ([(FOUR, "a"), (SIX, "x"), (SIX, "y"), (SIX, "z")], ["a", "x", "y", "z"]),
    ([(FOUR, "a"), (FOUR, "a"), (FOUR, "b")], ["a", "b"]),
]


@pytest.mark.parametrize(("found", "expected"), FOUND)
def test_families_take_turns(
    monkeypatch: pytest.MonkeyPatch, found: list[tuple[int, str]], expected: list[str]
) -> None:
    async def getaddrinfo(host: str, port: int, **hints: int) -> list[tuple[Any, ...]]:
        assert (host, port, hints) == (NAME, 80, {"type": socket.SOCK_STREAM})
        return [(family, socket.SOCK_STREAM, 6, "", (address, port)) for family, address in found]

    async def main() -> None:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
        assert await resolve(NAME, 80) == [(address, 80) for address in expected]

    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(main())


def test_no_address_at_all_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(host: str, port: int, **hints: int) -> list[tuple[Any, ...]]:
        return []

    async def main() -> None:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
        with pytest.raises(OSError, match="no address"):
            await resolve(NAME, 80)

    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(main())


# The race.


class Runner:
    """One attempt: it ends when the test says so."""

    def __init__(self) -> None:
        self.begun = False
        self.outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.aborted = False
        self.cancelled = False

    def abort(self) -> None:
        self.aborted = True


class Track:
    """What `connect` is in these tests."""

    def __init__(self) -> None:
        self.runners: dict[Address, Runner] = {address: Runner() for address in (A, B, C)}

    async def connect(self, address: Address) -> Runner:
        runner = self.runners[address]
        runner.begun = True
        try:
            await runner.outcome
        except asyncio.CancelledError:
            runner.cancelled = True
            raise
        return runner

    def arrives(self, address: Address) -> None:
        self.runners[address].outcome.set_result(None)

    def fails(self, address: Address) -> None:
        self.runners[address].outcome.set_exception(ConnectionRefusedError(address[0]))

    async def begun(self, *addresses: Address) -> None:
        await until(lambda: self.begun_now == set(addresses))
        for _ in range(3):
            await asyncio.sleep(0)
        assert self.begun_now == set(addresses)

    @property
    def begun_now(self) -> set[Address]:
        return {address for address, runner in self.runners.items() if runner.begun}


async def race(track: Track, addresses: Sequence[Address], stagger_s: float) -> Runner:
    return await first_to_connect(addresses, track.connect, stagger_s=stagger_s)


def test_the_next_address_is_tried_when_the_one_before_has_failed(run: Run) -> None:
    async def main() -> None:
        track = Track()
        async with asyncio.TaskGroup() as group:
            winner = group.create_task(race(track, [A, B, C], NEVER))
            await track.begun(A)
            track.fails(A)
            await track.begun(A, B)
            track.arrives(B)
        assert winner.result() is track.runners[B]
        assert track.begun_now == {A, B}
        assert not track.runners[B].aborted

    run(main())


def test_the_next_address_is_tried_when_the_one_before_is_slow(run: Run) -> None:
    async def main() -> None:
        track = Track()
        async with asyncio.TaskGroup() as group:
            winner = group.create_task(race(track, [A, B, C], 0.001))
            await track.begun(A, B, C)
            track.arrives(A)
        assert winner.result() is track.runners[A]
        assert [track.runners[address].cancelled for address in (A, B, C)] == [False, True, True]

    run(main())


def test_who_arrives_second_is_let_go(run: Run) -> None:
    async def main() -> None:
        track = Track()
        async with asyncio.TaskGroup() as group:
            winner = group.create_task(race(track, [A, B], 0.001))
            await track.begun(A, B)
            track.arrives(B)
            track.arrives(A)
        assert winner.result() is track.runners[B]
        assert [track.runners[address].aborted for address in (A, B)] == [True, False]

    run(main())


def test_when_all_have_failed_the_first_failure_is_told(run: Run) -> None:
    async def main() -> None:
        track = Track()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(failure(race(track, [A, B, C], 0.001)))
            await track.begun(A, B, C)
            for address in (B, A, C):
                track.fails(address)
        assert str(task.result()) == B[0]

    run(main())


async def failure(racing: Any) -> OSError:
    with pytest.raises(ConnectionRefusedError) as caught:
        await racing
    return caught.value


@pytest.mark.parametrize("also", [[], [A], [A, B]], ids=str)
def test_a_cancelled_race_leaves_nothing(run: Run, also: list[Address]) -> None:
    async def main() -> None:
        track = Track()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(race(track, [A, B, C], 0.001))
            await track.begun(A, B, C)
            for address in also:  # arrives in the very step in which all are cancelled
                track.arrives(address)
            task.cancel()
        assert task.cancelled()
        for address in (A, B, C):
            runner = track.runners[address]
            assert runner.aborted or runner.cancelled

    run(main())


# On loopback.


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_either_family(run: Run, clock: FakeClock, host: str) -> None:
    async def main() -> None:
        other = "::1" if host == "127.0.0.1" else "127.0.0.1"
        async with scripted_server(host=host) as server, scripted_server(host=other) as gone:
            gone.stop_listening()

            async def both(name: str, port: int) -> list[Address]:
                assert (name, port) == (NAME, 8080)
                return [gone.address, server.address]

            for resolver in (both, server.here):
                client = HttpClient(f"http://{NAME}:8080", clock, resolve=resolver)
                exchange = await client.open(REQUEST, TIMEOUTS)
                assert exchange.status == 200
                await exchange.aclose()
                assert b"\r\nhost: upstream.test:8080\r\n" in server.requests[-1]
                await client.aclose()
            await server.until(lambda: server.open_count == 0)

    run(main())


def test_an_ipv6_host_by_its_address(run: Run, clock: FakeClock) -> None:
    async def main() -> None:
        async with scripted_server(host="::1") as server:
            client = HttpClient(f"http://[::1]:{server.address[1]}", clock)
            exchange = await client.open(REQUEST, TIMEOUTS)
            assert exchange.status == 200
            await exchange.aclose()
            await client.aclose()

    run(main())


def test_an_address_that_does_not_answer_holds_up_nobody(run: Run) -> None:
    async def main() -> None:
        with Deaf() as deaf_url:
            deaf = ("127.0.0.1", int(deaf_url.rpartition(":")[2]))
            async with scripted_server(host="::1") as server:

                async def both(name: str, port: int) -> list[Address]:
                    return [deaf, server.address]

                dialed = await Dialer(NAME, 80, resolve=both, stagger_s=0.001).dial(NEVER)
                await server.until(lambda: server.open_count == 1)
                dialed.wire.abort()
                await server.until(lambda: server.open_count == 0)

    run(main())


def test_all_addresses_share_one_limit(run: Run, clock: FakeClock) -> None:
    async def main() -> None:
        with Deaf() as first, Deaf() as second:

            async def both(name: str, port: int) -> list[Address]:
                return [("127.0.0.1", int(url.rpartition(":")[2])) for url in (first, second)]

            client = HttpClient(f"http://{NAME}", clock, resolve=both)
            with pytest.raises(UpstreamTimeout):
                await client.open(REQUEST, Timeouts(connect=0.01))
            await client.aclose()

    run(main())


def test_no_address_answers(run: Run, clock: FakeClock) -> None:
    async def main() -> None:
        async with scripted_server() as one, scripted_server(host="::1") as other:
            addresses = [one.address, other.address]

        async def both(name: str, port: int) -> list[Address]:
            return addresses

        client = HttpClient(f"http://{NAME}", clock, resolve=both)
        with pytest.raises(UpstreamUnreachable) as caught:
            await client.open(REQUEST, TIMEOUTS)
        assert caught.value.message == "The upstream could not be reached."
        await client.aclose()

    run(main())


def test_a_name_takes_of_the_same_limit(run: Run, clock: FakeClock) -> None:
    async def main() -> None:
        async def silent(name: str, port: int) -> list[Address]:
            await asyncio.get_running_loop().create_future()
            raise AssertionError

        client = HttpClient(f"http://{NAME}", clock, resolve=silent)
        with pytest.raises(UpstreamTimeout):
            await client.open(REQUEST, Timeouts(connect=0.01))
        await client.aclose()

    run(main())
