"""Ids of calls that carry the signature of the thought before the call, which Gemini wants back with it.

Gemini 3 refuses a conversation whose calls come back without it. Of a call a client sends back what it was given, and
the id is all that the Messages API leaves us to put it into. Source: Gemini's pages on thought signatures.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode

_MARK = "_thought_"


def signed_id(call_id: str, signature: str) -> str:
    """The id with the signature in it, in the letters of an id; the same id where the signature is empty."""
    if not signature:
        return call_id
    return f"{call_id}{_MARK}{urlsafe_b64encode(signature.encode()).rstrip(b'=').decode()}"


def parted_id(signed: str) -> tuple[str, str]:
    """The upstream's id and the signature, which is empty where there is none."""
    call_id, _, encoded = signed.rpartition(_MARK)
    try:
        signature = urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
    except ValueError:
        return signed, ""
    return (call_id, signature) if signed_id(call_id, signature) == signed else (signed, "")
