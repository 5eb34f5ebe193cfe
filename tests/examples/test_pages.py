"""The pages of the examples in a real browser: what a reader sees of an answer, of Stop, and of a broken stream."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from ezai.lab.mock.journal import Ended
from tests.canary import CLIENT_KEY
from tests.examples.applications import EXAMPLES, NAMES, Behind, served
from tests.gateway_process import clean_environment
from tests.mock_beside import MockBeside
from tests.web.node import MODULES, command

DRIVE_TIMEOUT_S = 100
TEXT = "One\n\n  two <img src=x onerror=alert(1)>\nthree"
LEFT = {Ended.PEER_CLOSED, Ended.PEER_RESET}


def drive(url: str, stop_at: str | None = None, **fields: str) -> Any:
    """What the reader of the page has once its answer has ended."""
    steps = msgspec.json.encode({"fields": fields, "stopAt": stop_at}).decode()
    ran = subprocess.run(
        [*command(str(Path(__file__).parent / "drive.mjs")), url, steps],
        env=clean_environment(MODULES=str(MODULES)),
        capture_output=True,
        text=True,
        timeout=DRIVE_TIMEOUT_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return msgspec.json.decode(ran.stdout)


def page(name: str, behind: Behind, own_page: str) -> tuple[str, dict[str, str]]:
    """A page's URL, and what to fill in."""
    asked = {"prompt": "Hi\nthere"}
    if name == "browser_direct":
        return own_page, {"gateway": behind.gateway_url, "key": CLIENT_KEY, **asked}
    application_name, _, transport = name.partition(" ")
    return behind.application_urls[application_name], {"transport": transport, **asked}


PAGES = pytest.mark.parametrize(
    "name", ["browser_direct", *(f"{app} {transport}" for app in NAMES for transport in ("fetch", "eventsource"))]
)


@PAGES
def test_an_answer_is_shown_as_the_text_it_is(name: str, mock: MockBeside, behind: Behind, own_page: str) -> None:
    mock.behave(f"tokens=5,text={TEXT}")
    url, fields = page(name, behind, own_page)
    seen = drive(url, **fields)
    assert (seen["text"], seen["shown"], seen["elements"]) == (TEXT, TEXT, 0)
    assert (seen["status"], seen["mark"], seen["canSendAgain"]) == ("Done", "none", True)
    assert seen["complaints"] == []
    expected = {urlsplit(url).netloc} | ({urlsplit(behind.gateway_url).netloc} if name == "browser_direct" else set())
    assert set(seen["hosts"]) == expected
    assert mock.bodies()[-1]["messages"] == [{"role": "user", "content": "Hi\nthere"}]


@PAGES
def test_stop_keeps_the_text_marks_it_and_ends_the_upstream(
    name: str, mock: MockBeside, behind: Behind, own_page: str
) -> None:
    mock.behave("tokens=30,stall_after=8")
    url, fields = page(name, behind, own_page)
    seen = drive(url, "0 1 2 3 4", **fields)
    assert seen["text"] == "0 1 2 3 4 "
    assert seen["status"] == "Partial: you stopped it"
    assert "■ partial: " in seen["mark"]
    mock.until(lambda: mock.requests[-1].ended in LEFT)


@PAGES
def test_a_broken_answer_keeps_its_text_and_says_why(
    name: str, mock: MockBeside, behind: Behind, own_page: str
) -> None:
    mock.behave("tokens=30,error_after=8,error_message=No luck.")
    url, fields = page(name, behind, own_page)
    seen = drive(url, **fields)
    assert seen["text"] == "0 1 2 3 4 "
    assert seen["status"].startswith("Partial: ")
    assert "No luck." in seen["status"]
    assert "■ partial: " in seen["mark"]


def test_a_page_that_is_not_listed_cannot_ask(mock: MockBeside, behind: Behind) -> None:
    with served(EXAMPLES / "browser_direct") as unlisted:
        seen = drive(unlisted, gateway=behind.gateway_url, key=CLIENT_KEY, prompt="Hi")
    assert seen["status"].startswith("Partial: ")
    assert seen["text"] == ""
    assert mock.requests == []  # its browser asked for permission, and went no further


def test_a_refusal_is_told_with_its_request(behind: Behind, own_page: str) -> None:
    """The page reads the body and the headers of an error."""
    seen = drive(own_page, gateway=behind.gateway_url, key="sk-wrong", prompt="Hi")
    assert "authentication_error, request req_" in seen["status"]
