"""What the chat page sends, and what can be done with questions and answers."""

from __future__ import annotations

import asyncio
import base64
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.gateway_process import clean_environment
from tests.sdk.clients import TYPESCRIPT_NEW
from tests.web.browser import MODEL, Browser, Chat
from tests.web.node import NODE


def png(width: int, height: int) -> bytes:
    """A grey picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress((b"\0" + b"\x80" * width) * height)
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


PICTURE = (8, 4)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "grey.png"
    path.write_bytes(png(*PICTURE))
    return path


def test_a_plain_question_sends_no_more_than_it_must(browser: Browser) -> None:
    async def test(chat: Chat) -> None:
        await chat.play("requests.plain")
        assert chat.asked() == {
            "model": MODEL,
            "max_tokens": 4096,
            "messages": [{"role": "user", "content": "Hi"}],
            "stream": True,
        }
        assert chat.asked_header("anthropic-version") == "2026-10-21"

    browser.on_chat(test, "tokens=2")


def test_settings_are_sent_and_thinking_is_not_sent_back(browser: Browser) -> None:
    async def test(chat: Chat) -> None:
        await chat.play("requests.settings", system="Be brief.", maxTokens=77)
        assert chat.asked() == {
            "model": MODEL,
            "max_tokens": 77,
            "system": "Be brief.",
            "temperature": 0.7,
            "messages": [
                {"role": "user", "content": "One"},
                {"role": "assistant", "content": "0 1 2"},
                {"role": "user", "content": "Two"},
            ],
            "stream": True,
        }
        assert chat.asked_header("anthropic-version") == "2023-06-01"

    browser.on_chat(test, "thinking=3,tokens=3")


@pytest.mark.parametrize(("route", "model"), [("claude-*", "claude-other"), (MODEL, MODEL)], ids=["none", "some"])
def test_a_model_is_asked_for_by_its_name_where_it_is_not_listed(route: str, model: str, browser: Browser) -> None:
    async def test(chat: Chat) -> None:
        told = await chat.play("requests.unlisted", model=model)
        assert told["canSend"] is (route == model), "nothing is sent without a model"
        assert (told["text"], told["status"][0]) == ("0 1", model)
        assert chat.asked()["model"] == model

    browser.on_chat(test, "tokens=2", route=route, display_name="")


def test_an_image_is_shown_and_sent(picture: Path, browser: Browser) -> None:
    async def test(chat: Chat) -> None:
        assert await chat.play("requests.image", path=str(picture)) == {"alt": "grey.png", "width": 8}
        (turn,) = chat.asked()["messages"]
        image, text = turn["content"]
        assert text == {"type": "text", "text": "What is this?"}
        assert image["source"]["media_type"] == "image/png"
        assert base64.b64decode(image["source"]["data"]) == png(*PICTURE)

    browser.on_chat(test, "tokens=2")


def test_a_large_image_is_made_smaller(tmp_path: Path, browser: Browser) -> None:
    large = tmp_path / "large.png"
    large.write_bytes(png(4000, 1000))

    async def test(chat: Chat) -> None:
        assert await chat.play("requests.image", path=str(large)) == {"alt": "large.png", "width": 2000}
        assert chat.asked()["messages"][0]["content"][0]["source"]["media_type"] == "image/jpeg"

    browser.on_chat(test, "tokens=2")


def test_what_is_no_image_is_told(tmp_path: Path, browser: Browser) -> None:
    path = tmp_path / "no.png"
    path.write_bytes(b"no picture")

    async def test(chat: Chat) -> None:
        told = await chat.play("requests.noImage", path=str(path))
        assert told.startswith("no.png is no image")

    browser.on_chat(test, "tokens=2")


def test_asking_again_keeps_the_answer_before_and_editing_replaces_what_follows(browser: Browser) -> None:
    async def test(chat: Chat) -> None:
        told = await chat.play("requests.again")
        assert ["".join(told[name].split()) for name in ("versions", "before")] == ["2/2", "1/2"]
        sent = [chat.asked(place)["messages"] for place in range(4)]
        assert sent[0] == sent[1] == [{"role": "user", "content": "First"}]
        assert [turn["content"] for turn in sent[2]] == ["First", "0 1", "Second"], "the answer that is shown is sent"
        assert sent[3] == [{"role": "user", "content": "First, but better"}]
        assert told["questions"] == ["First, but better"]

    browser.on_chat(test, "tokens=2", "tokens=3")


def test_the_keyboard_does_everything(browser: Browser) -> None:
    async def test(chat: Chat) -> None:
        told = await chat.play("requests.keyboard")
        assert told["first"] == told["after"] == "Message"
        assert told["written"] == told["question"] == "one\ntwo"
        assert told["order"] == ["Attach an image", "Send"]

    browser.on_chat(test, "tokens=2")


def test_a_conversation_is_exported(browser: Browser) -> None:
    async def test(chat: Chat) -> None:
        told = await chat.play("requests.exports")
        markdown, data = told["Markdown"], told["JSON"]
        assert (markdown["name"], data["name"]) == ("hi.md", "hi.json")
        assert markdown["text"].startswith(f"# Hi\n\n## You\n\nHi\n\n## {MODEL}\n\n0 1 2")
        conversation = msgspec.json.decode(data["text"])
        (exchange,) = conversation["exchanges"]
        assert exchange["question"] == {"text": "Hi", "images": []}
        assert exchange["answers"][0]["message"]["content"][-1]["text"] == "0 1 2 "
        assert conversation["settings"]["model"] == MODEL

    browser.on_chat(test, "thinking=3,tokens=3")


async def run(*words: str, source: str | None = None) -> str:
    process = await asyncio.create_subprocess_exec(
        *words,
        env=clean_environment(EZAI_API_KEY="sk-from-the-environment"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, complaints = await process.communicate(source.encode() if source is not None else None)
    assert process.returncode == 0, complaints.decode()
    return out.decode()


async def run_snippet(name: str, code: str, folder: Path) -> str:
    """What the code prints, run as it is shown."""
    if name == "curl":
        return await run("bash", "-s", source=code.replace("curl ", "curl --silent --show-error ", 1))
    if name == "TypeScript":
        (folder / "node_modules").symlink_to(TYPESCRIPT_NEW.folder / "node_modules")
        script = folder / "snippet.mts"
        script.write_text(code, "utf-8")
        return await run(str(NODE), str(script))
    script = folder / "snippet.py"
    script.write_text(code, "utf-8")
    return await run(sys.executable, "-W", "error", str(script))


def test_every_snippet_of_view_code_runs_as_shown_and_asks_the_same(
    picture: Path, tmp_path: Path, browser: Browser
) -> None:
    async def test(chat: Chat) -> None:
        snippets = await chat.play("requests.code", path=str(picture))
        asked = chat.asked()
        assert asked["system"] == "Answer \"in\" \\one\\ 'line'\n$HOME `date` ${x}"
        assert asked["messages"][0]["content"][1]["text"] == "Grüße, 'you'\nJSON\n\\n \u2028 😀"
        told: dict[str, Any] = {}
        for name, code in snippets.items():
            assert code["shown"] == code["copied"]
            told[name] = await run_snippet(name, code["copied"], tmp_path)
            assert chat.asked() == asked, name
            assert chat.asked_header("anthropic-version") == "2023-06-01"
        assert 'data: {"type":"message_stop"}' in told["curl"].replace('": "', '":"')
        for name in ("Python", "Python, async", "TypeScript"):
            assert told[name].startswith("0 1 2 "), name
            assert "output_tokens" in told[name]

    browser.on_chat(test, "tokens=3")
