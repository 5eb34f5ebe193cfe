"""One gateway process: what keeps it from starting, when it is announced, how it ends."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
import uvloop

from ezai.config import (
    Config,
    EmbeddedUpstream,
    LimitsConfig,
    OpenAIUpstream,
    RouteConfig,
    ServerConfig,
    TargetConfig,
)
from ezai.errors import SetupError
from ezai.server import listener
from ezai.server.binding import bind
from ezai.supervise import draining, embedded_models, heap, service, serving, sockets
from ezai.supervise.embedded import EmbeddedSettings
from ezai.supervise.loop import event_loop
from ezai.supervise.service import Ready
from ezai.upstreams.embedded import EmbeddedEndpoint
from tests.canary import CLIENT_KEY, UPSTREAM_KEY
from tests.conformance.gateway import STREAM, hello
from tests.models.gguf_file import gguf
from tests.pipeline.fakes import DONE, chunk
from tests.raw_client import RawClient, raw_client
from tests.server.test_edge import LOOPS, MORE_THAN_BUFFERS_HOLD, STREAMED, get, post, until_stalled
from tests.upstreams.http.scripted import EOF, HOLD, Script, ScriptedServer, scripted_server

Run = Callable[[Coroutine[Any, Any, None]], None]
Configured = Callable[..., Config]
Awaited = Callable[[Ready], Coroutine[Any, Any, None]]


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Run:
    """Run a test's coroutine on each kind of loop; it leaves no task, and what it waits for comes within seconds."""

    def run_it(main: Coroutine[Any, Any, None]) -> None:
        async def watched() -> None:
            async with asyncio.timeout(10):
                await main
            assert asyncio.all_tasks() == {asyncio.current_task()}

        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            runner.run(watched())

    return run_it


@pytest.fixture
def configured(tmp_path: Path) -> Configured:
    """The configuration of a gateway on one OpenAI-compatible upstream, or on the embedded one."""

    (tmp_path / "my.gguf").write_bytes(gguf(context=512))

    def make(
        upstream_url: str | None = None, *, host: str = "127.0.0.1", port: int = 0, drain_s: float = 3600
    ) -> Config:
        embedded = EmbeddedUpstream(name="up", model="my.gguf")
        return Config(
            server=ServerConfig(host=host, port=port),
            limits=LimitsConfig(drain=drain_s),
            upstreams=[
                OpenAIUpstream(name="up", base_url=upstream_url, api_key=UPSTREAM_KEY) if upstream_url else embedded
            ],
            routes=[RouteConfig(model="*", targets=[TargetConfig(upstream="up")])],
            data_dir=tmp_path,
        )

    return make


async def serve(config: Config, meanwhile: Awaited | None = None, environ: dict[str, str] | None = None) -> None:
    """Serve until `meanwhile`, begun at the announcement, has ended it with a signal; by default at once."""
    begun: list[asyncio.Task[None]] = []

    def announce(ready: Ready) -> None:
        if meanwhile is None:
            terminate()
            return
        task = asyncio.get_running_loop().create_task(meanwhile(ready))
        task.add_done_callback(lambda ended: terminate() if ended.exception() else None)
        begun.append(task)

    await service.run(config, announce, environ or {})
    for task in begun:
        await task


def terminate(number: signal.Signals = signal.SIGTERM) -> None:
    os.kill(os.getpid(), number)


async def status_of(ready: Ready, path: str = "/v1/models", **headers: str) -> int:
    async with httpx2.AsyncClient() as client:
        return (await client.get(ready.url + path, headers=headers)).status_code


def test_its_loop_is_uvloops() -> None:
    factory = event_loop()
    assert factory is not None
    loop = factory()
    assert isinstance(loop, uvloop.Loop)
    loop.close()


# Starting.


def test_it_is_announced_when_a_request_is_answered(configured: Configured, run: Run) -> None:
    seen: list[Ready] = []

    async def meanwhile(ready: Ready) -> None:
        seen.append(ready)
        assert await status_of(ready) == 200
        terminate()

    async def test() -> None:
        await serve(configured("http://127.0.0.1:1"), meanwhile)

    run(test())
    (ready,) = seen
    assert ready.url.startswith("http://127.0.0.1:")
    assert not ready.url.endswith(":0")
    assert ready.is_open


def test_free_memory_is_given_back_while_it_serves(
    configured: Configured, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(serving, "heap_trim", lambda: asked.append)
    monkeypatch.setattr(heap, "TRIM_EVERY_S", 0.0)
    run(serve(configured("http://127.0.0.1:1")))
    assert set(asked) == {heap.KEPT_BYTES}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "gateway.example"])
def test_an_address_that_others_reach_needs_a_key(
    host: str, configured: Configured, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound = [bind("127.0.0.1", 0)]
    monkeypatch.setattr(sockets, "bind", lambda *_: bound[0])

    async def test() -> None:
        with pytest.raises(SetupError, match="EZAI_ADMIN_KEY") as caught:
            await service.run(configured("http://127.0.0.1:1", host=host), must_not_be_called, {"EZAI_ADMIN_KEY": ""})
        assert host in str(caught.value)
        assert "\n" not in str(caught.value)
        assert bound[0].fileno() == -1

    run(test())


def test_a_name_that_nobody_knows_is_not_said_to_be_open(
    configured: Configured, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object, **__: object) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def test() -> None:
        with monkeypatch.context() as resolver:
            resolver.setattr(socket, "getaddrinfo", unknown)
            with pytest.raises(SetupError, match="'gateway.invalid' is not known .*--host"):
                await service.run(configured("http://127.0.0.1:1", host="gateway.invalid"), must_not_be_called, {})

    run(test())


def must_not_be_called(*_: object, **__: object) -> Any:
    raise AssertionError("it was called")


def test_with_a_key_it_serves_others_and_wants_the_key(
    configured: Configured, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_for: list[str] = []

    def bind_loopback_all_the_same(host: str, port: int) -> socket.socket:
        asked_for.append(host)
        return bind("127.0.0.1", port)

    monkeypatch.setattr(sockets, "bind", bind_loopback_all_the_same)

    async def meanwhile(ready: Ready) -> None:
        assert not ready.is_open
        here = Ready(ready.url.replace("0.0.0.0", "127.0.0.1"), (), is_open=False)
        assert await status_of(here) == 401
        assert await status_of(here, **{"x-api-key": "wrong"}) == 401
        assert await status_of(here, **{"x-api-key": CLIENT_KEY}) == 200
        assert await status_of(here, authorization=f"Bearer {CLIENT_KEY}", host="gateway.example") == 200
        assert await status_of(here, "/healthz") == 200
        terminate()

    async def test() -> None:
        config = configured("http://127.0.0.1:1", host="0.0.0.0")
        await serve(config, meanwhile, {"EZAI_ADMIN_KEY": CLIENT_KEY})

    run(test())
    assert asked_for == ["0.0.0.0"]


def test_on_loopback_a_key_is_wanted_too_once_there_is_one(configured: Configured, run: Run) -> None:
    async def meanwhile(ready: Ready) -> None:
        assert not ready.is_open
        assert await status_of(ready) == 401
        assert await status_of(ready, **{"x-api-key": CLIENT_KEY}) == 200
        terminate()

    async def test() -> None:
        await serve(configured("http://127.0.0.1:1"), meanwhile, {"EZAI_ADMIN_KEY": CLIENT_KEY})

    run(test())


def test_a_port_that_is_taken_is_one_sentence(
    configured: Configured, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_models, "EmbeddedChild", must_not_be_called)

    async def test() -> None:
        with bind("127.0.0.1", 0) as taken:
            taken.listen()
            port = taken.getsockname()[1]
            with pytest.raises(SetupError, match=f"127.0.0.1:{port} cannot be listened on"):
                await service.run(configured(port=port), must_not_be_called, {})

    run(test())


# What is found out before a model is fetched.


def test_nothing_keeps_it_from_starting(configured: Configured) -> None:
    with bind("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    service.check_start(configured(port=port), {})
    bind("127.0.0.1", port).close()


def test_the_address_is_looked_at_before(configured: Configured) -> None:
    with pytest.raises(SetupError, match=r"0\.0\.0\.0 is open to other machines"):
        service.check_start(configured(host="0.0.0.0"), {})
    service.check_start(configured(host="0.0.0.0"), {"EZAI_ADMIN_KEY": CLIENT_KEY})
    with bind("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SetupError, match=f"127.0.0.1:{port} cannot be listened on"):
            service.check_start(configured(port=port), {})
        for inherited in ({sockets.SUCCESSION: "3:4"}, {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}):
            before = dict(inherited)
            service.check_start(configured(port=port), inherited)
            assert inherited == before, "the start takes it"


def test_the_certificate_is_looked_at_before(configured: Configured) -> None:
    config = configured()
    server = msgspec.structs.replace(config.server, tls_certificate="none.pem", tls_key="none.pem")
    with pytest.raises(SetupError, match=r"tls_certificate: .*none\.pem cannot be read"):
        service.check_start(msgspec.structs.replace(config, server=server), {})


# The embedded child.


class Child:
    """In place of the embedded child: what it was told, and whether it lives."""

    made: list[Child]
    failure: BaseException | None = None

    def __init__(self, settings: EmbeddedSettings) -> None:
        self.settings = settings
        self.running = False
        self.context_tokens = settings.context_tokens
        self.endpoint: EmbeddedEndpoint | None = None
        Child.made.append(self)

    async def start(self) -> None:
        if Child.failure is not None:
            raise Child.failure
        self.running = True

    async def aclose(self) -> None:
        self.running = False

    def subscribe(self, changed: Callable[[], None]) -> None:
        pass


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[Child]:
    monkeypatch.setattr(Child, "made", [], raising=False)
    monkeypatch.setattr(Child, "failure", None)
    monkeypatch.setattr(embedded_models, "EmbeddedChild", Child)
    return Child.made


def test_without_an_embedded_upstream_no_child_is_started(
    configured: Configured, run: Run, children: list[Child]
) -> None:
    run(serve(configured("http://127.0.0.1:1")))
    assert children == []


def test_the_child_runs_while_the_gateway_does(
    configured: Configured, run: Run, children: list[Child], tmp_path: Path
) -> None:
    async def meanwhile(ready: Ready) -> None:
        assert ready.models == ("up",)  # a file has no name of its own that may leave
        assert [child.running for child in children] == [True]
        terminate()

    run(serve(configured(), meanwhile))
    (child,) = children
    assert not child.running
    assert child.settings.model_path == tmp_path / "my.gguf"
    assert child.settings.context_tokens == 512  # what it was trained with, though 8192 is configured


def test_a_child_that_does_not_start_leaves_nothing_behind(
    configured: Configured, run: Run, children: list[Child], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Child, "failure", SetupError("It cannot."))
    bound: list[socket.socket] = []

    def noted(host: str, port: int) -> socket.socket:
        bound.append(bind(host, port))
        return bound[-1]

    monkeypatch.setattr(sockets, "bind", noted)

    async def test() -> None:
        with pytest.raises(SetupError, match="It cannot"):
            await service.run(configured(), must_not_be_called, {})
        assert [listening.fileno() for listening in bound] == [-1]

    run(test())


def test_a_failure_after_the_start_leaves_nothing_running(configured: Configured, children: list[Child]) -> None:
    announced: list[Ready] = []

    def fail(ready: Ready) -> None:
        assert [child.running for child in children] == [True]
        announced.append(ready)
        raise SetupError("The terminal is gone.")

    async def test() -> None:
        with pytest.raises(SetupError, match="The terminal is gone"):
            await service.run(configured(), fail, {})
        assert [child.running for child in children] == [False]
        with socket.socket() as late:
            assert late.connect_ex(("127.0.0.1", port_of(announced[0]))) == errno.ECONNREFUSED

    asyncio.run(test())  # uvloop waits for ever at its end where a warning that something is open is an error


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_the_start_ends_the_start(
    number: signal.Signals, configured: Configured, run: Run, children: list[Child], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model may take two minutes to load; nobody waits for that to stop it."""
    loading = asyncio.Event()

    async def load_for_ever(child: Child) -> None:
        loading.set()
        try:
            await asyncio.Event().wait()
        finally:
            child.running = False

    monkeypatch.setattr(Child, "start", load_for_ever)

    async def stop() -> None:
        await loading.wait()
        terminate(number)

    async def test() -> None:
        async with asyncio.timeout(2), asyncio.TaskGroup() as tasks:
            tasks.create_task(stop())
            await service.run(configured(), must_not_be_called, {})

    run(test())


# Ending. What a client is told in each stage, with a real process and many streams: tests/faults/test_drain_rows.py.


async def with_client(script: Script, meanwhile: Callable[[ScriptedServer, Ready], Coroutine[Any, Any, None]],
                      configured: Configured, drain_s: float = 3600) -> None:  # fmt: skip
    async with scripted_server(script) as upstream:
        await serve(configured(upstream.url, drain_s=drain_s), lambda ready: meanwhile(upstream, ready))
        await upstream.until(lambda: upstream.open_count == 0)


def port_of(ready: Ready) -> int:
    return int(ready.url.rpartition(":")[2])


async def until_draining(client: RawClient) -> None:
    """Return when the gateway is seen to be draining; every answer before keeps the connection."""
    while True:
        client.send(get("/readyz"))
        answer = await client.answer()
        if answer.status == 503:
            assert answer.json() == {"status": "draining"}
            assert answer.headers["connection"] == "close"
            return


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_a_stream_end_by_itself(number: signal.Signals, configured: Configured, run: Run) -> None:
    rest = chunk("of it") + chunk(finish="stop") + DONE

    async def meanwhile(upstream: ScriptedServer, ready: Ready) -> None:
        async with raw_client(ready.url) as client, raw_client(ready.url) as other:
            client.send(STREAMED)
            await client.until(b'"Half"')
            terminate(number)
            await until_draining(other)
            assert await refused_to_connect(ready)
            upstream.peers[0].go()
            told = await client.rest()
            assert b'"of it"' in told
            assert b"event: message_stop" in told
            assert b"event: error" not in told
            assert told.endswith(b"0\r\n\r\n")

    run(with_client([STREAM + chunk("Half"), HOLD, rest, EOF], meanwhile, configured))


async def refused_to_connect(ready: Ready) -> bool:
    try:
        async with raw_client(ready.url):
            return False
    except ConnectionRefusedError:
        return True


def test_what_is_asked_while_it_drains_is_refused(configured: Configured, run: Run) -> None:
    async def meanwhile(upstream: ScriptedServer, ready: Ready) -> None:
        async with raw_client(ready.url) as client, raw_client(ready.url) as late, raw_client(ready.url) as other:
            client.send(STREAMED)
            await client.until(b'"Half"')
            terminate()
            await until_draining(other)
            late.send(post())
            answer = await late.answer()
            assert (answer.status, answer.error["error"]["details"]["error_code"]) == (529, "draining")
            assert (answer.headers["retry-after"], answer.headers["connection"]) == ("1", "close")
            assert await late.rest() == b""
            upstream.peers[0].go()
            await client.rest()

    run(with_client([STREAM + chunk("Half"), HOLD, chunk(finish="stop"), EOF], meanwhile, configured))


def test_a_stream_that_lasts_longer_than_the_drain_ends_in_one_error_event(configured: Configured, run: Run) -> None:
    async def meanwhile(upstream: ScriptedServer, ready: Ready) -> None:
        async with raw_client(ready.url) as client:
            client.send(STREAMED)
            await client.until(b'"Half"')
            terminate()
            await is_told_draining(client)

    run(with_client([STREAM + chunk("Half"), HOLD], meanwhile, configured, drain_s=0.05))


async def is_told_draining(client: RawClient) -> None:
    rest = await client.rest()
    assert rest.count(b"event: error") == 1
    assert b'"error_code":"draining"' in rest
    assert rest.endswith(b"0\r\n\r\n")


def test_a_request_without_an_answer_yet_is_refused_at_the_end_of_the_drain(configured: Configured, run: Run) -> None:
    async def meanwhile(upstream: ScriptedServer, ready: Ready) -> None:
        async with raw_client(ready.url) as client, raw_client(ready.url) as idle:
            client.send(post())
            await upstream.until(lambda: len(upstream.requests) == 1)
            terminate()
            answer = await client.answer()
            assert (answer.status, answer.json()["error"]["details"]["error_code"]) == (529, "draining")
            assert await idle.rest() == b""

    run(with_client([HOLD], meanwhile, configured, drain_s=0.05))


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_what_runs(second: signal.Signals, configured: Configured, run: Run) -> None:
    async def meanwhile(upstream: ScriptedServer, ready: Ready) -> None:
        async with raw_client(ready.url) as client, raw_client(ready.url) as other:
            client.send(STREAMED)
            await client.until(b'"Half"')
            terminate()
            await until_draining(other)
            terminate(second)
            await is_told_draining(client)

    run(with_client([STREAM + chunk("Half"), HOLD], meanwhile, configured))


def test_a_reader_that_takes_nothing_is_cut(
    configured: Configured, run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(draining, "ENDING_S", 0.05)
    monkeypatch.setattr(listener, "FLUSH_S", 0.05)
    stalled = until_stalled(monkeypatch)

    async def meanwhile(upstream: ScriptedServer, ready: Ready) -> None:
        async with raw_client(ready.url) as client:
            client.stop_reading()
            client.send(STREAMED)
            await stalled.wait()
            terminate()
            await upstream.until(lambda: upstream.open_count == 0)
            client.read_again()
            assert not (await client.rest()).endswith(b"0\r\n\r\n")

    run(with_client(MORE_THAN_BUFFERS_HOLD, meanwhile, configured, drain_s=0.05))
    assert "readers take nothing" in caplog.text


def test_a_third_signal_cuts_short(configured: Configured, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that takes nothing may hold a restart for seconds; who insists does not wait for it."""
    monkeypatch.setattr(draining, "ENDING_S", 3600)
    monkeypatch.setattr(listener, "FLUSH_S", 0.05)
    stalled = until_stalled(monkeypatch)

    async def meanwhile(upstream: ScriptedServer, ready: Ready) -> None:
        async with raw_client(ready.url) as client, raw_client(ready.url) as other:
            client.stop_reading()
            client.send(STREAMED)
            await stalled.wait()
            terminate()
            await until_draining(other)
            terminate()
            terminate(signal.SIGINT)  # of another kind: two of one that come together are one
            async with asyncio.timeout(3):
                await upstream.until(lambda: upstream.open_count == 0)

    run(with_client(MORE_THAN_BUFFERS_HOLD, meanwhile, configured))


# As a process.

SERVE = (
    sys.executable,
    "-c",
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from ezai.cli import main; raise SystemExit(main())",
    "serve",
)


@pytest.mark.parametrize("numbers", [[signal.SIGTERM], [signal.SIGINT], [signal.SIGTERM, signal.SIGTERM]])
def test_a_process_that_was_told_to_stop_exits_with_0(numbers: list[signal.Signals], tmp_path: Path) -> None:
    file = tmp_path / "ezai.toml"
    file.write_text(
        '[server]\nport = 0\n[[upstreams]]\nname = "up"\nkind = "openai"\nbase_url = "http://127.0.0.1:1"\n'
    )
    environ = {**os.environ, "EZAI_DATA_DIR": str(tmp_path)}
    environ = {
        name: value for name, value in environ.items() if name not in {"EZAI_ADMIN_KEY", "EZAI_PORT", "EZAI_HOST"}
    }
    command = [*SERVE, "--config", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ) as process:
        try:
            assert process.stderr is not None
            banner = ""
            while "is ready at http://127.0.0.1:" not in banner:
                line = process.stderr.readline()
                assert line, banner
                banner += line
            for number in numbers:
                process.send_signal(number)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, out) == (0, "")
    assert "Traceback" not in err
    assert '"message":"stopping"' in err


def test_what_it_serves_is_the_configured_upstream(configured: Configured, run: Run) -> None:
    async def meanwhile(upstream: ScriptedServer, ready: Ready) -> None:
        async with raw_client(ready.url) as client:
            client.send(post())
            assert (await client.answer()).json()["content"] == [{"type": "text", "text": "Hello"}]
            terminate()

    run(with_client(hello(), meanwhile, configured))
