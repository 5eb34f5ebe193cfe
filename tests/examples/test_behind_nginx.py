"""The web applications behind a real nginx, with the configuration that the documentation gives."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.canary import CLIENT_KEY
from tests.examples.applications import NAMES, application, free_port, gateway_on
from tests.examples.test_web_apps import HELD, HI, LEFT, LEFT_WITHIN_S, read_words
from tests.mock_beside import mock_beside

PAGE = Path(__file__).parents[2] / "docs" / "web-apps.md"
AROUND = """
daemon off;
master_process off;
error_log stderr notice;
pid nginx.pid;
events {{ }}
http {{
    access_log off;
    client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
    gzip on;
    gzip_types text/event-stream;
    server {{
        listen 127.0.0.1:{port};
        {location}
    }}
}}
"""


@contextmanager
def nginx_before(url: str, folder: Path) -> Iterator[str]:
    """nginx as the documentation configures it, in front of the application at `url`."""
    found = re.search(r"```nginx\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    port = free_port()
    location = found[1].replace("http://127.0.0.1:3000", url)
    (folder / "nginx.conf").write_text(AROUND.format(port=port, location=location))
    assert shutil.which("nginx"), "install nginx (on Debian: apt-get install nginx)"
    command = ["nginx", "-p", str(folder), "-e", "stderr", "-c", "nginx.conf"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any("event method" in line for line in process.stderr), "nginx did not start"
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


@pytest.mark.full
@pytest.mark.parametrize("name", NAMES)
def test_words_arrive_at_once_and_leaving_is_seen(name: str, tmp_path: Path) -> None:
    with (
        mock_beside(HELD) as mock,
        gateway_on(mock, tmp_path) as gateway,
        application(name, gateway.url, EZAI_API_KEY=CLIENT_KEY) as url,
        nginx_before(url, tmp_path) as proxied,
        httpx2.Client(base_url=proxied, timeout=60) as http,
    ):
        with http.stream("POST", "/chat", json={"messages": HI}) as answer:
            assert "content-encoding" not in answer.headers
            assert read_words(answer.iter_text(), 5) == "0 1 2 3 4 "
        mock.until(lambda: mock.requests[0].ended in LEFT, LEFT_WITHIN_S)
