"""The pages for browsers as they are answered: types, compression, caching, policy, and no way to any other file."""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx2
import pytest

from ezai.server.pages import DIST, Pages
from tests.conformance.gateway import Options, gateway, run
from tests.pipeline.fakes import FakeKeys
from tests.raw_client import raw_client

FIRST_LOAD_BYTES = 150_000
HTML = b"<!doctype html><title>The page</title>"
SCRIPT = b"console.log(1);" * 50
KEYED = Options(keys=FakeKeys(**{"sk-one": "one"}))


def build(folder: Path, html: bytes = HTML) -> None:
    """A built folder of one page and two files."""
    for name, body in {"chat/index.html": html, "assets/app-1.js": SCRIPT, "assets/app-1.css": b"a{}"}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        if name.endswith(".js"):
            path.with_name(path.name + ".gz").write_bytes(gzip.compress(body))
    (folder / "secret.txt").write_text("treasure")
    (folder / "assets" / "no-page.map").write_text("treasure")


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    build(tmp_path / "dist")
    return tmp_path / "dist"


Test = Callable[[httpx2.AsyncClient, str], Coroutine[Any, Any, None]]


def on_pages(folder: Path, test: Test, monkeypatch: pytest.MonkeyPatch, options: Options | None = None) -> None:
    monkeypatch.setattr(Pages.__init__, "__defaults__", (folder,))

    async def played() -> None:
        async with gateway(options=options) as running, httpx2.AsyncClient(base_url=running.url) as http:
            await test(http, running.url)

    run(played())


@pytest.mark.parametrize("options", [None, KEYED], ids=["open", "keyed"])
def test_the_page_needs_no_key_and_holds_the_policy(
    options: Options | None, dist: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(http: httpx2.AsyncClient, url: str) -> None:
        page = await http.get("/")
        assert (page.status_code, page.content) == (200, HTML)
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert page.headers["cache-control"] == "no-cache"
        assert page.headers["x-content-type-options"] == "nosniff"
        assert page.headers["referrer-policy"] == "no-referrer"
        assert page.headers["cross-origin-opener-policy"] == "same-origin"
        assert page.headers["cross-origin-resource-policy"] == "same-origin"
        assert "camera=()" in page.headers["permissions-policy"]
        assert page.headers["request-id"].startswith("req_")
        policy = dict(item.strip().partition(" ")[::2] for item in page.headers["content-security-policy"].split(";"))
        assert policy == {
            "default-src": "'none'",
            "script-src": "'self'",
            "style-src": "'self'",
            "img-src": "'self' data: blob:",
            "connect-src": "'self'",
            "base-uri": "'none'",
            "form-action": "'none'",
            "frame-ancestors": "'none'",
            "require-trusted-types-for": "'script'",
            "trusted-types": "dompurify",
        }

    on_pages(dist, test, monkeypatch, options)


def test_assets_are_kept_forever_and_come_compressed_to_those_who_can(
    dist: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(http: httpx2.AsyncClient, url: str) -> None:
        plain = await http.get("/assets/app-1.js", headers={"accept-encoding": "identity"})
        assert (plain.status_code, plain.content) == (200, SCRIPT)
        assert plain.headers["content-type"] == "text/javascript; charset=utf-8"
        assert plain.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert plain.headers["vary"] == "accept-encoding"
        assert "content-security-policy" in plain.headers
        small = await http.get("/assets/app-1.js", headers={"accept-encoding": "br, GZIP;q=0.8"})
        assert small.headers["content-encoding"] == "gzip"
        assert small.content == SCRIPT
        for refused in ("gzip;q=0", "gzip; q=0.000", "br", ""):
            answer = await http.get("/assets/app-1.js", headers={"accept-encoding": refused})
            assert "content-encoding" not in answer.headers, refused
        style = await http.get("/assets/app-1.css", headers={"accept-encoding": "gzip"})
        assert (style.content, style.headers["content-type"]) == (b"a{}", "text/css; charset=utf-8")
        assert "content-encoding" not in style.headers, "it was not compressed when it was built"

    on_pages(dist, test, monkeypatch)


def test_a_page_that_has_not_changed_is_not_sent_again(dist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(http: httpx2.AsyncClient, url: str) -> None:
        etag = (await http.get("/")).headers["etag"]
        unchanged = await http.get("/", headers={"if-none-match": etag})
        assert (unchanged.status_code, unchanged.content) == (304, b"")
        assert "content-length" not in unchanged.headers
        build(dist, b"<title>Another</title>")
        os.utime(dist / "chat" / "index.html", ns=(1, 1))
        changed = await http.get("/", headers={"if-none-match": etag})
        assert (changed.status_code, changed.content) == (200, b"<title>Another</title>")

    on_pages(dist, test, monkeypatch)


def test_a_file_is_asked_about_without_being_sent(dist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(http: httpx2.AsyncClient, url: str) -> None:
        asked = await http.head("/assets/app-1.js", headers={"accept-encoding": "identity"})
        assert (asked.status_code, asked.content) == (200, b"")
        assert asked.headers["content-length"] == str(len(SCRIPT))
        for tag in (asked.headers["etag"], f'"other", W/{asked.headers["etag"]}'):
            assert (await http.get("/assets/app-1.js", headers={"if-none-match": tag})).status_code == 304
        assert (await http.get("/assets/app-1.js", headers={"if-none-match": '"other"'})).status_code == 200

    on_pages(dist, test, monkeypatch)


@pytest.mark.parametrize(
    "path",
    [
        "/assets/../secret.txt", "/assets/%2e%2e/secret.txt", "/assets/..%2fsecret.txt", "/assets/..%5csecret.txt",
        "/assets//etc/passwd", "/assets/%2fetc%2fpasswd", "/assets/app-1.js%00", "/assets/app-1.js/", "/assets/",
        "/assets/no-page.map", "/assets/app-1.js.gz", "/assets/chat/index.html", "/chat/index.html", "/secret.txt",
        "//", "/index.html", "/assets/APP-1.JS",
    ],
)  # fmt: skip
def test_no_path_leads_to_another_file(path: str, dist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(http: httpx2.AsyncClient, url: str) -> None:
        async with raw_client(url) as client:
            client.send(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode())
            answer = await client.answer()
            assert answer.status == 404
            assert b"treasure" not in answer.body
            assert answer.error["type"] == "error"

    on_pages(dist, test, monkeypatch)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_pages_are_only_read(method: str, dist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(http: httpx2.AsyncClient, url: str) -> None:
        for path in ("/", "/assets/app-1.js"):
            assert (await http.request(method, path)).status_code == 405

    on_pages(dist, test, monkeypatch)


def test_a_page_of_another_site_gets_none_of_it_from_an_open_gateway(
    dist: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(http: httpx2.AsyncClient, url: str) -> None:
        for path in ("/", "/assets/app-1.js"):
            answer = await http.get(path, headers={"host": "rebound.example"})
            assert (answer.status_code, answer.json()["error"]["type"]) == (403, "permission_error")

    on_pages(dist, test, monkeypatch)


def test_with_keys_the_page_is_for_every_name_of_the_gateway(dist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(http: httpx2.AsyncClient, url: str) -> None:
        for path in ("/", "/assets/app-1.js"):
            assert (await http.get(path, headers={"host": "ezai.example"})).status_code == 200
        assert (await http.get("/v1/models", headers={"host": "ezai.example"})).status_code == 401

    on_pages(dist, test, monkeypatch, KEYED)


def test_the_probe_stays_what_it_was(dist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(http: httpx2.AsyncClient, url: str) -> None:
        probe = await http.head("/", headers={"host": "any.example"})
        assert (probe.status_code, probe.headers["content-type"]) == (200, "application/json")

    on_pages(dist, test, monkeypatch)


def test_a_page_that_was_not_built_says_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(http: httpx2.AsyncClient, url: str) -> None:
        page = await http.get("/")
        assert (page.status_code, page.headers["content-type"]) == (503, "text/plain; charset=utf-8")
        assert "python hatch_build.py" in page.text
        assert page.text.count("\n") == 1
        assert (await http.get("/assets/app-1.js")).status_code == 404
        build(tmp_path / "dist")
        assert (await http.get("/")).content == HTML, "it is there as soon as it is built"

    on_pages(tmp_path / "dist", test, monkeypatch)


def test_the_first_load_of_the_chat_page_is_small() -> None:
    assert DIST.is_dir(), f"{DIST} is missing: run `make setup`"

    async def test() -> None:
        async with gateway() as running, raw_client(running.url) as client:
            names = re.findall(r'(?:src|href)="(/assets/[^"]+)"', (DIST / "chat" / "index.html").read_text("utf-8"))
            assert any(name.endswith(".js") for name in names)
            total = 0
            for path in ["/", *names]:
                client.send(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\naccept-encoding: gzip\r\n\r\n".encode())
                answer = await client.answer()
                assert (answer.status, answer.headers["content-encoding"]) == (200, "gzip")
                total += len(answer.body)
            print(f"the first load is {total} bytes")
            assert total <= FIRST_LOAD_BYTES

    run(test())
