"""Who is calling: the credentials of a request, and the decision over them.

Both ways of sending a key stand under one check, so that no restriction can be passed by choosing the other header
(the class of Open WebUI's CVE-2026-45339).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from ezai.errors import AuthenticationFailed, InvalidRequest, PermissionDenied
from ezai.policy.key_format import KEY_PATTERN
from ezai.policy.routing import matches

MAX_MODEL_CHARACTERS = 256
"""Of a model's name: it goes into a header of the answer, and clients read some KiB of those; and into the log."""


class Credentials(msgspec.Struct, frozen=True):
    """The keys that a request presents, in either header; never logged. Empty: none presented."""

    secrets: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Credentials(<{len(self.secrets)}>)"


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """How much a key may do at once and in a minute; None is no limit."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent_requests: int | None = None


NO_LIMITS = KeyLimits()


@dataclass(frozen=True, slots=True)
class VirtualKey:
    """A key of this gateway; `public_id` is what may be shown and logged. `models` are globs; none is every model."""

    public_id: str
    account: str = ""
    admin: bool = False
    models: tuple[str, ...] = ()
    limits: KeyLimits = NO_LIMITS


def read_credentials(headers: Sequence[tuple[bytes, bytes]]) -> Credentials:
    """The distinct non-empty values of `x-api-key` and `Authorization: Bearer`, in wire order."""
    secrets: list[str] = []
    for name, value in headers:
        if name == b"x-api-key":
            secret = value
        elif name == b"authorization" and value[:7].lower() == b"bearer ":
            secret = value[7:]
        else:
            continue
        if (text := secret.strip().decode("latin-1")) and text not in secrets:
            secrets.append(text)
    return Credentials(tuple(secrets))


def authenticate(credentials: Credentials, found: Sequence[VirtualKey], *, open_gateway: bool) -> VirtualKey | None:
    """The key that the request runs under; None on an open gateway, which takes any credential or none.

    `found` are the distinct keys that the credentials stand for: one valid and one unknown is the valid one. Raises
    `AuthenticationFailed` for no credential, none valid, or two different valid ones.
    """
    if open_gateway:
        return None
    if not credentials.secrets:
        raise AuthenticationFailed("No key was sent: put it in the header x-api-key, or in Authorization: Bearer.")
    if not found:
        raise AuthenticationFailed("The key is not valid: it is unknown to this gateway, revoked or expired.")
    if len(found) > 1:
        raise AuthenticationFailed("Two different keys were sent, in x-api-key and Authorization: send one.")
    return found[0]


def check_name(model: str) -> None:
    """Raise `InvalidRequest` for a model's name that is too long or holds a key, without repeating it.

    What has passed may be logged, recorded, told in a header and sent upstream.
    """
    if len(model) > MAX_MODEL_CHARACTERS:
        raise InvalidRequest(f"model: a name has {MAX_MODEL_CHARACTERS} characters at most, got {len(model)}.")
    if KEY_PATTERN.search(model):
        raise InvalidRequest("model: it holds a key of this gateway; send it in x-api-key, and a model's name here.")


def may_ask_for(key: VirtualKey | None, model: str) -> bool:
    """Whether the key may ask for the model. An open gateway has no key and no limits."""
    return key is None or not key.models or any(matches(glob, model) for glob in key.models)


def check_model(key: VirtualKey | None, model: str) -> None:
    """Raise `PermissionDenied` for a model that the key may not ask for."""
    if key is not None and not may_ask_for(key, model):
        raise PermissionDenied(f"model: this key may not ask for {model}; it may for {', '.join(key.models)}.")
