"""`ezai chat` against a whole gateway: in this process where the terminal is a string, else in one of its own."""

from __future__ import annotations

import asyncio
import io
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from ezai.cli import main
from ezai.cli.chat import chat
from ezai.server.binding import bind
from tests.conformance.gateway import STREAM, Options, Running, gateway, hello, streamed
from tests.pipeline.fakes import DONE, FakeKeys, chunk, usage_chunk
from tests.upstreams.http.scripted import EOF, HOLD, Script, Step

T = TypeVar("T")
Captured = pytest.CaptureFixture[str]

KEYED = FakeKeys(**{"sk-one": "one"})
# Chat as its own process. A shell may have started the tests with Ctrl-C ignored, which a process inherits.
CHAT = (
    sys.executable,
    "-c",
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from ezai.cli import main; raise SystemExit(main())",
    "chat",
)


@dataclass
class Beside:
    """A gateway that runs in a thread of its own."""

    running: Running
    loop: asyncio.AbstractEventLoop
    url: str = field(init=False)

    def __post_init__(self) -> None:
        self.url = self.running.url

    def call(self, made: Coroutine[Any, Any, T]) -> T:
        """Await something in the gateway's thread."""
        return asyncio.run_coroutine_threadsafe(made, self.loop).result()

    def upstream_until(self, condition: Callable[[], bool]) -> None:
        self.call(self.running.upstream.until(condition))

    def prompts(self) -> list[list[tuple[str, str]]]:
        """Role and text of each message, for each request that the upstream got."""
        asked = [self.running.asked(place) for place in range(len(self.running.upstream.requests))]
        return [[(message["role"], message["content"]) for message in body["messages"]] for body in asked]


@contextmanager
def beside(*scripts: Script, options: Options | None = None) -> Iterator[Beside]:
    """A gateway on a scripted upstream, running while the block does."""
    started: list[Beside] = []
    ready, failures = threading.Event(), []

    async def serve() -> None:
        async with gateway(*scripts, options=options) as running:
            over = asyncio.Event()
            started.append(Beside(running, asyncio.get_running_loop()))
            ends.append(lambda: started[0].loop.call_soon_threadsafe(over.set))
            ready.set()
            await over.wait()

    def in_thread() -> None:
        try:
            asyncio.run(serve())
        except BaseException as failure:  # noqa: BLE001  # raised again in the test's own thread
            failures.append(failure)
        finally:
            ready.set()

    ends: list[Callable[[], object]] = []
    thread = threading.Thread(target=in_thread)
    thread.start()
    ready.wait()
    try:
        if started:
            yield started[0]
    finally:
        for end in ends:
            end()
        thread.join()
        if failures:
            raise failures[0]


@pytest.fixture(autouse=True)
def _no_settings_of_whoever_runs_this(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "EZAI_URL",
        "EZAI_API_KEY",
        "ANTHROPIC_BASE_URL",
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "EZAI_ADMIN_KEY",
        "EZAI_CONFIG",
    ):
        monkeypatch.delenv(name, raising=False)


# One question.


def test_the_answer_is_printed_and_the_status_beside_it(capsys: Captured) -> None:
    with beside(hello("Hello\nthere \U0001f600")) as gateway_:
        assert main(["chat", "--url", gateway_.url, "Hi"]) == 0
        assert gateway_.prompts() == [[("user", "Hi")]]
    out, err = capsys.readouterr()
    assert out == "Hello\nthere \U0001f600\n"
    assert re.fullmatch(r"12 tokens in · 3 out · first token after \d+ ms( · \d+ tokens/s)? · \$0\n", err)


def test_text_is_printed_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        """The next piece is released when the one before it has been flushed."""

        def flush(self) -> None:
            flushed.append(self.getvalue())
            place = len(flushed)
            if place < len(pieces):
                gateway_.loop.call_soon_threadsafe(gateway_.running.upstream.peers[0].go)

    flushed: list[str] = []
    pieces = ["One", " two", " three"]
    script: list[bytes | Step] = [STREAM + chunk(pieces[0]), HOLD, chunk(pieces[1]), HOLD, chunk(pieces[2])]
    with beside([*script, chunk(finish="stop") + DONE, EOF]) as gateway_:
        monkeypatch.setattr(sys, "stdout", Terminal())
        assert chat(None, gateway_.url, None, "Hi", {}) == 0
    assert flushed == ["One", "One two", "One two three", "One two three\n"]


def test_the_first_model_of_the_gateway_is_asked(capsys: Captured) -> None:
    with beside(hello()) as gateway_:
        models: list[str] = []
        assert main(["chat", "--url", gateway_.url, "Hi"]) == 0
        models += [gateway_.running.asked()["model"]]
    assert models == ["smollm2-135m"]  # what the route of the first one, "small", leads to
    assert capsys.readouterr().out == "Hello\n"


def test_another_model_may_be_named(capsys: Captured) -> None:
    with beside() as gateway_:
        assert main(["chat", "--url", gateway_.url, "--model", "gpt-nothing", "Hi"]) == 1
        assert gateway_.prompts() == []
    out, err = capsys.readouterr()
    assert out.strip() == ""
    assert err.strip() == "ezai: The gateway has no model 'gpt-nothing'; name another with --model."


def test_a_refused_answer(capsys: Captured) -> None:
    with beside([b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n"]) as gateway_:
        assert main(["chat", "--url", gateway_.url, "Hi"]) == 1
    out, err = capsys.readouterr()
    assert out.strip() == ""
    assert re.fullmatch(r"ezai: The upstream [^\n]+\.", err.strip())


def test_an_answer_that_broke_off_keeps_its_text(capsys: Captured) -> None:
    with beside(streamed(chunk("Half an "), chunk("answer"))) as gateway_:
        assert main(["chat", "--url", gateway_.url, "Hi"]) == 1
    out, err = capsys.readouterr()
    assert out == "Half an answer\n"
    assert "■ partial: the answer broke off: The upstream's stream ended" in err
    assert re.search(r"tokens in · ~2 out · first token after", err)


def test_a_gateway_that_goes_away_in_mid_answer(capsys: Captured) -> None:
    """It is told as what it is, though there is no event that says so."""
    with beside([STREAM + chunk("Half"), HOLD]) as gateway_:

        class Terminal(io.StringIO):
            def write(self, text: str) -> int:
                if text == "Half":
                    gateway_.loop.call_soon_threadsafe(gateway_.running.registry.close)
                return super().write(text)

        terminal, before = Terminal(), sys.stdout
        sys.stdout = terminal
        try:
            assert chat(None, gateway_.url, None, "Hi", {}) == 1
        finally:
            sys.stdout = before
    assert terminal.getvalue() == "Half\n"
    assert "the answer broke off: The gateway is shutting down" in capsys.readouterr().err


@pytest.mark.parametrize("more", [[], ["--model", "m"]], ids=["first model", "named model"])
@pytest.mark.parametrize("prompt", ["Hi"])
def test_nothing_listening_is_one_sentence(more: list[str], prompt: str, capsys: Captured) -> None:
    closed = bind("127.0.0.1", 0)
    url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    closed.close()
    assert main(["chat", "--url", url, *more, prompt]) == 1
    out, err = capsys.readouterr()
    assert out.strip() == ""
    assert err.strip() == f"ezai: Nothing answers at {url}: start the gateway with `ezai serve`, or give --url."


def test_what_is_no_gateway(capsys: Captured) -> None:
    """Another server on that port is told as such, without a traceback."""
    with beside([b"SSH-2.0-OpenSSH_9.6\r\n", EOF]) as gateway_:
        assert main(["chat", "--url", gateway_.running.upstream.url, "Hi"]) == 1
    assert re.fullmatch(r"ezai: [^\n]+\n", capsys.readouterr().err.strip() + "\n")


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"data":[{}]}', b'{"data":5}', b"\xff"])
def test_a_server_that_lists_models_in_no_known_way(body: bytes, capsys: Captured) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body)
    with beside([head + body]) as gateway_:
        assert main(["chat", "--url", gateway_.running.upstream.url, "Hi"]) == 1
    assert re.fullmatch(r"ezai: [^\n]+\n", capsys.readouterr().err.strip() + "\n")


def test_text_of_the_model_does_not_steer_the_terminal(capsys: Captured) -> None:
    with beside(hello("a\x1b[2Kb\x07\x9bc\td\ne")) as gateway_:
        assert main(["chat", "--url", gateway_.url, "Hi"]) == 0
    assert capsys.readouterr().out == "a[2Kbc\td\ne\n"


def test_a_stopped_answer_says_what_it_counted() -> None:
    script: Script = [STREAM + chunk("One") + chunk(" two") + chunk(" three"), HOLD]
    with beside(script) as gateway_, chatting("--url", gateway_.url, "Hi") as process:
        read_until(process, b"three")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert "· ~3 out ·" in err.decode()


def test_an_answer_that_the_limit_ended_is_marked(capsys: Captured) -> None:
    with beside(streamed(chunk("Half"), chunk(finish="length"), usage_chunk(12, 3), DONE)) as gateway_:
        assert main(["chat", "--url", gateway_.url, "Hi"]) == 0
    out, err = capsys.readouterr()
    assert out == "Half\n"
    assert err.startswith("■ partial: the answer reached its limit of tokens\n12 tokens in · 3 out ·")


def test_thinking_is_not_in_what_is_piped_on(capsys: Captured) -> None:
    thought = chunk("Hm").replace(b'"content"', b'"reasoning_content"')
    with beside(streamed(chunk(), thought, chunk("Hello"), chunk(finish="stop"), DONE)) as gateway_:
        assert main(["chat", "--url", gateway_.url, "Hi"]) == 0
    assert capsys.readouterr().out == "Hello\n"


# Piped.


def test_what_is_piped_in_is_one_prompt(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("One\n\nTwo\n"))
    with beside(hello()) as gateway_:
        assert main(["chat", "--url", gateway_.url]) == 0
        assert gateway_.prompts() == [[("user", "One\n\nTwo\n")]]
    assert capsys.readouterr().out == "Hello\n"


@pytest.mark.parametrize("piped", ["", " \n"])
def test_nothing_piped_in_is_nothing_to_ask(piped: str, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(piped))
    assert main(["chat", "--url", "http://127.0.0.1:1"]) == 1
    assert capsys.readouterr().err == "ezai: There is nothing to ask: give a PROMPT, or pipe one in.\n"


def test_a_reader_that_has_read_enough_is_no_traceback() -> None:
    script: Script = [STREAM + chunk("One"), HOLD, chunk(" two"), HOLD]
    with beside(script) as gateway_, chatting("--url", gateway_.url, "Hi") as process:
        read_until(process, b"One")
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        gateway_.loop.call_soon_threadsafe(gateway_.running.upstream.peers[0].go)
        assert process.wait(60) == 141, "as of any command that SIGPIPE ends"
        assert b"Traceback" not in process.stderr.read()
        process.stdout = None  # nothing is left to communicate
        gateway_.upstream_until(lambda: gateway_.running.upstream.peers[0].lost)


# Where the gateway is, and the key.


def test_the_url_of_the_sdks_variable(capsys: Captured) -> None:
    with beside(hello()) as gateway_:
        assert chat(None, None, None, "Hi", {"ANTHROPIC_BASE_URL": gateway_.url}) == 0
    assert capsys.readouterr().out == "Hello\n"


def test_the_url_of_ones_own_variable(capsys: Captured) -> None:
    with beside(hello()) as gateway_:
        environ = {"EZAI_URL": gateway_.url, "ANTHROPIC_BASE_URL": "http://127.0.0.1:1"}
        assert chat(None, None, None, "Hi", environ) == 0
    assert capsys.readouterr().out == "Hello\n"


def test_the_url_that_is_given_stands_above_the_variable(capsys: Captured) -> None:
    with beside(hello()) as gateway_:
        assert chat(None, gateway_.url, None, "Hi", {"ANTHROPIC_BASE_URL": "http://127.0.0.1:1"}) == 0
    assert capsys.readouterr().out == "Hello\n"


def test_the_url_of_the_configuration(capsys: Captured, tmp_path: Path) -> None:
    with beside(hello()) as gateway_:
        (tmp_path / "ezai.toml").write_text(f"[server]\nport = {gateway_.url.rpartition(':')[2]}\n")
        assert main(["chat", "--config", str(tmp_path / "ezai.toml"), "Hi"]) == 0
    assert capsys.readouterr().out == "Hello\n"


@pytest.mark.parametrize(
    ("environ", "status"),
    [
        ({"EZAI_API_KEY": "sk-one", "ANTHROPIC_API_KEY": "wrong"}, 0),
        ({"ANTHROPIC_API_KEY": "sk-one"}, 0),
        ({"ANTHROPIC_AUTH_TOKEN": "sk-one"}, 0),
        ({"EZAI_ADMIN_KEY": "sk-one"}, 0),
        ({"ANTHROPIC_API_KEY": "sk-one", "EZAI_ADMIN_KEY": "wrong"}, 0),
        ({"ANTHROPIC_API_KEY": "", "EZAI_ADMIN_KEY": "sk-one"}, 0),
        ({"ANTHROPIC_API_KEY": "wrong"}, 1),
        ({}, 1),
    ],
)
def test_the_key_comes_from_the_environment(environ: dict[str, str], status: int, capsys: Captured) -> None:
    with beside(hello(), options=Options(keys=KEYED)) as gateway_:
        if status:
            with pytest.raises(Exception, match="key") as caught:
                chat(None, gateway_.url, None, "Hi", environ)
            assert "sk-one" not in str(caught.value)
        else:
            assert chat(None, gateway_.url, None, "Hi", environ) == 0
            assert capsys.readouterr().out == "Hello\n"


def test_a_missing_key_is_one_sentence(capsys: Captured) -> None:
    with beside(options=Options(keys=KEYED)) as gateway_:
        assert main(["chat", "--url", gateway_.url, "Hi"]) == 1
    assert capsys.readouterr().err.startswith("ezai: No key was sent")


# A conversation.


class Keyboard(io.StringIO):
    """Somebody types these lines."""

    def isatty(self) -> bool:
        return True


def converse(lines: str, monkeypatch: pytest.MonkeyPatch, *scripts: Script) -> tuple[int, list[list[tuple[str, str]]]]:
    monkeypatch.setattr(sys, "stdin", Keyboard(lines))
    with beside(*scripts) as gateway_:
        status = chat(None, gateway_.url, None, None, {})
        return status, gateway_.prompts()


def test_each_turn_sends_what_was_said_before(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    status, prompts = converse("One\n\n  Two  \n", monkeypatch, hello("First"), hello("Second"))
    assert status == 0
    one = [("user", "One")]
    assert prompts == [one, [*one, ("assistant", "First"), ("user", "Two")]]
    out, err = capsys.readouterr()
    assert out == "> First\n> > Second\n> \n"
    assert err.startswith("Talking to small.")
    assert err.count("tokens in") == 2


def test_a_turn_that_was_refused_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = [b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n"]
    assert converse("One\nTwo\n", monkeypatch, refusal, hello()) == (0, [[("user", "One")], [("user", "Two")]])


def test_a_turn_that_broke_off_is_remembered_as_far_as_it_went(monkeypatch: pytest.MonkeyPatch) -> None:
    status, prompts = converse("One\nTwo\n", monkeypatch, streamed(chunk("Half")), hello())
    assert (status, prompts[1]) == (0, [("user", "One"), ("assistant", "Half"), ("user", "Two")])


def test_the_end_of_input_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert converse("", monkeypatch) == (0, [])


# Ctrl-C.


@contextmanager
def chatting(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Chat in a process of its own, which is gone at the end of the block."""
    pipe = subprocess.PIPE
    process = subprocess.Popen([*CHAT, *arguments], stdin=pipe, stdout=pipe, stderr=pipe)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def read_until(process: subprocess.Popen[bytes], end: bytes) -> bytes:
    assert process.stdout is not None
    read = b""
    while not read.endswith(end):
        byte = process.stdout.read(1)
        assert byte, read
        read += byte
    return read


def test_ctrl_c_keeps_the_text_and_stops_the_model() -> None:
    with beside([STREAM + chunk("Half"), HOLD]) as gateway_, chatting("--url", gateway_.url, "Hi") as process:
        assert read_until(process, b"Half") == b"Half"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (130, b"\n")
        assert "■ partial: you stopped it" in err.decode()
        assert "Traceback" not in err.decode()
        gateway_.upstream_until(lambda: gateway_.running.upstream.peers[0].lost)


def test_ctrl_c_before_the_first_word() -> None:
    with beside([HOLD]) as gateway_, chatting("--url", gateway_.url, "Hi") as process:
        gateway_.upstream_until(lambda: len(gateway_.running.upstream.requests) == 1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err.decode()) == (130, b"", "ezai: you stopped it\n")
        gateway_.upstream_until(lambda: gateway_.running.upstream.peers[0].lost)
