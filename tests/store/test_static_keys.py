"""The key that the environment names."""

from __future__ import annotations

import asyncio
import os

import pytest

from ezai.errors import SetupError
from ezai.policy.keys import Credentials, VirtualKey, read_credentials
from ezai.store.static_keys import ADMIN_ID, StaticKeys


def found(keys: StaticKeys, *secrets: str) -> list[VirtualKey]:
    return list(asyncio.run(keys.find(Credentials(secrets))))


@pytest.mark.parametrize("unset", [None, ""])
def test_without_a_key_there_is_none_and_nothing_is_found(unset: str | None) -> None:
    keys = StaticKeys(unset)
    assert not keys.has_keys()
    for secrets in ((), ("",), ("anything",)):
        assert found(keys, *secrets) == []


@pytest.mark.parametrize(
    ("secrets", "is_found"),
    [
        ((), False),
        (("sk-admin",), True),
        (("sk-admi",), False),
        (("sk-admin2",), False),
        (("SK-ADMIN",), False),
        (("",), False),
        (("unknown", "sk-admin"), True),
        (("sk-admin", "unknown"), True),
        (("sk-admin", "sk-admin"), True),
        (("sk-", "admin"), False),
    ],
)
def test_the_key_is_found_once(secrets: tuple[str, ...], is_found: bool) -> None:
    keys = StaticKeys("sk-admin")
    assert keys.has_keys()
    assert found(keys, *secrets) == ([VirtualKey(ADMIN_ID)] if is_found else [])


def test_the_secret_is_not_kept() -> None:
    keys = StaticKeys("sk-admin")
    assert "sk-admin" not in repr(vars(keys))
    assert b"sk-admin" not in vars(keys).values()


@pytest.mark.parametrize(
    "secret",
    [b"sk-admin", b"with a space", b" padded ", b"line\n", "schl\u00fcssel".encode(), b"\xff\xfe"],
    ids=["plain", "space", "padded", "newline", "utf-8", "bytes"],
)
@pytest.mark.parametrize("header", [b"x-api-key", b"authorization"])
def test_whatever_key_the_environment_names_lets_in_who_sends_it(secret: bytes, header: bytes) -> None:
    """Or it is refused at the start: a key that nobody can send locks everybody out."""
    try:
        keys = StaticKeys(os.fsdecode(secret))
    except SetupError:
        return
    value = secret.strip()
    credentials = read_credentials([(header, value if header == b"x-api-key" else b"Bearer " + value)])
    assert list(asyncio.run(keys.find(credentials))) == [VirtualKey(ADMIN_ID)]
