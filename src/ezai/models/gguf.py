"""The header of a GGUF file, read far enough to know that the file is one and is whole.

A file that the operator names may be anything: an interrupted download, an HTML page, a crafted file. It is looked
at here, before it is handed to a C++ parser. Every length in it is checked against the size of the file before it is
believed, and nothing is read into memory that the caller does not get.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

VERSIONS = (2, 3)
"""Those that llama.cpp reads; 1 is gone from it, and a big-endian file shows as a huge version."""

_MAGIC = b"GGUF"
_DEFAULT_ALIGNMENT = 32
_LONGEST_NAME_BYTES = 65_535
_MOST_DIMENSIONS = 4
_MOST_ENTRIES = 1 << 22  # the largest vocabularies have 2^18 entries; more would keep the start waiting
# Of the smallest that can stand in a file: a length, no characters, a type, one byte of value; and for a tensor
# a length, no characters, the number of dimensions, a type, an offset.
_LEAST_PAIR_BYTES = 8 + 4 + 1
_LEAST_TENSOR_BYTES = 8 + 4 + 4 + 8

_STRING, _ARRAY = 8, 9
_UINT32, _UINT64 = 4, 10
_SCALAR_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}


class MalformedGgufError(Exception):
    """The file is no whole GGUF model; `str()` says why, in words that follow "the file"."""


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What the header tells. `context_tokens` is what the model was trained with; None where it is not told.

    `template_has_tools` says that its chat template does something with tools.
    """

    version: int
    architecture: str
    context_tokens: int | None
    tensors: int
    template_has_tools: bool = False


def read_header(path: Path) -> GgufHeader:
    """Read and check the header. Raises `MalformedGgufError`, or `OSError` when the file cannot be read."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for its other end
        raise MalformedGgufError("is a directory or a device")
    with path.open("rb") as file:
        return _HeaderReader(file, status.st_size).read()


class _HeaderReader:
    """Walks the header once, front to back."""

    def __init__(self, file: BinaryIO, size_bytes: int) -> None:
        self._file = file
        self._left_bytes = size_bytes
        self._size_bytes = size_bytes
        self._alignment = _DEFAULT_ALIGNMENT
        self._architecture = ""
        self._contexts: dict[str, int] = {}
        self._template_has_tools = False

    def read(self) -> GgufHeader:
        if self._size_bytes < len(_MAGIC) or self._take(len(_MAGIC)) != _MAGIC:
            raise MalformedGgufError("is not a GGUF model")
        version = self._uint32()
        if version not in VERSIONS:
            raise MalformedGgufError(f"is GGUF of version {version}, and {VERSIONS[0]} and {VERSIONS[1]} are known")
        tensors, pairs = self._uint64(), self._uint64()
        if tensors * _LEAST_TENSOR_BYTES + pairs * _LEAST_PAIR_BYTES > self._left_bytes:
            raise MalformedGgufError("claims to hold more than its size allows: it is incomplete or damaged")
        _check_count(tensors + pairs)
        for _ in range(pairs):
            self._pair()
        last_offset = max((self._tensor_offset() for _ in range(tensors)), default=0)
        self._check_data_reaches(last_offset)
        context_tokens = self._contexts.get(f"{self._architecture}.context_length")
        return GgufHeader(version, self._architecture, context_tokens, tensors, self._template_has_tools)

    def _check_data_reaches(self, last_offset: int) -> None:
        header_bytes = self._size_bytes - self._left_bytes
        data_start = -(-header_bytes // self._alignment) * self._alignment
        if data_start + last_offset >= self._size_bytes:
            raise MalformedGgufError("is incomplete: it ends before its last tensor")

    # Key and value pairs.

    def _pair(self) -> None:
        key = self._text()
        kind = self._uint32()
        if key == "general.architecture" and kind == _STRING:
            self._architecture = self._text()
        elif key == "general.alignment" and kind == _UINT32:
            self._alignment = self._uint32()
            if self._alignment == 0 or self._alignment & (self._alignment - 1):
                raise MalformedGgufError("is damaged: its alignment is no power of two")
        elif key.endswith(".context_length") and kind in {_UINT32, _UINT64}:
            self._contexts[key] = self._uint32() if kind == _UINT32 else self._uint64()
        elif key == "tokenizer.chat_template" and kind == _STRING:
            self._template_has_tools = b"tools" in self._take(self._uint64())
        elif kind == _ARRAY:
            self._skip_array()
        else:
            self._skip_value(kind)

    def _skip_array(self) -> None:
        kind, count = self._uint32(), self._uint64()
        if kind == _STRING:
            _check_count(count)
            for _ in range(count):
                self._skip(self._uint64())
        else:
            self._skip(count * _scalar_bytes(kind))

    def _skip_value(self, kind: int) -> None:
        self._skip(self._uint64() if kind == _STRING else _scalar_bytes(kind))

    # Tensors.

    def _tensor_offset(self) -> int:
        self._text()
        dimensions = self._uint32()
        if dimensions > _MOST_DIMENSIONS:
            raise MalformedGgufError(f"is damaged: a tensor has {dimensions} dimensions")
        self._skip(8 * dimensions + 4)
        return self._uint64()

    # Bytes.

    def _text(self) -> str:
        length = self._uint64()
        if length > _LONGEST_NAME_BYTES:
            raise MalformedGgufError(f"is damaged: a name in it has {length} bytes")
        return self._take(length).decode("utf-8", errors="replace")

    def _uint32(self) -> int:
        return int(struct.unpack("<I", self._take(4))[0])

    def _uint64(self) -> int:
        return int(struct.unpack("<Q", self._take(8))[0])

    def _take(self, count: int) -> bytes:
        data = self._file.read(self._claim(count))
        if len(data) != count:  # it shrank while it was read
            raise _cut_short()
        return data

    def _skip(self, count: int) -> None:
        self._file.seek(self._claim(count), 1)

    def _claim(self, count: int) -> int:
        if count > self._left_bytes:
            raise _cut_short()
        self._left_bytes -= count
        return count


def _scalar_bytes(kind: int) -> int:
    size = _SCALAR_BYTES.get(kind)
    if size is None:
        raise MalformedGgufError(f"is damaged: it holds a value of the unknown kind {kind}")
    return size


def _check_count(count: int) -> None:
    if count > _MOST_ENTRIES:
        raise MalformedGgufError(f"is damaged: it claims {count} entries")


def _cut_short() -> MalformedGgufError:
    return MalformedGgufError("is incomplete: it ends inside its header")
