"""Which header fields cross the gateway between a client and an Anthropic upstream: these and no others.

Everything is built from these patterns and nothing is copied by default, so that a credential, a cookie or an address
of the inside can cross in neither direction; nor does a field that `Connection` names, which is meant for whoever is at
the other end of that connection (RFC 9110 section 7.6.1). Source: design, "Headers"; the vendor's page on gateways asks
for `anthropic-beta` and `anthropic-version` unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from fnmatch import fnmatchcase
from functools import lru_cache

from ezai.translate.base import Headers

DEFAULT_VERSION = b"2023-06-01"
"""Sent where the client names none: the API wants one, and this is what clients without it were written for."""

UPSTREAM_REQUEST_ID = b"x-ezai-upstream-request-id"

_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")  # in no header of ours, whatever an upstream sends
_TO_UPSTREAM_PREFIXES = (b"anthropic-", b"x-claude-code-", b"x-stainless-")
_TO_UPSTREAM_NAMES = frozenset({b"x-app", b"user-agent"})
# These name things of the account behind the client's own key, which is not the one that the upstream sees.
_NEVER_TO_UPSTREAM = frozenset({b"anthropic-workspace-id", b"anthropic-user-profile-id"})
_TO_CLIENT_PREFIXES = (b"anthropic-", b"retry-after")
_TO_CLIENT_NAMES = frozenset({b"x-should-retry"})
_REMEMBERED_NAMES = 256
"""The same few come with every request; a name may be as long as a head, so not many are kept."""


def to_upstream(headers: Headers, strip_betas: Collection[str] = ()) -> Headers:
    """The client's fields that go to an Anthropic upstream, in order, with the betas stripped that it refuses.

    `strip_betas` are globs. A version is added where there is none.
    """
    crossing = [field for field in _end_to_end(headers) if _goes_to_upstream(field[0])]
    if strip_betas:
        crossing = [field for field in (_without_betas(*field, strip_betas) for field in crossing) if field[1]]
    if b"anthropic-version" not in [name for name, _ in crossing]:
        crossing.append((b"anthropic-version", DEFAULT_VERSION))
    return crossing


def to_client(headers: Headers) -> Headers:
    """An Anthropic upstream's fields that go back; its request id goes under a name of its own."""
    crossing: list[tuple[bytes, bytes]] = []
    for name, value in _end_to_end(headers):
        told = _name_for_client(name)
        if told and not _CONTROL.search(value):
            crossing.append((told, value))
    return crossing


def _end_to_end(headers: Headers) -> Headers:
    """The fields without those that are meant for one connection. Nearly every `Connection` says `keep-alive` alone."""
    listed = [value for name, value in headers if name == b"connection" and value != b"keep-alive"]
    if not listed:
        return headers
    of_the_connection = {name.strip(b" \t").lower() for value in listed for name in value.split(b",")}
    return [field for field in headers if field[0] not in of_the_connection]


@lru_cache(_REMEMBERED_NAMES)
def _goes_to_upstream(name: bytes) -> bool:
    if name in _NEVER_TO_UPSTREAM:
        return False
    return name in _TO_UPSTREAM_NAMES or name.startswith(_TO_UPSTREAM_PREFIXES)


@lru_cache(_REMEMBERED_NAMES)
def _name_for_client(name: bytes) -> bytes:
    """Empty: it stays here."""
    if name == b"request-id":
        return UPSTREAM_REQUEST_ID
    return name if name in _TO_CLIENT_NAMES or name.startswith(_TO_CLIENT_PREFIXES) else b""


def _without_betas(name: bytes, value: bytes, strip: Collection[str]) -> tuple[bytes, bytes]:
    """The field with the stripped betas taken out of its list; untouched, byte for byte, where none is in it."""
    if name != b"anthropic-beta":
        return name, value
    betas = [beta.strip() for beta in value.decode("latin-1").split(",")]
    kept = [beta for beta in betas if not any(fnmatchcase(beta, pattern) for pattern in strip)]
    return (name, value) if len(kept) == len(betas) else (name, ", ".join(kept).encode("latin-1"))
