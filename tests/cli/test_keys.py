"""`ezai keys`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from ezai.errors import ConfigurationError, SetupError
from ezai.policy.key_format import parse_key
from ezai.store.keys import KeyDigests
from ezai.store.root_secret import RootSecret, load_root_secret
from tests.cli.store_commands import Commands, commands_on
from tests.store.records import rows

ROOT_KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def ezai(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Commands:
    return commands_on(tmp_path, capsys, monkeypatch)


def created(ezai: Commands, *arguments: str) -> tuple[str, str]:
    """A new key, and its id."""
    key = ezai.run("keys", "create", "--quiet", *arguments).removesuffix("\n")
    parts = parse_key(key)
    assert parts is not None, "nothing but the key is printed"
    return key, parts.public_id


def fields(out: str) -> dict[str, str]:
    return dict(line.split(maxsplit=1) for line in out.splitlines())


def test_a_key_is_shown_once(ezai: Commands) -> None:
    out = ezai.run("keys", "create", "--name", "ci")
    key = out.splitlines()[0]
    parts = parse_key(key)
    assert parts is not None
    assert "shown this once" in out
    assert "not enforced" not in out
    for arguments in (("list",), ("show", parts.public_id), ("revoke", parts.public_id)):
        assert key not in ezai.run("keys", *arguments)
        assert key[20:40] not in ezai.out
        assert f"sk-ezai-{parts.public_id}_...{key[-4:]}" in ezai.out


def test_what_is_stored_is_the_digest_under_the_root_secret(ezai: Commands) -> None:
    key, public_id = created(ezai)
    digests = KeyDigests(load_root_secret(ezai.data_dir, None))
    (row,) = rows(ezai.database, "SELECT public_id, digest, pepper_id, last4 FROM virtual_key")
    assert row == {
        "public_id": public_id,
        "digest": digests.digest(key.encode()),
        "pepper_id": digests.id,
        "last4": key[-4:],
    }


def test_every_term_is_kept_and_shown(ezai: Commands) -> None:
    out = ezai.run(
        *("keys", "create", "--name", "the [bold]app", "--account", "acme", "--admin"),
        *("--models", "claude-*, gpt-4o", "--budget", "12.5", "--period", "month"),
        *("--rpm", "60", "--tpm", "100000", "--concurrency", "4", "--expires", "30d"),
    )
    assert "and not enforced yet" in out
    parts = parse_key(out.splitlines()[0])
    assert parts is not None
    shown = fields(ezai.run("keys", "show", parts.public_id))
    for moment in ("made", "expires"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", shown.pop(moment))
    assert shown == {
        "key": f"sk-ezai-{parts.public_id}_...{parts.last4}",
        "state": "active",
        "name": "the [bold]app",
        "account": "acme",
        "admin": "yes",
        "models": "claude-*, gpt-4o",
        "budget": "12.50 USD, month (not enforced yet)",
        "rpm": "60 (not enforced yet)",
        "tpm": "100000 (not enforced yet)",
        "concurrency": "4 (not enforced yet)",
        "revoked": "-",
    }
    (row,) = rows(ezai.database, "SELECT created_at_ms, expires_at_ms, models FROM virtual_key")
    assert row["expires_at_ms"] - row["created_at_ms"] == 30 * 86_400_000
    assert row["models"] == "claude-*,gpt-4o"
    assert "the [bold]app" in ezai.run("keys", "list"), "a name is no markup"


def test_a_key_without_terms_may_do_everything(ezai: Commands) -> None:
    _, public_id = created(ezai)
    shown = fields(ezai.run("keys", "show", public_id))
    assert {shown[name] for name in ("name", "account", "budget", "rpm", "tpm", "concurrency", "expires")} == {"-"}
    assert (shown["models"], shown["admin"], shown["state"]) == ("all", "no", "active")


def test_a_budget_without_a_period_is_for_ever(ezai: Commands) -> None:
    _, public_id = created(ezai, "--budget", "5")
    assert fields(ezai.run("keys", "show", public_id))["budget"] == "5.00 USD, total (not enforced yet)"


LIMITS = ("--budget", "--rpm", "--tpm", "--concurrency")


@pytest.mark.parametrize("limit", LIMITS)
def test_a_limit_that_is_not_enforced_is_said_to_be_so(ezai: Commands, limit: str) -> None:
    ezai.run("keys", "create", limit, "5")
    assert "and not enforced yet" in ezai.out
    assert ezai.err == ""
    created(ezai, limit, "5")
    assert "and not enforced yet" in ezai.err, "beside the key, which stands alone"
    created(ezai)
    assert ezai.err == "", "it has none"


def test_the_usage_says_which_limits_are_not_enforced(ezai: Commands) -> None:
    told = ezai.usage("keys", "create")
    assert told.count("(not enforced yet)") == len(LIMITS)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--budget", "-1"], "--budget: has to be above zero"),
        (["--budget", "0"], "budget: has to be above zero"),
        (["--period", "day"], "--period: is of a budget; give one."),
        (["--rpm", "0"], "--rpm: has to be above zero"),
        (["--tpm", "0"], "--tpm: has to be above zero"),
        (["--concurrency", "-1"], "--concurrency: has to be above zero"),
        (["--models", "a,,b"], "--models: '' is no glob"),
        (["--name", "a\tb"], "--name: has control characters"),
    ],
)
def test_terms_that_make_no_sense_are_refused_in_one_sentence(ezai: Commands, arguments: list[str], said: str) -> None:
    with pytest.raises(SetupError, match=re.escape(said)) as refused:
        ezai.run("keys", "create", *arguments)
    assert "\n" not in str(refused.value)
    assert rows(ezai.database, "SELECT * FROM virtual_key") == []
    assert not (ezai.data_dir / "root.key").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--budget", "five"], "'five' is no amount in USD"),
        (["--expires", "30"], "'30' is no duration"),
        (["--expires", "0d"], "'0d' is no duration"),
        (["--expires", "9999999999w"], "is no duration"),
        (["--period", "year"], "invalid choice: 'year'"),
        (["--rpm", "many"], "invalid int value"),
    ],
)
def test_arguments_that_are_none_are_refused(ezai: Commands, arguments: list[str], said: str) -> None:
    assert said in ezai.refused("keys", "create", *arguments)


def test_the_list_says_of_each_whether_it_is_accepted(ezai: Commands) -> None:
    assert "There are no keys" in ezai.run("keys", "list")
    created(ezai, "--name", "first")
    created(ezai, "--name", "second", "--admin")
    _, public_id = created(ezai, "--name", "third")
    ezai.run("keys", "revoke", public_id)
    lines = ezai.run("keys", "list").splitlines()
    states = {name: next(line for line in lines if name in line) for name in ("first", "second", "third")}
    assert "active" in states["first"]
    assert "active, admin" in states["second"]
    assert "revoked" in states["third"]


LONG = ("--name", "production-web-app", "--account", "acme-corp", "--models", "claude-haiku-4-5-*,gpt-*")


@pytest.mark.parametrize("columns", [120, 80, 60, 30])
def test_a_terminal_of_any_width_shows_the_whole_key(
    ezai: Commands, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    key, public_id = created(ezai, *LONG)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("LINES", "25")
    shown = ezai.run("keys", "list")
    assert f"sk-ezai-{public_id}_...{key[-4:]}" in shown
    assert "\u2026" not in shown, "nothing is left out"


def test_a_pipe_gets_each_key_on_one_line(ezai: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    _, public_id = created(ezai, *LONG)
    monkeypatch.setenv("COLUMNS", "40")
    (line,) = [line for line in ezai.run("keys", "list").splitlines() if public_id in line]
    for told in ("production-web-app", "acme-corp", "claude-haiku-4-5-*, gpt-*", "active"):
        assert told in line


def test_json_is_for_programs(ezai: Commands) -> None:
    assert msgspec.json.decode(ezai.run("keys", "list", "--json")) == {"keys": []}
    key, public_id = created(ezai, *LONG, "--budget", "12.5", "--rpm", "60", "--expires", "1d")
    _, other_id = created(ezai, "--admin")
    ezai.run("keys", "revoke", other_id)
    told, other = msgspec.json.decode(ezai.run("keys", "list", "--json"))["keys"]
    assert key not in ezai.out
    assert msgspec.json.decode(ezai.run("keys", "show", public_id, "--json")) == told
    made_ms = told.pop("created_at_ms")
    assert told == {
        "id": public_id,
        "key": f"sk-ezai-{public_id}_...{key[-4:]}",
        "state": "active",
        "name": "production-web-app",
        "account": "acme-corp",
        "admin": False,
        "models": ["claude-haiku-4-5-*", "gpt-*"],
        "limits": {
            "enforced": False,
            "budget_usd": "12.50",
            "budget_period": "total",
            "requests_per_minute": 60,
            "tokens_per_minute": None,
            "concurrent_requests": None,
        },
        "expires_at_ms": made_ms + 86_400_000,
        "revoked_at_ms": None,
    }
    assert (other["id"], other["state"], other["admin"], other["models"]) == (other_id, "revoked", True, [])
    assert other["revoked_at_ms"] >= other["created_at_ms"]


def test_revoking_is_told_and_may_be_repeated(ezai: Commands) -> None:
    key, public_id = created(ezai)
    assert "accepts it no more within a second" in ezai.run("keys", "revoke", key)
    assert fields(ezai.run("keys", "show", public_id))["state"] == "revoked"
    assert "was revoked before, at " in ezai.run("keys", "revoke", public_id)


@pytest.mark.parametrize("action", ["show", "revoke"])
def test_a_key_that_is_not_there_is_told(ezai: Commands, action: str) -> None:
    with pytest.raises(SetupError, match="There is no key of this id"):
        ezai.run("keys", action, "nothere0")


def test_the_root_secret_may_come_from_the_environment(ezai: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EZAI_ROOT_KEY", ROOT_KEY)
    key, _ = created(ezai)
    assert not (ezai.data_dir / "root.key").exists()
    (row,) = rows(ezai.database, "SELECT digest FROM virtual_key")
    assert row["digest"] == KeyDigests(RootSecret(ROOT_KEY)).digest(key.encode())

    monkeypatch.delenv("EZAI_ROOT_KEY")
    with pytest.raises(SetupError, match="set EZAI_ROOT_KEY as the gateway has it"):
        created(ezai)
    monkeypatch.setenv("EZAI_ROOT_KEY", "short")
    with pytest.raises(ConfigurationError, match="is shorter than 32 characters"):
        created(ezai)


def test_processes_that_make_keys_at_once_make_them_all(tmp_path: Path) -> None:
    """From nothing: database, root secret and keys."""
    program = """
import argparse, sys
from ezai.cli.keys import add_keys
parser = argparse.ArgumentParser()
add_keys(parser.add_subparsers())
parsed = parser.parse_args(["keys", "create", "--quiet"])
sys.exit(parsed.run(parsed))
"""
    environment = {"PATH": os.environ["PATH"], "EZAI_DATA_DIR": str(tmp_path / "data")}
    command = [sys.executable, "-W", "error", "-c", program]
    processes = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    done = [(*process.communicate(), process.returncode) for process in processes]
    assert [(err, status) for _, err, status in done] == [("", 0)] * 3
    digests = KeyDigests(load_root_secret(tmp_path / "data", None))
    stored = {row["digest"] for row in rows(tmp_path / "data" / "ezai.db", "SELECT digest FROM virtual_key")}
    assert stored == {digests.digest(out.strip().encode()) for out, _, _ in done}
    assert len(stored) == 3
