"""An upgrade: the same command, started anew, takes over the listening socket while this process drains.

The new process loads whatever is installed now, with whatever the configuration now says. It inherits the socket with
its queue, so no connection is refused or lost between the two, and says when it serves; should it end before, this
one goes on as if nothing had been.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence

from ezai.errors import SetupError
from ezai.supervise.backoff import cause_of_death
from ezai.supervise.sockets import succession

START_TIMEOUT_S = 600.0
"""A successor may have a model to fetch and to load."""
GRACE_S = 10.0
"""How long one that has given up may take to say why and to go."""


def own_command() -> tuple[str, ...]:
    """The command line that this process was started with."""
    return (sys.executable, *sys.orig_argv[1:])


async def start_successor(
    listening: socket.socket,
    environ: Mapping[str, str],
    command: Sequence[str] | None = None,
    timeout_s: float = START_TIMEOUT_S,
) -> int:
    """Start it and return its process number once it serves.

    Raises `SetupError` where it does not come to that; then, and when this is cancelled, it is gone.
    """
    if os.getpid() == 1:
        raise SetupError("This is process 1: a container ends with it, so start another container instead.")
    ours, theirs = socket.socketpair()
    with ours:
        ours.setblocking(False)
        with theirs:
            pid = _spawn(command or own_command(), listening, theirs, environ)
        try:
            async with asyncio.timeout(timeout_s):
                told = await asyncio.get_running_loop().sock_recv(ours, 16)
        except BaseException as failure:
            await _ended(pid, grace_s=0)
            if isinstance(failure, TimeoutError):
                raise SetupError(f"The new process did not serve within {timeout_s:g} s.") from None
            raise
    if not told:
        status = await _ended(pid, GRACE_S)
        raise SetupError(f"The new process {cause_of_death(status)} before it served; its log says why.")
    return pid


def _spawn(command: Sequence[str], listening: socket.socket, ready: socket.socket, environ: Mapping[str, str]) -> int:
    """The process, which inherits these two. It is no child that would have to be closed: it outlives this one."""
    inherited = (listening, ready)
    try:
        for end in inherited:
            end.set_inheritable(True)
        return os.posix_spawn(command[0], list(command), succession(environ, listening, ready))
    except OSError as error:
        raise SetupError(f"No new process could be made ({error.strerror}).") from None
    finally:
        for end in inherited:
            end.set_inheritable(False)


async def _ended(pid: int, grace_s: float) -> int:
    """Its exit status, negative for a signal, once it has ended by itself; killed if that takes longer."""
    loop = asyncio.get_running_loop()
    waiting = loop.run_in_executor(None, os.waitpid, pid, 0)
    await asyncio.wait({waiting}, timeout=grace_s)
    if not waiting.done():
        os.kill(pid, signal.SIGKILL)  # it has nothing to settle yet, and what it started goes with it
    _, status = await asyncio.shield(waiting)
    return os.waitstatus_to_exitcode(status)
