"""What systemd is told of the gateway's state (sd_notify(3)), where it asks; elsewhere nothing happens."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping

log = logging.getLogger("ezai.supervise")


class ServiceNotifier:
    """Tells the service manager that `NOTIFY_SOCKET` names. Never raises: it is news, not work."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        path = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path

    def ready(self) -> None:
        """It serves, from the start or again after `reloading`."""
        self._send("READY=1", f"MAINPID={os.getpid()}")

    def reloading(self) -> None:
        """It reads its configuration again; `ready` follows, whatever comes of it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def succeeded_by(self, pid: int) -> None:
        """Another process is the gateway from now on."""
        self._send(f"MAINPID={pid}")

    def stopping(self) -> None:
        """It drains and ends."""
        self._send("STOPPING=1")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                sender.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            log.debug("systemd could not be told: %s", error)
