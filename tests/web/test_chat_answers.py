"""Answers on the chat page: as they come, as they are stopped, as they break."""

from __future__ import annotations

import pytest

from ezai.lab.mock import Ended
from tests.web.browser import MODEL, Browser, Chat


def test_an_answer_comes_with_its_figures(browser: Browser) -> None:
    async def test(chat: Chat) -> None:
        told = await chat.play("answers.streams")
        assert told["text"].endswith("28 29")
        assert told["ending"] is None
        assert told["announced"] == "The answer is complete."
        assert told["indicators"] == 0
        assert told["title"] == "Hi"
        model, tokens, rate, first, cost = told["status"]
        assert (model, tokens) == (MODEL, "30 tokens")
        assert rate.endswith("tokens/s")
        assert first.startswith("first token ")
        assert cost == "$0.00075"  # 100 tokens in at 3, 30 tokens out at 15 USD per million

    browser.on_chat(test, "tokens=30,rate=100,input_tokens=100,stall_after=message_start")


@pytest.mark.parametrize("by", ["button", "key"])
def test_stop_ends_the_upstream_and_keeps_the_text(by: str, browser: Browser) -> None:
    async def test(chat: Chat) -> None:
        told = await chat.play("answers.stop", by=by)
        assert told["before"].startswith("0 1 2 3")
        assert told["text"].startswith(told["before"])
        assert told["ending"]["kind"] == "stopped"
        assert told["announced"].startswith("Stopped.")
        record = await chat.mock.journal.ended()
        assert record.ended in {Ended.PEER_CLOSED, Ended.PEER_RESET}

    browser.on_chat(test, "endless,rate=100")


def test_thinking_is_folded_and_tools_are_shown(browser: Browser) -> None:
    async def test(chat: Chat) -> None:
        told = await chat.play("answers.blocks")
        kinds = [name.split()[0] for name in told["order"]]
        assert kinds == ["folded", "markdown", "folded", "folded", "ending", "answer-foot"]
        assert told["isFolded"]
        assert told["thinking"]
        assert told["text"] == "0 1 2"
        assert [tool.split() for tool in told["tools"]] == [["Called", "weather"], ["Called", "weather"]]
        assert all("{" in shown for shown in told["inputs"])
        assert told["ending"]["words"].startswith("A tool was called")

    browser.on_chat(test, "thinking=5,tokens=3,tools=2,tool_name=weather")


def test_an_error_in_mid_answer_is_told_and_the_answer_continues(browser: Browser) -> None:
    async def test(chat: Chat) -> None:
        told = await chat.play("answers.breaks")
        partial = told["partial"]
        assert partial["text"] == "0 1 2 3"
        assert partial["ending"]["kind"] == "partial"
        words = partial["ending"]["words"]
        assert words.startswith("This answer is not complete")
        assert "kaputt" in words
        assert partial["announced"].startswith("This answer is not complete.")
        assert chat.asked()["messages"][-1] == {"role": "assistant", "content": [{"type": "text", "text": "0 1 2 3"}]}
        assert told["text"] == "0 1 2 30 1"  # the mock begins at 0 again
        assert told["ending"] is None
        assert told["status"][1] == "6 tokens"

    browser.on_chat(test, "tokens=9,error_after=7:overloaded_error,error_message=kaputt", "tokens=2")


def test_a_continuation_that_is_refused_loses_nothing(browser: Browser) -> None:
    async def test(chat: Chat) -> None:
        told = await chat.play("answers.notContinued")
        assert told["text"] == told["before"]
        assert told["ending"]["kind"] == "partial"
        assert "prefill is not supported" in told["ending"]["words"]
        assert told["buttons"] == ["Continue", "Try again"]

    browser.on_chat(test, "endless,rate=100", "status=400,error_message=prefill is not supported")


def test_a_refusal_is_told_and_tried_again(browser: Browser) -> None:
    async def test(chat: Chat) -> None:
        told = await chat.play("answers.refused")
        assert told["ending"]["kind"] == "failed"
        assert "too long" in told["ending"]["words"]
        assert told["text"] == "0 1 2"
        assert told["after"] is None

    browser.on_chat(test, "status=400,error_message=too long", "tokens=3")


MARKDOWN = """# Title

Some *text* with `code`, a [link](https://example.com/a) and ![a cat](https://example.com/cat.png).

| a | b |
|---|--:|
| 1 | 2 |

1. one
2. two

```python
def f(): return 1
```
"""


@pytest.mark.parametrize("tokens", [1, 120])
def test_markdown_is_shown_however_it_arrives(tokens: int, browser: Browser) -> None:
    async def test(chat: Chat) -> None:
        told = await chat.play("answers.markdown")
        assert {"h1", "em", "code", "a", "table", "td", "ol", "li", "pre", "figure"} <= set(told["tags"])
        assert told["coloured"] == ["def", "return"]
        assert told["language"] == ["python"]
        assert told["links"] == [["https://example.com/a", "_blank", "noopener noreferrer"]]
        assert told["images"] == 0
        assert "a cat (https://example.com/cat.png)" in told["text"]

    browser.on_chat(test, f"tokens={tokens},rate=2000,text={as_value(MARKDOWN)}")


@pytest.mark.parametrize("tokens", [1, 20])
def test_each_paragraph_runs_in_its_own_direction(tokens: int, browser: Browser) -> None:
    text = "Left to right: שלום.\n\nשלום, code עולם.\n\nمرحبا\n\nLeft again."

    async def test(chat: Chat) -> None:
        assert await chat.play("answers.sides") == ["left", "right", "right", "left"]

    browser.on_chat(test, f"tokens={tokens},text={as_value(text)}")


def as_value(text: str) -> str:
    """A text as a value of the mock's readable form."""
    return text.replace("%", "%25").replace(",", "%2C").replace("\n", "%0A")
