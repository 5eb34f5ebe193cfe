"""The web applications of `examples/`, started as their READMEs say, before a gateway on the lab's mock."""

from __future__ import annotations

import functools
import http.server
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.canary import CLIENT_KEY
from tests.gateway_process import GatewayProcess, clean_environment, running_gateway
from tests.mock_beside import MockBeside

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = ("fastapi_chat", "express_chat")
START_TIMEOUT_S = 60

CONFIG = """
[server]
cors_origins = {origins}
[[upstreams]]
name = "mock"
kind = "anthropic"
base_url = "{url}"
max_retries = 0
[[routes]]
model = "*"
targets = [{{ upstream = "mock" }}]
"""


class Behind(NamedTuple):
    """A running gateway, and the applications before it by their names."""

    gateway_url: str
    application_urls: dict[str, str]


@contextmanager
def gateway_on(mock: MockBeside, folder: Path, *origins: str) -> Iterator[GatewayProcess]:
    """A gateway whose only upstream is the mock, for pages of these origins, and whose only key is the client's."""
    listed = "[" + ", ".join(f'"{origin}"' for origin in origins) + "]"
    (folder / "ezai.toml").write_text(CONFIG.format(url=mock.url, origins=listed))
    with running_gateway(folder / "ezai.toml", EZAI_DATA_DIR=str(folder), EZAI_ADMIN_KEY=CLIENT_KEY) as gateway:
        yield gateway


def command_of(name: str) -> list[str]:
    """The first command that the README gives."""
    told = re.search(r"```sh\n(\w[^#\n]*)", (EXAMPLES / name / "README.md").read_text())
    assert told is not None
    return told[1].split()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


@contextmanager
def application(name: str, gateway_url: str, **environment: str) -> Iterator[str]:
    """The application's base URL, while it runs."""
    port = free_port()
    process = subprocess.Popen(
        command_of(name),
        cwd=EXAMPLES / name,
        env=clean_environment(EZAI_URL=gateway_url, PORT=str(port), **environment),
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _wait_listening(process, port)
        yield f"http://127.0.0.1:{port}"
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(START_TIMEOUT_S)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_listening(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)  # nothing tells when another process listens
        else:
            return
    raise AssertionError(f"The application does not listen (it ended with {process.poll()}); was `make setup` run?")


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The files of a folder over HTTP, as `python3 -m http.server` serves them."""
    handler = functools.partial(_QuietHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # as the base class has it
        """Say nothing."""
