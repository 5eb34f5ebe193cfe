"""The adapters of the dialects leave by the egress that they are given."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ezai.ports import Timeouts, UpstreamRequest
from ezai.translate.base import ANTHROPIC
from ezai.upstreams.anthropic import AnthropicUpstream
from ezai.upstreams.embedded import EmbeddedEndpoint, EmbeddedUpstream
from ezai.upstreams.http import Egress
from ezai.upstreams.openai import OpenAIUpstream
from tests.upstreams.http.certificates import Certificates
from tests.upstreams.http.conftest import Run
from tests.upstreams.http.fakes import FakeClock
from tests.upstreams.http.scripted import NAME, scripted_proxy, scripted_server

Adapter = Callable[[str, FakeClock, Egress], AnthropicUpstream | OpenAIUpstream]

REQUEST = UpstreamRequest("POST", "/messages", [], b"{}")


def anthropic(base_url: str, clock: FakeClock, egress: Egress) -> AnthropicUpstream:
    return AnthropicUpstream("a", base_url, clock, ANTHROPIC, api_key="sk-secret", egress=egress)


def openai(base_url: str, clock: FakeClock, egress: Egress) -> OpenAIUpstream:
    return OpenAIUpstream("o", base_url, clock, api_key="sk-secret", egress=egress)


@pytest.mark.usefixtures("_empty_store")
@pytest.mark.parametrize("adapter", [anthropic, openai])
def test_https_through_a_proxy(run: Run, clock: FakeClock, certificates: Certificates, adapter: Adapter) -> None:
    async def main() -> None:
        async with scripted_server(tls=certificates.good) as server, scripted_proxy(server) as proxy:
            upstream = adapter(f"https://{NAME}", clock, Egress(certificates.ca_file, proxy.url))
            exchange = await upstream.open(REQUEST, Timeouts())
            assert exchange.status == 200
            await exchange.aclose()
            await upstream.aclose()
            assert proxy.requests[0].startswith(b"CONNECT upstream.test:443 HTTP/1.1\r\n")
            assert b"sk-secret" not in proxy.requests[0]
            assert b"sk-secret" in server.requests[0]

    run(main())


@pytest.mark.parametrize("adapter", [anthropic, openai])
@pytest.mark.parametrize(
    ("base_url", "egress"),
    [
        ("ftp://h", Egress()),
        ("https://h", Egress(ca_file="nothing-here.pem")),
        ("https://h", Egress(proxy="socks5://p")),
    ],
)
def test_what_cannot_be_used_is_refused_at_once(
    clock: FakeClock, adapter: Adapter, base_url: str, egress: Egress
) -> None:
    with pytest.raises(ValueError, match="base URL|ca_file|proxy"):
        adapter(base_url, clock, egress)
    assert clock.watchers == []


def test_the_embedded_model_is_reached_directly(run: Run, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://proxy.invalid")

    async def main() -> None:
        async with scripted_server() as server:
            upstream = EmbeddedUpstream("local", lambda: EmbeddedEndpoint(server.url, "k"), clock)
            exchange = await upstream.open(REQUEST, Timeouts())
            assert exchange.status == 200
            await exchange.aclose()
            await upstream.aclose()

    run(main())
