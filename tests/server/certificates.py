"""Certificates for the gateway itself, of one session."""

from __future__ import annotations

import ssl
from pathlib import Path

import trustme

NAME = "gateway.test"


class Certificates:
    """An authority, and files of certificates that it has issued."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._authority = trustme.CA()
        self._count = 0
        self.ca_file = folder / "authority.pem"
        self._authority.cert_pem.write_to_path(self.ca_file)

    def issue(self, *names: str) -> tuple[Path, Path]:
        """A new certificate, with what leads to it, and its key; also for this machine's loopback address."""
        self._count += 1
        certificate, key = (self._folder / f"{self._count}.{kind}" for kind in ("pem", "key"))
        issued = self._authority.issue_cert("127.0.0.1", *(names or (NAME,)))
        certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(key)
        return certificate, key

    def trusting(self, *protocols: str) -> ssl.SSLContext:
        """A client's context that trusts the authority and offers these protocols."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        if protocols:
            context.set_alpn_protocols(list(protocols))
        return context
