"""The form of a virtual key: `sk-ezai-<8 public id>_<43 secret><6 checksum>`, all base62.

The secret carries 256 random bits. The checksum is the CRC-32 of all that stands before it, so that a scanner, a log
filter and this program tell a key from what only looks like one without asking a database (the form that GitHub gave
its tokens). It guards against mistakes, not against guessing.
"""

from __future__ import annotations

import re
import string
from binascii import crc32

import msgspec

PREFIX = "sk-ezai-"
RANDOM_BYTES = 40
"""What `make_key` takes: 8 bytes for the public id, 32 for the secret."""

KEY_PATTERN = re.compile(r"sk-ezai-([0-9A-Za-z]{8})_[0-9A-Za-z]{43}([0-9A-Za-z]{6})", re.ASCII)
"""Finds keys in any text; the checksum is not looked at."""

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_ID_CHARS, _SECRET_CHARS, _CHECKSUM_CHARS = 8, 43, 6
_SHOWN_CHARS = 4


class KeyParts(msgspec.Struct, frozen=True):
    """What may be kept and shown of a key. `last4` are its last characters."""

    public_id: str
    last4: str


def make_key(random: bytes) -> str:
    """The key that these `RANDOM_BYTES` bytes stand for; it is as secret as they are."""
    if len(random) != RANDOM_BYTES:
        raise ValueError(f"a key is made of {RANDOM_BYTES} random bytes, not {len(random)}")
    public_id = _base62(int.from_bytes(random[:8], "big"), _ID_CHARS)
    secret = _base62(int.from_bytes(random[8:], "big"), _SECRET_CHARS)
    body = f"{PREFIX}{public_id}_{secret}"
    return body + _checksum(body)


def parse_key(text: str) -> KeyParts | None:
    """The parts of a whole key; None where the form or the checksum is wrong."""
    match = KEY_PATTERN.fullmatch(text)
    if match is None or _checksum(text[:-_CHECKSUM_CHARS]) != match[2]:
        return None
    return KeyParts(match[1], text[-_SHOWN_CHARS:])


def masked(parts: KeyParts) -> str:
    """The key as lists show it."""
    return f"{PREFIX}{parts.public_id}_...{parts.last4}"


def _checksum(body: str) -> str:
    return _base62(crc32(body.encode()), _CHECKSUM_CHARS)


def _base62(number: int, chars: int) -> str:
    """The last `chars` digits of the number in base 62, most significant first."""
    digits = []
    for _ in range(chars):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
