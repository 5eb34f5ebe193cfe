"""`ezai serve`: when a model is fetched, what is announced. How it serves: tests/test_service.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ezai.cli import main, models, serve
from ezai.server.binding import bind
from ezai.supervise.service import Ready
from tests.canary import CLIENT_KEY

LEADING_CHAT = ("EZAI_URL", "ANTHROPIC_BASE_URL", "EZAI_CONFIG", "EZAI_HOST", "EZAI_PORT")

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was done, in its order, where no model is here. Models are not really fetched, and nothing is served."""
    steps: list[str] = []

    def noted(step: str) -> Callable[..., Any]:
        return lambda *_, **__: steps.append(step)

    async def served(*_: object, **__: object) -> None:
        steps.append("served")

    for name in ("EZAI_CONFIG", "EZAI_ROOT_KEY", "EZAI_ADMIN_KEY", "EZAI_HOST", "EZAI_PORT", "EZAI_LOG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("EZAI_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(serve, "start_logging", noted("logging"))
    monkeypatch.setattr(models, "pull_with_progress", noted("fetched"))
    monkeypatch.setattr(serve, "run", served)
    return steps


def test_a_model_that_is_not_here_is_fetched(done: list[str]) -> None:
    assert main(["serve", "--port", "0"]) == 0
    assert done == ["logging", "fetched", "served"]


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("0.0.0.0", "There is no key yet, and 0.0.0.0 is open to other machines"),
        ("192.0.2.1", "192.0.2.1:0 cannot be listened on"),
        ("a..b", "'a..b' is no name of a host"),
    ],
)
def test_nothing_is_fetched_for_an_address_that_cannot_be_served(
    host: str, said: str, done: list[str], capsys: Captured
) -> None:
    assert main(["serve", "--host", host, "--port", "0"]) == 1
    assert said in capsys.readouterr().err
    assert done == ["logging"]


def test_nothing_is_fetched_for_a_port_that_is_taken(done: list[str], capsys: Captured) -> None:
    with bind("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["serve", "--port", str(port)]) == 1
    assert f"127.0.0.1:{port} cannot be listened on" in capsys.readouterr().err
    assert done == ["logging"]


def test_with_a_key_other_machines_may_be_served(done: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EZAI_ADMIN_KEY", CLIENT_KEY)
    assert main(["serve", "--host", "0.0.0.0", "--port", "0"]) == 0
    assert done == ["logging", "fetched", "served"]


@pytest.fixture
def unled(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable leads `ezai chat` anywhere."""
    for name in LEADING_CHAT:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:8080", "or: ezai chat 'Write"),
        ("http://127.0.0.1:9000", "or: ezai chat --url http://127.0.0.1:9000 'Write"),
        ("https://127.0.0.1:8080", "or: ezai chat --url https://127.0.0.1:8080 'Write"),
    ],
)
@pytest.mark.usefixtures("unled")
def test_the_banner_says_how_chat_finds_this_gateway(url: str, said: str, capsys: Captured) -> None:
    serve.announce(Ready(url, ("a",), is_open=True))
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("name", LEADING_CHAT)
@pytest.mark.usefixtures("unled")
def test_the_banner_names_the_address_where_chat_is_led_elsewhere(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv(name, "elsewhere")
    serve.announce(Ready("http://127.0.0.1:8080", ("a",), is_open=True))
    assert "or: ezai chat --url http://127.0.0.1:8080 'Write" in capsys.readouterr().err
