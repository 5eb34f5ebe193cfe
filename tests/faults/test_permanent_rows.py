"""Rows of the fault table that asking again does not mend: once for each target, and the SDKs are told to let it be."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.faults.rows import Row, Rows, Told
from tests.faults.test_next_target_rows import UNREACHABLE, is_answered_by_next
from tests.faults.test_upstream_opening_rows import AUTHORITY, is_502, tls

CERTIFICATES = ["expired", "other_name", "untrusted"]


def is_the_last_word(told: Told) -> None:
    is_502(told, UNREACHABLE)
    assert (told.headers["x-should-retry"], told.headers["x-ezai-attempts"]) == ("false", "1")


@pytest.mark.parametrize("certificate", CERTIFICATES)
def test_u35_a_certificate_that_is_none_for_us_is_looked_at_once(certificate: str, rows: Rows, stream: bool) -> None:
    async def test(row: Row) -> None:
        is_the_last_word(await row.ask(stream=stream))
        row.ends(UNREACHABLE)
        assert not row.mock.journal.requests

    rows.play(test, tls=tls(certificate), ca_file=AUTHORITY, max_retries=2)


@pytest.mark.parametrize("certificate", CERTIFICATES)
def test_u35_the_next_target_is_asked_at_once(certificate: str, rows: Rows, stream: bool) -> None:
    async def test(row: Row) -> None:
        await is_answered_by_next(row, await row.ask(stream=stream), UNREACHABLE)

    rows.play(test, tls=tls(certificate), ca_file=AUTHORITY, max_retries=2, next_wire="anthropic")


@contextmanager
def proxy_that_says(status: int) -> Iterator[tuple[str, list[bytes]]]:
    """Its address, and what it was asked."""
    asked: list[bytes] = []

    class Answering(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            asked.append(self.rfile.readline())
            while self.rfile.readline().strip():
                pass
            self.wfile.write(b"HTTP/1.1 %d X\r\ncontent-length: 0\r\n\r\n" % status)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answering) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()


@pytest.mark.parametrize(("status", "is_permanent"), [(407, True), (403, True), (502, False)])
def test_a_proxy_that_refuses_is_asked_once(status: int, is_permanent: bool, rows: Rows, stream: bool) -> None:
    async def test(row: Row) -> None:
        told = await row.ask(stream=stream)
        if is_permanent:
            is_the_last_word(told)
            row.ends(UNREACHABLE)
        else:
            assert (told.headers["x-ezai-attempts"], "x-should-retry" in told.headers) == ("2", False)
            row.ends(UNREACHABLE, after=[UNREACHABLE])
        assert asked == [b"CONNECT upstream.test:1234 HTTP/1.1\r\n"] * int(told.headers["x-ezai-attempts"])

    with proxy_that_says(status) as (url, asked):
        rows.play(test, at="http://upstream.test:1234", proxy=url, max_retries=1)
