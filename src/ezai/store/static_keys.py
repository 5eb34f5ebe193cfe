"""The key that the environment names (`EZAI_ADMIN_KEY`): no store needed, none looked at."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Sequence

from ezai.policy.keys import Credentials, VirtualKey

ADMIN_ID = "admin"


class StaticKeys:
    """The port `KeyStore` over at most one secret. With none, no key exists and a loopback gateway is open."""

    def __init__(self, admin_key: str | None) -> None:
        admin_key = (admin_key or "").strip()  # as a header's value is read
        self._digest = _digest(os.fsencode(admin_key)) if admin_key else None

    async def find(self, credentials: Credentials) -> Sequence[VirtualKey]:
        digest = self._digest
        # Header values are bytes, kept as Latin-1; the environment keeps its own as it came.
        presented = [_digest(secret.encode("latin-1")) for secret in credentials.secrets]
        if digest is None or not any(hmac.compare_digest(digest, each) for each in presented):
            return ()
        return (VirtualKey(ADMIN_ID),)

    def has_keys(self) -> bool:
        return self._digest is not None


def _digest(secret: bytes) -> bytes:
    """Equal length for any secret, so that comparing tells nothing of it."""
    return hashlib.sha256(secret).digest()
