"""The gateway's own credential, cut out of what an upstream says.

Servers repeat what they refuse ("invalid key sk-..."), in messages and in headers. The client, the ledger and the log
get the rest of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from ezai.translate.base import Headers

IN_ITS_PLACE = "[credential]"


def cut_from_text(text: str, credentials: Sequence[str]) -> str:
    """The text without them."""
    for credential in credentials:
        text = text.replace(credential, IN_ITS_PLACE)
    return text


def cut_from_bytes(data: bytes, credentials: Sequence[str]) -> bytes:
    """The same of bytes, such as a JSON body; what was JSON is JSON."""
    for credential in credentials:
        data = data.replace(credential.encode(), IN_ITS_PLACE.encode())
    return data


def fields_without(headers: Headers, credentials: Sequence[str]) -> Headers:
    """The fields that hold none of them."""
    kept = list(headers)
    for credential in credentials:
        held = credential.encode()
        kept = [field for field in kept if held not in field[1]]
    return kept
