"""Readers that are slow, or have stopped: the upstream waits for the one, the other is cut off. The clock is a hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast

import msgspec
import pytest

from ezai.config import AnthropicUpstream, Config, LimitsConfig, RouteConfig, TargetConfig
from ezai.system import SystemClock
from tests.conformance.gateway import STREAM, decoded, run, serving
from tests.pipeline.fakes import FakeClock, FakeKeys, FakeLedger
from tests.pipeline.test_dialogues import CLOSE, DELTA, OPEN, START, STOP
from tests.raw_client import RawClient, raw_client, request
from tests.upstreams.http.scripted import EOF, Peer, scripted_server, until

TEXT = "x" * 60_000
PIECE = b"event: content_block_delta\ndata: %b\n\n" % msgspec.json.encode(
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": TEXT}}
)
PIECES = 500
ANSWER = (START, OPEN, *[PIECE] * PIECES, CLOSE, DELTA, STOP)
"""30 MB: more than the kernel's buffers on both ways can hold."""
STALL_S = 60
LAST_CHUNK = b"0\r\n\r\n"


class HandClock(FakeClock):
    """Runs a gateway, and ticks when it is told to."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


@dataclass
class Scene:
    """A gateway in the middle of the answer to a client that has stopped reading, so that nothing moves any more."""

    client: RawClient
    upstream: Peer
    clock: HandClock
    ledger: FakeLedger

    @property
    def unsent(self) -> int:
        """What the upstream could not send yet."""
        return self.upstream.transport.get_write_buffer_size()

    async def blocked(self) -> None:
        """Return when nothing has moved for many of the loop's turns."""
        still = 0
        while still < 1000:
            before = self.unsent
            await asyncio.sleep(0)
            still = still + 1 if self.unsent == before else 0


@asynccontextmanager
async def scene(queue_kib: int = 64, version: bytes = b"1.1") -> AsyncIterator[Scene]:
    clock, ledger = HandClock(), FakeLedger()
    async with scripted_server([STREAM, *ANSWER, EOF]) as upstream:
        config = Config(
            limits=LimitsConfig(queue_kib=queue_kib, reader_stall=STALL_S),
            upstreams=[AnthropicUpstream(name="far", base_url=upstream.url, api_key="k")],
            routes=[RouteConfig(model="*", targets=[TargetConfig(upstream="far")])],
        )
        async with (
            serving(config, FakeKeys(), ledger, cast("SystemClock", clock)) as served,
            raw_client(served.url) as client,
        ):
            client.transport.write(request(stream=True).replace(b"HTTP/1.1", b"HTTP/" + version, 1))
            await client.head()
            client.stop_reading()
            await upstream.until(lambda: upstream.peers[0].writing_paused)
            yield Scene(client, upstream.peers[0], clock, ledger)


async def body_of(client: RawClient, version: bytes) -> bytes:
    """The whole body, by its framing, or in HTTP/1.0 until the gateway hangs up."""
    if version == b"1.0":
        return await client.rest()
    body = bytearray()
    while part := await client.chunk():
        body += part
    return bytes(body)


versions = pytest.mark.parametrize("version", [b"1.1", b"1.0"], ids=["HTTP/1.1", "HTTP/1.0"])


@versions
def test_a_slow_reader_gets_everything_and_its_upstream_waits(version: bytes) -> None:
    async def test() -> None:
        async with scene(version=version) as talk:
            await talk.blocked()
            assert talk.unsent > len(PIECE) * PIECES // 3, "most of the answer is still the upstream's"
            while before := talk.unsent:
                talk.clock.advance(0.25)
                talk.clock.advance(STALL_S - 1)
                talk.client.read_again()
                await until(lambda before=before: talk.unsent < before)  # type: ignore[misc]
                talk.client.stop_reading()
                await talk.blocked()
            talk.client.read_again()
            assert decoded(await body_of(talk.client, version)) == decoded(b"".join(ANSWER))
            assert [settlement.end.cause for settlement in talk.ledger.settlements] == ["finished"]

    run(test())


@versions
def test_a_reader_that_has_stopped_is_cut_off_and_its_upstream_stopped(version: bytes) -> None:
    async def test() -> None:
        async with scene(version=version) as talk:
            await talk.blocked()
            talk.clock.advance(0.25)
            talk.clock.advance(STALL_S - 1)
            assert not talk.upstream.lost
            talk.clock.advance(1)
            await until(lambda: talk.upstream.lost and bool(talk.ledger.settlements))
            (settlement,) = talk.ledger.settlements
            assert (settlement.end.cause, settlement.end.error) == ("reader_stalled", None)
            assert settlement.end.usage.input_tokens == 7
            talk.client.read_again()
            rest = await talk.client.rest()
            assert not rest.endswith((LAST_CHUNK, STOP)), "a cut stream never looks finished"

    run(test())


def test_a_reader_that_leaves_the_end_lying_is_cut_off_too() -> None:
    """The answer is over for the gateway; its bytes wait for nobody."""

    async def test() -> None:
        async with scene(queue_kib=64 * 1024) as talk:
            await until(lambda: bool(talk.ledger.settlements))
            assert talk.ledger.settlements[0].end.cause == "finished"
            await talk.blocked()
            talk.clock.advance(0.25)
            talk.clock.advance(STALL_S)
            talk.client.read_again()
            assert not (await talk.client.rest()).endswith(LAST_CHUNK)

    run(test())
