"""The watch finds what is planted, lets pass what has to be there, and fails the session."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from ezai.lab.mock import mock_upstream
from ezai.policy.key_format import KeyParts, masked
from tests import canary
from tests.canary import Watch, WatchedLog, WatchedTransport
from tests.gateway_process import running_gateway
from tests.lab.plain import KEY, asked

CLIENT, UPSTREAM = "sk-planted-client-0001", "sk-planted-upstream-0002"
MADE = "sk-ezai-IYT0XLWR_1u8QmlquE1rQpeqoulx6MZVGVGgufeog3UsDEHmrG2p2pZtq8"
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def watch() -> Watch:
    watch = Watch({"the client's key": CLIENT, "the upstream's key": UPSTREAM})
    watch.test = "here"
    return watch


def found(watch: Watch) -> list[tuple[str, ...]]:
    return [tuple(finding) for finding in watch.findings]


@pytest.mark.parametrize(
    ("key", "name"), [(CLIENT, "the client's key"), (UPSTREAM, "the upstream's key"), (MADE, "a made key")]
)
def test_a_key_is_found_whichever_it_is(key: str, name: str, watch: Watch) -> None:
    watch.look("a place", f'{{"message":"invalid key {key}."}}')
    watch.look("a place", f"again {key}".encode())
    assert found(watch) == [(name, "a place", "here")]


def test_what_is_no_key_is_let_pass(watch: Watch) -> None:
    watch.look("a place", f"sk-other {CLIENT[:-1]} {masked(KeyParts('IYT0XLWR', 'Ztq8'))} {MADE[:-1]}")
    assert not found(watch)


@pytest.mark.parametrize("cut", range(1, len(CLIENT)))
def test_a_key_in_two_pieces_is_found(cut: int, watch: Watch) -> None:
    show = watch.stream("a stream")
    for piece in (b"data: " + CLIENT[:cut].encode(), CLIENT[cut:].encode() + b"\n\n"):
        show(piece)
    assert found(watch) == [("the client's key", "a stream", "here")]


def test_keys_of_two_streams_are_not_joined(watch: Watch) -> None:
    watch.stream("one")(CLIENT[:9].encode())
    watch.stream("other")(CLIENT[9:].encode())
    assert not found(watch)


@pytest.mark.parametrize("place", ["message", "field", "exception"])
def test_a_key_in_the_log_is_found(place: str, watch: Watch) -> None:
    logger = logging.Logger("ezai.planted")
    logger.addHandler(WatchedLog(watch))
    if place == "message":
        logger.debug("asked with %s", UPSTREAM)
    elif place == "field":
        logger.debug("asked", extra={"fields": {"key": UPSTREAM}})
    else:
        try:
            raise ValueError(UPSTREAM)
        except ValueError:
            logger.exception("failed")
    assert found(watch) == [("the upstream's key", "the log ezai.planted", "here")]


def test_a_key_in_an_answer_is_found(watch: Watch) -> None:
    class Transport:
        written = b""

        def write(self, data: bytes) -> None:
            self.written += data

    transport = Transport()
    watched = WatchedTransport(transport, watch)
    watched.write(b"HTTP/1.1 200 OK\r\nx-echo: " + UPSTREAM.encode() + b"\r\n\r\n")
    assert watched.written == transport.written != b""
    assert found(watch) == [("the upstream's key", "an answer to a client", "here")]


REQUESTS = {
    "own credential": (f"x-api-key: {UPSTREAM}", "", None),
    "own credential as a bearer": (f"Authorization: Bearer {UPSTREAM}", "", None),
    "own credential elsewhere": (f"x-debug: {UPSTREAM}", "", "the upstream's key"),
    "own credential in the body": ("a: b", UPSTREAM, "the upstream's key"),
    "the client's": (f"x-api-key: {CLIENT}", "", "the client's key"),
    "the client's elsewhere": (f"cookie: k={CLIENT}", "", "the client's key"),
    "the client's in the body": ("a: b", f'{{"user":"{CLIENT}"}}', "the client's key"),
}


@pytest.mark.parametrize("case", REQUESTS)
def test_a_key_in_a_request_to_an_upstream_is_found(case: str, watch: Watch) -> None:
    line, body, expected = REQUESTS[case]
    watch.raw_upstream_request(f"POST /v1/messages HTTP/1.1\r\n{line}\r\n\r\n{body}".encode())
    assert [finding.canary for finding in watch.findings] == ([expected] if expected else [])


def test_a_key_in_a_target_is_found(watch: Watch) -> None:
    watch.raw_upstream_request(f"GET /v1/models?key={UPSTREAM} HTTP/1.1\r\na: b\r\n\r\n".encode())
    assert [finding.canary for finding in watch.findings] == ["the upstream's key"]


def test_the_mocks_digests_are_read() -> None:
    """Its journal holds no key; what stands in the place of one is known."""
    watch = Watch({"the client's key": KEY})
    watch.test = "here"

    async def test() -> None:
        async with mock_upstream("tokens=1") as mock:
            await asked(mock)
            watch.upstream_request(mock.journal.requests[0].headers, b"")

    asyncio.run(test())
    assert found(watch) == [("the client's key", "the header x-api-key of a request to an upstream", "here")]


@pytest.mark.parametrize("journaled", [False, True])
def test_a_key_in_a_database_is_found(journaled: bool, watch: Watch) -> None:
    with (
        TemporaryDirectory() as above,  # not where the session's own watch looks
        closing(_database(Path(above) / "test_of_something0")) as connection,
    ):
        connection.execute(f"PRAGMA journal_mode = {'WAL' if journaled else 'DELETE'}")
        connection.execute("CREATE TABLE t (v TEXT)")
        connection.execute("INSERT INTO t VALUES (?)", (MADE,))
        watch.databases(Path(above))
    where = "ezai.db-wal" if journaled else "ezai.db"
    assert found(watch) == [("a made key", f"the database {where}", "test_of_something0")]


def test_a_key_in_a_journal_of_records_is_found(watch: Watch) -> None:
    with TemporaryDirectory() as above:
        folder = Path(above) / "test_of_something0"
        folder.mkdir()
        (folder / "ezai.db.records-0123abcd.a").write_text(MADE)
        watch.databases(Path(above))
    assert found(watch) == [("a made key", "the database ezai.db.records-0123abcd.a", "test_of_something0")]


def _database(folder: Path) -> sqlite3.Connection:
    folder.mkdir()
    (folder / "ezai.toml").write_text(UPSTREAM)  # where an operator writes it
    return sqlite3.connect(folder / "ezai.db", isolation_level=None)


@pytest.mark.parametrize("ending", ["stopped", "killed"])
def test_a_key_in_the_metrics_of_a_gateway_process_is_found(
    ending: str, watch: Watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names of upstreams are in them."""
    monkeypatch.setattr(canary, "WATCH", watch)
    config = tmp_path / "ezai.toml"
    config.write_text(f'[[upstreams]]\nname = "{CLIENT}"\nkind = "openai"\nbase_url = "http://127.0.0.1:9"\n')
    with running_gateway(config, EZAI_DATA_DIR=str(tmp_path)) as gateway:
        if ending == "killed":
            gateway.kill()
    assert ("the client's key", "the metrics of a gateway process", "here") in found(watch)


SESSION = """
import logging
from tests.canary import CLIENT_KEY

def test_that_passes():
    pass

def test_that_leaks():
    logging.getLogger("ezai.somewhere").debug(LEAK)
"""


@pytest.mark.parametrize("leaks", [False, True])
def test_a_session_in_which_one_is_found_fails(leaks: bool, tmp_path: Path) -> None:
    (tmp_path / "test_leak.py").write_text(
        SESSION.replace("(LEAK)", "(" + ("CLIENT_KEY" if leaks else "'nothing'") + ")")
    )
    (tmp_path / "conftest.py").write_text("from tests.conftest import *\n")
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "2 passed" in ended.stdout
    assert ended.returncode == (1 if leaks else 0), ended.stdout
    line = "the client's key in the log ezai.somewhere: test_leak.py::test_that_leaks"
    assert (line in ended.stdout) == leaks


def test_the_watch_of_this_session_is_in_its_places() -> None:
    handlers = [type(handler) for name in canary.LOGGERS for handler in logging.getLogger(name).handlers]
    assert handlers.count(WatchedLog) == len(canary.LOGGERS)
    assert logging.getLogger("ezai").level == logging.DEBUG
    assert len(canary.WATCH.folders) == 2
