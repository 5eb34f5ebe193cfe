"""Signatures of the thinking that a gateway makes blocks of.

A client sends a thinking block back as it got it, with its signature. Ours says which field of the upstream's the
reasoning came in, so that it can go back there, and that it is not Anthropic's, which refuses foreign ones.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode

REASONING_CONTENT = "reasoning_content"
REASONING = "reasoning"
REASONING_DETAILS = "reasoning_details"
THINK_TAG = "think"
"""No field: `<think>` at the beginning of the content."""
CONTENT_PART = "part"
"""No field: a part of the content that is thinking (Mistral)."""

PREFIX = "ezai1."
_CODES = {REASONING_CONTENT: "c", REASONING: "r", REASONING_DETAILS: "d", THINK_TAG: "t", CONTENT_PART: "p"}
_FIELDS = {code: field for field, code in _CODES.items()}


def sign(key: bytes, text: str, field: str) -> str:
    """The signature of thinking that came in `field`; of thinking that is not shown, `text` is empty."""
    digest = hmac.digest(key, f"{field}\0{text}".encode("utf-8", "surrogatepass"), hashlib.sha256)
    return f"{PREFIX}{_CODES[field]}.{urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def is_ours(signature: str) -> bool:
    """Whether it looks like a gateway's; `verified_field` tells whether this one made it."""
    return signature.startswith(PREFIX)


def verified_field(key: bytes, text: str, signature: str) -> str | None:
    """The field that the thinking came in; None unless the signature was made with this key for this text."""
    field = _FIELDS.get(signature.removeprefix(PREFIX).partition(".")[0])
    if field is None or not is_ours(signature):
        return None
    return field if hmac.compare_digest(sign(key, text, field).encode(), signature.encode("utf-8", "replace")) else None
