from __future__ import annotations

import pytest

from ezai.server.http2 import protocol
from tests.server.test_edge import LOOPS, Run, in_loop


@pytest.fixture(autouse=True)
def _hung_up_on_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long enough for a GOAWAY to be read."""
    monkeypatch.setattr(protocol, "HANGING_UP_S", 0.3)


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Run:
    """Run a test's coroutine, on each kind of loop."""
    return in_loop(LOOPS[request.param])
