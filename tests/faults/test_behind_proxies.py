"""Row C9 behind nginx and HAProxy: both readers of the same bytes see the same requests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from ezai.config import AnthropicUpstream, Config, RouteConfig, ServerConfig, TargetConfig
from ezai.lab.mock import Mock, mock_upstream
from ezai.system import SystemClock
from tests.conformance.gateway import TICK_S, run, serving
from tests.faults.proxies import PROXIES, proxy
from tests.faults.test_edge_rows import SMUGGLING
from tests.pipeline.fakes import FakeKeys, FakeLedger
from tests.raw_client import raw_client, request

pytestmark = pytest.mark.full

VICTIMS = 3


def asking(name: str, *fields: str, **members: Any) -> bytes:
    """A request whose answer holds its name."""
    return request(*fields, messages=[{"role": "user", "content": f"[stream {name}]"}], **members)


def answered(name: str) -> bytes:
    return f"{name}.0 {name}.1".encode()


@asynccontextmanager
async def proxied(name: str, folder: Path, behaviour: str) -> AsyncIterator[tuple[Mock, str]]:
    """An upstream, a gateway before it, a proxy before that: the upstream, and the proxy's URL."""
    async with mock_upstream(behaviour) as upstream:
        config = Config(
            server=ServerConfig(http2=True),
            upstreams=[AnthropicUpstream(name="far", base_url=upstream.url, api_key="k", proxy="none")],
            routes=[RouteConfig(model="*", targets=[TargetConfig(upstream="far")])],
        )
        async with serving(config, FakeKeys(), FakeLedger(), SystemClock(TICK_S)) as served:
            with proxy(name, folder, urlsplit(served.url).port or 0) as url:
                yield upstream, url


@pytest.mark.parametrize("corpus", SMUGGLING)
@pytest.mark.parametrize("name", PROXIES)
def test_c9_nobody_gets_an_answer_to_what_he_did_not_ask(name: str, corpus: str, tmp_path: Path) -> None:
    async def test() -> None:
        async with proxied(name, tmp_path, "tokens=2") as (upstream, url):
            async with raw_client(url) as attacker:
                attacker.send(SMUGGLING[corpus] + asking("smuggled", "connection: close"))
                heard = await attacker.rest()
            for number in range(VICTIMS):
                async with raw_client(url) as victim:
                    victim.send(asking(f"victim{number}"))
                    answer = await victim.answer()
                    assert (answer.status, answered(f"victim{number}") in answer.body) == (200, True)
            asked = [record.body for record in upstream.journal.requests]
            smuggled = sum(b"[stream smuggled]" in body for body in asked)
            assert heard.count(answered("smuggled")) == smuggled <= 1, "its sender got the answer, and nobody else"
            assert len(asked) == VICTIMS + smuggled

    run(test())


@pytest.mark.parametrize("name", PROXIES)
def test_each_event_crosses_the_proxy_at_once(name: str, tmp_path: Path) -> None:
    async def test() -> None:
        async with proxied(name, tmp_path, "tokens=4,stall_after=5") as (upstream, url), raw_client(url) as client:
            client.send(asking("s", stream=True))
            await client.until(b"s.1")
            await upstream.journal.until(lambda: upstream.journal.requests[0].is_holding)
            upstream.release()
            assert b"message_stop" in await client.until(b"0\r\n\r\n")

    run(test())
