"""Whether a model's file is, byte for byte, the one that the catalogue pins.

Hashing 100 MB at each start would be felt, so a file that was hashed once gets a stamp beside it: the digest found,
and the size and modification time that the file had. While all three agree the file is taken at its word;
otherwise it is hashed again. A stamp guards against accidents, not against someone who may write to the data
directory.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from ezai.models.catalogue import CatalogueModel, model_path


class _Stamp(msgspec.Struct, frozen=True):
    sha256: str
    size_bytes: int
    modified_ns: int


def is_pulled(model: CatalogueModel, data_dir: Path) -> bool:
    """Whether the model's file is here with the pinned digest. Reads the whole file only where the stamp is amiss.

    Raises `OSError` when the file is there and cannot be read.
    """
    path = model_path(model, data_dir)
    try:
        status = path.stat()
    except FileNotFoundError:
        return False
    if status.st_size != model.size_bytes:
        return False
    if _read_stamp(path) == _Stamp(model.sha256, status.st_size, status.st_mtime_ns):
        return True
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != model.sha256:
        return False
    stamp(path, found)
    return True


def stamp(path: Path, sha256: str) -> None:
    """Note that the file at `path`, as it is now, has this digest. A stamp that cannot be written is done without."""
    status = path.stat()
    content = msgspec.json.encode(_Stamp(sha256, status.st_size, status.st_mtime_ns))
    try:
        _stamp_path(path).write_bytes(content)
    except OSError:
        return


def _read_stamp(path: Path) -> _Stamp | None:
    try:
        return msgspec.json.decode(_stamp_path(path).read_bytes(), type=_Stamp)
    except (OSError, msgspec.DecodeError):
        return None


def _stamp_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.verified")
