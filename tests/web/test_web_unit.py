"""The browser's side by its own tools: its unit tests, its types, its format and lint."""

from __future__ import annotations

import subprocess

import pytest

from tests.gateway_process import clean_environment
from tests.web.node import WEB, command

RUN_TIMEOUT_S = 110
TOOLS = {
    "tests": ["vitest/vitest.mjs", "run", "--reporter=dot"],
    "types": ["typescript/bin/tsc"],
    "lint": ["@biomejs/biome/bin/biome", "check", "."],
}


@pytest.mark.parametrize("tool", TOOLS)
def test_the_browsers_side_holds(tool: str) -> None:
    program, *arguments = TOOLS[tool]
    done = subprocess.run(
        command(f"node_modules/{program}", *arguments),
        cwd=WEB,
        env=clean_environment(NO_COLOR="1"),
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
