"""The gateway with its real model, as these tests have it."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import pytest

from tests.gateway_process import GatewayProcess, running_gateway
from tests.model_fixture import ensure_model


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """What needs the model says so, by whichever way it comes to it."""
    for item in items:
        if "embedded_model" in getattr(item, "fixturenames", ()):
            item.add_marker("model")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure comes with what the gateway said."""
    report = yield
    if report.failed:
        for name, value in getattr(item, "funcargs", {}).items():
            if isinstance(value, GatewayProcess):
                report.sections.append((f"Log of {name}", value.log_text()))
    return report


@pytest.fixture(scope="session")
def embedded_model() -> Path:
    """The model's file, pulled before any gateway is waited for."""
    return ensure_model()


@pytest.fixture(scope="session")
def gateway(embedded_model: Path) -> Iterator[GatewayProcess]:
    """`ezai serve` without a configuration, for all tests that leave it as it is."""
    with running_gateway() as running:
        yield running


@pytest.fixture
def own_gateway(embedded_model: Path) -> Iterator[GatewayProcess]:
    """One that its test may end."""
    with running_gateway() as running:
        yield running


@pytest.fixture(scope="module")
def one_slot_gateway(embedded_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """One whose model answers a single request at a time."""
    config = tmp_path_factory.mktemp("one-slot") / "ezai.toml"
    config.write_text('[[upstreams]]\nname = "local"\nkind = "embedded"\nslots = 1\n', "utf-8")
    with running_gateway(config) as running:
        yield running


@pytest.fixture
def brief_gateway(embedded_model: Path, tmp_path: Path) -> Iterator[GatewayProcess]:
    """One whose model has room for a short conversation, so that no answer is long."""
    config = tmp_path / "ezai.toml"
    config.write_text('[[upstreams]]\nname = "local"\nkind = "embedded"\nslots = 1\ncontext = 256\n', "utf-8")
    with running_gateway(config) as running:
        yield running
