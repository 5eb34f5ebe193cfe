"""What `ezai check` looks at on this machine: address, certificate, root secret, store, open files. Changes nothing."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import sqlite3
import ssl
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

from ezai.cli.findings import Finding, note, ok, trouble
from ezai.config import Config
from ezai.errors import SetupError
from ezai.policy.openness import is_loopback
from ezai.server.binding import bind
from ezai.server.tls import load_tls
from ezai.store.database import BUSY_TIMEOUT_MS, SCHEMA, connect, has_any_key, is_empty, schema_revision, sqlite_path
from ezai.store.root_secret import FILE_NAME, load_root_secret
from ezai.supervise.files import PER_CONNECTION, RESERVED, raise_file_limit, wanted_files

ASK_S = 2.0
LITTLE_SPACE_BYTES = 64 * 1024 * 1024


def look_around(config: Config, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Everything that does not need an upstream."""
    yield from _address(config)
    if config.server.tls_certificate:
        yield _certificate(config)
    yield _root_secret(config.data_dir, environ)
    try:
        database = sqlite_path(config.store.url, config.data_dir)
    except SetupError as error:
        yield trouble("store", str(error), "")
    else:
        yield from _store(database)
        yield _keys(config, database, environ)
    yield _files(config)


def _address(config: Config) -> Iterator[Finding]:
    host, port = config.server.host, config.server.port
    try:
        bind(host, port).close()
    except SetupError as error:
        if _served(config, "/healthz") == b'{"status":"ok"}':
            yield ok("address", f"a gateway answers at {host}:{port}")
            yield from _targets(_served(config, "/metrics"))
        else:
            yield trouble("address", str(error), "Name another under [server], or stop what uses it.")
    else:
        yield ok("address", f"{host}:{port} is free" if port else f"any free port of {host}")


def _targets(metrics: bytes) -> Iterator[Finding]:
    """Those that a running gateway leaves out now, as its metrics tell."""
    for told in _TARGET.finditer(metrics.decode("utf-8", "replace")):
        labels = dict(_LABEL.findall(told[1]))
        if labels["state"] != "ready":
            place = f"{labels['upstream']} {labels['model']}".strip()
            yield note(f"target {place}", f"the running gateway has it as {labels['state']}", "Its log says why.")


_TARGET = re.compile(r"^ezai_target_state\{(.*)\} (?!0\.0$)", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


def _served(config: Config, path: str) -> bytes:
    """What is served there; nothing where nobody serves."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(config.server.host, config.server.host)  # noqa: S104
    with closing(_connection(host, config.server.port, secure=bool(config.server.tls_certificate))) as connection:
        try:
            connection.request("GET", path, headers={"host": "localhost"})
            return connection.getresponse().read()
        except (OSError, UnicodeError, http.client.HTTPException):
            return b""


def _connection(host: str, port: int, *, secure: bool) -> http.client.HTTPConnection:
    """To this machine, so whose certificate is shown does not matter."""
    if not secure:
        return http.client.HTTPConnection(host, port, timeout=ASK_S)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return http.client.HTTPSConnection(host, port, timeout=ASK_S, context=context)


def _certificate(config: Config) -> Finding:
    server = config.server
    try:
        load_tls(config.data_dir / server.tls_certificate, config.data_dir / server.tls_key, http2=server.http2)
    except SetupError as error:
        return trouble("certificate", str(error), "")
    return ok("certificate", server.tls_certificate)


def _root_secret(data_dir: Path, environ: Mapping[str, str]) -> Finding:
    given = environ.get("EZAI_ROOT_KEY")
    if given is None and not (data_dir / FILE_NAME).exists():
        return _unmade("root secret", data_dir / FILE_NAME, "set EZAI_ROOT_KEY")
    try:
        load_root_secret(data_dir, given)
    except SetupError as error:
        return trouble("root secret", str(error), "")
    return ok("root secret", "EZAI_ROOT_KEY" if given else str(data_dir / FILE_NAME))


# The store.


def _store(path: Path) -> Iterator[Finding]:
    if is_empty(path):
        yield _unmade("store", path, "name another store")
    else:
        yield _made(path)
    free = shutil.disk_usage(_existing(path.parent)).free
    if free < LITTLE_SPACE_BYTES:
        yield trouble("disk", f"{free // 1024**2} MiB are left where the store is", "Make room.")


def _unmade(subject: str, path: Path, otherwise: str) -> Finding:
    folder = _existing(path.parent)
    if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
        return note(subject, f"the first start makes {path}")
    return trouble(subject, f"{folder} cannot be written to", f"Let this user write there, or {otherwise}.")


def _made(path: Path) -> Finding:
    try:
        revision = schema_revision(path)
        if revision is None or revision > SCHEMA:
            told = f"is of a newer EzAI (schema {revision}, this one knows {SCHEMA})" if revision else "is no store"
            return trouble("store", f"{path} {told}", "Update EzAI, or name another under [store] url.")
        _try_to_write(path)
    except SetupError as error:
        return trouble("store", str(error), "Name another under [store] url, or bring it back.")
    except sqlite3.Error as error:
        return trouble("store", f"{path} cannot be written: {error}", "Mend its permissions, or end who holds it.")
    if revision < SCHEMA:
        return note("store", f"{path}, schema {revision}", f"The next start brings it to {SCHEMA}.")
    return ok("store", f"{path}, schema {revision}, writable")


def _try_to_write(path: Path) -> None:
    with closing(connect(path, busy_timeout_ms=BUSY_TIMEOUT_MS)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("CREATE TABLE ezai_check (n INTEGER)")
        connection.execute("ROLLBACK")


def _existing(folder: Path) -> Path:
    """It, or the nearest folder above that is there."""
    return next(parent for parent in (folder, *folder.parents) if parent.exists())


def _keys(config: Config, database: Path, environ: Mapping[str, str]) -> Finding:
    try:
        there_is_one = bool(environ.get("EZAI_ADMIN_KEY")) or (not is_empty(database) and has_any_key(database))
    except SetupError:
        return note("keys", "unknown: the store cannot be read")
    if there_is_one:
        return ok("keys", "a request needs one")
    if is_loopback(config.server.host):
        return note("keys", "there is none: this machine alone is served, by anybody on it", "`ezai keys create`")
    told = f"there is none, and without one only a loopback address may be served, not {config.server.host}"
    return trouble("keys", told, "`ezai keys create`")


# Open files.


def _files(config: Config) -> Finding:
    wanted = wanted_files(config)
    allowed = raise_file_limit(wanted)
    if allowed >= wanted:
        return ok("open files", f"{allowed}, for {config.limits.connections} connections")
    fitting = max(1, (allowed - RESERVED) // PER_CONNECTION)
    return trouble(
        "open files",
        f"{allowed} leave room for {fitting} of {config.limits.connections} connections",
        f"Allow {wanted} (ulimit -n, LimitNOFILE=), or lower [limits] connections.",
    )
