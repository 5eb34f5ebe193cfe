"""TLS to upstreams, with certificates made for this session. Row U35 of the fault list."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from ezai.errors import UpstreamError, UpstreamTimeout, UpstreamTruncated, UpstreamUnreachable
from ezai.ports import Timeouts, UpstreamRequest
from ezai.upstreams.http import Egress, HttpClient, HttpExchange
from ezai.upstreams.http.exchange import HIGH_WATER_BYTES
from ezai.upstreams.http.tls import Trust
from tests.upstreams.http.certificates import Certificates
from tests.upstreams.http.conftest import Connect, Run
from tests.upstreams.http.fakes import FakeClock
from tests.upstreams.http.scripted import (
    CHUNKED,
    CUT,
    EOF,
    HOLD,
    NAME,
    RESET,
    Script,
    Step,
    scripted_server,
    until,
)

pytestmark = pytest.mark.usefixtures("_empty_store")

KEY = b"sk-secret"
REQUEST = UpstreamRequest("POST", "/v1/messages", [(b"x-api-key", KEY)], b"{}")
TIMEOUTS = Timeouts()

Checked = Callable[[UpstreamError], None]


async def read(exchange: HttpExchange) -> bytes:
    return b"".join([chunk async for chunk in exchange.chunks()])


async def ask(client: HttpClient, request: UpstreamRequest = REQUEST) -> tuple[int, bytes]:
    exchange = await client.open(request, TIMEOUTS)
    try:
        return exchange.status, await read(exchange)
    finally:
        await exchange.aclose()


# Whom we trust.


def test_requests_go_over_one_connection_by_name_protocol_and_version(
    run: Run, client_of: Connect, certificates: Certificates
) -> None:
    names: list[str] = []
    context = certificates.good
    context.sni_callback = lambda _socket, name, _context: names.append(name)

    async def main() -> None:
        async with (
            scripted_server(tls=context) as server,
            client_of(server, ca_file=certificates.ca_file) as client,
        ):
            for _ in range(3):
                assert await ask(client) == (200, b"ok")
            assert names == [NAME]
            tls: ssl.SSLObject = server.peers[0].transport.get_extra_info("ssl_object")
            assert tls.selected_alpn_protocol() == "http/1.1"
            assert tls.version() == "TLSv1.3"
            assert len(server.requests) == 3

    run(main())
    context.sni_callback = None


def test_the_systems_store_is_trusted_and_a_ca_file_beside_it(
    run: Run, client_of: Connect, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca_file))

    async def main() -> None:
        for context in (certificates.good, certificates.somebodys):
            async with (
                scripted_server(tls=context) as server,
                client_of(server, ca_file=certificates.somebodys_ca_file) as client,
            ):
                assert await ask(client) == (200, b"ok")
        async with scripted_server(tls=certificates.good) as server, client_of(server) as client:
            assert await ask(client) == (200, b"ok")

    run(main())


@pytest.mark.parametrize("host", ["127.0.0.1", NAME.upper(), f"{NAME}."])
def test_a_host_may_be_an_address_or_spelled_otherwise(
    run: Run, certificates: Certificates, clock: FakeClock, host: str
) -> None:
    async def main() -> None:
        async with scripted_server(tls=certificates.good) as server:
            url = f"https://{host}:{server.address[1]}"
            client = HttpClient(url, clock, egress=Egress(certificates.ca_file), resolve=server.here)
            assert await ask(client) == (200, b"ok")
            await client.aclose()

    run(main())


BAD = {
    "expired": "The upstream's certificate was not accepted: it has expired.",
    "early": "The upstream's certificate was not accepted: it is not valid yet.",
    "other_name": "The upstream's certificate was not accepted: it is for another name.",
    "somebodys": "The upstream's certificate was not accepted: its issuer is not trusted here (ca_file).",
}


@pytest.mark.parametrize("certificate", BAD)
def test_u35_a_certificate_that_is_not_good_gets_no_request(
    run: Run, client_of: Connect, certificates: Certificates, is_for_clients: Checked, certificate: str
) -> None:
    async def main() -> None:
        async with (
            scripted_server(tls=getattr(certificates, certificate)) as server,
            client_of(server, ca_file=certificates.ca_file) as client,
        ):
            for _ in range(2):
                with pytest.raises(UpstreamUnreachable) as caught:
                    await client.open(REQUEST, TIMEOUTS)
                assert caught.value.message == BAD[certificate]
                assert caught.value.should_retry is False, "it would not be accepted the next time either"
                is_for_clients(caught.value)
                assert client.open_count == 0
            assert server.requests == []

    run(main())


def test_u35_an_address_that_the_certificate_is_not_for(run: Run, certificates: Certificates, clock: FakeClock) -> None:
    async def main() -> None:
        async with scripted_server(tls=certificates.other_name) as server:
            url = f"https://127.0.0.1:{server.address[1]}"
            client = HttpClient(url, clock, egress=Egress(certificates.ca_file))
            with pytest.raises(UpstreamUnreachable) as caught:
                await client.open(REQUEST, TIMEOUTS)
            assert caught.value.message == BAD["other_name"]
            await client.aclose()
            assert server.requests == []

    run(main())


ALERT_PROTOCOL_VERSION = b"\x15\x03\x01\x00\x02\x02\x46"
ALERT_HANDSHAKE_FAILURE = b"\x15\x03\x03\x00\x02\x02\x28"
HANDSHAKES: dict[str, tuple[Script, str]] = {
    "HTTP": ([b"HTTP/1.1 400 Bad Request\r\n\r\n"], "The upstream did not answer in TLS."),
    "something": ([b"SSH-2.0-OpenSSH_9.9\r\n"], "The upstream did not answer in TLS."),
    "old": ([ALERT_PROTOCOL_VERSION], "The upstream offers only versions of TLS that are too old."),
    "alert": ([ALERT_HANDSHAKE_FAILURE], "The TLS handshake with the upstream failed."),
    "EOF": ([EOF], "The upstream broke off the TLS handshake."),
    "reset": ([RESET], "The upstream broke off the TLS handshake."),
}


@pytest.mark.parametrize("case", HANDSHAKES)
def test_u35_a_handshake_that_fails_gets_no_request(
    run: Run, client_of: Connect, certificates: Certificates, is_for_clients: Checked, case: str
) -> None:
    script, message = HANDSHAKES[case]

    async def main() -> None:
        async with scripted_server(script, hears="anything") as server:
            server.secure = True
            async with client_of(server, ca_file=certificates.ca_file) as client:
                with pytest.raises(UpstreamUnreachable) as caught:
                    await client.open(REQUEST, TIMEOUTS)
                assert caught.value.message == message
                assert caught.value.should_retry is None, "it may well succeed the next time"
                is_for_clients(caught.value)
                await server.until(lambda: server.peers[0].lost)
                assert KEY not in b"".join(server.requests)

    run(main())


def test_u35_a_handshake_that_stalls_ends_with_the_connect_phase(
    run: Run, client_of: Connect, certificates: Certificates, is_for_clients: Checked
) -> None:
    async def main() -> None:
        async with scripted_server([HOLD], hears="anything") as server:
            server.secure = True
            async with client_of(server, ca_file=certificates.ca_file) as client:
                with pytest.raises(UpstreamTimeout) as caught:
                    await client.open(REQUEST, replace(TIMEOUTS, connect=0.05))
                assert caught.value.phase == "connect"
                await server.until(lambda: server.peers[0].lost)
                assert KEY not in b"".join(server.requests)

    run(main())


# The context.


def test_the_context_is_made_once_when_first_needed_and_off_the_loop(
    run: Run, client_of: Connect, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca_file))
    threads: list[threading.Thread] = []
    go_on = threading.Event()
    create = ssl.create_default_context

    def watched() -> ssl.SSLContext:
        threads.append(threading.current_thread())
        go_on.wait()
        return create()

    monkeypatch.setattr(ssl, "create_default_context", watched)

    async def main() -> None:
        async with scripted_server(tls=certificates.good) as server, client_of(server) as client:
            assert threads == []
            async with asyncio.TaskGroup() as group:
                asking = [group.create_task(ask(client)) for _ in range(4)]
                await until(lambda: len(threads) == 1)
                asking[0].cancel()  # which must not take the context from the others
                await until(asking[0].cancelled)
                go_on.set()
            assert [task.result() for task in asking[1:]] == [(200, b"ok")] * 3
            await ask(client)
            assert len(threads) == 1
            assert threads[0] is not threading.main_thread()

    run(main())


def test_the_context_checks_all_that_there_is_to_check(run: Run) -> None:
    async def main() -> None:
        context = await Trust().context()
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname

    run(main())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "ca_file does not exist"),
        ("", "ca_file holds no certificate in PEM"),
        ("hello", "ca_file holds no certificate in PEM"),
        (Path(), "ca_file cannot be read: Is a directory"),
    ],
)
def test_a_ca_file_that_cannot_be_used_is_refused_at_once(
    clock: FakeClock, tmp_path: Path, content: str | Path | None, message: str
) -> None:
    ca_file = tmp_path / "ca.pem"
    if isinstance(content, str):
        ca_file.write_text(content)
    elif content is not None:
        ca_file.mkdir()
    with pytest.raises(ValueError, match=f"^{message}$"):
        HttpClient("https://h", clock, egress=Egress(ca_file))
    assert clock.watchers == []


def test_a_ca_file_without_tls_is_refused(clock: FakeClock, certificates: Certificates) -> None:
    with pytest.raises(ValueError, match="^ca_file is for a base URL that begins with https://$"):
        HttpClient("http://h", clock, egress=Egress(certificates.ca_file))


def test_a_host_that_no_certificate_can_be_for_is_refused(clock: FakeClock) -> None:
    with pytest.raises(ValueError, match="host"):
        HttpClient(f"https://{'a' * 64}.test", clock)


# Exchanges over TLS, where it differs from TCP.


def test_a_slow_reader_stops_the_peer_and_gets_all_although_it_has_closed(
    run: Run, client_of: Connect, certificates: Certificates
) -> None:
    async def main() -> None:
        size = 32 * 1024 * 1024
        script: Script = [b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % size]
        async with (
            scripted_server([*script, b"x" * size, EOF], tls=certificates.good) as server,
            client_of(server, ca_file=certificates.ca_file) as client,
        ):
            exchange = await client.open(REQUEST, TIMEOUTS)
            await until(lambda: exchange._paused)
            waiting = exchange._buffered_bytes
            assert HIGH_WATER_BYTES <= waiting <= 2 * 1024 * 1024
            for _ in range(100):
                await asyncio.sleep(0)
            assert exchange._buffered_bytes == waiting
            assert len(await read(exchange)) == size
            await exchange.aclose()

    run(main())


def test_a_paused_exchange_misses_nothing_of_a_peer_that_ends(
    run: Run, client_of: Connect, certificates: Certificates
) -> None:
    """Under uvloop a TLS transport whose reading is paused loses what it holds when the peer closes."""

    async def main() -> None:
        size = 2 * HIGH_WATER_BYTES
        script: Script = [b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size, b"x" * HIGH_WATER_BYTES]
        rest: Script = [HOLD, b"y" * HIGH_WATER_BYTES, EOF]
        async with (
            scripted_server([*script, *rest], tls=certificates.good) as server,
            client_of(server, ca_file=certificates.ca_file) as client,
        ):
            exchange = await client.open(REQUEST, TIMEOUTS)
            await until(lambda: exchange._paused)
            server.peers[0].go()
            for _ in range(100):
                await asyncio.sleep(0)
            assert len(await read(exchange)) == size
            await exchange.aclose()

    run(main())


@pytest.mark.parametrize("end", [EOF, CUT, RESET], ids=str)
def test_a_body_until_close_is_complete_only_where_the_peer_says_so(
    run: Run, client_of: Connect, certificates: Certificates, end: Step
) -> None:
    async def main() -> None:
        script: Script = [b"HTTP/1.1 200 OK\r\n\r\nsome", HOLD, b"thing", HOLD, end]
        async with (
            scripted_server(script, tls=certificates.good) as server,
            client_of(server, ca_file=certificates.ca_file) as client,
        ):
            exchange = await client.open(REQUEST, TIMEOUTS)
            chunks = exchange.chunks()
            for expected in (b"some", b"thing"):
                assert await anext(chunks) == expected
                server.peers[0].go()
            with pytest.raises(StopAsyncIteration if end is EOF else UpstreamTruncated):
                await anext(chunks)
            await exchange.aclose()

    run(main())


def test_a_connection_whose_request_is_not_all_sent_is_not_used_again(
    run: Run, client_of: Connect, certificates: Certificates
) -> None:
    async def main() -> None:
        script: Script = [b"HTTP/1.1 413 X\r\ncontent-length: 3\r\n\r\nbig"]
        async with (
            scripted_server(script, hears="heads", tls=certificates.good) as server,
            client_of(server, ca_file=certificates.ca_file) as client,
        ):
            exchange = await client.open(structs.replace(REQUEST, body=b"b" * 32 * 1024 * 1024), TIMEOUTS)
            assert (exchange.status, await read(exchange)) == (413, b"big")
            exchange.release()
            assert client.idle_count == 0
            await until(lambda: client.open_count == 0)

    run(main())


@pytest.mark.parametrize("size", [1, 64 * 1024 + 1, 4 * 1024 * 1024])
def test_a_body_of_any_size_arrives(run: Run, client_of: Connect, certificates: Certificates, size: int) -> None:
    async def main() -> None:
        async with (
            scripted_server(tls=certificates.good) as server,
            client_of(server, ca_file=certificates.ca_file) as client,
        ):
            body = b"b" * size
            assert await ask(client, structs.replace(REQUEST, body=body)) == (200, b"ok")
            assert server.requests[0].endswith(b"\r\n\r\n" + body)
            assert client.idle_count == 1

    run(main())


@pytest.mark.parametrize("end", [EOF, CUT, RESET], ids=str)
def test_an_idle_connection_notices_its_peer(
    run: Run, client_of: Connect, certificates: Certificates, end: Step
) -> None:
    async def main() -> None:
        async with (
            scripted_server(tls=certificates.good) as server,
            client_of(server, ca_file=certificates.ca_file) as client,
        ):
            await ask(client)
            server.peers[0].play([end])
            await until(lambda: client.open_count == 0)
            assert await ask(client) == (200, b"ok")
            assert len(server.requests) == 2

    run(main())


@pytest.mark.parametrize("stale", [EOF, CUT, RESET], ids=str)
def test_u34_a_stale_connection_is_replaced_unseen(
    run: Run, client_of: Connect, certificates: Certificates, stale: Step
) -> None:
    async def main() -> None:
        async with (
            scripted_server(
                [b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"], [stale], tls=certificates.good
            ) as server,
            client_of(server, ca_file=certificates.ca_file) as client,
        ):
            await ask(client)
            assert await ask(client) == (200, b"ok")
            assert len(server.peers) == 2
            assert server.requests[1] == server.requests[2]

    run(main())


def test_a_running_answer_that_is_cut_is_truncated(run: Run, client_of: Connect, certificates: Certificates) -> None:
    async def main() -> None:
        async with (
            scripted_server([CHUNKED + b"2\r\nok\r\n", HOLD, CUT], tls=certificates.good) as server,
            client_of(server, ca_file=certificates.ca_file) as client,
        ):
            exchange = await client.open(REQUEST, TIMEOUTS)
            chunks = exchange.chunks()
            assert await anext(chunks) == b"ok"
            server.peers[0].go()
            with pytest.raises(UpstreamTruncated):
                await anext(chunks)
            await exchange.aclose()

    run(main())
