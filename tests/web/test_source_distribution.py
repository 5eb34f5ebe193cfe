"""What a wheel is built from, away from this tree: the browser's side is in the source distribution, and no more."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

from tests.gateway_process import clean_environment
from tests.web.node import ROOT

BUILD_TIMEOUT_S = 60


def test_the_source_distribution_holds_what_the_pages_are_built_from(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, env=clean_environment(), check=True, capture_output=True, timeout=BUILD_TIMEOUT_S)
    (made,) = tmp_path.iterdir()
    with tarfile.open(made) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    held = {name.removeprefix("src/ezai/web/") for name in names if name.startswith("src/ezai/web/")}
    assert {"package.json", "package-lock.json", ".npmrc", "vite.config.ts"} <= held
    assert {"stream/package.json", "stream/index.ts", "stream/session.ts", "chat/index.html"} <= held
    assert not [name for name in held if {"node_modules", "dist", "test"} & set(name.split("/"))]
