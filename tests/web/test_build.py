"""What the build of the package carries of the web pages, and how it builds them."""

from __future__ import annotations

import os
import runpy
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

from tests.web.node import ROOT, WEB


def test_the_wheel_carries_the_built_pages_and_none_of_their_sources() -> None:
    paths = {file.distribution_path for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    assert "ezai/web/dist/chat/index.html" in paths
    assert any(path.startswith("ezai/web/dist/assets/") for path in paths)
    assert {path for path in paths if path.startswith("ezai/web/") and not path.startswith("ezai/web/dist/")} == set()


def test_the_source_distribution_carries_what_builds_the_pages_and_nothing_built() -> None:
    paths = {file.distribution_path for file in SdistBuilder(str(ROOT)).recurse_included_files()}
    needed = {"hatch_build.py", "src/ezai/web/package-lock.json", "src/ezai/web/.npmrc", "src/ezai/web/vite.config.ts"}
    assert needed | {"src/ezai/web/chat/index.html", "src/ezai/web/stream/index.ts"} <= paths
    assert {path for path in paths if "node_modules" in path or "web/dist" in path} == set()


def test_the_build_is_not_committed() -> None:
    tracked = subprocess.run(["git", "ls-files", str(WEB)], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "web/dist/" not in tracked
    assert "node_modules/" not in tracked


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What npm is asked to do."""
    asked: list[list[str]] = []

    def run(command: list[str], **_: Any) -> None:
        asked.append(command[3:])

    monkeypatch.setattr(subprocess, "run", run)
    return asked


def test_packages_are_installed_without_their_scripts_and_only_when_the_lock_is_newer(
    commands: list[list[str]], tmp_path: Path
) -> None:
    build_pages = runpy.run_path(str(ROOT / "hatch_build.py"))["build_pages"]
    (tmp_path / "package-lock.json").write_text("{}")
    build_pages(tmp_path)
    install, build = commands
    assert install[0] == "ci"
    assert {"--ignore-scripts", "--omit=dev"} <= set(install)
    assert build[-1] == "build"
    installed = tmp_path / "node_modules" / ".package-lock.json"
    installed.parent.mkdir()
    installed.write_text("{}")
    commands.clear()
    build_pages(tmp_path)
    assert commands == [build]
    os.utime(installed, (1, 1))
    commands.clear()
    build_pages(tmp_path)
    assert commands == [install, build]
