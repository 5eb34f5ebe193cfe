"""TLS at the gateway's own door: which versions and protocols, which certificate, and files that cannot be used."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import socket
import ssl
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives import serialization

from ezai.config import LimitsConfig
from ezai.errors import SetupError
from ezai.server.listener import Listener
from ezai.server.tls import load_tls
from tests.conformance.gateway import Options, Running, gateway, hello
from tests.raw_client import RawClient, head, raw_client
from tests.server.certificates import NAME, Certificates
from tests.server.http2.client import LEAVES, Http2Client
from tests.server.test_edge import LOOPS, Run, Settlements, get, in_loop, post, settled
from tests.upstreams.http.scripted import EOF, HOLD, Script

__all__ = ["settled"]


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Run:
    return in_loop(LOOPS[request.param])


def options(certificates: Certificates, *, http2: bool = True) -> Options:
    return Options(http2=http2, certificate=certificates.issue())


def port_of(running: Running) -> int:
    return int(running.url.rpartition(":")[2])


async def connected(running: Running, context: ssl.SSLContext, protocol: Callable[[], asyncio.Protocol]) -> Any:
    _, made = await asyncio.get_running_loop().create_connection(
        protocol, "127.0.0.1", port_of(running), ssl=context, server_hostname=NAME
    )
    return made


def agreed(client: RawClient | Http2Client) -> str | None:
    secured: ssl.SSLObject = client.transport.get_extra_info("ssl_object")
    return secured.selected_alpn_protocol()


# Protocols.


@pytest.mark.parametrize("offer", [("h2", "http/1.1"), ("http/1.1", "h2"), ("h2",)], ids="+".join)
def test_http_2_is_spoken_where_both_sides_want_it(
    offer: tuple[str, ...], run: Run, certificates: Certificates
) -> None:
    async def test() -> None:
        async with gateway(hello(), options=options(certificates)) as running:
            client = await connected(running, certificates.trusting(*offer), Http2Client)
            assert agreed(client) == "h2"
            client.greet()
            assert (await client.answer(client.post())).status == 200
            client.transport.abort()

    run(test())


@pytest.mark.parametrize(
    ("offer", "http2"), [(("http/1.1",), True), ((), True), (("h2", "http/1.1"), False), (("x",), True)], ids=str
)
def test_http_1_is_spoken_where_one_side_wants_nothing_else(
    offer: tuple[str, ...], http2: bool, run: Run, certificates: Certificates
) -> None:
    async def test() -> None:
        async with gateway(hello(), options=options(certificates, http2=http2)) as running:
            client = await connected(running, certificates.trusting(*offer), RawClient)
            assert agreed(client) in {"http/1.1", None}
            client.send(post())
            assert (await client.answer()).status == 200
            client.transport.abort()

    run(test())


def test_http_2_is_not_spoken_unasked_under_tls(run: Run, certificates: Certificates) -> None:
    """RFC 9113 section 3.3: there ALPN decides, and nothing else."""

    async def test() -> None:
        async with gateway(options=options(certificates)) as running:
            client = await connected(running, certificates.trusting("http/1.1"), RawClient)
            client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            assert (await client.answer()).status == 400
            client.transport.abort()

    run(test())


def test_plain_http_is_not_spoken_on_a_port_with_tls(run: Run, certificates: Certificates) -> None:
    async def test() -> None:
        async with gateway(options=options(certificates)) as running:
            _, client = await asyncio.get_running_loop().create_connection(RawClient, "127.0.0.1", port_of(running))
            client.send(get("/healthz"))
            assert b"HTTP" not in await client.rest()
            client.transport.abort()

    run(test())


def test_who_sends_on_can_still_read_its_last_answer(
    run: Run, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    """TLS cannot be ended in one direction; the rest is read all the same."""

    async def test() -> None:
        small = replace(options(certificates), limits=LimitsConfig(body_mib=1))
        async with gateway(options=small) as running:
            client = await connected(running, certificates.trusting("http/1.1"), RawClient)
            client.stop_reading()
            client.send(head(f"content-length: {2 << 20}"))
            for _ in range(32):
                await client.sent(bytes(60_000))
            client.read_again()
            answer = await client.answer()
            assert (answer.status, answer.headers["connection"]) == (413, "close")
            client.transport.abort()
        assert not [record for record in caplog.records if record.levelno >= logging.ERROR]

    run(test())


# Versions and ciphers.


def shake_hands(running: Running, context: ssl.SSLContext) -> tuple[str, str]:
    """Version and cipher that a client of this context gets; in a thread, since the gateway runs in this one."""
    with (
        socket.create_connection(("127.0.0.1", port_of(running)), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname=NAME) as secured,
    ):
        cipher, version = secured.cipher(), secured.version()
        assert cipher is not None
        assert version is not None
        return version, cipher[0]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=str)
def test_good_versions_are_spoken_with_good_ciphers(
    version: ssl.TLSVersion, run: Run, certificates: Certificates
) -> None:
    async def test() -> None:
        context = certificates.trusting("h2")
        context.minimum_version = context.maximum_version = version
        async with gateway(options=options(certificates)) as running:
            spoken, cipher = await asyncio.to_thread(shake_hands, running, context)
            assert spoken == version.name.replace("_", ".")
            assert "GCM" in cipher or "CHACHA20" in cipher

    run(test())


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
@pytest.mark.parametrize("ciphers", ["DEFAULT@SECLEVEL=0", "ECDHE+AES128:!AESGCM"], ids=["TLS 1.1", "CBC"])
def test_old_versions_and_ciphers_are_not(ciphers: str, run: Run, certificates: Certificates) -> None:
    async def test() -> None:
        context = certificates.trusting("h2")
        context.set_ciphers(ciphers)
        is_old = "DEFAULT" in ciphers
        context.minimum_version = ssl.TLSVersion.TLSv1_1 if is_old else ssl.TLSVersion.TLSv1_2
        context.maximum_version = context.minimum_version
        async with gateway(options=options(certificates)) as running:
            with pytest.raises((ssl.SSLError, ConnectionResetError)):
                await asyncio.to_thread(shake_hands, running, context)

    run(test())


# What holds without TLS holds with it.


@pytest.mark.parametrize("leave", LEAVES.values(), ids=LEAVES)
def test_a_client_that_leaves_ends_its_streams(
    leave: Callable[[Http2Client], None], run: Run, certificates: Certificates, settled: Settlements
) -> None:
    if leave is Http2Client.half_close:
        pytest.skip("TLS knows no half-close")

    async def test() -> None:
        from tests.conformance.gateway import STREAM
        from tests.pipeline.fakes import chunk

        script: Script = [STREAM + chunk("one"), HOLD]
        async with gateway(script, script, options=options(certificates)) as running:
            client = await connected(running, certificates.trusting("h2"), Http2Client)
            client.greet()
            for _ in range(2):
                await client.said(client.post(stream=True), b'"one"')
            leave(client)
            await running.upstream.until(lambda: all(peer.lost for peer in running.upstream.peers))
            assert [await settled.next(), await settled.next()] == ["client_left"] * 2

    run(test())


def test_a_reader_that_stops_makes_its_upstream_wait(run: Run, certificates: Certificates) -> None:
    async def test() -> None:
        from tests.server.test_edge import MORE_THAN_BUFFERS_HOLD

        async with gateway(MORE_THAN_BUFFERS_HOLD, options=options(certificates)) as running:
            client = await connected(running, certificates.trusting(), RawClient)
            client.stop_reading()
            client.send(post(stream=True))
            await running.upstream.until(lambda: bool(running.upstream.peers))
            await running.upstream.until(lambda: running.upstream.peers[0].writing_paused)
            client.reset()
            await running.upstream.until(lambda: running.upstream.peers[0].lost)

    run(test())


# Connections that say nothing.

LIMIT = 4
SECURED = pytest.mark.parametrize("secured", [True, False], ids=["tls", "plain"])


async def newcomer(running: Running, certificates: Certificates, stack: AsyncExitStack, *, secured: bool) -> RawClient:
    """A client that is agreed on TLS, where that is spoken."""
    _, made = await asyncio.get_running_loop().create_connection(
        RawClient,
        "127.0.0.1",
        port_of(running),
        ssl=certificates.trusting("http/1.1") if secured else None,
        server_hostname=NAME if secured else None,
    )
    stack.callback(made.transport.abort)
    return made


@SECURED
def test_c16_connections_that_say_nothing_are_bounded(secured: bool, run: Run, certificates: Certificates) -> None:
    """Handshakes that never end count as any connection. Whoever is served goes on; newcomers wait for a place."""

    async def test() -> None:
        limits = LimitsConfig(connections=LIMIT)
        chosen = Options(certificate=certificates.issue() if secured else None, limits=limits)
        async with gateway(hello(), hello(), options=chosen) as running, AsyncExitStack() as stack:
            served = await newcomer(running, certificates, stack, secured=secured)
            silent = [await stack.enter_async_context(raw_client(running.url)) for _ in range(LIMIT - 1)]

            async def answered() -> int:
                late = await newcomer(running, certificates, stack, secured=secured)
                late.send(post())
                return (await late.answer()).status

            waiting = asyncio.get_running_loop().create_task(answered())
            served.send(post())
            assert (await served.answer()).status == 200
            assert not any(client.is_hung_up for client in silent)
            assert not waiting.done()
            silent[0].close()
            assert await waiting == 200

    run(test())


def test_stopping_does_not_wait_for_a_handshake(run: Run, certificates: Certificates) -> None:
    async def test() -> None:
        async with gateway(options=options(certificates)) as running:
            _, client = await asyncio.get_running_loop().create_connection(RawClient, "127.0.0.1", port_of(running))
            await asyncio.to_thread(serial_of, running, certificates.trusting())  # by now it was accepted
        assert await client.rest() == b""
        client.transport.abort()

    run(test())


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(sys.platform != "linux", reason="it looks at /proc")
@SECURED
def test_row_s9_with_no_descriptor_left_newcomers_wait_in_the_queue(
    secured: bool, run: Run, certificates: Certificates
) -> None:
    async def test() -> None:
        chosen = Options(certificate=certificates.issue() if secured else None)
        async with gateway(options=chosen) as running, AsyncExitStack() as stack:
            first = await newcomer(running, certificates, stack, secured=secured)
            first.send(get("/healthz"))
            assert (await first.answer()).status == 200
            waiting = [socket.socket() for _ in range(3)]
            for client in waiting:
                stack.callback(client.close)
                client.setblocking(False)
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (open_files() - 1, hard))
            try:
                for client in waiting:
                    await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port_of(running)))
                told = ""
                while told != "close":  # somebody waits: this answer is the last one here
                    first.send(get("/healthz"))
                    told = (await first.answer()).headers.get("connection", "")
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            late = await newcomer(running, certificates, stack, secured=secured)
            late.send(get("/healthz"))
            assert (await late.answer()).status == 200

    run(test())


def test_whoever_agrees_on_tls_while_it_retires_is_answered_once(
    run: Run, certificates: Certificates, listeners: list[Listener]
) -> None:
    async def test() -> None:
        loop, context = asyncio.get_running_loop(), certificates.trusting("http/1.1")
        async with gateway(options=options(certificates)) as running:
            plain, _ = await loop.create_connection(asyncio.Protocol, "127.0.0.1", port_of(running))
            await asyncio.to_thread(serial_of, running, context)  # by now it was accepted
            listeners[0].retire(3600)
            client = RawClient()
            secured = await loop.start_tls(plain, client, context, server_hostname=NAME)
            assert secured is not None
            client.connection_made(secured)
            client.send(get("/healthz"))
            answer = await client.answer()
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert await client.rest() == b""
            secured.abort()

    run(test())


# Which certificate.


def serial_of(running: Running, context: ssl.SSLContext) -> str:
    with (
        socket.create_connection(("127.0.0.1", port_of(running)), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secured,
    ):
        certificate = secured.getpeercert()
        assert certificate
        return cast("str", certificate["serialNumber"])


@pytest.fixture
def listeners(monkeypatch: pytest.MonkeyPatch) -> list[Listener]:
    """Those that are started."""
    started: list[Listener] = []
    start = Listener.start

    async def noted(self: Listener, listening: socket.socket) -> None:
        started.append(self)
        await start(self, listening)

    monkeypatch.setattr(Listener, "start", noted)
    return started


def test_a_renewed_certificate_is_shown_to_whoever_comes_next(
    run: Run, certificates: Certificates, listeners: list[Listener]
) -> None:
    async def test() -> None:
        context = certificates.trusting("h2")
        async with gateway([HOLD, EOF], hello(), options=options(certificates)) as running:
            client = await connected(running, certificates.trusting("h2"), Http2Client)
            client.greet()
            before = await asyncio.to_thread(serial_of, running, context)
            (listener,) = listeners
            listener.edge = replace(listener.edge, tls=load_tls(*certificates.issue(), http2=True))
            after = await asyncio.to_thread(serial_of, running, context)
            assert before != after == await asyncio.to_thread(serial_of, running, context)
            assert (await client.answer(client.get("/healthz"))).status == 200  # who was there stays
            newcomer = await connected(running, certificates.trusting("h2"), Http2Client)
            assert agreed(newcomer) == "h2"
            for one in (client, newcomer):
                one.transport.abort()

    run(test())


# Files that cannot be used: one sentence, which names the key.


def sentence(certificate: Path, key: Path) -> str:
    with pytest.raises(SetupError) as caught:
        load_tls(certificate, key, http2=True)
    said = str(caught.value)
    assert said.startswith("[server] tls_")
    assert said.endswith(".")
    assert "\n" not in said
    return said


def test_files_that_are_not_there(certificates: Certificates, tmp_path: Path) -> None:
    certificate, key = certificates.issue()
    assert "tls_certificate:" in sentence(tmp_path / "none.pem", key)
    assert "tls_key:" in sentence(certificate, tmp_path / "none.pem")
    assert "No such file" in sentence(certificate, tmp_path / "none.pem")
    assert "Is a directory" in sentence(certificate, tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read(certificates: Certificates) -> None:
    certificate, key = certificates.issue()
    key.chmod(0)
    assert "Permission denied" in sentence(certificate, key)


def test_files_that_are_no_pem(certificates: Certificates, tmp_path: Path) -> None:
    certificate, key = certificates.issue()
    for content in (b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n", bytes(1000)):
        (tmp_path / "bad.pem").write_bytes(content)
        assert "PEM" in sentence(tmp_path / "bad.pem", key)
        assert "PEM" in sentence(certificate, tmp_path / "bad.pem")
    assert "PEM" in sentence(key, certificate)


def test_a_key_of_another_certificate(certificates: Certificates) -> None:
    assert "not the key of tls_certificate" in sentence(certificates.issue()[0], certificates.issue()[1])


def test_a_key_with_a_passphrase(certificates: Certificates, tmp_path: Path) -> None:
    """Nobody is asked for it: a service has no terminal."""
    certificate, key = certificates.issue()
    locked = tmp_path / "locked.pem"
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    locked.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    assert "passphrase" in sentence(certificate, locked)
