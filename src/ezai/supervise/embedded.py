"""The embedded model as the gateway sees it: a child process that is there, or is being brought back.

`EmbeddedChild` owns the process from its first start to its end. What it runs, and the two lines in which they
speak, stand in `embedded_child`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import msgspec

from ezai.errors import SetupError
from ezai.supervise.backoff import cause_of_death, deaths_in_a_row, restart_delay_s
from ezai.supervise.stopping import first_of
from ezai.upstreams.embedded import EmbeddedEndpoint

if TYPE_CHECKING:
    from ezai.supervise import embedded_child

log = logging.getLogger("ezai.supervise")

START_TIMEOUT_S = 120.0
END_GRACE_S = 2.0
STOPPED_LOOK_S = 2.0
STOPPED_LOOKS = 3
"""A process that was stopped (SIGSTOP) and not continued keeps its connections open and answers nothing: one that is
found so that many times in a row, is ended."""
_LOG_TAIL_BYTES = 16_384

COMMAND = (sys.executable, "-P", "-m", "ezai.supervise.embedded_child")
"""`-P`: nothing in the working directory is taken for a module."""


@dataclass(frozen=True, slots=True)
class EmbeddedSettings:
    """Which model to run, and how. `context_tokens` is per slot; `threads` None leaves the number to llama.cpp."""

    model_path: Path
    context_tokens: int
    slots: int
    threads: int | None = None


class EmbeddedChild:
    """Keeps one child running between `start` and `aclose`; both belong to one event loop.

    Whenever the process dies it is started again, after a wait that doubles from death to death (`backoff`), for as
    long as it takes. While it is down `endpoint` is None. One that is stopped and not continued is ended.

    `command`, `now`, `sleep` and `stopped_look_s` are for tests.

    The event loop that starts it should run in a thread that lives as long as the process should: on Linux the
    kernel kills the child when that thread ends.
    """

    def __init__(
        self,
        settings: EmbeddedSettings,
        *,
        command: Sequence[str] = COMMAND,
        start_timeout_s: float = START_TIMEOUT_S,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        stopped_look_s: float = STOPPED_LOOK_S,
    ) -> None:
        self._settings = settings
        self._command = command
        self._start_timeout_s = start_timeout_s
        self._now = now
        self._sleep = sleep
        self._stopped_look_s = stopped_look_s
        self._context_tokens = settings.context_tokens
        self._life: _Life | None = None
        self._changed = asyncio.Event()
        self._subscribers: list[Callable[[], None]] = []
        self._owner: asyncio.Task[None] | None = None
        self._closed = False

    # What others see.

    @property
    def endpoint(self) -> EmbeddedEndpoint | None:
        """Where the model answers now; None while it is down."""
        return self._life.endpoint if self._life else None

    @property
    def context_tokens(self) -> int:
        """What one slot holds: what was asked for, or less where the model was trained with less (after `start`)."""
        return self._context_tokens

    @property
    def pid(self) -> int | None:
        """The process that serves now; None while it is down."""
        return self._life.pid if self._life else None

    async def ready(self) -> EmbeddedEndpoint | None:
        """Wait until the model answers, and say where; None when it was closed for good."""
        while not self._closed:
            if self.endpoint is not None:
                return self.endpoint
            await self._changed.wait()
        return None

    def subscribe(self, changed: Callable[[], None]) -> None:
        """Call `changed` whenever `endpoint` has become another, or None."""
        self._subscribers.append(changed)

    # Its life.

    async def start(self) -> None:
        """Start the child and wait until the model answers. Once.

        Raises `SetupError`, one sentence without a path, when it does not come to that; then, and when it is
        cancelled, no process is left.
        """
        assert self._owner is None
        assert not self._closed
        self._serve_with(await self._launch())
        self._owner = asyncio.get_running_loop().create_task(self._keep_serving(), name="embedded-child")

    async def aclose(self) -> None:
        """End the child and wait until it is gone. Idempotent."""
        self._closed = True
        if self._owner is not None:
            self._owner.cancel()
            await asyncio.wait([self._owner])
        life, self._life = self._life, None
        self._signal_change()
        if life is not None:
            await life.end()

    async def _keep_serving(self) -> None:
        deaths = 0
        while True:
            served_s = await self._until_death(self._life) if self._life else 0.0
            deaths = deaths_in_a_row(deaths, served_s)
            await self._sleep(restart_delay_s(deaths))
            try:
                self._serve_with(await self._launch())
            except SetupError as error:
                log.warning("The embedded model could not be started again: %s", error)

    async def _until_death(self, life: _Life) -> float:
        """Wait for the process that serves to die; the seconds that it served."""
        started = self._now()
        await first_of(life.dead(), self._until_stopped(life))
        self._life = None
        self._signal_change()
        await life.end()
        log.warning("The embedded model's process %s; it is started again.", life.cause_of_death())
        log.debug("Its last words:\n%s", life.last_words())
        return self._now() - started

    async def _until_stopped(self, life: _Life) -> None:
        """Kill the process where it was stopped for some time, and return when it is gone."""
        looks = 0
        while looks < STOPPED_LOOKS:
            await asyncio.sleep(self._stopped_look_s)
            looks = looks + 1 if life.is_stopped() else 0
        log.warning("The embedded model's process is stopped, and was not continued; it is ended.")
        life.kill()
        await life.dead()

    def _serve_with(self, life: _Life) -> None:
        self._life = life
        self._context_tokens = min(self._settings.context_tokens, life.context_tokens)
        self._signal_change()
        log.info("The embedded model is ready: %d slots of %d tokens.", self._settings.slots, self._context_tokens)

    def _signal_change(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
        for changed in self._subscribers:
            changed()

    async def _launch(self) -> _Life:
        """A process that answers. Raises `SetupError`; then, and when it is cancelled, none is left."""
        try:
            life = await _Life.begin(self._command)
        except OSError as error:
            raise SetupError(f"No process could be made for the embedded model ({error.strerror}).") from error
        try:
            async with asyncio.timeout(self._start_timeout_s):
                await life.become_ready(self._settings)
        except BaseException as failure:
            await life.end()
            log.debug("The embedded child's last words:\n%s", life.last_words())
            if isinstance(failure, TimeoutError):
                raise SetupError(
                    f"The embedded model was not ready within {self._start_timeout_s:g} s: "
                    f"take a smaller model, or lower `context` or `slots`."
                ) from None
            raise
        return life


class _Report(msgspec.Struct, frozen=True):
    """The child's line on stdout; see `embedded_child`."""

    address: str = ""
    port: int = 0
    context: int = 0
    bare_calls: bool = False
    grammars: bool = False
    error: str | None = None


_SENTENCES = {
    "runtime_missing": (
        "The embedded model cannot run: its runtime, xllamacpp, is not installed or does not suit this machine; "
        "run `pip install --force-reinstall xllamacpp`."
    ),
    "load_failed": (
        "The embedded model could not be loaded: the file is damaged, or of a kind that this llama.cpp does not "
        "know, or there is too little memory; try another file, or lower `context` or `slots`."
    ),
}


class _Life(asyncio.SubprocessProtocol):
    """One run of the child, from its beginning to its end."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._report: asyncio.Future[bytes] = loop.create_future()
        self._exited: asyncio.Future[None] = loop.create_future()
        self._over: asyncio.Future[None] = loop.create_future()
        self._stdout = bytearray()
        self._stderr = bytearray()
        self._transport: asyncio.SubprocessTransport | None = None
        self.endpoint: EmbeddedEndpoint | None = None
        self.context_tokens = 0

    @classmethod
    async def begin(cls, command: Sequence[str]) -> _Life:
        """Start the process; raises `OSError` where that cannot be done."""
        loop = asyncio.get_running_loop()
        _, life = await loop.subprocess_exec(cls, *command)
        return life

    async def become_ready(self, settings: EmbeddedSettings) -> None:
        """Hand over the settings and wait for the report; sets `endpoint`, or raises `SetupError`."""
        api_key = secrets.token_urlsafe(32)
        self._hand_over(settings, api_key)
        line = await asyncio.shield(self._report)
        try:
            report = msgspec.json.decode(line, type=_Report)
        except msgspec.DecodeError:
            await self.end()
            raise SetupError(
                f"The embedded model's process {self.cause_of_death()} before it was ready: "
                f"if memory is short, lower `context` or `slots`; its log shows at log level debug."
            ) from None
        if report.error is not None:
            raise SetupError(_SENTENCES.get(report.error, _SENTENCES["load_failed"]))
        base_url = f"http://{report.address}:{report.port}"
        self.endpoint = EmbeddedEndpoint(base_url, api_key, report.bare_calls, report.grammars)
        self.context_tokens = report.context or settings.context_tokens

    async def dead(self) -> None:
        """Wait until the process is gone and reaped."""
        await asyncio.shield(self._exited)

    def is_stopped(self) -> bool:
        """Whether the process is stopped, by a signal or a debugger; never where the system does not tell."""
        if self.pid is None or not hasattr(os, "waitid"):
            return False
        try:
            return os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return False  # it has ended

    def kill(self) -> None:
        """End the process now."""
        if self._transport is not None and self._transport.get_returncode() is None:
            self._transport.kill()

    async def end(self) -> None:
        """End the process, kindly and then not; wait until it is gone and its log is read. Idempotent."""
        assert self._transport is not None
        stdin = self._transport.get_pipe_transport(0)
        if stdin is not None:
            stdin.close()
        try:
            async with asyncio.timeout(END_GRACE_S):
                await asyncio.shield(self._over)
        except TimeoutError:
            pass
        finally:
            self._transport.close()  # kills what is still there
        await asyncio.shield(self._over)

    @property
    def pid(self) -> int | None:
        return self._transport.get_pid() if self._transport else None

    def cause_of_death(self) -> str:
        """What a sentence about the process goes on with."""
        return cause_of_death(self._transport.get_returncode() if self._transport else None)

    def last_words(self) -> str:
        """The end of llama.cpp's log: for the log at debug level alone, since it holds paths."""
        return self._stderr.decode("utf-8", errors="replace")

    def _hand_over(self, settings: EmbeddedSettings, api_key: str) -> None:
        line: embedded_child.Settings = {
            "parent_pid": os.getpid(),
            "model_path": str(settings.model_path),
            "context": settings.context_tokens,
            "slots": settings.slots,
            "threads": settings.threads or 0,
            "api_key": api_key,
        }
        assert self._transport is not None
        stdin = self._transport.get_pipe_transport(0)
        cast(asyncio.WriteTransport, stdin).write(msgspec.json.encode(line) + b"\n")

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.SubprocessTransport, transport)  # uvloop's is none by inheritance

    def pipe_data_received(self, fd: int, data: bytes | str) -> None:
        assert isinstance(data, bytes)
        if fd == 2:
            self._stderr += data
            del self._stderr[:-_LOG_TAIL_BYTES]
        elif not self._report.done():
            self._stdout += data
            if b"\n" in data:
                self._told(bytes(self._stdout))

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd == 1:
            self._told(b"")

    def process_exited(self) -> None:
        self._exited.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._over.set_result(None)

    def _told(self, line: bytes) -> None:
        if not self._report.done():
            self._report.set_result(line)
