"""What the chat page keeps in the browser, and what it does not."""

from __future__ import annotations

from tests.canary import CLIENT_KEY
from tests.pipeline.fakes import FakeKeys
from tests.web.browser import Browser, Chat


def test_a_reload_in_mid_stream_loses_nothing_that_was_shown(browser: Browser) -> None:
    async def test(chat: Chat) -> None:
        told = await chat.play("keeping.reload")
        assert told["shown"].startswith("0 1 2")
        assert told["text"].startswith(told["shown"])
        assert told["ending"]["kind"] == "partial"
        assert "closed or loaded again" in told["ending"]["words"]
        assert told["buttons"] == ["Continue", "Try again"]
        await chat.mock.journal.ended()

    browser.on_chat(test, "endless,rate=100")


def test_conversations_are_kept_and_removed(browser: Browser) -> None:
    async def test(chat: Chat) -> None:
        told = await chat.play("keeping.conversations")
        assert told["before"] == ["Second question", "First question"]
        assert told["after"] == ["First question"]
        assert told["questions"] == ["First question"]
        assert told["dialogs"] == ["Delete “Second question”? It is kept nowhere else."]

    browser.on_chat(test, "tokens=2")


def test_an_answer_goes_on_while_another_conversation_is_shown(browser: Browser) -> None:
    async def test(chat: Chat) -> None:
        told = await chat.play("keeping.inTheBackground")
        assert told == {"text": "0 1 2 3 4 5", "ending": None}

    browser.on_chat(test, "tokens=6,stall_after=6")


def test_a_key_is_asked_for_and_kept_in_the_tab_alone(browser: Browser) -> None:
    async def test(chat: Chat) -> None:
        told = await chat.play("keeping.key", wrong="sk-wrong", right=CLIENT_KEY)
        assert told["title"] == "This gateway wants a key"
        assert told["text"] == "0 1"
        assert told["asksAgain"] == 0
        assert not told["isStored"]
        assert not told["isInCode"]
        assert "$EZAI_API_KEY" in told["code"]

    browser.on_chat(test, "tokens=2", keys=FakeKeys(**{CLIENT_KEY: "client"}))
