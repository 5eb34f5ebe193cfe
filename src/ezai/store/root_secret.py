"""The root secret, and the secrets that are derived from it, one for each purpose.

It comes from `EZAI_ROOT_KEY`, else from the file `root.key` in the data directory, which is made at the first start.
Whoever has it and the database can tell which keys are valid, so the file is its owner's alone. Deriving goes by
HKDF-SHA256 (RFC 5869): no purpose's secret tells anything of another's, nor of the root.
"""

from __future__ import annotations

import hmac
import os
import secrets
import stat
import sys
from pathlib import Path

from ezai.errors import ConfigurationError, SetupError
from ezai.store.lock_file import held_alone

FILE_NAME = "root.key"
MIN_CHARS = 32
_MIN_DISTINCT_CHARS = 10  # what was typed to get past a length check has fewer
_SALT = b"ezai root secret"


class RootSecret:
    """Derives a secret per purpose; shows itself to nobody."""

    def __init__(self, text: str) -> None:
        self._material = text.encode()

    def derive(self, purpose: str) -> bytes:
        """The 32 bytes for this purpose: always the same ones, and different ones for any other."""
        return hkdf_sha256(self._material, _SALT, purpose.encode(), 32)


def load_root_secret(data_dir: Path, environment_value: str | None) -> RootSecret:
    """The root secret of this gateway; makes its file where there is none.

    `environment_value` is what `EZAI_ROOT_KEY` holds. Raises `SetupError` for one that is empty or short, and for a
    file that others may read or that cannot be read or made.
    """
    if environment_value is not None:
        text = environment_value.strip()
        if problem := _weakness(text):
            raise ConfigurationError("environment", "EZAI_ROOT_KEY", problem, f"{_ADVICE}, or unset it.")
        return RootSecret(text)
    path = data_dir / FILE_NAME
    try:
        if not path.exists():
            _make(path)
        return RootSecret(_read(path))
    except OSError as error:
        raise SetupError(
            f"{path}: the root secret cannot be read or made ({error.strerror or error}): "
            "let this user write to the directory, or set EZAI_ROOT_KEY."
        ) from None


def hkdf_sha256(material: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869 with SHA-256."""
    key = hmac.digest(salt, material, "sha256")
    derived, block, count = b"", b"", 0
    while len(derived) < length:
        count += 1
        block = hmac.digest(key, block + info + bytes([count]), "sha256")
        derived += block
    return derived[:length]


_ADVICE = "Set it to what `openssl rand -hex 32` prints"


def _weakness(text: str) -> str | None:
    if not text:
        return "is empty"
    if len(text) < MIN_CHARS:
        return f"is shorter than {MIN_CHARS} characters"
    if len(set(text)) < _MIN_DISTINCT_CHARS:
        return f"has fewer than {_MIN_DISTINCT_CHARS} different characters"
    return None


def _make(path: Path) -> None:
    """The file appears whole or not at all, also when two processes start at once."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with held_alone(path):
        if path.exists():
            return
        part = path.with_name(f".{path.name}.part")
        part.unlink(missing_ok=True)  # of a process that was killed here
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)


def _read(path: Path) -> str:
    with path.open("rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        content = file.read(64 * 1024)
    if sys.platform != "win32" and mode & 0o077:
        raise SetupError(f"{path}: others may read the root secret (mode {mode:04o}): chmod 600 it.")
    text = content.decode("utf-8", "replace").strip()
    if problem := _weakness(text):
        raise SetupError(
            f"{path}: the root secret {problem}. Bring the right file back; without it the keys made under it are "
            "lost, and removing the file makes a new one."
        )
    return text
