"""`ezai chat` on a real terminal, before a whole gateway on the lab's mock: what is seen, typed and left behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ezai.lab.mock.journal import Ended
from tests.cli.terminal import CTRL_C, CTRL_D, ENTER, Terminal, terminal
from tests.gateway_process import GatewayProcess, running_gateway
from tests.mock_beside import MockBeside, mock_beside
from tests.model_fixture import ensure_model

CONFIG = """
[[upstreams]]
name = "mock"
kind = "anthropic"
base_url = "{url}"
[[routes]]
model = "plain"
targets = [{{ upstream = "mock" }}]
[[routes]]
model = "*"
targets = [{{ upstream = "mock" }}]
[prices."plain"]
input = 1000.0
output = 2000.0
"""
MARKDOWN = """# Streams

A paragraph with **bold** words, `code` and a [link](http://example.test/x).

1. first
2. second

```python
def answer():
    return 42
```

| left | right |
|------|-------|
| one  | two   |

The *end*."""
ASK = ("chat", "--url")
Chatting = tuple[Terminal, MockBeside]


def behaviour(**settings: object) -> str:
    """A behaviour of the mock, its values escaped."""

    def escaped(value: object) -> str:
        return str(value).replace("%", "%25").replace(",", "%2C").replace("\n", "%0A")

    return ",".join(f"{name}={escaped(value)}" for name, value in settings.items())


@pytest.fixture(scope="module")
def _mock() -> Iterator[MockBeside]:
    with mock_beside() as mock:
        yield mock


@pytest.fixture
def mock(_mock: MockBeside) -> MockBeside:
    """Nothing of the tests before is in its journal."""
    _mock.forget()
    return _mock


@pytest.fixture(scope="module")
def gateway(_mock: MockBeside, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("gateway")
    (folder / "ezai.toml").write_text(CONFIG.format(url=_mock.url))
    with running_gateway(folder / "ezai.toml", EZAI_DATA_DIR=str(folder)) as running:
        yield running


@pytest.fixture
def chatting(request: pytest.FixtureRequest, mock: MockBeside, gateway: GatewayProcess) -> Iterator[Chatting]:
    """Chat in a terminal of 16 rows and 60 columns; its parameter is the prompt and the mock's behaviours in turn."""
    prompt, *behaviours = request.param
    mock.behave(*behaviours)
    arguments = [*ASK, gateway.url, *([prompt] if prompt else [])]
    with terminal(*arguments, rows=16, columns=60) as shown:
        yield shown, mock


def chat_of(prompt: str, *behaviours: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("chatting", [(prompt, *behaviours)], indirect=True, ids=[""])


# What is shown.


@chat_of("Hi", behaviour(tokens=40, text=MARKDOWN))
def test_markdown_is_rendered(chatting: Chatting) -> None:
    shown, _ = chatting
    assert shown.exit_status() == 0
    assert [line for line in shown.lines() if line][:11] == [
        "Streams",
        "A paragraph with bold words, code and a link",
        "(http://example.test/x).",
        " 1 first",
        " 2 second",
        " def answer():",
        "     return 42",
        " left  right",
        " ───────────",
        " one   two",
        "The end.",
    ]
    assert shown.style_of("end.").italics
    assert shown.cursor_is_shown()


@chat_of("Hi", behaviour(tokens=4, text="One **two** three"))
def test_the_figures_stand_below(chatting: Chatting) -> None:
    shown, mock = chatting
    assert shown.exit_status() == 0
    usage = mock.requests[0].usage
    assert usage is not None
    tokens_in, out = mock.requests[0].input_tokens, usage["output_tokens"]
    status = "".join(shown.lines()[1:])
    assert status.startswith(f"{tokens_in} tokens in · {out} out · first token after ")
    assert status.endswith(f"${(tokens_in * 1000 + out * 2000) / 1e6:.4f}")


@chat_of("Hi", "tokens=10,stall_after=8")
def test_tokens_are_counted_while_they_come_and_corrected_at_the_end(chatting: Chatting) -> None:
    shown, mock = chatting
    shown.wait_for("· ~5 out ·")  # message_start, content_block_start, ping, five of text
    mock.release()
    shown.wait_for("· 10 out ·")
    assert shown.exit_status() == 0
    assert shown.lines()[0] == "0 1 2 3 4 5 6 7 8 9"


@chat_of("Hi", behaviour(tokens=400, text=" ".join(f"word-{number}" for number in range(400))))
def test_a_paragraph_taller_than_the_terminal_scrolls_whole(chatting: Chatting) -> None:
    shown, _ = chatting
    assert shown.exit_status() == 0
    text = " ".join(shown.lines())
    assert [word for word in text.split() if word.startswith("word-")] == [f"word-{place}" for place in range(400)]


CODE = "Before\n\n```\n" + "".join(f"line {number}\n" for number in range(60)) + "```\n\nafter **it**\n"


@chat_of("Hi", behaviour(tokens=100, text=CODE, stall_after="90"))
def test_of_a_tall_open_block_the_top_has_scrolled_and_the_end_is_in_sight(chatting: Chatting) -> None:
    shown, mock = chatting
    lines = shown.wait_for(lambda lines: any(" out · " in line for line in lines) and len(lines) > 40)
    assert [line.strip() for line in lines if "line " in line][:30] == [f"line {place}" for place in range(30)]
    mock.release()
    assert shown.exit_status() == 0
    told = [line.strip() for line in shown.lines() if line.strip()]
    text = ["Before", *(f"line {place}" for place in range(60)), "after it"]
    assert told[: len(text)] == text
    assert " out · " in " ".join(told[len(text) :]), "one line of figures, or two where they are long"


@chat_of("Hi", "tokens=200,stall_after=150")
def test_a_window_made_narrower_loses_nothing_that_comes(chatting: Chatting) -> None:
    shown, mock = chatting
    shown.wait_for("~147 out")
    shown.resize(12, 40)
    mock.release()
    assert shown.exit_status() == 0
    shown_words = " ".join(shown.lines()).split()
    assert [str(number) for number in range(150, 200)] == [word for word in shown_words if word in LAST_FIFTY]


LAST_FIFTY = {str(number) for number in range(150, 200)}


@chat_of("Hi", behaviour(thinking=5, tokens=3, tools=1, tool_name="look_it_up"))
def test_thinking_is_dim_and_a_tool_is_named(chatting: Chatting) -> None:
    shown, _ = chatting
    assert shown.exit_status() == 0
    lines = shown.lines()
    assert lines[:4] == ["thought 0. thought 1. thought 2. thought 3. thought 4.", "", "0 1 2", ""]
    assert lines[4].startswith('→ look_it_up {"call"')
    assert b"\x1b[2;3mthought" in shown.output


@chat_of("Hi", behaviour(tokens=3, text="a\x1b[2Jb \x1b]0;title\x07c"))
def test_the_model_does_not_steer_the_terminal(chatting: Chatting) -> None:
    shown, _ = chatting
    assert shown.exit_status() == 0
    assert shown.lines()[0] == "a[2Jb ]0;titlec"
    assert b"\x1b]0;" not in shown.output


# How it ends.


@chat_of("Hi", "tokens=30,error_after=10")
def test_a_broken_stream_keeps_its_text_and_says_why(chatting: Chatting) -> None:
    shown, _ = chatting
    assert shown.exit_status() == 1
    lines = shown.lines()
    assert lines[0] == "0 1 2 3 4 5 6"
    assert lines[1].startswith("■ partial: the answer broke off: ")
    assert "· ~7 out ·" in " ".join(lines)
    assert shown.style_of("■").fg == "brown"  # what the emulator calls a terminal's yellow
    assert shown.cursor_is_shown()


@chat_of("Hi", "status=400,error_message=No such luck.")
def test_a_refusal_is_one_line(chatting: Chatting) -> None:
    shown, _ = chatting
    assert shown.exit_status() == 1
    assert shown.lines() == ["ezai: No such luck."]


def test_a_gateway_that_dies_is_told_as_such(mock: MockBeside, tmp_path: Path) -> None:
    mock.behave("tokens=30,stall_after=8")
    (tmp_path / "ezai.toml").write_text(CONFIG.format(url=mock.url))
    with (
        running_gateway(tmp_path / "ezai.toml", EZAI_DATA_DIR=str(tmp_path)) as own,
        terminal(*ASK, own.url) as shown,
    ):
        shown.wait_for(lambda lines: bool(lines) and lines[-1] == ">")
        shown.type("One" + ENTER)
        shown.wait_for("~5 out")
        own.kill()
        shown.wait_for("■ partial: the answer broke off: The gateway closed the connection")
        shown.wait_for(lambda lines: lines[-1] == ">")
        shown.type("Two" + ENTER)
        shown.wait_for("ezai: The gateway does not answer any more")
        assert "upstream" not in " ".join(shown.lines())


@chat_of("Hi", "tokens=30,stall_after=12")
def test_ctrl_c_keeps_the_text_with_its_tokens_and_stops_the_upstream(chatting: Chatting) -> None:
    shown, mock = chatting
    shown.wait_for("~9 out")
    assert mock.requests[0].ended is Ended.OPEN
    shown.type(CTRL_C)
    assert shown.exit_status() == 130
    lines = shown.lines()
    assert lines[:2] == ["0 1 2 3 4 5 6 7 8", "■ partial: you stopped it"]
    assert "· ~9 out ·" in lines[2]
    assert "Traceback" not in "\n".join(lines)
    mock.until(lambda: mock.requests[0].ended in {Ended.PEER_CLOSED, Ended.PEER_RESET})
    assert shown.cursor_is_shown()


# A conversation.


@chat_of("", "tokens=5", "tokens=30,stall_after=12", "tokens=3")
def test_a_conversation_goes_on_after_a_stopped_answer(chatting: Chatting) -> None:
    shown, mock = chatting
    shown.wait_for("Talking to plain.")
    shown.type("One" + ENTER)
    shown.wait_for("· 5 out ·")
    shown.type("Two" + ENTER)
    shown.wait_for("~9 out")
    shown.type(CTRL_C)
    shown.wait_for("■ partial: you stopped it")
    shown.wait_for(lambda lines: lines[-1] == ">")
    shown.type("Three" + ENTER)
    shown.wait_for("· 3 out ·")
    shown.wait_for(lambda lines: lines[-1] == ">")
    shown.type(CTRL_C)
    assert shown.exit_status() == 0
    assert [(said["role"], said["content"]) for said in mock.bodies()[-1]["messages"]] == [
        ("user", "One"),
        ("assistant", "0 1 2 3 4 "),
        ("user", "Two"),
        ("assistant", "0 1 2 3 4 5 6 7 8 "),
        ("user", "Three"),
    ]


@chat_of("", "tokens=5")
def test_ctrl_d_leaves(chatting: Chatting) -> None:
    shown, _ = chatting
    shown.wait_for(lambda lines: bool(lines) and lines[-1] == ">")
    shown.type(CTRL_D)
    assert shown.exit_status() == 0


# Where it is not quite a terminal.


def test_a_terminal_that_cannot_move_its_cursor_gets_the_text(mock: MockBeside, gateway: GatewayProcess) -> None:
    mock.behave("tokens=5")
    with terminal(*ASK, gateway.url, "Hi", TERM="dumb") as shown:
        assert shown.exit_status() == 0
    assert b"\x1b" not in shown.output
    assert shown.lines()[0] == "0 1 2 3 4"


@pytest.mark.model
def test_the_embedded_model_answers() -> None:
    ensure_model()
    with running_gateway() as own, terminal(*ASK, own.url, "Say hello.") as shown:
        assert shown.exit_status() == 0
    lines = shown.lines()
    assert lines[0]
    assert "first token after" in " ".join(lines[-2:])
