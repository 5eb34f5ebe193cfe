"""A whole gateway in this process, on a scripted upstream, spoken to over a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import msgspec

from ezai.app import Embedded, Gateway, build
from ezai.config import (
    Config,
    EmbeddedUpstream,
    LimitsConfig,
    RouteConfig,
    ServerConfig,
    TargetConfig,
    TimeoutsConfig,
    UpstreamConfig,
)
from ezai.models.reference import LocalModel
from ezai.pipeline.driver import StreamRegistry
from ezai.ports import KeyStore, Ledger
from ezai.protocol.sse import SseDecoder, parse_frame
from ezai.server.binding import bind
from ezai.server.listener import Listener
from ezai.system import SystemClock
from ezai.upstreams.embedded import EmbeddedEndpoint
from tests import canary
from tests.pipeline.fakes import DONE, FakeKeys, FakeLedger, chunk, usage_chunk
from tests.upstreams.http.scripted import EOF, Script, ScriptedServer, scripted_server

T = TypeVar("T")

TICK_S = 0.01
SHOWN = {"authorization": f"Bearer {canary.CLIENT_KEY}"}
"""The credential that clients show, whether or not the gateway wants one."""
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
"""The head of an upstream's stream; its body lasts until the connection closes."""
ROUTES = [
    RouteConfig(model="claude-*", targets=[TargetConfig(upstream="local")]),
    RouteConfig(model="small", display_name="Small one", targets=[TargetConfig(upstream="local")]),
    RouteConfig(model="org/model", targets=[TargetConfig(upstream="local")]),
    RouteConfig(model="claude-alias", targets=[TargetConfig(upstream="local")]),
    RouteConfig(model="smollm2-135m", targets=[TargetConfig(upstream="local")]),
]


def streamed(*events: bytes) -> list[Any]:
    """The script of a stream of these events, closed cleanly."""
    return [STREAM + b"".join(events), EOF]


def hello(text: str = "Hello") -> list[Any]:
    """The script of a small whole answer."""
    return streamed(chunk(), chunk(text), chunk(finish="stop"), usage_chunk(12, 3, cached=4), DONE)


def as_json(value: object, status: str = "200 OK") -> list[Any]:
    """The script of a JSON answer."""
    body = msgspec.json.encode(value)
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return [head.encode() + body]


@dataclass
class Options:
    """What a test changes of the gateway."""

    keys: KeyStore = field(default_factory=FakeKeys)
    strict_version: bool = False
    http2: bool = False
    cors_origins: list[str] = field(default_factory=list)
    certificate: tuple[Path, Path] | None = None
    """Of the gateway itself, with its key."""
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    timeouts: TimeoutsConfig = field(default_factory=TimeoutsConfig)
    max_retries: int = 0
    """Of the upstream; none, so that a script is played once."""
    upstream: Callable[[str], UpstreamConfig] | None = None
    """Makes the configuration of another upstream at the scripted server's URL."""
    next_upstream: Callable[[str], UpstreamConfig] | None = None
    """The same for a second target behind the first, which asks the same server: it plays its next script."""
    endpoint: Callable[[], EmbeddedEndpoint | None] | None = None


@dataclass
class Running:
    """A running gateway, its upstream, and a client of it."""

    url: str
    upstream: ScriptedServer
    http: httpx2.AsyncClient
    registry: StreamRegistry

    async def post(
        self, path: str = "/v1/messages", *, headers: dict[str, str] | None = None, **fields: Any
    ) -> httpx2.Response:
        """A request of the Messages API with these fields changed; `...` leaves one out."""
        return await self.http.post(path, json=request(**fields), headers=headers)

    async def events(self, **fields: Any) -> list[dict[str, Any]]:
        """The events of a streamed answer, in order, each checked for its name."""
        response = await self.post(stream=True, **fields)
        assert response.status_code == 200
        return decoded(response.content)

    async def until_idle(self) -> None:
        """Return when no request is being served."""
        await self.registry.wait_empty()

    def asked(self, place: int = -1) -> dict[str, Any]:
        """The body of a request that the upstream got."""
        value: dict[str, Any] = msgspec.json.decode(self.upstream.requests[place].partition(b"\r\n\r\n")[2])
        return value


def request(**fields: Any) -> dict[str, Any]:
    good = {"model": "claude-test", "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]}
    return {name: value for name, value in {**good, **fields}.items() if value is not ...}


def decoded(wire: bytes) -> list[dict[str, Any]]:
    """Every event of a whole stream. Each has one data line, its name is its type, and nothing is left over."""
    decoder = SseDecoder()
    events: list[dict[str, Any]] = []
    for frame in decoder.feed(wire):
        name, data = parse_frame(frame)
        assert data is not None
        assert b"\n" not in data
        payload = msgspec.json.decode(data)
        assert payload["type"] == name.decode()
        events.append(payload)
    assert decoder.close() == b""
    return events


@asynccontextmanager
async def gateway(*scripts: Script, options: Options | None = None) -> AsyncIterator[Running]:
    """A gateway whose embedded upstream is the scripted one, on a free loopback port."""
    chosen = options or Options()
    async with scripted_server(*scripts) as upstream:
        config = Config(
            server=ServerConfig(
                strict_version=chosen.strict_version,
                http2=chosen.http2,
                cors_origins=chosen.cors_origins,
                tls_certificate=str(chosen.certificate[0]) if chosen.certificate else "",
                tls_key=str(chosen.certificate[1]) if chosen.certificate else "",
            ),
            limits=chosen.limits,
            upstreams=_upstreams(chosen, upstream.url),
            routes=_routes(chosen),
        )
        endpoint = chosen.endpoint or (lambda: EmbeddedEndpoint(upstream.url, canary.UPSTREAM_KEY))
        model = LocalModel(Path("secret-dir/secret-name.gguf"), "smollm2-135m", 8192)
        child = Embedded(model, "SmolLM2", 8192, endpoint)
        clock = SystemClock(TICK_S)
        async with (
            serving(config, chosen.keys, FakeLedger(), clock, child) as served,
            httpx2.AsyncClient(base_url=served.url, timeout=30, headers=SHOWN) as http,
        ):
            yield Running(served.url, upstream, http, served.gateway.registry)


def _upstreams(chosen: Options, url: str) -> list[UpstreamConfig]:
    first = chosen.upstream(url) if chosen.upstream else EmbeddedUpstream(name="local", timeouts=chosen.timeouts)
    made = [first, chosen.next_upstream(url)] if chosen.next_upstream else [first]
    return [msgspec.structs.replace(item, max_retries=chosen.max_retries) for item in made]


def _routes(chosen: Options) -> list[RouteConfig]:
    if chosen.next_upstream is None:
        return ROUTES
    return [RouteConfig(model="claude-*", targets=[TargetConfig(upstream="local"), TargetConfig(upstream="next")])]


@dataclass(frozen=True)
class Served:
    """A gateway that answers at `url`."""

    url: str
    gateway: Gateway


@asynccontextmanager
async def serving(
    config: Config, keys: KeyStore, ledger: Ledger, clock: SystemClock, child: Embedded | None = None
) -> AsyncIterator[Served]:
    """The configured gateway, on a free loopback port; at the end nothing is being served any more.

    All chances are at their best: no backoff takes any time.
    """
    made = build(config, keys, ledger, child, clock)
    made.data_plane.ports = replace(made.data_plane.ports, chance=lambda: 0.0)
    listener = Listener(made.data_plane, made.edge)
    listening = bind("127.0.0.1", 0)
    clock.start()
    await listener.start(listening)
    try:
        scheme = "https" if config.server.tls_certificate else "http"
        yield Served(f"{scheme}://127.0.0.1:{listening.getsockname()[1]}", made)
    finally:
        canary.WATCH.look("the metrics", made.metrics.render())
        made.registry.close()
        await listener.stop()
        clock.stop()
        await made.aclose()
    assert len(made.registry) == 0


def run(test: Coroutine[Any, Any, T]) -> T:
    """Run a test's coroutine; any task it leaves behind is a failure."""

    async def watched() -> T:
        result = await test
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, left
        return result

    return asyncio.run(watched())
