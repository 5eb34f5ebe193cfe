"""Claude Code's command, without a terminal: how it is started, and what it says in the end.

It reaches nothing but the address that it is given: a home of its own, so that no account, setting or session of
whoever runs the tests is read, and everything it does beside the model's calls switched off.
"""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from tests.gateway_process import clean_environment

_INSTALLED = Path(__file__).parent / "node_modules"
_QUIET = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_TELEMETRY": "1",
    "DISABLE_ERROR_REPORTING": "1",
}

RUN_TIMEOUT_S = 60


class Printed(msgspec.Struct, frozen=True):
    """What `--output-format json` prints, as far as it is looked at."""

    subtype: str
    is_error: bool
    result: str
    num_turns: int
    usage: dict[str, Any]


class Ran(msgspec.Struct, frozen=True):
    """A command that has ended."""

    status: int
    printed: Printed


def ask(prompt: str, url: str, folder: Path, model: str, **environment: str) -> Ran:
    """Run `claude -p` in `folder/work`, with the gateway at `url`, and return how it ended."""
    home, work = folder / "home", folder / "work"
    for made in (home, work):
        made.mkdir(exist_ok=True)
    environment = _QUIET | {"HOME": str(home), "ANTHROPIC_BASE_URL": url} | environment
    with subprocess.Popen(
        [_program(), "-p", prompt, "--model", model, "--output-format", "json"],
        cwd=work,
        env=clean_environment(**environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            out, complaints = process.communicate(timeout=RUN_TIMEOUT_S)
        finally:
            with suppress(ProcessLookupError):  # it has ended, and all that it started
                os.killpg(process.pid, signal.SIGKILL)
    assert out, complaints.decode()
    return Ran(process.returncode, msgspec.json.decode(out, type=Printed))


def _program() -> Path:
    """The program of this platform: npm installs no other."""
    assert (_INSTALLED / ".done").exists(), f"{_INSTALLED} is missing: run `make setup`"
    (program,) = _INSTALLED.glob("@anthropic-ai/claude-code-*/claude")
    return program
