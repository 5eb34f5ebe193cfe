"""One mock, one gateway and one of each application for all tests: what the mock answers, each test says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.canary import CLIENT_KEY
from tests.examples.applications import EXAMPLES, NAMES, Behind, application, gateway_on, served
from tests.mock_beside import MockBeside, mock_beside

MODEL = "the-model"


@pytest.fixture(scope="session")
def _mock() -> Iterator[MockBeside]:
    with mock_beside() as mock:
        yield mock


@pytest.fixture
def mock(_mock: MockBeside) -> MockBeside:
    """Nothing of the tests before is in its journal."""
    _mock.forget()
    return _mock


@pytest.fixture(scope="session")
def own_page() -> Iterator[str]:
    """The origin of the page that stands by itself."""
    with served(EXAMPLES / "browser_direct") as url:
        yield url


@pytest.fixture(scope="session")
def behind(_mock: MockBeside, own_page: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    """What the applications stand before: a gateway with a key, which lets that origin in."""
    folder = tmp_path_factory.mktemp("gateway")
    with ExitStack() as stack:
        gateway = stack.enter_context(gateway_on(_mock, folder, own_page))
        environment = {"EZAI_API_KEY": CLIENT_KEY, "EZAI_MODEL": MODEL}
        urls = {name: stack.enter_context(application(name, gateway.url, **environment)) for name in NAMES}
        yield Behind(gateway.url, urls)
