"""The root secret: where it comes from, what is refused, what is derived from it."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ezai.errors import ConfigurationError, SetupError
from ezai.store.root_secret import FILE_NAME, RootSecret, hkdf_sha256, load_root_secret

GOOD = "0123456789abcdef0123456789abcdef"


def derived(secret: RootSecret) -> bytes:
    return secret.derive("test")


# RFC 5869, A.1 to A.3.
@pytest.mark.parametrize(
    ("material", "salt", "info", "length", "expected"),
    [
        (
            "0b" * 22,
            "000102030405060708090a0b0c",
            "f0f1f2f3f4f5f6f7f8f9",
            42,
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        ),
        (
            bytes(range(0x50)).hex(),
            bytes(range(0x60, 0xB0)).hex(),
            bytes(range(0xB0, 0x100)).hex(),
            82,
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
            "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
        ),
        (
            "0b" * 22,
            "",
            "",
            42,
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
        ),
    ],
)
def test_deriving_is_hkdf(material: str, salt: str, info: str, length: int, expected: str) -> None:
    got = hkdf_sha256(bytes.fromhex(material), bytes.fromhex(salt), bytes.fromhex(info), length)
    assert got.hex() == expected


def test_purposes_have_nothing_in_common() -> None:
    secret = RootSecret(GOOD)
    assert secret.derive("a") == RootSecret(GOOD).derive("a")
    assert len({secret.derive("a"), secret.derive("b"), RootSecret(GOOD + "x").derive("a")}) == 3
    assert {len(secret.derive("a")), len(secret.derive("b"))} == {32}
    assert GOOD not in repr(secret)


def test_the_file_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    first = derived(load_root_secret(directory, None))
    path = directory / FILE_NAME
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert len(path.read_text()) == 65
    assert derived(load_root_secret(directory, None)) == first
    assert derived(load_root_secret(tmp_path / "other", None)) != first


def test_processes_that_start_at_once_make_one_secret(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from ezai.store.root_secret import load_root_secret; "
        "print(load_root_secret(Path(sys.argv[1]), None).derive('test').hex())"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "data")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    said = {process.communicate()[0].strip() for process in processes}
    assert said == {derived(load_root_secret(tmp_path / "data", None)).hex()}


def test_what_a_killed_process_left_is_not_in_the_way(tmp_path: Path) -> None:
    (tmp_path / f".{FILE_NAME}.part").write_text("half")
    load_root_secret(tmp_path, None)
    assert (tmp_path / FILE_NAME).exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o601])
def test_a_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / FILE_NAME
    path.write_text(GOOD)
    path.chmod(mode)
    with pytest.raises(SetupError, match=f"others may read the root secret .mode {mode:04o}.: chmod 600 it"):
        load_root_secret(tmp_path, None)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"short\n", "is shorter than 32 characters"),
        (b"a" * 64, "has fewer than 10 different characters"),
        (b"changeme" * 8, "has fewer than 10 different characters"),
        (b"\0" * 64, "has fewer than 10 different characters"),
    ],
)
def test_a_weak_secret_is_refused_wherever_it_comes_from(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / FILE_NAME
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(SetupError, match=f"the root secret {problem}"):
        load_root_secret(tmp_path, None)
    with pytest.raises(ConfigurationError, match=f"EZAI_ROOT_KEY: {problem}") as refused:
        load_root_secret(tmp_path, content.decode())
    assert "changeme" not in str(refused.value)


def test_the_environment_stands_above_the_file_and_makes_none(tmp_path: Path) -> None:
    secret = load_root_secret(tmp_path, f" {GOOD}\n")
    assert derived(secret) == derived(RootSecret(GOOD))
    assert list(tmp_path.iterdir()) == []


def test_a_secret_written_by_hand_counts_without_its_newline(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    path.write_text(GOOD + "\r\n")
    path.chmod(0o600)
    assert derived(load_root_secret(tmp_path, None)) == derived(RootSecret(GOOD))


def test_a_place_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SetupError, match="the root secret cannot be read or made"):
        load_root_secret(tmp_path / "file", None)
