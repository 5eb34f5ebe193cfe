from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.rows import WIRES, Rows


@pytest.fixture(params=WIRES)
def wire(request: pytest.FixtureRequest) -> str:
    """Both dialects of an upstream; a test that is for one of them is parametrized with it."""
    wire: str = request.param
    return wire


@pytest.fixture(params=[True, False], ids=["stream", "unary"])
def stream(request: pytest.FixtureRequest) -> bool:
    """Whether the client asks for a stream."""
    streamed: bool = request.param
    return streamed


@pytest.fixture
def rows(wire: str, tmp_path: Path) -> Iterator[Rows]:
    """Plays rows of the fault table on that wire."""
    logger = logging.getLogger("ezai")
    before = logger.level
    logger.setLevel(logging.DEBUG)
    yield Rows(wire, tmp_path)
    logger.setLevel(before)
