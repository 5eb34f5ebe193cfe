"""The gateway's own certificate: made into a context here, shown by the listener."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import NoReturn

from ezai.errors import SetupError

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20"
"""Of TLS 1.2: HTTP/2 forbids the others (RFC 9113 appendix A). Those of TLS 1.3 are all good."""


def load_tls(certificate: Path, key: Path, *, http2: bool) -> ssl.SSLContext:
    """The context of a server that shows this certificate: a chain in PEM, leaf first, and the leaf's key.

    Raises `SetupError`, which names the key of the configuration.
    """
    _check_file("tls_certificate", certificate)
    _check_file("tls_key", key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["h2", "http/1.1"] if http2 else ["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, _refuse_passphrase)
    except ssl.SSLError as error:
        raise SetupError(_problem(error)) from None
    return context


def _check_file(name: str, path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        raise SetupError(f"[server] {name}: {path} cannot be read ({error.strerror}); name a file in PEM.") from None


def _refuse_passphrase() -> NoReturn:
    raise SetupError("[server] tls_key: it has a passphrase, which nobody is there to type; name a key without one.")


def _problem(error: ssl.SSLError) -> str:
    if error.reason in {"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"}:
        return "[server] tls_key: it is not the key of tls_certificate; name two files that belong together."
    return "[server] tls_certificate, tls_key: these are no certificate and no key in PEM; name such files."
