"""The key that the environment names (`EZAI_ADMIN_KEY`): no store needed, none looked at."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from ezai.policy.keys import Credentials, VirtualKey

ADMIN_ID = "admin"


class StaticKeys:
    """The port `KeyStore` over at most one secret. With none, no key exists and a loopback gateway is open."""

    def __init__(self, admin_key: str | None) -> None:
        self._digest = _digest(admin_key) if admin_key else None

    async def find(self, credentials: Credentials) -> Sequence[VirtualKey]:
        digest = self._digest
        if digest is None or not any(hmac.compare_digest(digest, _digest(secret)) for secret in credentials.secrets):
            return ()
        return (VirtualKey(ADMIN_ID),)

    def has_keys(self) -> bool:
        return self._digest is not None


def _digest(secret: str) -> bytes:
    """Equal length for any secret, so that comparing tells nothing of it."""
    return hashlib.sha256(secret.encode()).digest()
