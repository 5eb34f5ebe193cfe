"""The master: one gateway from its start to its end.

It owns the listening socket, the embedded model's process, migrations and signals; who serves is this process itself,
or the workers where there are several. It validates every configuration before anybody serves by it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass

import msgspec

from ezai.config import Config
from ezai.errors import SetupError
from ezai.observe.log import start_logging
from ezai.policy.openness import is_loopback
from ezai.store.database import has_any_key, prepare, sqlite_path
from ezai.store.root_secret import load_root_secret
from ezai.supervise.embedded_models import EmbeddedModels, RunningModel
from ezai.supervise.files import raise_file_limit, wanted_files
from ezai.supervise.notify import ServiceNotifier
from ezai.supervise.snapshot import Model, Servers, Snapshot
from ezai.supervise.sockets import Inheritance, inherits, listening_socket, take_inheritance
from ezai.supervise.stopping import Signals, Stage, first_of
from ezai.supervise.upgrade import start_successor
from ezai.supervise.workers import Workers

log = logging.getLogger("ezai.supervise")

NEEDS_RESTART = ("server", "store")
"""Sections of the configuration that a reload leaves as they are."""


@dataclass(frozen=True, slots=True)
class Ready:
    """What is announced once the gateway answers."""

    url: str
    models: tuple[str, ...]
    is_open: bool
    workers: int = 1


async def run(
    config: Config,
    announce: Callable[[Ready], None],
    environ: MutableMapping[str, str] = os.environ,
    reread: Callable[[], Config] | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM has drained it, or a successor serves. Leaves nothing running, however it ends.

    Raises `SetupError` when it cannot start. `announce` is called when the first request would be answered. `reread`
    reads the configuration anew, for SIGHUP; it raises `SetupError` for a bad one.
    """
    async with AsyncExitStack() as running:
        signals = running.enter_context(Signals())
        inheritance = take_inheritance(environ)
        running.callback(inheritance.close)
        started = await signals.stopping.unless_reached(Stage.DRAINING, _listening(config, inheritance, environ))
        if started is None:
            return
        listening, is_open = started
        running.enter_context(closing(listening))
        master = Master(config, listening, environ, signals, reread)
        running.push_async_callback(master.aclose)
        models = await signals.stopping.unless_reached(Stage.DRAINING, master.start())
        if models is None:
            return
        announce(Ready(_url(listening, config), models, is_open, config.server.workers))
        inheritance.tell_ready()
        await master.serve()


class Master:
    """What the gateway consists of, and what signals do to it."""

    def __init__(
        self,
        config: Config,
        listening: socket.socket,
        environ: MutableMapping[str, str],
        signals: Signals,
        reread: Callable[[], Config] | None,
    ) -> None:
        self._config = config
        self._listening = listening
        self._environ = environ
        self._signals = signals
        self._reread = reread
        self._notifier = ServiceNotifier(environ)
        self._models = EmbeddedModels(self._moved)
        self._number = 0
        self._needed: dict[int, Model | None] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._servers = self._made_servers()

    async def start(self) -> tuple[str, ...]:
        """Start everything; the names of the models that are listed. Raises `SetupError`."""
        snapshot = await self._snapshot(self._config)
        return await self._servers.start(snapshot)

    async def serve(self) -> None:
        """Do what signals say, until the end is reached."""
        stopping = self._signals.stopping
        self._notifier.ready()
        await first_of(self._follow_reloads(), self._follow_upgrades(), stopping.reached(Stage.HANDING_OVER))
        if stopping.stage > Stage.HANDING_OVER:
            self._notifier.stopping()
        await self._servers.stop(stopping)

    async def aclose(self) -> None:
        """End everything."""
        await self._servers.aclose()
        if self._ending:
            await asyncio.wait(self._ending)
        await self._models.aclose()

    # Reloading.

    async def _follow_reloads(self) -> None:
        asked = self._signals.reload
        while True:
            await asked.wait()
            asked.clear()
            self._notifier.reloading()
            try:
                await self._reload()
            except SetupError as error:
                log.error(
                    "the configuration was not reloaded, the former one stays", extra={"fields": {"reason": str(error)}}
                )
            except Exception:
                log.exception("a defect of the reload; what serves goes on")
            finally:
                self._notifier.ready()

    async def _reload(self) -> None:
        if self._reread is None:
            raise SetupError("This gateway was started without a way to read it again.")
        read = await asyncio.to_thread(self._reread)
        config = _reloadable(read, self._config)
        snapshot = await self._snapshot(config)
        try:
            await self._servers.use(snapshot)
        except BaseException:
            self._released(snapshot.number)
            raise
        if config.log != self._config.log:
            start_logging(config.log.level, config.log.format)
        self._config = config
        log.info(
            "the configuration was reloaded",
            extra={"fields": {"upstreams": len(config.upstreams), "routes": len(config.routes)}},
        )

    # Upgrading.

    async def _follow_upgrades(self) -> None:
        asked = self._signals.upgrade
        while True:
            await asked.wait()
            log.info("a new process is started, to take over")
            try:
                pid = await start_successor(self._listening, self._environ)
            except SetupError as error:
                log.error("there was no upgrade, this process goes on", extra={"fields": {"reason": str(error)}})
            except Exception:
                log.exception("a defect of the upgrade; this process goes on")
            else:
                log.info("the new process serves; this one ends", extra={"fields": {"pid": pid}})
                self._notifier.succeeded_by(pid)
                self._signals.stopping.advance(Stage.HANDING_OVER)
            asked.clear()

    # What runs.

    def _made_servers(self) -> Servers:
        if self._config.server.workers > 1:
            return Workers(self._listening, self._environ, self._released)
        from ezai.supervise.serving import ServingProcess  # everything that serves: a master of workers needs it not

        return ServingProcess(self._listening, self._environ, self._released)

    async def _snapshot(self, config: Config) -> Snapshot:
        """A configuration with its model, which runs. Raises `SetupError`."""
        self._number += 1
        snapshot = Snapshot(self._number, config, await self._models.provide(config))
        self._needed[snapshot.number] = snapshot.model
        return snapshot

    def _moved(self, model: RunningModel) -> None:
        self._servers.moved(model)

    def _released(self, number: int) -> None:
        """That snapshot is needed no more: end the model that no other one needs."""
        self._needed.pop(number, None)
        task = asyncio.get_running_loop().create_task(self._models.end_others(self._needed.values()))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


# Starting.


def check_start(config: Config, environ: Mapping[str, str] = os.environ) -> None:
    """Look at what a start needs beside its model, for before that is fetched: store, keys, address, certificate.

    Makes the store, or brings it up to date, as the start does. Raises `SetupError`, as `run` would. Blocks.
    """
    is_open = _prepare_store(config, environ)
    if not inherits(environ):
        _bound(config, Inheritance(), is_open).close()
    server = config.server
    if server.tls_certificate:
        from ezai.server.tls import load_tls  # most gateways have none, and the rest need it later

        load_tls(config.data_dir / server.tls_certificate, config.data_dir / server.tls_key, http2=server.http2)


async def _listening(
    config: Config, inheritance: Inheritance, environ: MutableMapping[str, str]
) -> tuple[socket.socket, bool]:
    """The socket, and whether everybody may ask. The store is made, or brought up to date. Raises `SetupError`."""
    is_open = await asyncio.to_thread(_prepare_store, config, environ)
    listening = _bound(config, inheritance, is_open)
    raise_file_limit(wanted_files(config))
    return listening, is_open


def _prepare_store(config: Config, environ: Mapping[str, str]) -> bool:
    """Make the store or bring it up to date; whether there is no key yet."""
    load_root_secret(config.data_dir, environ.get("EZAI_ROOT_KEY"))
    database = sqlite_path(config.store.url, config.data_dir)
    prepare(database)
    return not (environ.get("EZAI_ADMIN_KEY") or has_any_key(database))


def _bound(config: Config, inheritance: Inheritance, is_open: bool) -> socket.socket:
    """The socket, which nobody is connected to before it listens, on an address that may be served."""
    host = config.server.host
    listening = listening_socket(inheritance, host, config.server.port)
    try:
        if inheritance.listening is None:
            _check_exposure(host, is_open)
        _check_exposure(listening.getsockname()[0], is_open)
    except SetupError:
        listening.close()
        raise
    return listening


def _check_exposure(host: str, is_open: bool) -> None:
    """Without a key everybody is served, so everybody must be this machine."""
    if is_open and not is_loopback(host):
        raise SetupError(
            f"There is no key yet, and {host} is open to other machines: "
            "make one with `ezai keys create`, set EZAI_ADMIN_KEY, or listen on 127.0.0.1."
        )


def _url(listening: socket.socket, config: Config) -> str:
    address, port = listening.getsockname()[:2]
    host = config.server.host if port == config.server.port else address
    scheme = "https" if config.server.tls_certificate else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


# Reloading.


def _reloadable(read: Config, present: Config) -> Config:
    """What was read, with those sections as they are that only a restart changes; it is said where they differ."""
    kept = {name: getattr(present, name) for name in NEEDS_RESTART}
    changed = [
        f"{name}.{field}"
        for name, section in kept.items()
        for field in section.__struct_fields__
        if getattr(section, field) != getattr(getattr(read, name), field)
    ]
    if changed:
        log.warning("a reload does not change this: it needs a restart", extra={"fields": {"keys": changed}})
    return msgspec.structs.replace(read, **kept)
