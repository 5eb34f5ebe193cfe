"""TLS to an upstream: whom we trust, and what is said of a handshake that failed."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Final

from ezai.errors import UpstreamUnreachable

if TYPE_CHECKING:
    from pathlib import Path

_NOT_ACCEPTED: Final = "The upstream's certificate was not accepted"
_UNKNOWN_ISSUER: Final = f"{_NOT_ACCEPTED}: its issuer is not trusted here (ca_file)."
_OTHER_NAME: Final = f"{_NOT_ACCEPTED}: it is for another name."
_CERTIFICATE_FAULTS: Final = {  # by X509_V_ERR_*, OpenSSL's x509_vfy.h
    2: _UNKNOWN_ISSUER,  # UNABLE_TO_GET_ISSUER_CERT
    9: f"{_NOT_ACCEPTED}: it is not valid yet.",  # CERT_NOT_YET_VALID
    10: f"{_NOT_ACCEPTED}: it has expired.",  # CERT_HAS_EXPIRED
    18: _UNKNOWN_ISSUER,  # DEPTH_ZERO_SELF_SIGNED_CERT
    19: _UNKNOWN_ISSUER,  # SELF_SIGNED_CERT_IN_CHAIN
    20: _UNKNOWN_ISSUER,  # UNABLE_TO_GET_ISSUER_CERT_LOCALLY
    21: _UNKNOWN_ISSUER,  # UNABLE_TO_VERIFY_LEAF_SIGNATURE
    62: _OTHER_NAME,  # HOSTNAME_MISMATCH
    64: _OTHER_NAME,  # IP_ADDRESS_MISMATCH
}
_NO_TLS: Final = "The upstream did not answer in TLS."
_TOO_OLD: Final = "The upstream offers only versions of TLS that are too old."
_HANDSHAKE_FAULTS: Final = {  # by OpenSSL's reason
    "HTTP_REQUEST": _NO_TLS,
    "PACKET_LENGTH_TOO_LONG": _NO_TLS,
    "TLSV1_ALERT_PROTOCOL_VERSION": _TOO_OLD,
    "UNSUPPORTED_PROTOCOL": _TOO_OLD,
    "WRONG_VERSION_NUMBER": _NO_TLS,
}


class Trust:
    """Whose certificates one client accepts: those of the system's store, and of the authorities in `ca_file`.

    `ca_file` is PEM, and read here and now. Raises `ValueError` if it cannot be.
    """

    def __init__(self, ca_file: str | Path = "") -> None:
        self._extended = _with_authorities_of(ca_file) if ca_file else None
        self._loading: asyncio.Future[ssl.SSLContext] | None = None

    async def context(self) -> ssl.SSLContext:
        """Return the one context, made at the first call.

        Reading the system's store takes 20 to 40 ms and 0.9 MiB (2.5 the first time in a process): time that no
        event loop has, and memory that an upstream which is never asked should not take. So it is read in a
        thread, when first needed.
        """
        if self._loading is None:
            self._loading = asyncio.get_running_loop().run_in_executor(None, self._load)
        return await asyncio.shield(self._loading)  # others may be waiting for it

    def _load(self) -> ssl.SSLContext:
        if self._extended is None:
            context = ssl.create_default_context()
        else:
            context = self._extended
            context.load_default_certs()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        return context


def _with_authorities_of(ca_file: str | Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except FileNotFoundError:
        raise ValueError("ca_file does not exist") from None
    except ssl.SSLError:
        raise ValueError("ca_file holds no certificate in PEM") from None
    except OSError as error:
        raise ValueError(f"ca_file cannot be read: {error.strerror}") from None


def server_name(host: str) -> str:
    """Return the name that a certificate has to be for. Raises `ValueError` if there can be no such name."""
    name = host.rstrip(".")
    try:
        name.encode("idna")
    except UnicodeError:
        raise ValueError("the host of the base URL is no name that a certificate could be for") from None
    return name


def handshake_failed(error: OSError) -> UpstreamUnreachable:
    """Say what `error`, raised by a handshake, was about; neither host nor path are told.

    A certificate that was not accepted will not be the next time: no retry is advised.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        fault = _CERTIFICATE_FAULTS.get(error.verify_code, f"{_NOT_ACCEPTED}.")
        return UpstreamUnreachable(fault, should_retry=False)
    if isinstance(error, ssl.SSLError):
        return UpstreamUnreachable(_HANDSHAKE_FAULTS.get(error.reason, "The TLS handshake with the upstream failed."))
    return UpstreamUnreachable("The upstream broke off the TLS handshake.")
