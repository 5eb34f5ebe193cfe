"""Certificates of one session: an authority, and servers that it, or somebody else, vouches for."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

import trustme

from tests.upstreams.http.scripted import NAME

LONG_AGO = datetime.now(UTC) - timedelta(days=30)
YESTERDAY = datetime.now(UTC) - timedelta(days=1)
TOMORROW = datetime.now(UTC) + timedelta(days=1)


class Certificates:
    """Contexts for servers, each made when it is first asked for. `folder` is for the authorities' own files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._authority = trustme.CA()
        self._somebody = trustme.CA()
        self.nobody = folder / "nobody.pem"
        """No file: a store in which there is nobody."""

    @cached_property
    def ca_file(self) -> Path:
        return self._written(self._authority, "authority.pem")

    @cached_property
    def somebodys_ca_file(self) -> Path:
        return self._written(self._somebody, "somebody.pem")

    @cached_property
    def good(self) -> ssl.SSLContext:
        return self.of(self._authority.issue_cert(NAME, "127.0.0.1"))

    @cached_property
    def somebodys(self) -> ssl.SSLContext:
        return self.of(self._somebody.issue_cert(NAME))

    @cached_property
    def expired(self) -> ssl.SSLContext:
        return self.of(self._authority.issue_cert(NAME, not_before=LONG_AGO, not_after=YESTERDAY))

    @cached_property
    def early(self) -> ssl.SSLContext:
        return self.of(self._authority.issue_cert(NAME, not_before=TOMORROW))

    @cached_property
    def other_name(self) -> ssl.SSLContext:
        return self.of(self._authority.issue_cert("another.test", f"sub.{NAME}"))

    def of(self, certificate: trustme.LeafCert) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["h2", "http/1.1"])
        certificate.configure_cert(context)
        return context

    def _written(self, authority: trustme.CA, name: str) -> Path:
        path = self._folder / name
        authority.cert_pem.write_to_path(path)
        return path
