"""The channel between master and workers: whole messages, however the bytes are cut."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from ezai.config import (
    AnthropicUpstream,
    Config,
    EmbeddedUpstream,
    OpenAIUpstream,
    PriceConfig,
    RouteConfig,
    TargetConfig,
)
from ezai.models.reference import LocalModel
from ezai.observe.families import Family, Sample
from ezai.supervise.control import (
    Channel,
    Count,
    Counted,
    Moved,
    Refused,
    Released,
    Serve,
    Serving,
    Stop,
    ToldModel,
    ToMaster,
    ToWorker,
)
from ezai.upstreams.embedded import EmbeddedEndpoint

ENDPOINT = EmbeddedEndpoint("http://127.0.0.1:1", "k", bare_calls=True)
CONFIG = Config(
    upstreams=[
        AnthropicUpstream(name="a", api_key="k", headers={"x": "Größe"}, strip_betas=["*"]),
        OpenAIUpstream(name="o", base_url="http://h/v1"),
        EmbeddedUpstream(name="e", model="m.gguf"),
    ],
    routes=[RouteConfig(model="*", targets=[TargetConfig(upstream="a", model="m")])],
    prices={"m": PriceConfig(input=0.1, output=1 / 3)},
    data_dir=Path("/data"),
)
MODEL = ToldModel(3, LocalModel(Path("/m.gguf"), "m", 8192, takes_tools=True), 512, ENDPOINT)
TO_WORKER: list[ToWorker] = [
    Serve(1, CONFIG, MODEL),
    Serve(2, Config(), None),
    Moved(3, None),
    Moved(3, ENDPOINT),
    Stop(2),
    Count(7),
    Counted(8, []),
]
TO_MASTER: list[ToMaster] = [
    Serving(1, ("a", "b")),
    Refused(2, "It cannot."),
    Released(1),
    Count(1),
    Counted(7, [Family("f", "Told.", "counter", [Sample("f_total", {"l": "v"}, 1.5)])]),
]


class End:
    """One end, and what came."""

    def __init__(self, messages: object) -> None:
        self.came: list[object] = []
        self.is_lost = asyncio.Event()
        self.channel: Channel[object] = Channel(messages, self.came.append, self.is_lost.set)


async def pair() -> tuple[End, End]:
    ours, theirs = socket.socketpair()
    master, worker = End(ToMaster), End(ToWorker)
    await master.channel.open(ours)
    await worker.channel.open(theirs)
    return master, worker


def test_every_message_comes_as_it_was_sent() -> None:
    async def test() -> None:
        master, worker = await pair()
        for to_worker in TO_WORKER:
            master.channel.send(to_worker)
        for to_master in TO_MASTER:
            worker.channel.send(to_master)
        master.channel.close()
        await worker.is_lost.wait()
        worker.channel.close()
        await master.is_lost.wait()
        assert worker.came == TO_WORKER
        worker.channel.send(TO_MASTER[0])  # to nobody: nothing happens

    asyncio.run(test())


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_messages_come_whole_however_they_are_cut(size: int) -> None:
    async def test() -> None:
        sent = bytearray()
        end = End(ToWorker)
        for message in TO_WORKER:
            data = end.channel._encoder.encode(message)
            sent += len(data).to_bytes(4, "big") + data
        for start in range(0, len(sent), size):
            end.channel.data_received(bytes(sent[start : start + size]))
        assert end.came == TO_WORKER

    asyncio.run(test())


def test_a_channel_that_was_never_opened_says_nothing() -> None:
    async def test() -> None:
        end = End(ToWorker)
        end.channel.send(Released(1))
        end.channel.close()

    asyncio.run(test())
