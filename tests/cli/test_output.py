"""What a command does whose output cannot be written: nobody reads it any more, or nothing more fits."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ezai.cli import main
from tests.gateway_process import clean_environment

ENDED_BY_SIGPIPE = 141
FULL = Path("/dev/full")

PRINTING = [
    ["--help"],
    ["--version"],
    ["keys", "create", "--help"],
    ["keys", "create"],
    ["keys", "list"],
    ["keys", "list", "--json"],
    ["models", "list"],
    ["usage"],
    ["usage", "--json"],
    ["usage", "--by", "model", "--csv"],
]


@pytest.fixture
def unread() -> Iterator[int]:
    """A pipe's end to write to, whose other end is closed."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


def ezai(
    arguments: list[str], data_dir: Path, *, stdout: int, stderr: int = subprocess.PIPE, options: Sequence[str] = ()
) -> tuple[int, str]:
    """Its exit status, and what it said on stderr where that is read. `options` are the interpreter's."""
    finished = subprocess.run(
        [sys.executable, *options, "-m", "ezai", *arguments],
        env=clean_environment(EZAI_DATA_DIR=str(data_dir)),
        stdout=stdout,
        stderr=stderr,
        text=True,
        timeout=60,
        check=False,
    )
    return finished.returncode, finished.stderr or ""


@pytest.mark.parametrize("arguments", PRINTING, ids=" ".join)
def test_a_reader_that_has_gone_ends_a_command_quietly(arguments: list[str], unread: int, tmp_path: Path) -> None:
    """Where the buffer is not full before the end, too: then the flush at exit would be what fails."""
    assert ezai(arguments, tmp_path, stdout=unread) == (ENDED_BY_SIGPIPE, "")


def test_so_it_is_where_nothing_is_buffered(unread: int, tmp_path: Path) -> None:
    assert ezai(["usage", "--csv"], tmp_path, stdout=unread, options=["-u"]) == (ENDED_BY_SIGPIPE, "")


def test_a_failure_that_nobody_reads_is_quiet_too(unread: int, tmp_path: Path) -> None:
    assert ezai(["keys", "show", "nothing0"], tmp_path, stdout=unread, stderr=unread) == (ENDED_BY_SIGPIPE, "")


def test_a_failure_is_told_where_the_output_is_not_read_but_empty(unread: int, tmp_path: Path) -> None:
    status, said = ezai(["keys", "show", "nothing0"], tmp_path, stdout=unread)
    assert (status, said.count("\n")) == (1, 1)
    assert said.startswith("ezai: ")


@pytest.mark.skipif(not FULL.exists(), reason="Linux has it")
@pytest.mark.parametrize("arguments", [["--help"], ["usage"], ["keys", "list", "--json"]], ids=" ".join)
def test_output_that_does_not_fit_is_one_line(arguments: list[str], tmp_path: Path) -> None:
    with FULL.open("wb") as full:
        status, said = ezai(arguments, tmp_path, stdout=full.fileno())
    assert (status, said) == (1, "ezai: what it prints cannot be written (No space left on device).\n")


def test_an_error_of_another_file_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise OSError("a defect")

    monkeypatch.setattr("ezai.cli.serve.serve", fail)
    with pytest.raises(OSError, match="a defect"):
        main(["serve"])


def test_without_an_output_a_command_runs(tmp_path: Path) -> None:
    closed = f'exec "{sys.executable}" -m ezai keys list >&-'
    environment = clean_environment(EZAI_DATA_DIR=str(tmp_path))
    finished = subprocess.run(["sh", "-c", closed], env=environment, capture_output=True, timeout=60, check=False)
    assert (finished.returncode, finished.stderr) == (0, b"")
