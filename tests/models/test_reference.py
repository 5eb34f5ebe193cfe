"""What a configured model string is resolved to, and in which words it is refused."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ezai.errors import SetupError
from ezai.models.reference import LocalModel, resolve
from tests.model_fixture import REPOSITORY_DATA_DIR, ensure_model
from tests.models.gguf_file import gguf

# Paths.


def test_a_path_relative_to_the_data_directory(tmp_path: Path) -> None:
    (tmp_path / "mine.gguf").write_bytes(gguf())
    assert resolve("mine.gguf", tmp_path) == LocalModel(tmp_path / "mine.gguf", None, 512)


def test_an_absolute_path(tmp_path: Path) -> None:
    (tmp_path / "mine.gguf").write_bytes(gguf())
    found = resolve(str(tmp_path / "mine.gguf"), tmp_path / "elsewhere")
    assert found.path == tmp_path / "mine.gguf"
    assert found.public_id is None, "the name of a file never leaves"


def test_a_path_in_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.gguf").write_bytes(gguf())
    assert resolve("~/mine.gguf", tmp_path / "elsewhere").path == tmp_path / "mine.gguf"


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ("nope", "no model 'nope': give one of smollm2-135m, the path of a GGUF file"),
        ("~nobody-of-that-name/x.gguf", "home directory that does not exist"),
        ("bad.gguf", "'bad.gguf' cannot be used: the file is not a GGUF model"),
        ("cut.gguf", "'cut.gguf' cannot be used: the file is incomplete"),
        (".", "a directory or a device"),
        ("a\0b", "cannot be read: no such path can exist"),
        ("bad.gguf/x", "cannot be read: Not a directory"),
    ],
)
def test_a_path_that_is_no_model(reference: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"hello")
    (tmp_path / "cut.gguf").write_bytes(gguf()[:-64])
    with pytest.raises(SetupError, match=sentence):
        resolve(reference, tmp_path)


# The catalogue.


def test_a_catalogue_model_that_is_not_here(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="run `ezai models pull smollm2-135m`"):
        resolve("smollm2-135m", tmp_path)


@pytest.mark.model
@pytest.mark.timeout(600)
def test_a_catalogue_model_has_its_name_in_public() -> None:
    path = ensure_model()
    assert resolve("smollm2-135m", REPOSITORY_DATA_DIR) == LocalModel(path, "smollm2-135m", 8192)
    assert resolve(str(path), REPOSITORY_DATA_DIR) == LocalModel(path, None, 8192)


# The hub. Its library reads its environment when it is imported, so each look-up has a process of its own.

_RESOLVE = """
import sys
from pathlib import Path
from ezai.errors import SetupError
from ezai.models.reference import resolve
if sys.argv[1] == "uninstalled":
    sys.modules["huggingface_hub"] = None
try:
    found = resolve(sys.argv[2], Path(sys.argv[3]))
except SetupError as error:
    print("refused:", error)
else:
    print("found:", found.path.read_bytes()[:4], found.public_id, found.context_tokens)
"""


def _resolve_apart(reference: str, tmp_path: Path, endpoint: str, *, installed: bool = True, **more: str) -> str:
    root = Path(__file__).resolve().parents[2]
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment = {
        **kept,
        "PYTHONPATH": f"{root / 'src'}",
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(tmp_path / "hub"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        **more,
    }
    mode = "installed" if installed else "uninstalled"
    done = subprocess.run(
        [sys.executable, "-c", _RESOLVE, mode, reference, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@contextmanager
def _hub(*, status: int = 200, reason: str | None = None, cut: bool = False) -> Iterator[str]:
    """As much of the hub as a download of one file needs."""
    content = gguf(context=1024)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def _answer(self, *, with_body: bool) -> None:
            known = self.path == "/me/repo/resolve/main/deep/model.gguf"
            right = known and status == 200
            body = content if right else b""
            self.send_response(status if known else 404)
            if right:
                self.send_header("ETag", '"0123456789abcdef0123456789abcdef01234567"')
                self.send_header("X-Repo-Commit", "0" * 40)
            else:
                self.send_header("X-Error-Code", reason or "EntryNotFound")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if with_body:
                self.wfile.write(body[: len(body) // 2] if cut else body)
                self.close_connection = cut

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Quiet."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


MODEL = "hf:me/repo/deep/model.gguf"


def test_a_model_of_the_hub_and_again_without_it(tmp_path: Path) -> None:
    with _hub() as endpoint:
        assert _resolve_apart(MODEL, tmp_path, endpoint) == "found: b'GGUF' None 1024"
    assert _resolve_apart(MODEL, tmp_path, endpoint, HF_HUB_OFFLINE="1") == "found: b'GGUF' None 1024"


@pytest.mark.parametrize(
    ("status", "reason", "sentence"),
    [
        (404, "EntryNotFound", "has no file deep/model.gguf"),
        (404, "RepoNotFound", "The hub has no repository me/repo, or it is private"),
        (401, "RepoNotFound", "The hub has no repository me/repo, or it is private"),
        (403, "GatedRepo", "is gated: accept its terms"),
    ],
)
def test_the_hub_refuses(status: int, reason: str | None, sentence: str, tmp_path: Path) -> None:
    with _hub(status=status, reason=reason) as endpoint:
        answer = _resolve_apart(MODEL, tmp_path, endpoint)
    _assert_plain(answer, sentence)


def test_offline_and_the_file_is_not_here(tmp_path: Path) -> None:
    answer = _resolve_apart(MODEL, tmp_path, "http://127.0.0.1:9", HF_HUB_OFFLINE="1")
    _assert_plain(answer, "could not be reached")


@pytest.mark.full  # the library itself tries again for 23 seconds
def test_the_hub_is_out_of_reach(tmp_path: Path) -> None:
    with _hub() as endpoint:
        pass
    _assert_plain(_resolve_apart(MODEL, tmp_path, endpoint), "could not be reached")


def test_a_download_of_the_hub_that_breaks_off(tmp_path: Path) -> None:
    with _hub(cut=True) as endpoint:
        answer = _resolve_apart(MODEL, tmp_path, endpoint)
    _assert_plain(answer, "could not be downloaded")


def test_the_extra_is_not_installed(tmp_path: Path) -> None:
    answer = _resolve_apart(MODEL, tmp_path, "http://127.0.0.1:9", installed=False)
    _assert_plain(answer, "run `pip install 'ezai[hf]'`")


@pytest.mark.parametrize("reference", ["hf:", "hf:me", "hf:me/repo", "hf:me/repo/model.bin", "hf:me/repo/../x.gguf"])
def test_a_malformed_hub_reference(reference: str, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"not of the form hf:OWNER/REPO/FILE\.gguf"):
        resolve(reference, tmp_path)


def _assert_plain(answer: str, sentence: str) -> None:
    assert answer.startswith("refused: ")
    assert sentence in answer
    assert answer.endswith(".")
    assert "\n" not in answer
    assert "://" not in answer
