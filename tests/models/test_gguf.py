"""A GGUF header is read right, or refused with a reason; never anything else."""

import os
import struct
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezai.models.gguf import GgufHeader, MalformedGgufError, read_header
from tests.models.gguf_file import ARRAY, STRING, UINT32, UINT64, gguf, pair, text

WHOLE = gguf()


def _header(tmp_path: Path, content: bytes) -> GgufHeader:
    path = tmp_path / "file"
    path.write_bytes(content)
    return read_header(path)


@pytest.mark.parametrize("version", [2, 3])
def test_a_whole_file(version: int, tmp_path: Path) -> None:
    assert _header(tmp_path, gguf(version=version)) == GgufHeader(version, "llama", 512, 2)


def test_a_context_told_in_64_bits(tmp_path: Path) -> None:
    wide = (
        pair("general.architecture", STRING, text("other")),
        pair("other.context_length", UINT64, struct.pack("<Q", 1 << 17)),
    )
    assert _header(tmp_path, gguf(extra=wide)).context_tokens == 1 << 17


def test_a_context_that_is_not_told(tmp_path: Path) -> None:
    other = (pair("general.architecture", STRING, text("other")),)
    assert _header(tmp_path, gguf(extra=other)).context_tokens is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"", "is not a GGUF model", id="empty"),
        pytest.param(b"<!DOCTYPE html>", "is not a GGUF model", id="a page"),
        pytest.param(b"GGUF", "inside its header", id="magic alone"),
        pytest.param(b"GGUF" + struct.pack(">I", 3) + WHOLE[8:], "of version 50331648", id="big endian"),
        pytest.param(gguf(version=1), "of version 1", id="too old"),
        pytest.param(WHOLE[:8] + struct.pack("<Q", 1 << 60) + WHOLE[16:], "more than its size", id="tensors"),
        pytest.param(WHOLE[:16] + struct.pack("<Q", 1 << 60) + WHOLE[24:], "more than its size", id="pairs"),
        pytest.param(WHOLE[:200], "inside its header", id="cut in the header"),
        pytest.param(gguf(data=bytes(64)), "before its last tensor", id="cut in the data"),
        pytest.param(gguf(extra=(pair("k", 99, b""),)), "unknown kind 99", id="kind"),
        pytest.param(gguf(extra=(pair("k", ARRAY, struct.pack("<IQ", ARRAY, 1)),)), "unknown kind 9", id="nested"),
        pytest.param(gguf(extra=(pair("k", ARRAY, struct.pack("<IQ", 6, 1 << 62)),)), "inside its", id="array"),
        pytest.param(gguf(extra=(pair("k", ARRAY, struct.pack("<IQ", STRING, 1 << 62)),)), "entries", id="strings"),
        pytest.param(gguf(extra=(pair("k", STRING, struct.pack("<Q", 1 << 62)),)), "inside its", id="string"),
        pytest.param(gguf(extra=(struct.pack("<Q", 70_000),)), "a name in it has 70000 bytes", id="key"),
        pytest.param(
            gguf(extra=(pair("general.alignment", UINT32, struct.pack("<I", 0)),)), "alignment", id="alignment"
        ),
    ],
)
def test_a_file_that_is_no_whole_model(content: bytes, reason: str, tmp_path: Path) -> None:
    with pytest.raises(MalformedGgufError, match=reason):
        _header(tmp_path, content)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(MalformedGgufError, match="a directory or a device"):
            read_header(path)


@given(data=st.data())
def test_mutated_bytes_are_a_header_or_a_refusal(data: st.DataObject) -> None:
    content = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(4, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(0, len(content))) :]
    with tempfile.TemporaryDirectory() as directory:
        try:
            header = _header(Path(directory), bytes(content))
        except MalformedGgufError:
            return
    assert header.version in {2, 3}
