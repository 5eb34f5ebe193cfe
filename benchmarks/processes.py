"""The gateway, nginx and the mock: each a process of its own, pinned, started when it answers, ended with its block."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import child_pids, cpu_s

START_TIMEOUT_S = 60.0
END_TIMEOUT_S = 20.0
LOOK_S = 0.002
"""How often it is looked whether a process is ready: the error of `start to ready`."""

_INHERITED = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH")
"""With PYTHONPATH another tree of the gateway can be measured."""
_GATEWAY_BANNER = re.compile(r"is ready at (http://\S+)")
_MOCK_BANNER = re.compile(r"The mock is ready at (https?://\S+)")


class Missing(Exception):
    """Something that the machine lacks; the message says what to install."""


@dataclass(frozen=True, slots=True)
class Server:
    """A process that answers at `url`. Where a parent started the one that works, `pid` is the one that works."""

    url: str
    pid: int
    key: str = "sk-none"
    """What a client has to send."""
    ready_s: float = 0.0
    """From the start of the process until it announced itself."""

    def cpu_s(self) -> float:
        """CPU time so far, of the process and of those it has started."""
        return sum(map(cpu_s, (self.pid, *child_pids(self.pid))))


@contextmanager
def mock(folder: Path, cores: frozenset[int], *, certificate: tuple[Path, Path] | None = None) -> Iterator[Server]:
    """A mock, over TLS where there is a certificate (with its key)."""
    command = [sys.executable, "-m", "ezai", "mock", "--port", "0"]
    if certificate is not None:
        command += ["--tls-certificate", str(certificate[0]), "--tls-key", str(certificate[1])]
    log = folder / ("mock-tls.log" if certificate else "mock.log")
    with _running(command, log, cores, environment()) as (process, started_s):
        url, ready_s = _announced(process, log, _MOCK_BANNER, started_s)
        yield Server(url, process.pid, ready_s=ready_s)


@contextmanager
def gateway(
    folder: Path, config: str, cores: frozenset[int] | None, *, has_key: bool = True, data_dir: Path | None = None
) -> Iterator[Server]:
    """A gateway with a store in `folder`, in which there is one key unless told otherwise; it logs to a file there."""
    folder.mkdir(exist_ok=True)
    file = folder / "ezai.toml"
    file.write_text(config)
    given = environment(EZAI_DATA_DIR=str(data_dir or folder), EZAI_CONFIG=str(file))
    key = _make_key(given) if has_key else "sk-none"
    log = folder / "gateway.log"
    command = [sys.executable, "-m", "ezai", "serve", "--port", "0"]
    with _running(command, log, cores, given) as (process, started_s):
        url, ready_s = _announced(process, log, _GATEWAY_BANNER, started_s)
        yield Server(url, process.pid, key, ready_s)


@contextmanager
def nginx(folder: Path, upstream: str, cores: frozenset[int]) -> Iterator[Server]:
    """nginx in front of `upstream` (a URL), with one worker, whose process it is."""
    prefix = folder / "nginx"
    (prefix / "logs").mkdir(parents=True, exist_ok=True)
    (prefix / "tmp").mkdir(exist_ok=True)
    port = _free_port()
    (prefix / "nginx.conf").write_text(_NGINX.format(port=port, upstream=upstream.removeprefix("http://")))
    command = [nginx_path(), "-p", str(prefix), "-c", str(prefix / "nginx.conf"), "-e", str(prefix / "logs/error.log")]
    with _running(command, prefix / "nginx.log", cores, environment()) as (process, _):
        yield Server(f"http://127.0.0.1:{port}", _worker(process, port, prefix / "logs/error.log"))


def nginx_path() -> str:
    """Where nginx is; distributions put it where only the superuser looks. Raises `Missing`."""
    found = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin")
    if found is None:
        raise Missing("The gateway is measured beside nginx: install it (on Debian: apt-get install nginx-light).")
    return found


def nginx_version() -> str:
    """As nginx tells it. Raises `Missing`."""
    told = subprocess.run([nginx_path(), "-v"], capture_output=True, text=True, check=True).stderr
    return told.strip().removeprefix("nginx version: ")


def environment(**variables: str) -> dict[str, str]:
    """What a program needs to run at all, and `variables`: no setting of whoever measures."""
    return {name: os.environ[name] for name in _INHERITED if name in os.environ} | variables


_NGINX = """
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid tmp/nginx.pid;
events {{ worker_connections 9000; }}
http {{
    access_log logs/access.log combined;
    client_body_temp_path tmp/body;
    proxy_temp_path tmp/proxy;
    fastcgi_temp_path tmp/fastcgi;
    uwsgi_temp_path tmp/uwsgi;
    scgi_temp_path tmp/scgi;
    client_max_body_size 32m;
    keepalive_requests 1000000;
    upstream mock {{
        server {upstream};
        keepalive 256;
        keepalive_requests 1000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://mock;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }}
    }}
}}
"""
"""As many idle upstream connections as the gateway keeps, and an access log as the gateway has."""


def _make_key(environ: dict[str, str]) -> str:
    command = [sys.executable, "-m", "ezai", "keys", "create", "--quiet", "--name", "benchmark"]
    return subprocess.run(command, env=environ, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


@contextmanager
def _running(
    command: Sequence[str], log: Path, cores: frozenset[int] | None, environ: dict[str, str]
) -> Iterator[tuple[subprocess.Popen[bytes], float]]:
    """A process that writes to `log`, and when it was started."""
    with log.open("wb") as output:
        started_s = time.perf_counter()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environ)
    if cores is not None:
        os.sched_setaffinity(process.pid, cores)
    try:
        yield process, started_s
    finally:
        process.terminate()
        try:
            process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _announced(
    process: subprocess.Popen[bytes], log: Path, banner: re.Pattern[str], started_s: float
) -> tuple[str, float]:
    """The URL that a process announces in its log, and after how long."""
    while time.perf_counter() < started_s + START_TIMEOUT_S:
        if (found := banner.search(log.read_text(errors="replace"))) is not None:
            return found[1], time.perf_counter() - started_s
        if process.poll() is not None:
            break
        time.sleep(LOOK_S)
    raise RuntimeError(f"{' '.join(process.args)} did not start:\n{log.read_text(errors='replace')}")  # type: ignore[arg-type]


def _worker(process: subprocess.Popen[bytes], port: int, log: Path) -> int:
    """The worker's process, once there is one and the port is open."""
    until_s = time.perf_counter() + START_TIMEOUT_S
    while time.perf_counter() < until_s and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            if workers := child_pids(process.pid):
                return workers[0]
        time.sleep(LOOK_S)
    raise RuntimeError(f"nginx did not start:\n{log.read_text(errors='replace') if log.exists() else ''}")


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
