"""Virtual keys as they are made, listed and revoked: by the command line now, by the admin API later.

Works on a SQLAlchemy connection, inside the transaction of the caller (`engine.py`). Every change counts up
`key_change`, by which a running gateway sees that there was one.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, func, insert, select, update

from ezai.errors import SetupError
from ezai.policy.key_format import RANDOM_BYTES, KeyParts, make_key, masked, parse_key
from ezai.policy.key_terms import KeyTerms
from ezai.store.keys import KeyDigests
from ezai.store.schema import key_change, virtual_key

_TERMS = (
    "name",
    "account",
    "budget_nanousd",
    "budget_period",
    "requests_per_minute",
    "tokens_per_minute",
    "concurrent_requests",
    "expires_at_ms",
)


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key as it may be shown."""

    parts: KeyParts
    terms: KeyTerms
    created_at_ms: int
    revoked_at_ms: int | None
    pepper_id: str

    @property
    def masked(self) -> str:
        return masked(self.parts)

    def state(self, now_ms: int) -> str:
        """Why it is accepted or not: `active`, `revoked` or `expired`."""
        if self.revoked_at_ms is not None:
            return "revoked"
        expires_at_ms = self.terms.expires_at_ms
        return "expired" if expires_at_ms is not None and now_ms >= expires_at_ms else "active"


def create_key(connection: Connection, digests: KeyDigests, terms: KeyTerms, now_ms: int) -> tuple[str, KeyRecord]:
    """Make a key. It is returned here and known nowhere else.

    Raises `SetupError` where the database has keys of another root secret alone: a gateway that accepts those would
    not accept this one.
    """
    _check_pepper(connection, digests)
    key = make_key(os.urandom(RANDOM_BYTES))
    parts = parse_key(key)
    assert parts is not None, "what was just made has the form"
    row = {
        "public_id": parts.public_id,
        "digest": digests.digest(key.encode()),
        "pepper_id": digests.id,
        "last4": parts.last4,
        "admin": int(terms.admin),
        "models": ",".join(terms.models),
        "created_at_ms": now_ms,
        **{name: getattr(terms, name) for name in _TERMS},
    }
    connection.execute(insert(virtual_key).values(row))
    _count_change(connection)
    return key, KeyRecord(parts, terms, now_ms, None, digests.id)


def list_keys(connection: Connection) -> list[KeyRecord]:
    """Every key that was ever made, the oldest first."""
    rows = connection.execute(select(virtual_key).order_by(virtual_key.c.created_at_ms, virtual_key.c.public_id))
    return [_record(row) for row in rows.mappings()]


def find_key(connection: Connection, reference: str) -> KeyRecord:
    """The key of this public id; the key itself and its masked form are understood too. Raises `SetupError`."""
    public_id = reference.removeprefix("sk-ezai-").partition("_")[0]
    row = connection.execute(select(virtual_key).where(virtual_key.c.public_id == public_id)).mappings().first()
    if row is None:
        raise SetupError("There is no key of this id: `ezai keys list` shows those there are.")
    return _record(row)


def revoke_key(connection: Connection, reference: str, now_ms: int) -> KeyRecord:
    """The key as it was before; from now on it is not accepted. Raises `SetupError` where there is none."""
    record = find_key(connection, reference)
    if record.revoked_at_ms is None:
        mine = virtual_key.c.public_id == record.parts.public_id
        connection.execute(update(virtual_key).where(mine).values(revoked_at_ms=now_ms))
        _count_change(connection)
    return record


def _count_change(connection: Connection) -> None:
    connection.execute(update(key_change).values(number=key_change.c.number + 1))


def _check_pepper(connection: Connection, digests: KeyDigests) -> None:
    mine = func.count().filter(virtual_key.c.pepper_id == digests.id)
    (count, of_mine) = connection.execute(select(func.count(), mine).select_from(virtual_key)).one()
    if count and not of_mine:
        raise SetupError(
            "The keys of this database were made under another root secret: set EZAI_ROOT_KEY as the gateway has it, "
            "or bring its root.key back."
        )


def _record(row: RowMapping) -> KeyRecord:
    terms: dict[str, Any] = {name: row[name] for name in _TERMS}
    models = tuple(row["models"].split(",")) if row["models"] else ()
    return KeyRecord(
        KeyParts(row["public_id"], row["last4"]),
        KeyTerms(admin=bool(row["admin"]), models=models, **terms),
        row["created_at_ms"],
        row["revoked_at_ms"],
        row["pepper_id"],
    )
