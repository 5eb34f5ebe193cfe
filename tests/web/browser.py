"""A real browser on the real page: the gateway in this process, the mock behind it, scenarios in `chat/scenarios/`.

    def test_something(browser: Browser) -> None:
        async def test(chat: Chat) -> None:
            told = await chat.play("answers.streams")

        browser.on_chat(test, "tokens=5")

Nothing that a scenario does may make the page open a dialog, break its own policy, raise an error or ask another
origin for anything: `play` holds that each time.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from ezai.config import AnthropicUpstream, Config, PriceConfig, RouteConfig, TargetConfig
from ezai.lab.mock import Behaviour, Mock, Script, mock_upstream
from ezai.ports import KeyStore
from ezai.system import SystemClock
from tests.canary import UPSTREAM_KEY
from tests.conformance.gateway import TICK_S, serving
from tests.gateway_process import clean_environment
from tests.pipeline.fakes import FakeKeys, FakeLedger
from tests.web.node import WEB, command

DRIVER = Path(__file__).parent / "chat" / "driver.mjs"
PAGE = WEB / "dist" / "chat" / "index.html"
WAIT_S = 100
MODEL = "claude-test"
NOTHING: dict[str, list[str]] = {"dialogs": [], "violations": [], "errors": [], "foreign": [], "popups": []}


@dataclass(frozen=True)
class Chat:
    """The chat page at `url`, answered by `mock`."""

    browser: Browser
    url: str
    mock: Mock

    async def play(self, scenario: str, *, seen: dict[str, Any] | None = None, **options: Any) -> Any:
        """What the scenario tells. `seen` is what it may make the page do that it usually may not."""
        asked = {"scenario": scenario, "url": self.url, "options": {"mock": self.mock.url, **options}}
        done = await asyncio.to_thread(self.browser.exchange, asked)
        assert "failed" not in done, done["failed"]
        assert done["seen"] == {**NOTHING, **(seen or {})}
        return done.get("told")

    def asked(self, place: int = -1) -> dict[str, Any]:
        """The body of a request that the upstream got."""
        body: dict[str, Any] = msgspec.json.decode(self.mock.journal.requests[place].body)
        return body

    def asked_header(self, name: str) -> str | None:
        """A header of the last request that the upstream got."""
        return self.mock.journal.requests[-1].header(name)


class Browser:
    """The browser and whatever drives it, from the first scenario to the end of the session."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.communicate(timeout=WAIT_S)

    def exchange(self, asked: dict[str, Any]) -> dict[str, Any]:
        """One scenario played. Blocks."""
        if self._process is None:
            assert PAGE.exists(), f"{PAGE} is missing: run `make setup`"
            self._process = subprocess.Popen(
                command(str(DRIVER)), env=clean_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(msgspec.json.encode(asked) + b"\n")
        stdin.flush()
        line = stdout.readline()
        assert line, "the browser's driver has ended"
        done: dict[str, Any] = msgspec.json.decode(line)
        return done

    def on_chat(
        self,
        test: Callable[[Chat], Coroutine[Any, Any, None]],
        *behaviours: Behaviour | str,
        keys: KeyStore | None = None,
        script: Script | None = None,
        display_name: str = "The model",
        route: str = MODEL,
        wait_s: float = WAIT_S,
    ) -> None:
        """Run a test on a chat page whose questions the mock answers so, in turn."""

        async def played() -> None:
            async with asyncio.timeout(wait_s), mock_upstream(*behaviours) as mock:
                if script is not None:
                    mock.follow(script)
                config = _config(mock.url, route, display_name)
                async with serving(config, keys or FakeKeys(), FakeLedger(), SystemClock(TICK_S)) as served:
                    await test(Chat(self, served.url, mock))

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(played())


def _config(url: str, route: str, display_name: str) -> Config:
    upstream = AnthropicUpstream(name="up", base_url=url, api_key=UPSTREAM_KEY, proxy="none", max_retries=0)
    return Config(
        upstreams=[upstream],
        routes=[RouteConfig(model=route, display_name=display_name, targets=[TargetConfig(upstream="up")])],
        prices={MODEL: PriceConfig(input=3, output=15)},
    )
