"""The end of what one process serves, in its stages."""

from __future__ import annotations

import asyncio
import logging

from ezai.pipeline.driver import StreamRegistry
from ezai.server.edge_settings import SHORT_KEEP_ALIVE_S
from ezai.server.listener import Listener
from ezai.supervise.stopping import ENDING_S, Stage, Stopping, first_of

log = logging.getLogger("ezai.supervise")


async def drain(listener: Listener, registry: StreamRegistry, stopping: Stopping, drain_s: float) -> None:
    """Bring everything that runs to its end, for `drain_s` seconds at most and faster if `stopping` says so.

    Returns when every request is settled, or when a reader takes too long to be told. The stage is then at least
    `ENDING`.
    """
    now = asyncio.get_running_loop().time
    until_s = now() + drain_s
    listener.retire(SHORT_KEEP_ALIVE_S)
    log.info("stopping", extra={"fields": {"open_requests": len(registry), "drain_s": drain_s}})
    if stopping.stage == Stage.HANDING_OVER:
        await first_of(listener.wait_gone(), stopping.reached(Stage.DRAINING), timeout_s=until_s - now())
    registry.refuse()
    if len(registry):
        log.info("running requests go on to their end; another signal ends them now")
        await first_of(registry.wait_empty(), stopping.reached(Stage.ENDING), timeout_s=until_s - now())
    stopping.advance(Stage.ENDING)
    registry.close()
    if len(registry):
        log.info("running requests are ended", extra={"fields": {"open_requests": len(registry)}})
        await first_of(registry.wait_empty(), stopping.reached(Stage.CUTTING), timeout_s=ENDING_S)
    if len(registry):
        log.warning("streams whose readers take nothing are cut", extra={"fields": {"streams": len(registry)}})
