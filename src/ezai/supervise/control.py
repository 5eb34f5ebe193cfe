"""What master and workers tell each other, over a socket pair: frames of a length and a JSON value.

    master -> worker   Serve (first of all, and at a reload) · Moved · Stop · Count · Counted
    worker -> master   Serving · Refused · Released · Count · Counted

Both ends are of one installation and one user, so nothing here is looked at twice.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import msgspec

from ezai.config import Config
from ezai.models.reference import LocalModel
from ezai.observe.families import Family
from ezai.upstreams.embedded import EmbeddedEndpoint

M = TypeVar("M")


class ToldModel(msgspec.Struct, frozen=True):
    """An embedded model as a worker needs it. `number` is that of its process; a model that is down has no endpoint."""

    number: int
    local: LocalModel
    context_tokens: int
    endpoint: EmbeddedEndpoint | None


class Serve(msgspec.Struct, frozen=True, tag=True):
    """Serve new requests by this configuration; those that run keep theirs."""

    number: int
    config: Config
    model: ToldModel | None


class Moved(msgspec.Struct, frozen=True, tag=True):
    """Where an embedded model answers now; nowhere while it is down."""

    model: int
    endpoint: EmbeddedEndpoint | None


class Stop(msgspec.Struct, frozen=True, tag=True):
    """Go on to this stage of stopping."""

    stage: int


class Count(msgspec.Struct, frozen=True, tag=True):
    """Asks a worker for what it has counted, or the master for what all have."""

    number: int


class Counted(msgspec.Struct, frozen=True, tag=True):
    """The answer to the `Count` of that number."""

    number: int
    families: list[Family]


class Serving(msgspec.Struct, frozen=True, tag=True):
    """New requests are served by the configuration of that number."""

    number: int
    models: tuple[str, ...]


class Refused(msgspec.Struct, frozen=True, tag=True):
    """The configuration of that number cannot be served, and why; what was before goes on."""

    number: int
    sentence: str


class Released(msgspec.Struct, frozen=True, tag=True):
    """No request is served by the configuration of that number any more."""

    number: int


ToWorker = Serve | Moved | Stop | Count | Counted
ToMaster = Serving | Refused | Released | Count | Counted

_LENGTH_BYTES = 4


class Channel(asyncio.Protocol, Generic[M]):
    """One end. `received` is called with each message, `lost` once when the other end is gone."""

    def __init__(self, messages: Any, received: Callable[[M], None], lost: Callable[[], None]) -> None:
        self._decoder = msgspec.json.Decoder(messages, dec_hook=_decoded)
        self._encoder = msgspec.json.Encoder(enc_hook=str)
        self._received = received
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()

    async def open(self, end: socket.socket) -> None:
        """Speak over this end from now on."""
        end.setblocking(False)
        await asyncio.get_running_loop().create_connection(lambda: self, sock=end)

    def send(self, message: ToWorker | ToMaster) -> None:
        """Tell the other end; nothing happens where it is gone."""
        if self._transport is not None and not self._transport.is_closing():
            data = self._encoder.encode(message)
            self._transport.write(len(data).to_bytes(_LENGTH_BYTES, "big") + data)

    def close(self) -> None:
        """Speak no more. `lost` is called in any case."""
        if self._transport is not None:
            self._transport.close()

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        while len(buffer) >= _LENGTH_BYTES:
            end = _LENGTH_BYTES + int.from_bytes(buffer[:_LENGTH_BYTES], "big")
            if len(buffer) < end:
                return
            message = self._decoder.decode(bytes(buffer[_LENGTH_BYTES:end]))
            del buffer[:end]
            self._received(message)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost()


def _decoded(kind: type, value: str) -> Path:
    """The one kind of value that JSON has no form for."""
    assert kind is Path
    return Path(value)
