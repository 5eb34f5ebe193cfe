"""How fast the chat page is: the figures that the project holds, medians of five in `make test-full`."""

from __future__ import annotations

import asyncio
import time
from statistics import median

import pytest

from tests.web.browser import Browser, Chat

FIRST_TOKEN_MS = 100
TASK_MS = 100
TIMES = 5
TOKENS = 5000
LONG_ANSWER = f"tokens={TOKENS},rate=200"

pytestmark = pytest.mark.full


def test_the_first_token_is_visible_soon_after_it_left_the_gateway(browser: Browser) -> None:
    """Measured from before it reaches the gateway, so the gateway's own time is in it."""

    async def test(chat: Chat) -> None:
        took_ms = []
        for count in range(TIMES):
            playing = asyncio.create_task(chat.play("figures.firstToken"))
            record = await chat.mock.journal.accepted(count + 1)
            await chat.mock.journal.until(lambda: record.is_holding)  # noqa: B023
            left_ms = time.time() * 1000
            chat.mock.release()
            took_ms.append((await playing)["shownAt"] - left_ms)
        print(f"first token visible after {sorted(round(took) for took in took_ms)} ms")
        assert median(took_ms) <= FIRST_TOKEN_MS

    browser.on_chat(test, "endless,rate=20,stall_after=ping")


@pytest.mark.timeout(400)
def test_a_long_answer_changes_the_page_once_a_frame_and_never_blocks_it(browser: Browser) -> None:
    async def test(chat: Chat) -> None:
        told = [await chat.play("figures.longAnswer", maxTokens=TOKENS) for _ in range(TIMES)]
        print(told)
        assert all(one["status"][1] == "5,000 tokens" for one in told)
        assert [one["twice"] for one in told] == [0] * TIMES
        assert all(one["changes"] > one["frames"] / 2 for one in told), "it was not looked at while it came"
        assert median(one["longest"] for one in told) <= TASK_MS

    browser.on_chat(test, LONG_ANSWER, wait_s=300)
