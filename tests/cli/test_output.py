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


UNWRITTEN = "ezai: what it prints cannot be written (No space left on device).\n"

ENDING = """
import os, sys
from ezai.cli import main, usage
from ezai.errors import SetupError

def end(parsed):
    {statement}

usage._usage = end
raise SystemExit(main(["usage"]))
"""
"""A program whose `ezai usage` is the statement."""


@pytest.fixture
def unread() -> Iterator[int]:
    """A pipe's end to write to, whose other end is closed."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


@pytest.fixture
def full() -> Iterator[int]:
    """A file that takes nothing more."""
    if not FULL.exists():
        pytest.skip("Linux has it")
    with FULL.open("wb") as file:
        yield file.fileno()


@pytest.fixture(params=["", "1"], ids=["buffered", "unbuffered"])
def unbuffered(request: pytest.FixtureRequest) -> str:
    """PYTHONUNBUFFERED, which images of containers set; empty is as unset."""
    return str(request.param)


def python(
    arguments: Sequence[str],
    data_dir: Path,
    *,
    stdout: int,
    stderr: int = subprocess.PIPE,
    unbuffered: str = "",
) -> tuple[int, str]:
    """Its exit status, and what it said on stderr where that is read."""
    finished = subprocess.run(
        [sys.executable, *arguments],
        env=clean_environment(EZAI_DATA_DIR=str(data_dir), PYTHONUNBUFFERED=unbuffered),
        stdout=stdout,
        stderr=stderr,
        text=True,
        timeout=60,
        check=False,
    )
    return finished.returncode, finished.stderr or ""


def ezai(
    arguments: Sequence[str], data_dir: Path, *, stdout: int, stderr: int = subprocess.PIPE, unbuffered: str = ""
) -> tuple[int, str]:
    return python(["-m", "ezai", *arguments], data_dir, stdout=stdout, stderr=stderr, unbuffered=unbuffered)


def ending(statement: str, data_dir: Path, *, stdout: int, stderr: int = subprocess.PIPE) -> tuple[int, str]:
    """How a command ends that is this statement."""
    return python(["-c", ENDING.format(statement=statement)], data_dir, stdout=stdout, stderr=stderr)


# What it prints is not taken.


@pytest.mark.parametrize("arguments", PRINTING, ids=" ".join)
def test_a_reader_that_has_gone_ends_a_command_quietly(
    arguments: list[str], unread: int, unbuffered: str, tmp_path: Path
) -> None:
    """Where the buffer is not full before the end, too: then the flush at exit would be what fails."""
    assert ezai(arguments, tmp_path, stdout=unread, unbuffered=unbuffered) == (ENDED_BY_SIGPIPE, "")


@pytest.mark.parametrize("arguments", PRINTING, ids=" ".join)
def test_output_that_does_not_fit_is_one_line(arguments: list[str], full: int, unbuffered: str, tmp_path: Path) -> None:
    assert ezai(arguments, tmp_path, stdout=full, unbuffered=unbuffered) == (1, UNWRITTEN)


def test_stderr_into_the_same_pipe_ends_it_as_well(unread: int, tmp_path: Path) -> None:
    printed = "print('Said.', file=sys.stderr, flush=True)"
    assert ending(printed, tmp_path, stdout=unread, stderr=unread) == (ENDED_BY_SIGPIPE, "")


@pytest.mark.parametrize("arguments", [["keys", "list"], ["models", "list"], ["usage", "--csv"]], ids=" ".join)
def test_without_an_output_a_command_runs(arguments: list[str], tmp_path: Path) -> None:
    assert closed(arguments, tmp_path) == (0, "")


def test_without_an_output_a_check_finds_what_it_finds(tmp_path: Path) -> None:
    """The file of configuration is not there: that is trouble, told in the table that nobody sees."""
    assert closed(["check", "--config", str(tmp_path / "none.toml")], tmp_path) == (1, "")


def closed(arguments: Sequence[str], data_dir: Path) -> tuple[int, str]:
    """The same as `ezai` of a command whose stdout was closed."""
    command = ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-m", "ezai", *arguments]
    environment = clean_environment(EZAI_DATA_DIR=str(data_dir))
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    return finished.returncode, finished.stderr


# Another failure goes before.


@pytest.mark.parametrize("stderr_is_read", [True, False])
def test_a_failure_keeps_its_status(stderr_is_read: bool, unread: int, unbuffered: str, tmp_path: Path) -> None:
    stderr = subprocess.PIPE if stderr_is_read else unread
    arguments = ["keys", "show", "nothing0"]
    status, said = ezai(arguments, tmp_path, stdout=unread, stderr=stderr, unbuffered=unbuffered)
    assert (status, said.count("\n")) == (1, int(stderr_is_read))
    assert said.startswith("ezai: " if stderr_is_read else "")


@pytest.mark.parametrize("output", ["unread", "full"])
@pytest.mark.parametrize(
    ("raised", "status", "last_line"),
    [
        ("ValueError('a defect')", 1, "ValueError: a defect"),
        ("OSError(5, 'of a disk')", 1, "OSError: [Errno 5] of a disk"),
        ("SetupError('A.')", 1, "ezai: A."),
        ("SystemExit(3)", 3, ""),
        ("KeyboardInterrupt", 130, ""),
    ],
)
def test_what_was_in_flight_is_told_and_not_the_output(
    raised: str, status: int, last_line: str, output: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    stdout = request.getfixturevalue(output)
    ended, said = ending(f"print('Pending.'); raise {raised}", tmp_path, stdout=stdout)
    assert (ended, (said.splitlines() or [""])[-1]) == (status, last_line)


@pytest.mark.parametrize("status", [None, 0])
def test_leaving_with_success_needs_an_output(status: int | None, full: int, tmp_path: Path) -> None:
    assert ending(f"print('Pending.'); raise SystemExit({status})", tmp_path, stdout=full) == (1, UNWRITTEN)


@pytest.mark.parametrize("defect", ["BrokenPipeError(32, 'elsewhere')", "OSError(28, 'elsewhere')"])
def test_an_error_of_another_file_is_not_hidden(defect: str, tmp_path: Path) -> None:
    status, said = ending(f"print('Pending.'); raise {defect}", tmp_path, stdout=subprocess.DEVNULL)
    assert status == 1
    assert said.splitlines()[-1].endswith("elsewhere")


def test_where_stdout_has_no_descriptor_it_is_not_hidden_either(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> int:
        print("Printed.")
        raise BrokenPipeError("a defect")

    monkeypatch.setattr("ezai.cli.serve.serve", fail)
    with pytest.raises(BrokenPipeError, match="a defect"):
        main(["serve"])
    assert capsys.readouterr() == ("Printed.\n", "")
