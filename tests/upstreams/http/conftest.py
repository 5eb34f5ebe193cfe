from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from ezai.errors import UpstreamError
from ezai.upstreams.http import Egress, HttpClient
from tests.upstreams.http.certificates import Certificates
from tests.upstreams.http.fakes import FakeClock
from tests.upstreams.http.scripted import ScriptedServer

# Said by asyncio's servers, in debug mode, of a client that broke off its handshake.
BROKEN_OFF = "Error on transport creation for incoming connection"

Run = Callable[[Coroutine[Any, Any, None]], None]
Connect = Callable[..., AbstractAsyncContextManager[HttpClient]]

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Run:
    """Run a test's coroutine on each kind of loop; no task is left, and the loop had nothing to complain about."""

    def run_it(main: Coroutine[Any, Any, None]) -> None:
        complaints: list[dict[str, Any]] = []

        async def watched() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
            await main
            assert asyncio.all_tasks() == {asyncio.current_task()}

        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            runner.run(watched())
        assert [complaint for complaint in complaints if complaint["message"] != BROKEN_OFF] == []

    return run_it


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def client_of(clock: FakeClock) -> Connect:
    """`async with client_of(server) as client:` closes it, and holds that nothing of it stays open."""

    class ClientOf:
        def __init__(
            self, server: ScriptedServer, path: str = "", *, ca_file: str | Path = "", **settings: Any
        ) -> None:
            self._server = server
            egress = Egress(ca_file, proxy="none")
            self._client = HttpClient(server.url + path, clock, egress=egress, **{"resolve": server.here, **settings})

        async def __aenter__(self) -> HttpClient:
            return self._client

        async def __aexit__(self, *exc_info: object) -> None:
            await self._client.aclose()
            assert self._client.open_count == self._client.idle_count == 0
            assert clock.watchers == []
            for peer in self._server.peers:
                peer.drain()
            await self._server.until(lambda: self._server.open_count == 0)

    return ClientOf


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def _empty_store(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system trusts nobody, which is also quicker than reading whom it trusts."""
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.setenv(name, str(certificates.nobody))


@pytest.fixture
def is_for_clients() -> Callable[[UpstreamError], None]:
    """Hold that an error's message is a plain sentence that tells nothing of the inside."""

    def check(error: UpstreamError) -> None:
        assert error.message[0].isupper()
        assert error.message.endswith(".")
        assert "/" not in error.message
        assert "127.0.0.1" not in error.message
        assert not any(word.strip(".").isdigit() for word in error.message.split())

    return check
