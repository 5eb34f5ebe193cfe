"""One gateway process, from its start to its end: the listening socket, the embedded child, the signals."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ezai.app import Embedded, Gateway, build
from ezai.config import Config, EmbeddedUpstream
from ezai.errors import SetupError
from ezai.models.catalogue import CATALOGUE
from ezai.models.reference import resolve
from ezai.policy.openness import is_loopback
from ezai.ports import KeyStore
from ezai.server.listener import Listener, bind
from ezai.store.static_keys import StaticKeys
from ezai.supervise.embedded import EmbeddedChild, EmbeddedSettings

logger = logging.getLogger("ezai.supervise")

ENDING_S = 5.0
"""How long streams may take to write their last event; a reader that takes none is cut."""


@dataclass(frozen=True, slots=True)
class Ready:
    """What is announced once the gateway answers."""

    url: str
    models: tuple[str, ...]
    is_open: bool


def event_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's where there is one."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def run(config: Config, announce: Callable[[Ready], None], environ: Mapping[str, str] = os.environ) -> None:
    """Serve until SIGINT or SIGTERM; a second one cuts short. Leaves nothing running.

    Raises `SetupError` when it cannot start. `announce` is called when the first request would be answered.
    """
    stopping = _stop_on_signals()
    keys = StaticKeys(environ.get("EZAI_ADMIN_KEY"))
    _check_exposure(config, keys)
    listening = bind(config.server.host, config.server.port)
    try:
        child, embedded = await _start_child(config)
    except BaseException:
        listening.close()
        raise
    try:
        gateway = build(config, keys, embedded)
        listener = Listener(gateway.data_plane, gateway.edge)
        gateway.clock.start()
        await listener.start(listening)
        announce(_ready(config, listening.getsockname()[1], gateway, keys))
        await stopping.wait()
        await _stop(gateway, listener, stopping)
    finally:
        if child is not None:
            await child.aclose()


def _stop_on_signals() -> asyncio.Event:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    return stopping


def _check_exposure(config: Config, keys: KeyStore) -> None:
    """Without a key everybody is served, so everybody must be this machine."""
    if not keys.has_keys() and not is_loopback(config.server.host):
        raise SetupError(
            f"There is no key yet, and {config.server.host} is open to other machines: "
            "set EZAI_ADMIN_KEY, or listen on 127.0.0.1."
        )


async def _start_child(config: Config) -> tuple[EmbeddedChild, Embedded] | tuple[None, None]:
    """The child that runs the embedded upstream's model, ready to answer; none where none is configured."""
    upstream = next((item for item in config.upstreams if isinstance(item, EmbeddedUpstream)), None)
    if upstream is None:
        return None, None
    model = await asyncio.to_thread(resolve, upstream.model, config.data_dir)
    # llama.cpp takes the memory of what is asked before it cuts it to what the model was trained with.
    context = min(upstream.context, model.context_tokens or upstream.context)
    child = EmbeddedChild(EmbeddedSettings(model.path, context, upstream.slots))
    await child.start()
    catalogued = CATALOGUE.get(upstream.model)
    name = catalogued.display_name if catalogued else upstream.name
    return child, Embedded(model, name, child.context_tokens, lambda: child.endpoint)


def _ready(config: Config, port: int, gateway: Gateway, keys: KeyStore) -> Ready:
    host = f"[{config.server.host}]" if ":" in config.server.host else config.server.host
    return Ready(f"http://{host}:{port}", tuple(model.id for model in gateway.models), not keys.has_keys())


async def _stop(gateway: Gateway, listener: Listener, stopping: asyncio.Event) -> None:
    """End every stream in one error event, then close what is left."""
    logger.info("stopping", extra={"fields": {"open_streams": len(gateway.registry)}})
    gateway.registry.close()
    try:
        async with asyncio.timeout(ENDING_S):
            await gateway.registry.wait_empty()
    except TimeoutError:
        logger.warning(
            "streams whose readers take nothing are cut", extra={"fields": {"streams": len(gateway.registry)}}
        )
    await listener.stop()
    gateway.clock.stop()
    await gateway.aclose()
