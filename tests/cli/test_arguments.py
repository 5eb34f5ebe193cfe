"""The command line: what is understood, and how failures are told."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from ezai import __version__, cli
from ezai.cli import main
from ezai.errors import SetupError

Captured = pytest.CaptureFixture[str]

COMMANDS: list[list[str]] = [[], ["serve"], ["models"], ["models", "list"], ["models", "pull"], ["chat"], ["check"]]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help(command: list[str], capsys: Captured) -> None:
    with pytest.raises(SystemExit) as left:
        main([*command, "--help"])
    out, err = capsys.readouterr()
    assert (left.value.code, err) == (0, "")
    assert out.startswith(" ".join(["usage: ezai", *command]))


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ([], ["serve", "check", "models", "chat", "--version"]),
        (["serve"], ["--config", "--host", "--port", "--workers"]),
        (["check"], ["--config"]),
        (["models"], ["list", "pull"]),
        (["models", "list"], ["--config", "EZAI_DATA_DIR"]),
        (["models", "pull"], ["--config", "EZAI_DATA_DIR", "NAME"]),
        (["chat"], ["--config", "--model", "--url", "PROMPT"]),
    ],
)
def test_help_names_what_there_is(command: list[str], names: list[str], capsys: Captured) -> None:
    with pytest.raises(SystemExit):
        main([*command, "--help"])
    out = capsys.readouterr().out
    assert [name for name in names if name not in out] == []


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nothing"],
        ["--nothing"],
        ["serve", "--nothing"],
        ["serve", "extra"],
        ["serve", "--port"],
        ["serve", "--port", "http"],
        ["serve", "--port", "80.5"],
        ["serve", "--workers", "many"],
        ["check", "extra"],
        ["models"],
        ["models", "nothing"],
        ["models", "pull"],
        ["models", "pull", "a", "b"],
        ["models", "list", "a"],
        ["chat", "one", "two"],
        ["chat", "--model"],
    ],
    ids=" ".join,
)
def test_bad_arguments_exit_2(arguments: list[str], capsys: Captured) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    out, err = capsys.readouterr()
    assert (left.value.code, out) == (2, "")
    assert "usage: ezai" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["serve", "--config", "FILE"], "FILE: file: does not exist"),
        (["chat", "--config", "FILE", "hi"], "FILE: file: does not exist"),
        (["serve", "--port", "70000"], "port"),
        (["serve", "--port", "-1"], "port"),
        (["serve", "--workers", "0"], "--workers: 0 workers are not offered"),
        (["serve", "--config", "BAD"], "BAD: server.prot"),
        (["models", "pull", "nothing"], "nothing"),
        (["chat", "--url", "ftp://localhost", "hi"], "'ftp://localhost'"),
        (["chat", "--url", "localhost:8080", "hi"], "'localhost:8080'"),
        (["chat", "--url", "http://localhost/ x", "hi"], "'http://localhost/ x'"),
    ],
)
def test_what_the_operator_has_to_mend_is_one_line(
    arguments: list[str], said: str, capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EZAI_DATA_DIR", str(tmp_path))
    (tmp_path / "bad.toml").write_text("[server]\nprot = 1\n")
    files = {"FILE": str(tmp_path / "missing.toml"), "BAD": str(tmp_path / "bad.toml")}
    assert main([files.get(argument, argument) for argument in arguments]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("ezai: ")
    assert err.count("\n") == 1
    for name, path in files.items():
        said = said.replace(name, path)
    assert said in err


class Asked:
    """In place of a command: keeps what it was called with."""

    def __init__(self, outcome: int | BaseException = 0) -> None:
        self.calls: list[Sequence[object]] = []
        self._outcome = outcome

    def __call__(self, *arguments: object) -> int:
        self.calls.append(arguments)
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        return self._outcome


@pytest.mark.parametrize(
    ("arguments", "command", "called"),
    [
        (["serve"], "serve.serve", (None, None, None, None)),
        (
            ["serve", "--config", "f", "--host", "h", "--port", "0", "--workers", "2"],
            "serve.serve",
            (Path("f"), "h", 0, 2),
        ),
        (["models", "list"], "models.list_models", ()),
        (["models", "pull", "m"], "models.pull", ("m",)),
        (["chat"], "chat.chat", (None, None, None, None)),
        (
            ["chat", "--config", "f", "--url", "u", "--model", "m", "p q"],
            "chat.chat",
            (Path("f"), "u", "m", "p q"),
        ),
    ],
)
def test_what_is_run(
    arguments: list[str], command: str, called: Sequence[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked(outcome=7)
    monkeypatch.setattr(f"ezai.cli.{command}", asked)
    assert main(arguments) == 7
    assert asked.calls == [called]


def test_arguments_are_those_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked()
    monkeypatch.setattr("ezai.cli.serve.serve", asked)
    monkeypatch.setattr(sys, "argv", ["ezai", "serve", "--port", "1"])
    assert main() == 0
    assert asked.calls == [(None, None, 1, None)]


@pytest.mark.parametrize(
    ("outcome", "status", "said"), [(KeyboardInterrupt(), 130, ""), (SetupError("A."), 1, "ezai: A.\n")]
)
def test_how_a_command_may_end(
    outcome: BaseException, status: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setattr("ezai.cli.serve.serve", Asked(outcome))
    assert main(["serve"]) == status
    assert capsys.readouterr() == ("", said)


def test_a_defect_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ezai.cli.serve.serve", Asked(RuntimeError("a defect")))
    with pytest.raises(RuntimeError, match="a defect"):
        main(["serve"])


def test_version(capsys: Captured) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert (left.value.code, capsys.readouterr().out) == (0, f"ezai {__version__}\n")


def test_the_installed_command_is_this_one() -> None:
    (script,) = entry_points(group="console_scripts", name="ezai")
    assert script.load() is cli.main


def test_python_m_ezai() -> None:
    asked = [sys.executable, "-m", "ezai"]
    version = subprocess.run([*asked, "--version"], capture_output=True, text=True, check=False)
    assert (version.returncode, version.stdout, version.stderr) == (0, f"ezai {__version__}\n", "")
    failed = subprocess.run([*asked, "serve", "--config", "/nonexistent"], capture_output=True, text=True, check=False)
    assert (failed.returncode, failed.stdout, failed.stderr.count("\n")) == (1, "", 1)
