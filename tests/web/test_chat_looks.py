"""The chat page for those who do not see it, and on small screens."""

from __future__ import annotations

import pytest

from tests.web.browser import Browser, Chat
from tests.web.test_chat_answers import MARKDOWN, as_value

WIDE, NARROW = (1280, 860), (390, 844)


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(size: tuple[int, int], scheme: str, browser: Browser) -> None:
    async def test(chat: Chat) -> None:
        width, height = size
        told = await chat.play("looks.findings", width=width, height=height, colorScheme=scheme)
        assert {name: found for name, found in told["found"].items() if found} == {}
        assert len(told["found"]) >= 5
        assert told["overflow"] <= 0, "the page is wider than the screen"

    browser.on_chat(
        test, f"thinking=3,tools=1,tokens=20,text={as_value(MARKDOWN)},error_after=last:api_error,error_message=broken"
    )
