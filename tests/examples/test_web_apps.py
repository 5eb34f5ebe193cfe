"""The web applications over HTTP: frames, ends, failures, and a browser that leaves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import httpx2
import pytest

from ezai.lab.mock.journal import Ended
from tests.examples.applications import EXAMPLES, NAMES, Behind, application
from tests.examples.conftest import MODEL
from tests.mock_beside import MockBeside

TEXT = "One\ntwo\r\n\n data: [DONE]\n\nevent: end\ndata: three \u2028 ä \U0001f600"
ESCAPED = TEXT.replace("%", "%25").replace(",", "%2C").replace("\n", "%0A").replace("\r", "%0D")
HELD = "tokens=30,stall_after=8"
"""Five words, then silence."""

LEFT = {Ended.PEER_CLOSED, Ended.PEER_RESET}
LEFT_WITHIN_S = 1.0
HI = [{"role": "user", "content": "Hi"}]


class Frame(NamedTuple):
    """One event as a browser reads it."""

    event: str
    data: str


@dataclass
class App:
    """A running application and what is behind it."""

    url: str
    mock: MockBeside
    http: httpx2.Client

    def post(self, messages: list[dict[str, str]] | None = None) -> list[Frame]:
        answer = self.http.post("/chat", json={"messages": messages or HI})
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["x-accel-buffering"] == "no"
        return frames(answer.content)

    def get(self, prompt: str = "Hi") -> list[Frame]:
        return frames(self.http.get("/chat", params={"prompt": prompt}).content)


def frames(body: bytes) -> list[Frame]:
    """Read as the HTML standard says ("Interpreting an event stream"); nothing may be left over."""
    text = body.decode().replace("\r\n", "\n").replace("\r", "\n")
    *blocks, rest = text.split("\n\n")
    assert rest == ""
    read = []
    for block in blocks:
        fields = [line.partition(":")[::2] for line in block.split("\n")]
        values = {name: value.removeprefix(" ") for name, value in fields}
        assert len(values) == len(fields), block
        read.append(Frame(values.get("event", "message"), values["data"]))
    return read


def text_of(read: list[Frame]) -> str:
    return "".join(json.loads(data) for event, data in read if event == "message" and data != "[DONE]")


@pytest.fixture(params=NAMES)
def app(request: pytest.FixtureRequest, mock: MockBeside, behind: Behind) -> Iterator[App]:
    """Each of the applications; the mock answers as the test is marked."""
    mock.behave(*request.node.get_closest_marker("behaviour").args)
    url = behind.application_urls[request.param]
    with httpx2.Client(base_url=url, timeout=60) as http:
        yield App(url, mock, http)


@pytest.mark.behaviour(f"tokens=7,text={ESCAPED}")
def test_the_text_survives_its_framing_and_done_is_last(app: App) -> None:
    for read in (app.post(), app.get()):
        assert text_of(read) == TEXT
        assert [frame.event for frame in read].count("end") == 1
        assert read[-2].event == "end"
        assert json.loads(read[-2].data)["stop_reason"] == "end_turn"
        assert read[-1] == Frame("message", "[DONE]")


@pytest.mark.behaviour("tokens=3")
def test_a_conversation_is_sent_whole(app: App) -> None:
    said = [*HI, {"role": "assistant", "content": "Half"}, {"role": "user", "content": "Go on\nplease"}]
    app.post(said)
    app.get("Just\nthis")
    assert [body["messages"] for body in app.mock.bodies()] == [said, [{"role": "user", "content": "Just\nthis"}]]


@pytest.mark.behaviour("tokens=30,error_after=8")
def test_a_broken_answer_ends_in_a_failure_with_its_cause(app: App) -> None:
    for read in (app.post(), app.get()):
        assert text_of(read) == "0 1 2 3 4 "
        assert read[-1].event == "failure"
        told = json.loads(read[-1].data)
        assert told["cause"] in {"overloaded_error", "upstream_error"}
        assert told["message"]
        assert Frame("message", "[DONE]") not in read


@pytest.mark.behaviour("tokens=30,cut_after=8")
def test_a_cut_upstream_is_named(app: App) -> None:
    assert json.loads(app.post()[-1].data)["cause"] == "upstream_truncated"


@pytest.mark.behaviour("status=400,error_message=No such luck.")
def test_a_refusal_is_a_failure_too(app: App) -> None:
    (only,) = app.post()
    assert only.event == "failure"
    assert json.loads(only.data) == {"cause": "upstream_error", "message": "No such luck."}


@pytest.mark.behaviour(HELD)
def test_words_arrive_before_the_answer_ends(app: App) -> None:
    with app.http.stream("POST", "/chat", json={"messages": HI}) as answer:
        texts = answer.iter_text()
        assert read_words(texts, 5) == "0 1 2 3 4 "
        assert app.mock.requests[0].ended is Ended.OPEN
        app.mock.release()
        assert "".join(texts).endswith("data: [DONE]\n\n")


@pytest.mark.behaviour(HELD)
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_leaving_stops_the_upstream_within_a_second(app: App, method: str) -> None:
    """The upstream is silent then: there is nothing to send that would show that nobody reads."""
    asked: dict[str, Any] = {"json": {"messages": HI}} if method == "POST" else {"params": {"prompt": "Hi"}}
    with app.http.stream(method, "/chat", **asked) as answer:
        read_words(answer.iter_text(), 5)
    app.mock.until(lambda: app.mock.requests[0].ended in LEFT, LEFT_WITHIN_S)


@pytest.mark.behaviour("tokens=30,stall_after=0")
def test_leaving_before_the_first_word_stops_it_too(app: App) -> None:
    with app.http.stream("POST", "/chat", json={"messages": HI}):
        app.mock.until(lambda: len(app.mock.requests) == 1)
    app.mock.until(lambda: app.mock.requests[0].ended in LEFT, LEFT_WITHIN_S)


@pytest.mark.behaviour("tokens=3")
def test_what_is_not_asked_for(app: App) -> None:
    http = app.http
    assert http.post("/chat", json={"messages": []}).status_code == 422
    assert http.post("/chat", json={"messages": [{"role": "system", "content": "x"}]}).status_code == 422
    assert http.get("/chat").status_code == 422
    assert http.get("/chat", params={"prompt": "Hi"}, headers={"last-event-id": "1"}).status_code == 204
    for site in ("cross-site", "same-site"):
        answer = http.post("/chat", json={"messages": HI}, headers={"sec-fetch-site": site})
        assert answer.status_code == 403
    assert app.mock.requests == []
    assert http.post("/chat", json={"messages": HI}, headers={"sec-fetch-site": "same-origin"}).status_code == 200


@pytest.mark.behaviour("tokens=3")
def test_the_page_is_there(app: App) -> None:
    page = app.http.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert app.http.get("/chat.js").status_code == app.http.get("/chat.css").status_code == 200


@pytest.mark.behaviour("tokens=3")
def test_key_and_model_come_from_the_environment(app: App) -> None:
    """The gateway wants the one, and hands on the other."""
    assert app.post()[-1].data == "[DONE]"
    assert app.mock.requests[0].model == MODEL


@pytest.mark.parametrize("name", NAMES)
def test_a_gateway_that_is_not_there_is_told(name: str) -> None:
    with application(name, "http://127.0.0.1:1") as url, httpx2.Client(base_url=url, timeout=60) as http:
        (only,) = frames(http.post("/chat", json={"messages": HI}).content)
    assert only.event == "failure"
    assert json.loads(only.data)["cause"] == "APIConnectionError"


@pytest.mark.parametrize("name", NAMES)
def test_a_stream_that_just_ends_is_no_whole_answer(name: str, mock: MockBeside) -> None:
    """Behind EzAI this cannot be; before another server, or when EzAI is killed, it is all that is seen."""
    faults = ["end_after=8", "cut_after=8", "reset_after=8"]
    mock.behave(*(f"tokens=30,{fault}" for fault in faults))
    with application(name, mock.url) as url, httpx2.Client(base_url=url, timeout=60) as http:
        for fault in faults:
            read = frames(http.post("/chat", json={"messages": HI}).content)
            assert text_of(read) == "0 1 2 3 4 ", fault
            assert read[-1].event == "failure", fault
            assert json.loads(read[-1].data)["cause"], fault


def test_both_have_the_same_page() -> None:
    first, second = ({path.name: path.read_bytes() for path in (EXAMPLES / name / "page").iterdir()} for name in NAMES)
    assert first == second
    assert set(first) == {"index.html", "chat.js", "chat.css"}


def read_words(texts: Iterator[str], count: int) -> str:
    """The text of the first so many frames."""
    waiting = ""
    words: list[str] = []
    while len(words) < count:
        *whole, waiting = (waiting + next(texts)).split("\n\n")
        words += [json.loads(block.split("data: ", 1)[1]) for block in whole]
    return "".join(words)
