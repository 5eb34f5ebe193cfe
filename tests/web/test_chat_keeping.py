"""What the chat page keeps in the browser, and what it does not."""

from __future__ import annotations

import pytest

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


def test_two_tabs_show_one_conversation(browser: Browser) -> None:
    async def test(chat: Chat) -> None:
        told = await chat.play("keeping.twoTabs")
        assert told["questions"] == ["First question", "Second question", "Third question"]

    browser.on_chat(test, "tokens=2")


def test_looking_at_a_running_answer_in_another_tab_changes_nothing(browser: Browser) -> None:
    async def test(chat: Chat) -> None:
        told = await chat.play("keeping.lookedAt")
        assert told == {"looked": "partial", "followed": "0 1 2 3 4 5", "text": "0 1 2 3 4 5", "ending": None}

    browser.on_chat(test, "tokens=6,stall_after=6")


def test_a_conversation_is_kept_once_there_is_room(browser: Browser) -> None:
    async def test(chat: Chat) -> None:
        told = await chat.play("keeping.noRoom")
        assert told["notice"].startswith("This browser has no room left")
        assert told["kept"] == ["Second question"]

    browser.on_chat(test, "tokens=2")


@pytest.mark.parametrize(("later_ms", "question"), [(0, "Left behind"), (-1, "First question")])
def test_what_a_page_left_behind_replaces_nothing_newer(later_ms: int, question: str, browser: Browser) -> None:
    async def test(chat: Chat) -> None:
        told = await chat.play("keeping.leftBehind", laterMs=later_ms)
        assert told == {"question": question, "isLeft": False}

    browser.on_chat(test, "tokens=2")


def test_a_screen_reader_is_not_told_that_an_answer_ended_when_it_is_left(browser: Browser) -> None:
    async def test(chat: Chat) -> None:
        assert await chat.play("keeping.left") == {"before": "The answer begins.", "after": "The answer begins."}

    browser.on_chat(test, "tokens=2", "endless,rate=50")


def test_a_question_is_asked_again_with_another_key(browser: Browser) -> None:
    async def test(chat: Chat) -> None:
        told = await chat.play("keeping.keyThatIsGone", right=CLIENT_KEY)
        assert told["ending"].startswith("A key is needed")
        assert (told["text"], told["versions"]) == ("0 1", 0)

    browser.on_chat(test, "tokens=2", keys=FakeKeys(**{CLIENT_KEY: "client"}))


def test_a_key_is_asked_for_and_kept_in_the_tab_alone(browser: Browser) -> None:
    async def test(chat: Chat) -> None:
        told = await chat.play("keeping.key", wrong="sk-wrong", right=CLIENT_KEY)
        assert (told["title"], told["focused"]) == ("This gateway wants a key", "key")
        assert told["text"] == "0 1"
        assert told["asksAgain"] == 0
        assert not told["isStored"]
        assert not told["isInCode"]
        assert "$EZAI_API_KEY" in told["code"]

    browser.on_chat(test, "tokens=2", keys=FakeKeys(**{CLIENT_KEY: "client"}))
