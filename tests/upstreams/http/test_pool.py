from __future__ import annotations

import asyncio

from ezai.upstreams.http.connection import Connection
from ezai.upstreams.http.pool import Pool
from tests.upstreams.http.conftest import Run
from tests.upstreams.http.fakes import FakeClock, FakeTransport


def connected(pool: Pool) -> Connection:
    connection = Connection(pool, header_limit_bytes=64 * 1024, linger_s=1)
    connection.connection_made(FakeTransport())
    pool.add(connection)
    return connection


def idle(pool: Pool, hint_s: int | None = None) -> Connection:
    connection = connected(pool)
    pool.connection_idle(connection, hint_s)
    return connection


def test_the_newest_idle_connection_is_taken_first(run: Run, clock: FakeClock) -> None:
    async def main() -> None:
        pool = Pool(clock)
        assert pool.take() is None
        first, second, third = idle(pool), idle(pool), idle(pool)
        assert (pool.open_count, pool.idle_count) == (3, 3)
        assert pool.take() is third
        assert pool.take() is second
        pool.connection_idle(third, None)
        assert pool.take() is third
        assert pool.take() is first
        assert pool.take() is None
        assert (pool.open_count, pool.idle_count) == (3, 0)

    run(main())


def test_an_expired_connection_is_closed_on_use(run: Run, clock: FakeClock) -> None:
    async def main() -> None:
        pool = Pool(clock, keep_alive_s=60)
        old = idle(pool)
        clock.advance(30)
        young = idle(pool)
        clock.advance(30)
        assert pool.take() is young
        assert pool.take() is None
        assert old.closing
        assert not young.closing

    run(main())


def test_a_tick_closes_what_expired_and_only_that(run: Run, clock: FakeClock) -> None:
    async def main() -> None:
        pool = Pool(clock, keep_alive_s=60)
        old = idle(pool)
        clock.advance(30, tick=True)
        hinted, young = idle(pool, 11), idle(pool)
        clock.advance(9.5, tick=True)
        assert pool.idle_count == 3
        clock.advance(0.5, tick=True)
        assert hinted.closing
        assert pool.idle_count == 2
        clock.advance(20, tick=True)
        assert old.closing
        clock.advance(29, tick=True)
        assert pool.idle_count == 1
        clock.advance(1, tick=True)
        assert young.closing
        assert pool.idle_count == 0

    run(main())


def test_the_peers_own_limit_counts_where_it_is_shorter(run: Run, clock: FakeClock) -> None:
    async def main() -> None:
        pool = Pool(clock, keep_alive_s=60)
        idle(pool, 5)
        clock.advance(3.9)
        connection = pool.take()
        assert connection is not None
        pool.connection_idle(connection, 5)
        clock.advance(4.0)
        assert pool.take() is None

        idle(pool, 999)
        clock.advance(60)
        assert pool.take() is None

        for hint_s in (0, 1):  # less than the margin: not kept at all
            assert idle(pool, hint_s).closing
        assert pool.idle_count == 0

    run(main())


def test_over_the_limit_the_oldest_is_closed(run: Run, clock: FakeClock) -> None:
    async def main() -> None:
        pool = Pool(clock, idle_limit=2)
        first, second, third = idle(pool), idle(pool), idle(pool)
        assert [first.closing, second.closing, third.closing] == [True, False, False]
        assert pool.idle_count == 2

        pool = Pool(clock, idle_limit=0)
        assert idle(pool).closing
        assert pool.idle_count == 0

    run(main())


def test_a_connection_that_ends_leaves_the_pool(run: Run, clock: FakeClock) -> None:
    async def main() -> None:
        pool = Pool(clock)
        one, two, three = idle(pool), idle(pool), idle(pool)
        one.eof_received()
        two.data_received(b"unasked")
        three.connection_lost(ConnectionResetError())
        assert (pool.open_count, pool.idle_count) == (2, 0)
        assert pool.take() is None

    run(main())


def test_aclose_closes_all_and_waits_until_they_are_lost(run: Run, clock: FakeClock) -> None:
    async def main() -> None:
        pool = Pool(clock)
        waiting, used = idle(pool), connected(pool)
        async with asyncio.TaskGroup() as group:
            closing = [group.create_task(pool.aclose()) for _ in range(2)]
            await asyncio.sleep(0)
            assert waiting.closing
            assert used.closing
            waiting.connection_lost(None)
            for _ in range(3):
                await asyncio.sleep(0)
            assert not any(task.done() for task in closing)
            used.connection_lost(None)
        assert (pool.open_count, pool.idle_count) == (0, 0)
        assert clock.watchers == []
        await pool.aclose()

    run(main())


def test_a_closed_pool_keeps_nothing(run: Run, clock: FakeClock) -> None:
    async def main() -> None:
        pool = Pool(clock)
        used = connected(pool)
        async with asyncio.TaskGroup() as group:
            group.create_task(pool.aclose())
            await asyncio.sleep(0)
            late = Connection(pool, header_limit_bytes=64 * 1024, linger_s=1)
            late.connection_made(FakeTransport())
            pool.connection_idle(late, None)
            assert late.closing
            used.connection_lost(None)
        assert pool.idle_count == 0

    run(main())
