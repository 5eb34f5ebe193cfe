"""What of an upstream's configuration is a credential."""

from __future__ import annotations

import re
from collections.abc import Mapping

MIN_CHARS = 8
"""A shorter one is none that protects anything ("any", "ollama", "EMPTY"), and may well be a word of a message."""

_NAME = re.compile(r"authorization|cookie|key|token|secret|password", re.IGNORECASE)


def credentials_of(api_key: str, headers: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """The key, and the values of those headers that by their names hold one, without the word before it ("Bearer")."""
    sent = [value.split(" ")[-1] for name, value in (headers or {}).items() if _NAME.search(name)]
    return tuple(credential for credential in (api_key, *sent) if len(credential) >= MIN_CHARS)
