"""Every dialogue is held twice: with a client that is sent to by waiting, and with one that takes pushes."""

from __future__ import annotations

import pytest

from tests.pipeline.fakes import FakeClient


@pytest.fixture(params=[False, True], ids=["sent", "pushed"], autouse=True)
def pushes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeClient, "pushes", request.param)
