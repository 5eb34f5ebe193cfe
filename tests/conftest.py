"""What every test runs under: loopback only, no blocking call inside an event loop, and a watch for leaked keys."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from blockbuster import blockbuster_ctx
from hypothesis import HealthCheck, settings
from pytest_socket import socket_allow_hosts

from tests import canary

# A shell that runs the tests in the background has SIGINT ignored for them, and nohup SIGHUP, and every program they
# start would inherit that; what is tested here is what a terminal's Ctrl-C and its end do.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# No deadline: the suite runs beside other work, and an example's time says nothing about it.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("full", settings.get_profile("default"), max_examples=3000)
settings.load_profile("full" if os.environ.get("EZAI_FULL") else "default")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(canary.plugin(), "canary")


@pytest.fixture(autouse=True, scope="session")
def _watched_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    canary.WATCH.folders.append(tmp_path_factory.getbasetemp())


@pytest.fixture(autouse=True)
def _no_blocking_calls() -> Iterator[None]:
    """A call of the package that blocks the event loop fails the test that made it.

    But for one: a record of use is appended to its journal there (docs/decisions/0021).
    """
    with blockbuster_ctx("ezai") as watched:
        watched.functions["os.write"].can_block_in("ezai/store/journal_file.py", "append")
        yield


@pytest.fixture(autouse=True)
def _loopback_only() -> None:
    socket_allow_hosts(["127.0.0.1", "::1", "localhost"], allow_unix_socket=True)
