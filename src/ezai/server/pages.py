"""The pages for browsers: what `hatch_build.py` left in `ezai/web/dist`, answered from memory.

Imported with the first request for one of them. A path is looked up in the list of built files and never joined to a
folder. A page is asked for anew each time, and costs nothing when it is unchanged; a file under `/assets/` has the
digest of its content in its name and is kept forever.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ezai.errors import NotFound
from ezai.ports import Headers
from ezai.server.exchange import Exchange

DIST = Path(__file__).parents[1] / "web" / "dist"
PAGES = {"/": "chat/index.html"}
NOT_BUILT = (
    b"The chat page is not built: run `python hatch_build.py` in the source tree (`make run` does). "
    b"The API under /v1 works without it.\n"
)

_TYPES = {
    ".html": b"text/html; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".svg": b"image/svg+xml",
    ".txt": b"text/plain; charset=utf-8",
}
_POLICY = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data: blob:",  # the user's own attachments, before and after they are read
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types dompurify",  # only what the sanitiser returns can become HTML
)
_FEATURES = ("camera", "display-capture", "geolocation", "microphone", "payment", "usb")
SECURITY: Headers = [
    (b"content-security-policy", "; ".join(_POLICY).encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", ", ".join(f"{name}=()" for name in _FEATURES).encode()),
]


@dataclass(frozen=True, slots=True)
class File:
    """A built file as it is answered: its bytes, the same compressed where that was done, its fixed headers."""

    body: bytes
    gzipped: bytes | None
    headers: Headers
    etag: str


class Pages:
    """The built files of one folder."""

    def __init__(self, folder: Path = DIST) -> None:
        self._folder = folder
        self._built: int | None = None
        self._files: Mapping[str, File] = {}

    async def answer(self, exchange: Exchange) -> None:
        """Answer with the page or asset of the exchange's path. Raises `NotFound` for a name that was not built."""
        await self._refresh(is_page=exchange.path in PAGES)
        file = self._files.get(exchange.path)
        if file is not None:
            await _answer(exchange, file)
        elif exchange.path in PAGES:
            await exchange.answer(503, [*SECURITY, (b"content-type", _TYPES[".txt"])], NOT_BUILT)
        else:
            raise NotFound(f"{exchange.path}: no such file; load the page again.")

    async def _refresh(self, *, is_page: bool) -> None:
        """Read the folder, in a thread, when nothing is read yet or a page shows that it was built anew."""
        if not self._files or is_page:
            self._built, self._files = await asyncio.to_thread(_read, self._folder, self._built, self._files)


def _read(folder: Path, built: int | None, files: Mapping[str, File]) -> tuple[int | None, Mapping[str, File]]:
    """When the folder was built, and its files by path; `files` where that is still `built`."""
    try:
        now = (folder / PAGES["/"]).stat().st_mtime_ns
    except FileNotFoundError:
        return None, {}
    return now, files if now == built else dict(_files(folder))


def _files(folder: Path) -> Iterator[tuple[str, File]]:
    for path, name in PAGES.items():
        yield path, _file(folder / name, b"no-cache")
    for asset in (folder / "assets").iterdir():
        if asset.suffix in _TYPES:
            yield f"/assets/{asset.name}", _file(asset, b"public, max-age=31536000, immutable")


def _file(path: Path, caching: bytes) -> File:
    body = path.read_bytes()
    compressed = path.with_name(path.name + ".gz")
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = [
        *SECURITY,
        (b"content-type", _TYPES[path.suffix]),
        (b"cache-control", caching),
        (b"etag", etag.encode()),
        (b"vary", b"accept-encoding"),
    ]
    return File(body, compressed.read_bytes() if compressed.exists() else None, headers, etag)


async def _answer(exchange: Exchange, file: File) -> None:
    if file.etag in (exchange.header(b"if-none-match") or ""):
        await exchange.answer(304, file.headers, b"")
    elif file.gzipped is not None and _takes_gzip(exchange.header(b"accept-encoding")):
        await exchange.answer(200, [*file.headers, (b"content-encoding", b"gzip")], file.gzipped)
    else:
        await exchange.answer(200, file.headers, file.body)


def _takes_gzip(accept_encoding: str | None) -> bool:
    """Whether the header names gzip, and not with a quality of zero."""
    for item in (accept_encoding or "").lower().split(","):
        coding, _, parameter = item.partition(";")
        if coding.strip() == "gzip":
            quality = parameter.partition("=")[2].strip()
            return not quality or quality.strip("0.") != ""
    return False
