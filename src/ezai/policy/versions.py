"""The `anthropic-version` of a request, and what its rules forbid.

By default every version, also none, is served: local models are wanted with a temperature under any of them. In
strict mode the header is required and the newer version's rules hold.
"""

from __future__ import annotations

from collections.abc import Collection

from ezai.errors import InvalidRequest

OLD = "2023-06-01"
NEW = "2026-10-21"
_GONE_IN_NEW = ("temperature", "top_p", "top_k")


def check_version(version: str | None, fields: Collection[str]) -> None:
    """Raise `InvalidRequest` where a strict gateway refuses the version or one of the request's fields under it."""
    if version is None:
        raise InvalidRequest(f"anthropic-version: header is required, such as {NEW}")
    if version not in {OLD, NEW}:
        raise InvalidRequest(f"anthropic-version: {version!r} is not known; use {NEW} or {OLD}")
    if version == NEW:
        for field in _GONE_IN_NEW:
            if field in fields:
                raise InvalidRequest(f"{field}: is not supported under anthropic-version {NEW}")
