"""Two keys that must be found nowhere, and the watch that looks for them while the whole suite runs.

Tests use `CLIENT_KEY` as what a client shows the gateway and `UPSTREAM_KEY` as what the gateway shows an upstream.
These places, to which a secret might leak, are watched whichever test makes it write there:

    logs                 every record of the package and its server, at debug level, in both forms; of a gateway
                         process (`gateway_process`) what it writes
    answers              every byte that a gateway in this process writes to a client; of a gateway process what
                         passes a recorder or a raw client, and no other answer
    upstream requests    nothing of the client's; the gateway's own credential in the header for it, and there alone
    metrics              as they stand when a gateway of tests/conformance ends, or a gateway process is told to
    databases            every file of a store, byte by byte, when the session ends

Bytes are looked at as they are: what is compressed or encrypted is not seen, such as the Huffman-coded fields of a
head in HTTP/2 (RFC 7541) and whatever passes under TLS outside this process. Of a gateway process that took over from
another the metrics are not looked at; of one that a test starts in a way of its own neither these nor the log are.

A key of the form that `ezai keys create` makes is a canary too, whichever it is. When anything was found, the session
fails and says where, and in which test. `plugin()` is registered by conftest.py.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Callable, Generator, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ezai.lab.mock.journal import Journal, RequestRecord, credential_digest
from ezai.observe.log import JsonFormatter, TextFormatter
from ezai.server.edge import EdgeProtocol
from tests.model_fixture import REPOSITORY_DATA_DIR

CLIENT_KEY = f"sk-canary-client-{secrets.token_hex(12)}"
UPSTREAM_KEY = f"sk-canary-upstream-{secrets.token_hex(12)}"
MADE_KEY = rb"sk-ezai-[0-9A-Za-z]{8}_[0-9A-Za-z]{49}"
LOGGERS = ("ezai", "uvicorn", "asyncio")

_SENT_IN = {"x-api-key", "authorization", "proxy-authorization"}
_TAIL_BYTES = 128
_SQLITE = b"SQLite format 3\0"


class Finding(NamedTuple):
    """A canary in a place where none may be."""

    canary: str
    sink: str
    test: str


class Watch:
    """Looks for canaries, given as their names and values, in what it is shown."""

    def __init__(self, canaries: Mapping[str, str]) -> None:
        self.findings: dict[Finding, None] = {}
        self.test = "before the first test"
        """Which test runs now."""
        self.folders = [REPOSITORY_DATA_DIR]
        """Where stores are made."""
        self._names = {value.encode(): name for name, value in canaries.items()}
        self._digests = {name: credential_digest(value) for name, value in canaries.items()}
        self._canaries = re.compile(b"|".join([*map(re.escape, self._names), MADE_KEY]))

    def look(self, sink: str, data: str | bytes, test: str | None = None) -> None:
        """Note every canary in `data`."""
        data = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else bytes(data)
        if b"sk-" not in data:
            return
        for found in self._canaries.finditer(data):
            self._note(self._names.get(found[0], "a made key"), sink, test)

    def stream(self, sink: str) -> Callable[[bytes], None]:
        """What takes the bytes of one stream in pieces, and finds what lies across two of them as well."""
        tail = b""

        def feed(data: bytes) -> None:
            nonlocal tail
            seen = tail + bytes(data)
            self.look(sink, seen)
            tail = seen[-_TAIL_BYTES:]

        return feed

    def upstream_request(self, fields: Iterable[tuple[str, str]], rest: bytes) -> None:
        """A request as an upstream got it; `rest` is its target and body. Values may be digests of the mock's."""
        self.look("a request to an upstream", rest)
        for name, value in fields:
            own = name.lower() in _SENT_IN
            for canary, digest in self._digests.items():
                held = digest in value or any(
                    key.decode() in value for key, named in self._names.items() if named == canary
                )
                if held and not (own and canary == "the upstream's key"):
                    self._note(canary, f"the header {name} of a request to an upstream", None)

    def raw_upstream_request(self, request: bytes) -> None:
        """The same as bytes."""
        head, _, body = request.partition(b"\r\n\r\n")
        target, *lines = head.decode("latin-1").split("\r\n")
        fields = [(name, value) for name, _, value in (line.partition(":") for line in lines)]
        self.upstream_request(fields, target.encode("latin-1") + b"\n" + body)

    def databases(self, folder: Path) -> None:
        """Every file of a store beneath the folder. A test's own folder tells its name."""
        for path in folder.rglob("*"):
            if not path.is_file() or path.is_symlink():
                continue
            with path.open("rb") as file:
                is_beside = ".db.records-" in path.name or path.name.endswith(("-wal", "-journal"))
                if is_beside or file.read(len(_SQLITE)) == _SQLITE:
                    file.seek(0)
                    self.look(f"the database {path.name}", file.read(), path.relative_to(folder).parts[0])

    def _note(self, canary: str, sink: str, test: str | None) -> None:
        self.findings[Finding(canary, sink, test or self.test)] = None


WATCH = Watch({"the client's key": CLIENT_KEY, "the upstream's key": UPSTREAM_KEY})


class WatchedLog(logging.Handler):
    """Shows the watch every record, as it would be written in either form."""

    def __init__(self, watch: Watch) -> None:
        super().__init__(logging.DEBUG)
        self._watch = watch
        self._formatters = (TextFormatter(), JsonFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        for formatter in self._formatters:
            self._watch.look(f"the log {record.name}", formatter.format(record))


class WatchedTransport:
    """A transport that shows the watch what is written to it."""

    def __init__(self, transport: Any, watch: Watch) -> None:
        self._transport = transport
        self._show = watch.stream("an answer to a client")

    def write(self, data: bytes) -> None:
        self._show(data)
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class CanaryPlugin:
    """Puts the watch in its places, and fails the session for what it found."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        handler = WatchedLog(watch)
        for name in LOGGERS:
            logging.getLogger(name).addHandler(handler)
        _watch_answers(watch)
        _watch_mocks(watch)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self._watch.test = item.nodeid
        logging.getLogger("ezai").setLevel(logging.DEBUG)  # whatever a test before made of it
        return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        for folder in self._watch.folders:
            self._watch.databases(folder)
        if self._watch.findings:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._watch.findings:
            terminalreporter.section("CANARIES FOUND", red=True)
        for finding in self._watch.findings:
            terminalreporter.write_line(f"{finding.canary} in {finding.sink}: {finding.test}", red=True)


def plugin() -> CanaryPlugin:
    """The plugin of this suite."""
    return CanaryPlugin(WATCH)


def _watch_answers(watch: Watch) -> None:
    """Of every gateway in this process."""
    made = EdgeProtocol.connection_made

    def connection_made(self: EdgeProtocol, transport: Any) -> None:
        made(self, WatchedTransport(transport, watch))  # type: ignore[arg-type]  # it is one in all that is asked of it

    EdgeProtocol.connection_made = connection_made  # type: ignore[method-assign]


def _watch_mocks(watch: Watch) -> None:
    """Of every mock in this process."""
    asked = Journal.asked

    def watched(self: Journal, record: RequestRecord) -> None:
        watch.upstream_request(record.headers, record.path.encode() + b"\n" + record.body)
        asked(self, record)

    Journal.asked = watched  # type: ignore[method-assign]
