"""Virtual keys at rest and in a running gateway."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import Connection

from ezai.errors import ConfigurationError, SetupError
from ezai.policy.key_format import parse_key
from ezai.policy.key_terms import KeyTerms
from ezai.policy.keys import Credentials, KeyLimits, VirtualKey, read_credentials
from ezai.store import engine
from ezai.store.key_records import KeyRecord, create_key, find_key, list_keys, revoke_key
from ezai.store.keys import ADMIN_ID, KeyDigests, SqliteKeys
from ezai.store.opening import Store, open_store
from ezai.store.root_secret import RootSecret, load_root_secret
from tests.pipeline.fakes import FakeClock
from tests.store.records import new_database, rows, run, writing

T = TypeVar("T")

NOW_MS = 1_800_001_000_000
"""What `FakeClock` says at first."""
ROOT = RootSecret("0123456789abcdef0123456789abcdef")


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return new_database(tmp_path / "data")


def command(database: Path, work: Callable[[Connection], T]) -> T:
    """As the command line does it: a transaction of another connection."""
    with engine.writing(database) as connection:
        return work(connection)


def created(database: Path, terms: KeyTerms | None = None, root: RootSecret = ROOT) -> tuple[str, KeyRecord]:
    terms = terms or KeyTerms()
    return command(database, lambda connection: create_key(connection, KeyDigests(root), terms, NOW_MS))


def revoked(database: Path, reference: str) -> KeyRecord:
    return command(database, lambda connection: revoke_key(connection, reference, NOW_MS))


def looked_up(database: Path, reference: str) -> KeyRecord:
    return command(database, lambda connection: find_key(connection, reference))


@asynccontextmanager
async def serving(
    database: Path, *, admin_key: str | None = None, root: RootSecret = ROOT
) -> AsyncIterator[tuple[SqliteKeys, FakeClock, Callable[[float], asyncio.Future[None]]]]:
    """The keys of a running gateway, its clock, and a way to let time pass until everything due has been done."""
    clock = FakeClock()
    async with writing(database) as writer:
        keys = SqliteKeys(writer, KeyDigests(root), clock, admin_key)
        await keys.load()
        clock.watch(keys)

        async def passes(seconds: float) -> None:
            clock.advance(seconds)
            await asyncio.sleep(0)  # the look begins
            await writer.read(lambda cursor: None)  # and has been done before this

        yield keys, clock, lambda seconds: asyncio.ensure_future(passes(seconds))
        await keys.aclose()


async def found(keys: SqliteKeys, *secrets: str) -> list[str]:
    return [key.public_id for key in await keys.find(Credentials(secrets))]


async def elsewhere(work: Callable[[], T]) -> T:
    """As another process does it, while the gateway runs."""
    return await asyncio.to_thread(work)


# A running gateway.


def test_a_running_gateway_sees_a_key_made_and_revoked(database: Path) -> None:
    async def scenario() -> None:
        async with serving(database) as (keys, _, passes):
            assert not keys.has_keys()
            key, record = await elsewhere(lambda: created(database))
            assert await found(keys, key) == []
            await passes(0.25)
            assert keys.has_keys()
            assert await found(keys, key) == [record.parts.public_id]

            await elsewhere(lambda: revoked(database, record.parts.public_id))
            await passes(0.25)
            assert await found(keys, key) == []
            assert keys.has_keys(), "revoking the last key must not open the gateway to everybody"

    run(scenario())


def test_a_key_expires_at_its_moment_without_any_look(database: Path) -> None:
    key, _ = created(database, KeyTerms(expires_at_ms=NOW_MS + 10_000))

    async def scenario() -> None:
        async with serving(database) as (keys, clock, _):
            clock.time += 9.999
            assert len(await found(keys, key)) == 1
            clock.time += 0.001
            assert await found(keys, key) == []
            assert keys.has_keys()

    run(scenario())


def test_the_database_is_looked_at_on_the_tick_alone_and_read_when_keys_changed(database: Path) -> None:
    async def scenario() -> None:
        async with writing(database) as writer:
            statements: list[str] = []
            await writer.read(lambda cursor: cursor.connection.set_trace_callback(statements.append))
            clock = FakeClock()
            keys = SqliteKeys(writer, KeyDigests(ROOT), clock, None)
            await keys.load()
            statements.clear()

            async def tick() -> list[str]:
                statements.clear()
                keys.check(clock.time)
                clock.time += 0.25
                await asyncio.sleep(0)
                await writer.read(lambda cursor: None)
                return [statement.split("FROM")[-1].strip() for statement in statements]

            for _ in range(100):
                await keys.find(Credentials(("sk-unknown",)))
            assert statements == []
            assert await tick() == ["PRAGMA data_version"]
            await elsewhere(lambda: command(database, lambda connection: connection.exec_driver_sql(OTHER_CHANGE)))
            assert await tick() == ["PRAGMA data_version", "key_change"]
            await elsewhere(lambda: created(database))
            assert len(await tick()) == 4
            assert await tick() == ["PRAGMA data_version"]
            await keys.aclose()

    run(scenario())


OTHER_CHANGE = "UPDATE alembic_version SET version_num = version_num"


def test_there_is_one_look_at_a_time(database: Path) -> None:
    async def scenario() -> None:
        async with serving(database) as (keys, clock, _):
            keys.check(clock.now())
            first = keys._reading
            keys.check(clock.now() + 100)
            assert keys._reading is first
            assert first is not None
            await first
            keys.check(clock.now() + 0.01)
            assert keys._reading is first, "not before its time"

    run(scenario())


def test_a_database_that_fails_leaves_the_keys_as_they_were(database: Path, caplog: pytest.LogCaptureFixture) -> None:
    key, record = created(database)

    async def scenario() -> None:
        async with serving(database) as (keys, clock, passes):
            known = await found(keys, key)
            await elsewhere(lambda: command(database, lambda c: c.exec_driver_sql("DROP TABLE key_change")))
            for _ in range(3):
                clock.time += 1
                await passes(1)
            assert await found(keys, key) == known == [record.parts.public_id]

    with caplog.at_level(logging.WARNING):
        run(scenario())
    assert caplog.text.count("changes of the keys cannot be seen") == 1


# What is found.


def test_a_key_comes_with_its_terms(database: Path) -> None:
    terms = KeyTerms(
        name="ci",
        account="acme",
        admin=True,
        models=("claude-*", "gpt-?"),
        requests_per_minute=60,
        tokens_per_minute=1000,
        concurrent_requests=3,
    )
    key, record = created(database, terms)

    async def scenario() -> None:
        async with serving(database) as (keys, _, _):
            assert await keys.find(Credentials((key,))) == (
                VirtualKey(record.parts.public_id, "acme", True, ("claude-*", "gpt-?"), KeyLimits(60, 1000, 3)),
            )

    run(scenario())


def test_of_several_credentials_the_distinct_valid_keys_are_found(database: Path) -> None:
    (one, first), (two, second) = created(database), created(database)

    async def scenario() -> None:
        async with serving(database, admin_key="my admin") as (keys, _, _):
            a, b = first.parts.public_id, second.parts.public_id
            assert await found(keys) == []
            assert await found(keys, "", "sk-ezai-", one[:-1], one + "x", one.swapcase(), "sk-\u20ac") == []
            assert await found(keys, "unknown", one) == [a]
            assert await found(keys, one, one) == [a]
            assert await found(keys, one, two) == [a, b]
            assert await found(keys, "my admin", two) == [ADMIN_ID, b]

    run(scenario())


def test_keys_of_another_root_secret_are_not_accepted_and_that_is_told(
    database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key, _ = created(database)

    async def scenario() -> None:
        async with serving(database, root=RootSecret("another" * 10)) as (keys, _, _):
            assert await found(keys, key) == []
            assert keys.has_keys(), "the gateway must not be open"

    with caplog.at_level(logging.WARNING):
        run(scenario())
    assert "made under another root secret" in caplog.text
    with pytest.raises(SetupError, match="made under another root secret"):
        created(database, root=RootSecret("another" * 10))


# The environment's key.


@pytest.mark.parametrize("unset", [None, ""])
def test_without_any_key_none_is_found(database: Path, unset: str | None) -> None:
    async def scenario() -> None:
        async with serving(database, admin_key=unset) as (keys, _, _):
            assert not keys.has_keys()
            for secrets in ((), ("",), ("anything",)):
                assert await found(keys, *secrets) == []

    run(scenario())


def test_the_key_of_the_environment_is_an_admin(database: Path) -> None:
    async def scenario() -> None:
        async with serving(database, admin_key="sk-admin") as (keys, _, _):
            assert keys.has_keys()
            for secret in ("sk-admi", "sk-admin2", "SK-ADMIN", "", "sk-", "admin"):
                assert await found(keys, secret) == []
            assert await keys.find(Credentials(("unknown", "sk-admin"))) == (VirtualKey(ADMIN_ID, admin=True),)
            assert "sk-admin" not in repr(vars(keys))

    run(scenario())


@pytest.mark.parametrize(
    "secret",
    [b"sk-admin", b"with a space", b" padded ", b"line\n", "schl\u00fcssel".encode(), b"\xff\xfe"],
    ids=["plain", "space", "padded", "newline", "utf-8", "bytes"],
)
@pytest.mark.parametrize("header", [b"x-api-key", b"authorization"])
def test_whatever_key_the_environment_names_lets_in_who_sends_it(database: Path, secret: bytes, header: bytes) -> None:
    value = secret.strip()
    credentials = read_credentials([(header, value if header == b"x-api-key" else b"Bearer " + value)])

    async def scenario() -> None:
        async with serving(database, admin_key=os.fsdecode(secret)) as (keys, _, _):
            assert await keys.find(credentials) == (VirtualKey(ADMIN_ID, admin=True),)

    run(scenario())


@pytest.mark.parametrize("secret", [" ", "two\nlines", "a\0b", "\x7f"])
def test_a_key_that_no_header_can_hold_is_refused(database: Path, secret: str) -> None:
    async def scenario() -> None:
        async with serving(database, admin_key=secret):
            pass

    with pytest.raises(ConfigurationError, match="EZAI_ADMIN_KEY"):
        run(scenario())


# At rest.


def test_the_plain_key_is_in_no_file_of_the_data_directory(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    database = new_database(directory)
    root = load_root_secret(directory, None)
    key, record = created(database, KeyTerms(name="canary"), root)

    async def scenario() -> Store:
        store = await open_store(database, directory, FakeClock(), {"EZAI_ADMIN_KEY": "canary-of-the-environment"})
        assert [held.public_id for held in await store.keys.find(Credentials((key,)))] == [record.parts.public_id]
        kept = files(directory)  # with the journal, while it runs
        assert any(name.endswith("-wal") for name in kept)
        assert hidden(kept)
        await store.aclose()
        return store

    def hidden(kept: dict[str, bytes]) -> bool:
        secret = key.partition("_")[2]
        pieces = [secret[start : start + 12].encode() for start in range(0, len(secret) - 12, 4)]
        return not any(piece in content for piece in [*pieces, b"canary-of"] for content in kept.values())

    def files(directory: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in directory.rglob("*") if path.is_file()}

    run(scenario())
    revoked(database, record.parts.public_id)
    assert hidden(files(directory))
    assert record.masked.startswith(f"sk-ezai-{record.parts.public_id}_...")


def test_a_stolen_database_verifies_no_candidate(database: Path) -> None:
    key, record = created(database)
    (row,) = rows(database, "SELECT digest, pepper_id FROM virtual_key")
    assert row["digest"] == KeyDigests(ROOT).digest(key.encode())
    assert row["digest"] != KeyDigests(RootSecret("another" * 10)).digest(key.encode())
    assert row["pepper_id"] == record.pepper_id == KeyDigests(ROOT).id


# As commands see them.


def test_keys_are_listed_in_the_order_they_were_made(database: Path) -> None:
    made = [created(database, KeyTerms(name=name))[1] for name in ("a", "b", "c")]
    listed = command(database, list_keys)
    assert sorted(listed, key=lambda record: record.terms.name) == made
    assert [record.state(NOW_MS) for record in listed] == ["active"] * 3


def test_terms_come_back_as_they_were_given(database: Path) -> None:
    terms = KeyTerms(
        name="n\u00e4me",
        account="acme",
        admin=True,
        models=("a*", "b"),
        budget_nanousd=25_000_000_000,
        budget_period="month",
        requests_per_minute=60,
        tokens_per_minute=100_000,
        concurrent_requests=4,
        expires_at_ms=NOW_MS + 1,
    )
    _, record = created(database, terms)
    assert record.terms == terms
    (listed,) = command(database, list_keys)
    assert listed == record
    assert [listed.state(now) for now in (NOW_MS, NOW_MS + 1)] == ["active", "expired"]


def test_a_key_is_found_by_its_id_its_masked_form_and_itself(database: Path) -> None:
    key, record = created(database)
    parts = parse_key(key)
    assert parts is not None
    assert parts == record.parts
    for reference in (parts.public_id, record.masked, key, f"sk-ezai-{parts.public_id}"):
        assert looked_up(database, reference) == record
    for reference in ("", "nothere", parts.public_id[:-1], parts.public_id.swapcase() + "x"):
        with pytest.raises(SetupError, match="There is no key of this id"):
            looked_up(database, reference)


def test_revoking_twice_keeps_the_first_moment(database: Path) -> None:
    _, record = created(database)
    assert revoked(database, record.parts.public_id).revoked_at_ms is None
    again = command(database, lambda connection: revoke_key(connection, record.parts.public_id, NOW_MS + 5))
    assert again.revoked_at_ms == NOW_MS
    assert again.state(NOW_MS) == "revoked"
    assert rows(database, "SELECT number FROM key_change") == [{"number": 2}]
