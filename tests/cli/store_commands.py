"""`ezai keys` and `ezai usage` in this process, on a data directory of their own."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from ezai.cli.keys import add_keys
from ezai.cli.usage import add_usage
from tests.store.records import new_database


class Commands:
    """Runs command lines; `out` is what the last one printed, `err` what it said beside that."""

    def __init__(self, data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.data_dir = data_dir
        self.database = data_dir / "ezai.db"
        self.out = self.err = ""
        self._capsys = capsys
        self._parser = argparse.ArgumentParser(prog="ezai")
        commands = self._parser.add_subparsers(required=True)
        add_keys(commands)
        add_usage(commands)

    def run(self, *arguments: str) -> str:
        """What the command printed; it has to succeed. Raises `SetupError` as the command does."""
        parsed = self._parser.parse_args(arguments)
        assert parsed.run(parsed) == 0
        self.out, self.err = self._capsys.readouterr()
        return self.out

    def usage(self, *command: str) -> str:
        """What `--help` tells of it."""
        with pytest.raises(SystemExit) as left:
            self._parser.parse_args([*command, "--help"])
        assert left.value.code == 0
        return self._capsys.readouterr().out

    def refused(self, *arguments: str) -> str:
        """What argparse says of arguments that it does not take."""
        with pytest.raises(SystemExit) as left:
            self._parser.parse_args(arguments)
        assert left.value.code == 2
        return self._capsys.readouterr().err


def commands_on(directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Commands:
    for name in ("EZAI_CONFIG", "EZAI_ROOT_KEY", "EZAI_ADMIN_KEY", "EZAI_HOST", "EZAI_PORT", "EZAI_LOG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("EZAI_DATA_DIR", str(directory / "data"))
    monkeypatch.setenv("COLUMNS", "200")
    new_database(directory / "data")
    return Commands(directory / "data", capsys)
