"""Which proxy, and the dialogue with it: for http and https, with its refusals."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from ezai.errors import UpstreamError, UpstreamTimeout, UpstreamUnreachable
from ezai.ports import Timeouts, UpstreamRequest
from ezai.upstreams.http import Egress, HttpClient, Limits
from ezai.upstreams.http.proxy import Proxy, find_proxy
from tests.upstreams.http.certificates import Certificates
from tests.upstreams.http.conftest import Run
from tests.upstreams.http.fakes import FakeClock
from tests.upstreams.http.scripted import (
    EOF,
    HOLD,
    NAME,
    RESET,
    TUNNEL,
    TUNNEL_STANDS,
    Deaf,
    Script,
    ScriptedServer,
    scripted_proxy,
    scripted_server,
    until,
)

KEY = b"sk-secret"
REQUEST = UpstreamRequest("POST", "/v1/messages", [(b"x-api-key", KEY)], b"{}")
TIMEOUTS = Timeouts()

Checked = Callable[[UpstreamError], None]


# Which proxy.


def find(
    setting: str,
    environ: dict[str, str] | None = None,
    *,
    secure: bool = True,
    host: str = "h.example",
    port: int = 443,
) -> Proxy | None:
    return find_proxy(setting, secure=secure, host=host, port=port, environ=environ or {})


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("http://p:3128", Proxy("p", 3128)),
        ("http://p", Proxy("p", 80)),
        ("http://p/", Proxy("p", 80)),
        ("http://[::1]:8", Proxy("::1", 8)),
        ("http://u:p%40ss@p:1", Proxy("p", 1, b"Basic dTpwQHNz")),
        ("http://u@p:1", Proxy("p", 1, b"Basic dTo=")),
        ("http://%C3%A9:x@p:1", Proxy("p", 1, b"Basic w6k6eA==")),
    ],
)
def test_a_proxy_by_its_url(url: str, proxy: Proxy) -> None:
    assert find(url) == proxy
    assert find("env", {"https_proxy": url}) == proxy


@pytest.mark.parametrize(
    "url",
    [
        "",
        "None",
        "p:3128",
        "https://secret:secret@p:1",
        "socks5://secret:secret@p:1",
        "http://",
        "http://:80",
        "http://u:secret@p:port",
        "http://u:sec/ret@p:1",
        "http://u:secret@p:99999",
        "http://u:secret@p/path",
        "http://u:secret@p?x",
        "http://u:secret@p q",
        "http://[secret",
    ],
)
@pytest.mark.parametrize("host", ["h.example", "localhost"])
def test_a_proxy_that_cannot_be_used_is_refused_without_being_quoted(url: str, host: str) -> None:
    with pytest.raises(ValueError, match="^the proxy must be http://HOST:PORT") as caught:
        find(url, host=host)
    assert "sec" not in str(caught.value)
    if "https://" in url or "socks" in url:
        assert str(caught.value).endswith("proxies by https:// or SOCKS are not offered")


def test_a_proxy_of_the_environment_is_refused_by_its_variable() -> None:
    with pytest.raises(ValueError, match=r"^the proxy of the environment \(ALL_PROXY\) must be http://HOST:PORT"):
        find("env", {"ALL_PROXY": "socks5://p:1"})


ENVIRONMENTS: list[tuple[dict[str, str], str | None, str | None]] = [  # the proxy for https, and for http
    ({}, None, None),
    ({"HTTPS_PROXY": "http://s"}, "s", None),
    ({"HTTP_PROXY": "http://t"}, None, "t"),
    ({"ALL_PROXY": "http://a"}, "a", "a"),
    ({"all_proxy": "http://a", "https_proxy": "http://s"}, "s", "a"),
    ({"https_proxy": "http://small", "HTTPS_PROXY": "http://capital"}, "small", None),
    ({"https_proxy": "", "HTTPS_PROXY": "http://capital"}, None, None),
    ({"https_proxy": "s:3128", "http_proxy": " t "}, "s", "t"),
    ({"https_proxy": "http://s", "NO_PROXY": "*"}, None, None),
    ({"https_proxy": "http://s", "NO_PROXY": "*", "no_proxy": ""}, "s", None),
]


@pytest.mark.parametrize(("environ", "secure", "plain"), ENVIRONMENTS)
def test_the_environment_by_the_scheme(environ: dict[str, str], secure: str | None, plain: str | None) -> None:
    found = [find("env", environ, secure=True), find("env", environ, secure=False)]
    assert [proxy.host if proxy else None for proxy in found] == [secure, plain]
    assert find("none", environ) is None


EXEMPT: list[tuple[str, str, int, bool]] = [
    ("*", "h.example", 443, True),
    ("", "h.example", 443, False),
    (" , ", "h.example", 443, False),
    ("h.example", "h.example", 443, True),
    ("H.Example.", "h.example", 443, True),
    ("h.example", "h.example.", 443, True),
    ("example", "h.example", 443, True),
    (".example", "h.example", 443, True),
    ("*.example", "h.example", 443, True),
    (".h.example", "h.example", 443, True),
    ("x.h.example", "h.example", 443, False),
    ("ample", "h.example", 443, False),
    ("other, h.example", "h.example", 443, True),
    ("other h.example", "h.example", 443, True),
    ("h.example:443", "h.example", 443, True),
    ("h.example:8443", "h.example", 443, False),
    ("10.1.2.3", "10.1.2.3", 443, True),
    ("10.1.2.3", "10.1.2.33", 443, False),
    ("10.0.0.0/8", "10.1.2.3", 443, True),
    ("10.1.2.3/8", "10.9.9.9", 443, True),
    ("10.0.0.0/8:443", "10.1.2.3", 443, True),
    ("10.0.0.0/8:444", "10.1.2.3", 443, False),
    ("10.0.0.0/99", "10.1.2.3", 443, False),
    ("10.0.0.0/8", "11.1.2.3", 443, False),
    ("10.0.0.0/8", "h.example", 443, False),
    ("10.0.0.0/8", "fd00::1", 443, False),
    ("fd00::/8", "fd00::1", 443, True),
    ("fd00::1", "fd00::1", 443, True),
    ("[fd00::1]:443", "fd00::1", 443, True),
    ("[fd00::1]:80", "fd00::1", 443, False),
    ("[fd00::1]", "fd00::1", 443, True),
    ("[fd00::]/8", "fd00::1", 443, True),
    ("[fd00::/8]", "fd00::1", 443, True),
    ("[fd00::]/8", "fe00::1", 443, False),
    ("[fd00::]/8:443", "fd00::1", 443, True),
    ("[fd00::]/8:80", "fd00::1", 443, False),
    ("[fd00::]/999", "fd00::1", 443, False),
    ("[]/8", "fd00::1", 443, False),
    ("::1:2", "fd00::1", 443, False),
]


@pytest.mark.parametrize(("no_proxy", "host", "port", "exempt"), EXEMPT)
def test_no_proxy(no_proxy: str, host: str, port: int, exempt: bool) -> None:
    proxy = find("env", {"https_proxy": "http://p", "no_proxy": no_proxy}, host=host, port=port)
    assert (proxy is None) == exempt


def test_no_proxy_is_for_the_proxies_of_the_environment() -> None:
    assert find("http://p", {"no_proxy": "*"}) == Proxy("p", 80)


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "127.9.9.9", "::1", "localhost.", "x.localhost", "A.x.LocalHost."]
)
def test_loopback_is_never_proxied(host: str) -> None:
    assert find("http://p", host=host) is None
    assert find("env", {"https_proxy": "http://p"}, host=host) is None


@pytest.mark.parametrize("host", ["xlocalhost", "localhost.example", "128.0.0.1", "::2"])
def test_what_only_looks_like_loopback_is_proxied(host: str) -> None:
    assert find("http://p", host=host) == Proxy("p", 80)


def test_the_request_for_a_tunnel() -> None:
    assert Proxy("p", 1).connect_head("h.example", 443) == (
        b"CONNECT h.example:443 HTTP/1.1\r\nhost: h.example:443\r\n\r\n"
    )
    assert Proxy("p", 1, b"Basic dTpw").connect_head("fd00::1", 80) == (
        b"CONNECT [fd00::1]:80 HTTP/1.1\r\nhost: [fd00::1]:80\r\nproxy-authorization: Basic dTpw\r\n\r\n"
    )


# The dialogue.


async def ask(client: HttpClient) -> bytes:
    exchange = await client.open(REQUEST, TIMEOUTS)
    try:
        return b"".join([chunk async for chunk in exchange.chunks()])
    finally:
        await exchange.aclose()


def through(proxy: ScriptedServer, clock: FakeClock, *, scheme: str = "http", ca_file: str = "") -> HttpClient:
    """A client for an upstream by name, which only the proxy can know."""
    url = f"http://user:pass@127.0.0.1:{proxy.address[1]}"
    return HttpClient(
        f"{scheme}://{NAME}:1234", clock, egress=Egress(ca_file, url), limits=Limits(header_limit_bytes=1024)
    )


@pytest.mark.usefixtures("_empty_store")
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_requests_go_through_one_tunnel(run: Run, clock: FakeClock, certificates: Certificates, scheme: str) -> None:
    secure = scheme == "https"

    async def main() -> None:
        async with (
            scripted_server(tls=certificates.good if secure else None) as server,
            scripted_proxy(server) as proxy,
        ):
            client = through(proxy, clock, scheme=scheme, ca_file=str(certificates.ca_file) if secure else "")
            for _ in range(3):
                assert await ask(client) == b"ok"
            assert proxy.requests == [
                b"CONNECT upstream.test:1234 HTTP/1.1\r\nhost: upstream.test:1234\r\n"
                b"proxy-authorization: Basic dXNlcjpwYXNz\r\n\r\n"
            ]
            assert len(server.requests) == 3
            for request in server.requests:
                assert b"proxy" not in request
                assert b"dXNlcjpwYXNz" not in request
                assert b"\r\nhost: upstream.test:1234\r\n" in request
            await client.aclose()
            await server.until(lambda: server.open_count == 0)
            await proxy.until(lambda: proxy.open_count == 0)

    run(main())


REFUSED: dict[str, tuple[Script, str]] = {
    "407": (
        [b"HTTP/1.1 407 X\r\nproxy-authenticate: Basic\r\ncontent-length: 2\r\n\r\nno"],
        "The proxy wants a user and a password, or others than it was given.",
    ),
    "403": ([b"HTTP/1.1 403 X\r\n\r\n"], "The proxy does not allow connections to the upstream."),
    "502": ([b"HTTP/1.1 502 X\r\n\r\n"], "The proxy could not reach the upstream."),
    "503 in pieces": ([b"HTTP/1.1 5", b"03 X\r\n\r", b"\n"], "The proxy could not reach the upstream."),
    "302": ([b"HTTP/1.1 302 X\r\nlocation: x\r\n\r\n"], "The proxy refused to connect to the upstream."),
    "garbage": ([b"SSH-2.0-OpenSSH_9.9\r\n"], "The proxy's answer is not valid HTTP."),
    "101": ([b"HTTP/1.1 101 X\r\n\r\n"], "The proxy's answer is not valid HTTP."),
    "bare LF": ([b"HTTP/1.1 200 X\n\n"], "The proxy's answer is not valid HTTP."),
    "a big header": ([b"HTTP/1.1 200 X\r\na: " + b"b" * 2048], "The proxy's answer is not valid HTTP."),
    "many headers": ([b"HTTP/1.1 200 X\r\n" + b"a: b\r\n" * 201], "The proxy's answer is not valid HTTP."),
    "too much": ([TUNNEL_STANDS + b"HTTP/1.1 200 OK\r\n\r\n"], "The proxy answered more than it was asked."),
    "EOF": ([EOF], "The proxy closed the connection without an answer."),
    "EOF in the head": ([b"HTTP/1.1 200 X\r\n", EOF], "The proxy closed the connection without an answer."),
    "reset": ([RESET], "The proxy closed the connection without an answer."),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_tunnel_that_does_not_stand(run: Run, clock: FakeClock, is_for_clients: Checked, case: str) -> None:
    script, message = REFUSED[case]

    async def main() -> None:
        async with scripted_server() as server, scripted_proxy(server, script) as proxy:
            client = through(proxy, clock)
            with pytest.raises(UpstreamUnreachable) as caught:
                await client.open(REQUEST, TIMEOUTS)
            assert caught.value.message == message
            assert caught.value.should_retry is (False if case in {"407", "403"} else None)
            is_for_clients(caught.value)
            await proxy.until(lambda: proxy.peers[0].lost)
            assert KEY not in b"".join(proxy.requests) + proxy.peers[0].received
            assert client.open_count == 0
            assert await ask(client) == b"ok"
            await client.aclose()

    run(main())


@pytest.mark.parametrize(
    "after", [[b"HTTP/1.1 100 Continue\r\n\r\n", TUNNEL], [b"HTTP/1.1 103 X\r\na: b\r\n\r\n", TUNNEL]]
)
def test_informational_answers_are_passed_over(run: Run, clock: FakeClock, after: Script) -> None:
    async def main() -> None:
        async with scripted_server() as server, scripted_proxy(server, after) as proxy:
            client = through(proxy, clock)
            assert await ask(client) == b"ok"
            await client.aclose()

    run(main())


def test_a_byte_before_the_first_request_closes_the_tunnel(run: Run, clock: FakeClock) -> None:
    async def main() -> None:
        async with scripted_server() as server, scripted_proxy(server, [TUNNEL_STANDS, HOLD, b"x"]) as proxy:
            client = through(proxy, clock)
            async with asyncio.TaskGroup() as group:
                opening = group.create_task(error_of(client))
                await proxy.until(lambda: len(proxy.requests) == 2)
                proxy.peers[0].go()
            # The request had been sent before it.
            assert opening.result().error_code == "upstream_malformed"
            await client.aclose()

    run(main())


async def error_of(client: HttpClient, timeouts: Timeouts = TIMEOUTS) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        await client.open(REQUEST, timeouts)
    return caught.value


def test_a_proxy_that_does_not_answer_ends_with_the_connect_phase(
    run: Run, clock: FakeClock, is_for_clients: Checked
) -> None:
    async def main() -> None:
        async with scripted_server() as server, scripted_proxy(server, [HOLD]) as proxy:
            client = through(proxy, clock)
            error = await error_of(client, replace(TIMEOUTS, connect=0.01))
            assert isinstance(error, UpstreamTimeout)
            assert error.phase == "connect"
            assert error.message == (
                "The upstream could not be reached through its proxy within 0.01 s (timeouts.connect)."
            )
            await proxy.until(lambda: proxy.peers[0].lost)
            await client.aclose()
        with Deaf() as url:
            client = HttpClient(f"http://{NAME}", clock, egress=Egress(proxy=url))
            assert isinstance(await error_of(client, replace(TIMEOUTS, connect=0.01)), UpstreamTimeout)
            await client.aclose()

    run(main())


@pytest.mark.parametrize(
    ("host", "message"),
    [("127.0.0.1", "The proxy could not be reached."), ("a" * 64, "The proxy's name could not be resolved.")],
)
def test_a_proxy_that_is_not_there(
    run: Run, clock: FakeClock, is_for_clients: Checked, host: str, message: str
) -> None:
    async def main() -> None:
        async with scripted_server() as gone:
            port = gone.address[1]
        client = HttpClient(f"http://{NAME}", clock, egress=Egress(proxy=f"http://{host}:{port}"))
        error = await error_of(client)
        assert isinstance(error, UpstreamUnreachable)
        assert error.message == message
        is_for_clients(error)
        await client.aclose()

    run(main())


@pytest.mark.usefixtures("_empty_store")
def test_a_certificate_is_checked_through_a_tunnel_too(run: Run, clock: FakeClock, certificates: Certificates) -> None:
    async def main() -> None:
        async with scripted_server(tls=certificates.expired) as server, scripted_proxy(server) as proxy:
            client = through(proxy, clock, scheme="https", ca_file=str(certificates.ca_file))
            error = await error_of(client)
            assert error.message == "The upstream's certificate was not accepted: it has expired."
            assert server.requests == []
            await proxy.until(lambda: proxy.open_count == 0)
            await client.aclose()

    run(main())


def test_the_environment_is_read_once(run: Run, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with scripted_server() as server, scripted_proxy(server) as proxy:
            monkeypatch.setenv("http_proxy", proxy.url)
            monkeypatch.setenv("no_proxy", "")
            client = HttpClient(f"http://{NAME}", clock, egress=Egress())
            monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
            assert await ask(client) == b"ok"
            await client.aclose()

    run(main())


def test_an_idle_tunnel_notices_its_end(run: Run, clock: FakeClock) -> None:
    async def main() -> None:
        async with scripted_server() as server, scripted_proxy(server) as proxy:
            client = through(proxy, clock)
            await ask(client)
            server.peers[0].play([EOF])
            await until(lambda: client.open_count == 0)
            assert await ask(client) == b"ok"
            assert len(proxy.requests) == 2
            await client.aclose()

    run(main())
