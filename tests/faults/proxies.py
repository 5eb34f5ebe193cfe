"""nginx and HAProxy, real ones, before a gateway: what stands there in most installations.

Each is a process of its own with a configuration of its own, on a port that is held for it from the start.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

NGINX = """
daemon off;
master_process off;
error_log stderr notice;
pid nginx.pid;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
    client_header_timeout 1s;
    client_body_timeout 1s;
    client_max_body_size 64m;
    {lenient}
    upstream gateway {{ server 127.0.0.1:{behind}; keepalive 1; }}
    server {{
        listen 127.0.0.1:{port} reuseport;
        location / {{
            proxy_pass http://gateway;
            {to_gateway}
            proxy_set_header host $http_host;
            proxy_buffering off;
            proxy_request_buffering off;
        }}
    }}
}}
"""
HAPROXY = """
global
    nbthread 1
defaults
    mode http
    timeout connect 5s
    timeout client 1s
    timeout server 30s
    timeout http-request 1s
    http-reuse always
frontend clients
    bind fd@{descriptor}
    {lenient}
    default_backend gateway
backend gateway
    server gateway 127.0.0.1:{behind} {to_gateway}
"""
KEPT_ALIVE = 'proxy_http_version 1.1; proxy_set_header connection "";'
BY_DEFAULT = "proxy_http_version 1.0;"
"""What nginx has long spoken where nobody set it."""


def _nginx(
    folder: Path, held: socket.socket, behind: int, lenient: str, to_gateway: str = KEPT_ALIVE
) -> subprocess.Popen[str]:
    """It listens beside the socket that holds the port; its notices say when."""
    config = NGINX.format(behind=behind, port=held.getsockname()[1], lenient=lenient, to_gateway=to_gateway)
    (folder / "nginx.conf").write_text(config)
    process = subprocess.Popen(
        ["nginx", "-p", str(folder), "-e", "stderr", "-c", "nginx.conf"], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    assert any("event method" in line for line in process.stderr), "nginx did not start"
    return process


def _haproxy(
    folder: Path, held: socket.socket, behind: int, lenient: str, to_gateway: str = ""
) -> subprocess.Popen[str]:
    """It takes over the socket that holds the port, on which connections can wait for it."""
    held.listen()
    config = HAPROXY.format(behind=behind, descriptor=held.fileno(), lenient=lenient, to_gateway=to_gateway)
    (folder / "haproxy.cfg").write_text(config)
    return subprocess.Popen(
        ["haproxy", "-q", "-db", "-f", "haproxy.cfg"],
        cwd=folder,
        pass_fds=[held.fileno()],
        stderr=subprocess.PIPE,
        text=True,
    )


Start = Callable[[Path, socket.socket, int, str], subprocess.Popen[str]]
PROXIES: dict[str, tuple[Start, str]] = {
    "nginx": (_nginx, ""),
    "nginx, lenient": (_nginx, "ignore_invalid_headers off; underscores_in_headers on; merge_slashes off;"),
    "nginx, to HTTP/1.0": (partial(_nginx, to_gateway=BY_DEFAULT), ""),
    "haproxy": (_haproxy, ""),
    "haproxy, lenient": (_haproxy, "option accept-invalid-http-request"),
    "haproxy, to HTTP/2": (partial(_haproxy, to_gateway="proto h2"), "option accept-invalid-http-request"),
}
"""How each is started, and what makes it let through more than it wants to."""


@contextmanager
def proxy(name: str, folder: Path, behind: int) -> Iterator[str]:
    """The URL of a proxy whose only backend is the port `behind`. It still runs when the block ends."""
    start, lenient = PROXIES[name]
    program = name.partition(",")[0]
    assert shutil.which(program), f"install {program} (on Debian: apt-get install {program})"
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(("127.0.0.1", 0))
        process = start(folder, held, behind, lenient)
        try:
            yield f"http://127.0.0.1:{held.getsockname()[1]}"
            ended = process.poll()
        finally:
            process.terminate()
            said = process.communicate()[1]
        assert ended is None, said
