"""Open files: raising the soft limit, and how many connections then fit."""

from __future__ import annotations

import logging
import sys

from ezai.config import Config

log = logging.getLogger("ezai.supervise")

RESERVED = 64
"""Descriptors that are no connection's: the store, the log, the loop, pipes to processes, files that are read."""
PER_CONNECTION = 2
"""A client's and its upstream's."""


def wanted_files(config: Config) -> int:
    """How many open files a process needs to hold every connection that the configuration allows."""
    return PER_CONNECTION * config.limits.connections + RESERVED


def raise_file_limit(wanted: int) -> int:
    """Raise the soft limit on open files to what is wanted, as far as the hard limit lets; the limit as it is then."""
    if sys.platform == "win32":
        return wanted
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft == resource.RLIM_INFINITY or soft >= allowed:
        return wanted if soft == resource.RLIM_INFINITY else soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    except (OSError, ValueError):  # a system that holds it lower than it says
        return soft
    return allowed


def connections_that_fit(config: Config) -> int:
    """`[limits] connections`, or as many as the limit on open files leaves room for: whoever comes then waits.

    Without this files would run out for upstreams, and for everything else.
    """
    configured = config.limits.connections
    files = raise_file_limit(wanted_files(config))
    fitting = max(1, (files - RESERVED) // PER_CONNECTION)
    if fitting >= configured:
        return configured
    log.warning(
        "the limit on open files leaves room for fewer connections than configured: raise it (ulimit -n, LimitNOFILE=)",
        extra={"fields": {"open_files": files, "connections": fitting, "configured": configured}},
    )
    return fitting
