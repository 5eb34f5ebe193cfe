"""What a load asks for, how often, and how its clients behave."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from ezai.errors import ConfigurationError, SetupError
from ezai.lab.mock.spec import MODEL_PREFIX, parse

WireName = Literal["anthropic", "openai"]

_RESOURCES: dict[WireName, str] = {"anthropic": "messages", "openai": "chat/completions"}
_PORTS = {"http": 80, "https": 443}

BUFFERED_S = 0.1
"""A client that reads at a rate has room for what it reads in this time, so that the server feels it soon."""
LEAST_BUFFER_BYTES = 4096
"""But never less room than this, which holds the packets of a few events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """A load. Arrivals are open-loop at `rate`, or `concurrency` streams run at a time; one of the two is more than 0.

    It starts streams for `duration_s` or until there were `streams` of them, whichever is first and more than 0, then
    lets the running ones finish.
    """

    url: str
    wire: WireName = "anthropic"
    model: str = "mock"
    max_tokens: int = 4096
    is_streamed: bool = True
    rate: float = 0.0
    """New streams a second, whether earlier ones are done or not: a slow server does not slow down its load."""
    concurrency: int = 0
    duration_s: float = 0.0
    streams: int = 0
    open_limit: int = 5000
    """More than this are not started but counted as shed."""
    timeout_s: float = 120.0
    """Of one stream, from its start."""
    credential: str = ""
    headers: Sequence[tuple[str, str]] = ()
    ca_file: Path | None = None
    keeps_connections: bool = True
    expected_tokens: int | None = None
    """Numbered words of a whole answer; None takes it from the name of a mock's model, where it is one."""
    leave_after: int = 0
    """Hang up after so many events."""
    leave_chance: float = 1.0
    """Which part of the clients do so."""
    stop_after: int = 0
    """Read no more after so many events, and stay."""
    read_bytes_per_s: float = 0.0
    """Read no faster than this. The other end feels it once the buffers on the way are full."""
    receive_buffer_bytes: int = 0
    """The socket's, so that a slow reader is felt soon. 0 is the system's, or a small one for clients with a rate."""
    seed: int = 0

    def checked(self) -> LoadPlan:
        """Itself. Raises `SetupError` for a plan that cannot be run."""
        if not _is_askable(self.url):
            raise SetupError(f"{self.url!r} is no URL that can be asked; give http://HOST:PORT.")
        self._check_numbers()
        if (self.rate > 0) == (self.concurrency > 0):
            raise SetupError("Give either a rate of arrivals or a number of streams at a time.")
        if self.duration_s <= 0 and self.streams <= 0:
            raise SetupError("Give a duration or a number of streams: a load has to end.")
        return self

    def _check_numbers(self) -> None:
        """Raises `SetupError` for the first that cannot be; it is called as `ezai bench` calls it."""
        check_number("--rate", self.rate, self.rate >= 0, "above 0")  # 0 says that there is none
        check_number("--concurrency", self.concurrency, self.concurrency >= 0, "above 0")
        check_number("--tokens", self.max_tokens, self.max_tokens > 0, "above 0")
        check_number("--duration", self.duration_s, self.duration_s >= 0, "0 or more")
        check_number("--streams", self.streams, self.streams >= 0, "0 or more")
        check_number("--timeout", self.timeout_s, self.timeout_s > 0, "above 0")
        check_number("--leave-after", self.leave_after, self.leave_after >= 0, "0 or more")
        check_number("--leave-chance", self.leave_chance, 0 <= self.leave_chance <= 1, "from 0 to 1")
        check_number("--read-rate", self.read_bytes_per_s, self.read_bytes_per_s >= 0, "0 or more")
        check_number("--stop-after", self.stop_after, self.stop_after >= 0, "0 or more")

    @property
    def host(self) -> str:
        """Where to connect to."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """Where to connect to."""
        address = urlsplit(self.url)
        return address.port or _PORTS[address.scheme]

    @property
    def socket_buffer_bytes(self) -> int:
        """What a socket is to have room for, so that it holds little of what its client has not read; 0: unchanged."""
        if self.receive_buffer_bytes or not self.read_bytes_per_s:
            return self.receive_buffer_bytes
        return max(LEAST_BUFFER_BYTES, int(self.read_bytes_per_s * BUFFERED_S))

    @property
    def is_tls(self) -> bool:
        """Whether the connection is."""
        return urlsplit(self.url).scheme == "https"

    @property
    def target(self) -> str:
        """What to ask for: the URL may be a base URL, with or without /v1, or the whole."""
        resource = _RESOURCES[self.wire]
        path = urlsplit(self.url).path.rstrip("/")
        if path.endswith(f"/{resource}"):
            return path
        return f"{path}/{resource}" if path.endswith("/v1") else f"{path}/v1/{resource}"

    def words_due(self) -> int | None:
        """How many numbered words a whole answer has; None where that is not known."""
        if self.expected_tokens is not None:
            return self.expected_tokens
        if self.model != "mock" and not self.model.startswith(MODEL_PREFIX):
            return None
        try:
            behaviour = parse(self.model.removeprefix("mock").removeprefix("-"), "the model")
        except ConfigurationError:
            return None
        return min(behaviour.tokens, self.max_tokens)


def check_number(option: str, number: float, is_possible: bool, due: str) -> None:
    """Raises `SetupError` for a number that is not possible, or not finite; `due` says what it has to be."""
    if not math.isfinite(number):
        due = f"a number, {due}" if math.isnan(number) else f"{due}, and finite"
    elif is_possible:
        return
    raise SetupError(f"{option} {number:g}: it has to be {due}.")


def _is_askable(url: str) -> bool:
    try:
        address = urlsplit(url)
        return address.scheme in _PORTS and bool(address.hostname) and (address.port is None or address.port > 0)
    except ValueError:  # of brackets that are left open, or a port that is none
        return False
