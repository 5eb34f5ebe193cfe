"""A worker's process: `python -P -m ezai.supervise.worker_process CONTROL LISTENING PARENT`.

The first two are descriptors that it inherits from the master, the third is the master's process number. Signals that
a terminal or a service manager sends to all processes are for the master. It lives as long as the master does, however
that ends.

What serves is imported by `main` alone: a process that a worker starts for large bodies imports this module again.
"""

from __future__ import annotations

import asyncio
import signal
import sys

from ezai.supervise.embedded_child import die_with_parent
from ezai.supervise.loop import event_loop


def main(arguments: list[str]) -> None:
    """Returns when the worker has served to its end."""
    control, listening, parent_pid = (int(argument) for argument in arguments)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    die_with_parent(parent_pid)
    from ezai.supervise.sockets import adopted
    from ezai.supervise.worker import Worker

    with asyncio.Runner(loop_factory=event_loop()) as runner:
        runner.run(Worker(adopted(listening)).run(adopted(control)))


if __name__ == "__main__":
    main(sys.argv[1:])
