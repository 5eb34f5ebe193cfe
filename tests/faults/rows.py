"""What every row of the fault table is played on: a gateway before the scripted upstream, with its real ledger.

    async def test(row: Row) -> None:
        told = await row.ask("tokens=5,reset_after=3")
        row.ends("upstream_truncated")

Each way in which a request ended has to be said with `ends`. When the row is over, every request that was admitted is
looked up in three places: what the client was told, the ledger's rows, the log's line. They hold one value, and it is
the one that was said. Where there was more than one attempt, the causes of those before the last are said with it:

    row.ends(FINISHED, after=["upstream_unreachable"])
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from ezai.config import (
    AnthropicUpstream,
    Config,
    LimitsConfig,
    OpenAIUpstream,
    PriceConfig,
    RouteConfig,
    TargetConfig,
    TimeoutsConfig,
    UpstreamConfig,
)
from ezai.lab.mock import Behaviour, Mock, RequestRecord, mock_upstream
from ezai.lab.mock.server import Tls
from ezai.observe.log import JsonFormatter
from ezai.observe.request_log import RequestLog
from ezai.pipeline.driver import StreamRegistry
from ezai.ports import Observer
from ezai.protocol.anthropic.events import ERROR, MESSAGE_STOP, MessagesEvent, read_event
from ezai.protocol.anthropic.order import StreamState
from ezai.protocol.sse import SseDecoder
from ezai.store.journal import Journal
from ezai.store.opening import open_store
from ezai.system import SystemClock
from ezai.upstreams.embedded import EmbeddedUpstream
from ezai.upstreams.http import HttpClient
from tests.canary import UPSTREAM_KEY
from tests.conformance.gateway import TICK_S, serving
from tests.raw_client import Answer, RawClient, raw_client, request
from tests.store.records import new_database, rows
from tests.upstreams.http.scripted import until

WIRES = ("anthropic", "openai")
PRICE = PriceConfig(input=3, output=15)
WAIT_S = 30
"""What a row waits for comes by then, or never."""
CLOSING_TURNS = 10
"""Of the loop, until a transport that was told to close has closed."""
FINISHED = "finished"
LEFT = "client_left"


class Told:
    """What a client was told: one answer, whole by its framing, and legal."""

    def __init__(self, answer: Answer) -> None:
        self.status = answer.status
        self.headers = answer.headers
        self.body = answer.body
        self.is_stream = answer.headers["content-type"].startswith("text/event-stream")
        self.events = legal_events(answer.body) if self.is_stream else []
        if not self.is_stream and self.status != 200:
            assert answer.error["type"] == "error"

    @property
    def request_id(self) -> str:
        return self.headers["request-id"]

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    @property
    def text(self) -> str:
        """The text of the answer, as far as it came."""
        if not self.is_stream:
            return "".join(block.get("text", "") for block in self.json()["content"])
        return "".join(event.payload["delta"].get("text", "") for event in self.events if "delta" in event.payload)

    @property
    def error(self) -> dict[str, Any] | None:
        """The error that it ends in, or is."""
        if self.is_stream:
            last = self.events[-1]
            error = last.payload["error"] if last.kind == ERROR else None
        else:
            error = self.json().get("error")
        assert error is None or isinstance(error, dict)
        return error

    @property
    def cause(self) -> str | None:
        """The cause that the client was told; None where an upstream's own error was passed on, which names none."""
        error = self.error
        if error is None:
            return FINISHED
        code = error.get("details", {}).get("error_code")
        assert code is None or isinstance(code, str)
        return code

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


def legal_events(stream: bytes) -> list[MessagesEvent]:
    """The events of a whole stream that is legal and tells its end once, with its last event. Comments are none."""
    decoder, state = SseDecoder(), StreamState()
    events = [event for frame in decoder.feed(stream) if (event := read_event(frame)).data is not None]
    assert decoder.close() == b"", "the stream ends inside an event"
    for event in events:
        state.process(event)
    assert state.over, "the stream does not tell its end"
    ends = [event.kind for event in events if event.kind in {ERROR, MESSAGE_STOP}]
    assert ends == [events[-1].kind]
    return events


class LogLines(logging.Handler):
    """The lines that tell of ended requests, as they are written; those of refusals before admission are left out."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter())
        self.lines: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        line = msgspec.json.decode(self.format(record))
        if line["message"] == "request ended" and line["upstream"]:
            self.lines.append(line)


@dataclass
class Row:
    """One row as it is played: a gateway at `url` before `mock`, on one wire. Made by `playing`.

    `next` is the second target of its route, where it has one: it answers well, unless it is told otherwise.
    """

    wire: str
    url: str
    mock: Mock
    database: Path
    log: LogLines
    registry: StreamRegistry
    pool: HttpClient
    """The gateway's connections to the upstream."""
    observers: Sequence[Observer]
    journal: Journal
    next: Mock
    told: list[Told] = field(default_factory=list)
    _said: list[tuple[str, list[str]]] = field(default_factory=list)

    @property
    def is_tap(self) -> bool:
        return self.wire == "anthropic"

    # Asking.

    async def ask(self, behaviour: Behaviour | str | None = None, *, stream: bool = True, **members: Any) -> Told:
        """Ask and read the answer to its end; the client's own connection stays good for another request."""
        if behaviour is not None:
            self.mock.behave(behaviour)
        async with raw_client(self.url) as client:
            client.send(request(stream=stream, **members))
            told = Told(await client.answer())
            client.send(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
            assert (await client.answer()).status == 200
        self.told.append(told)
        return told

    @asynccontextmanager
    async def asking(self, behaviour: Behaviour | str, *, stream: bool = True) -> AsyncIterator[RawClient]:
        """A client that has asked, and has its answer still to read; gone at the end of the block."""
        self.mock.behave(behaviour)
        async with raw_client(self.url) as client:
            client.send(request(stream=stream))
            yield client

    def ends(self, *causes: str, after: Sequence[str] = ()) -> None:
        """Say how the requests so far ended that have not been spoken of, in their order; `after` which failures of
        earlier attempts.
        """
        self._said += [(cause, [*after, cause]) for cause in causes]

    # The upstream's side.

    @property
    def record(self) -> RequestRecord:
        """The last request that the upstream accepted."""
        return self.mock.journal.requests[-1]

    async def upstream_is_let_go(self) -> None:
        """Hold that the gateway closes its connection with the request, and return when the upstream has seen it."""
        await self.registry.wait_empty()
        for _ in range(CLOSING_TURNS):
            await asyncio.sleep(0)
        assert self.pool.open_count == 0, "it is left to linger"
        await self.mock.journal.until(lambda: all(item.ended_s is not None for item in self.mock.journal.connections))

    async def upstream_is_kept(self) -> None:
        """Hold that the next request goes over the connection of the last one, and is answered well."""
        await until(lambda: self.pool.idle_count > 0)  # what frames the body may come behind its last event
        before = self.record.connection
        again = await self.ask("tokens=2")
        assert again.text == "0 1 "
        assert self.record.connection == before
        self.ends(FINISHED)

    async def serves(self) -> None:
        """Hold that another request is answered as if nothing had happened."""
        assert (await self.ask("tokens=2")).text == "0 1 "
        self.ends(FINISHED)

    # The ledger.

    async def requests(self) -> list[dict[str, Any]]:
        await self.journal.flush()
        return rows(self.database, "SELECT * FROM request ORDER BY rowid")

    async def attempts(self) -> list[dict[str, Any]]:
        await self.journal.flush()
        return rows(self.database, "SELECT * FROM attempt ORDER BY rowid")

    async def check(self) -> None:
        """Hold that client, ledger and log were told one cause of each request: the one that was said."""
        await self.registry.wait_empty()
        for observer in self.observers:
            if isinstance(observer, RequestLog):
                observer.write()
        requests, attempts = await self.requests(), await self.attempts()
        ids = [item["id"] for item in requests]
        causes = [cause for cause, _ in self._said]
        assert [item["cause"] for item in requests] == causes, "say with `ends` how each request ended"
        assert [(item["request_id"], item["n"], item["cause"]) for item in attempts] == [
            (request_id, number, cause)
            for request_id, (_, tried) in zip(ids, self._said, strict=True)
            for number, cause in enumerate(tried, 1)
        ]
        assert all(item["state"] == "settled" for item in attempts)
        assert all(item["ended_at_ms"] is not None for item in requests)
        lines = {line["request_id"]: line for line in self.log.lines}
        assert len(lines) == len(self.log.lines), "a request was told of twice"
        assert [(lines[request_id]["cause"], lines[request_id]["attempts"]) for request_id in ids] == [
            (cause, len(tried)) for cause, tried in self._said
        ]
        assert len(lines) == len(ids), "the log tells of requests that the ledger does not have"
        for told in self.told:
            said = causes[ids.index(told.request_id)]
            assert told.cause == (said if told.cause is not None else None)


@asynccontextmanager
async def playing(
    wire: str,
    database: Path,
    *behaviours: Behaviour | str,
    at: str | None = None,
    timeouts: TimeoutsConfig | None = None,
    limits: LimitsConfig | None = None,
    tls: Tls | None = None,
    ca_file: str = "",
    proxy: str = "none",
    max_retries: int = 0,
    next_wire: str | None = None,
) -> AsyncIterator[Row]:
    """A row on this wire, with that new database as its ledger. `at`: another upstream's address than the mock's.

    With `next_wire` its route has a second target, on that wire.
    """
    log, logger = LogLines(), logging.getLogger("ezai.requests")
    clock = SystemClock(TICK_S)
    folder = database.parent
    async with mock_upstream(*behaviours, tls=tls) as mock, mock_upstream("tokens=2") as second:
        upstreams = [
            _upstream("up", wire, at or mock.url, timeouts, ca_file=ca_file, proxy=proxy, max_retries=max_retries)
        ]
        if next_wire is not None:
            upstreams.append(_upstream("next", next_wire, second.url, timeouts))
        config = Config(
            limits=limits or LimitsConfig(),
            upstreams=upstreams,
            routes=[RouteConfig(model="claude-*", targets=[TargetConfig(upstream=item.name) for item in upstreams])],
            prices={"claude-test": PRICE},
            data_dir=folder,
        )
        store = await open_store(database, folder, clock, {})
        logger.addHandler(log)
        try:
            async with serving(config, store.keys, store.ledger, clock) as served:
                made = served.gateway.upstreams[0]
                assert not isinstance(made, EmbeddedUpstream)
                gateway = served.gateway
                kept = gateway.data_plane.ports.observers, store.journal
                row = Row(wire, served.url, mock, database, log, gateway.registry, made._client, *kept, second)
                yield row
                await row.check()
        finally:
            logger.removeHandler(log)
            await store.aclose()


def _upstream(name: str, wire: str, url: str, timeouts: TimeoutsConfig | None, **options: Any) -> UpstreamConfig:
    kind = AnthropicUpstream if wire == "anthropic" else OpenAIUpstream
    given = {"proxy": "none", "max_retries": 0, **options}
    return kind(name=name, base_url=url, api_key=UPSTREAM_KEY, timeouts=timeouts or TimeoutsConfig(), **given)


class Rows:
    """Plays rows of one test: `play(test, ...)` runs `test(row)` on a row of its wire, on the loop that users have."""

    def __init__(self, wire: str, folder: Path) -> None:
        self.wire = wire
        self._folder = folder

    def play(
        self, test: Callable[[Row], Coroutine[Any, Any, None]], *behaviours: Behaviour | str, **given: Any
    ) -> None:
        database = new_database(self._folder)

        async def played() -> None:
            async with asyncio.timeout(WAIT_S), playing(self.wire, database, *behaviours, **given) as row:
                await test(row)
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not left, left

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(played())
