"""`ezai mock` and `ezai bench` as processes of their own."""

from __future__ import annotations

import argparse
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest

from ezai.cli.lab import add_bench, add_mock
from ezai.lab.mock import Accept, Unreachable
from ezai.lab.mock.script import load

PAGE = Path(__file__).parents[2] / "docs/mock.md"
RUN = """
import argparse, sys
from ezai.cli.lab import add_bench, add_mock
from ezai.errors import EzaiError
parser = argparse.ArgumentParser()
commands = parser.add_subparsers(required=True)
add_mock(commands)
add_bench(commands)
parsed = parser.parse_args()
try:
    sys.exit(parsed.run(parsed))
except EzaiError as error:
    print(f"ezai: {error}", file=sys.stderr)
    sys.exit(1)
"""
TIMEOUT_S = 60
TCP_SYN_SENT = 2
"""Linux's number of the state."""


def ezai(*arguments: str) -> list[str]:
    return [sys.executable, "-W", "error", "-c", RUN, *arguments]


@contextmanager
def mocking(
    *arguments: str, told: str = "The mock is ready at", ended_by: signal.Signals = signal.SIGTERM
) -> Iterator[str]:
    """The URL of a running `ezai mock`; it has to end well when it is told to."""
    process = subprocess.Popen(ezai("mock", "--port", "0", *arguments), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        found = re.fullmatch(rf"{told} (http://\S+)\n", process.stderr.readline())
        assert found
        yield found[1]
        process.send_signal(ended_by)
        assert process.wait(TIMEOUT_S) == 0
        assert "Traceback" not in process.stderr.read()
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(ezai("bench", *arguments), capture_output=True, text=True, check=False, timeout=TIMEOUT_S)


def test_a_bench_of_a_mock(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    with mocking("--journal", str(journal)) as url:
        table = bench(url, "--tokens", "5", "--streams", "10", "--key", "sk-canary-0123456789")
        assert (table.returncode, table.stderr) == (0, "")
        assert re.search(r"^tokens +50, none lost", table.stdout, re.MULTILINE)
        as_json = bench(url, "--openai", "--tokens", "5", "--rate", "200", "--streams", "10", "--json")
        figures = msgspec.json.decode(as_json.stdout)
        assert (figures["ended"], figures["tokens"]) == ({"whole": 10}, 50)
        lossy = bench(url, "--model", "mock-tokens=5,drop=6", "--streams", "3")
        assert lossy.returncode == 1
        assert "3 lost" in lossy.stdout
        left = bench(url, "--model", "mock-endless", "--streams", "3", "--leave-after", "5")
        assert left.returncode == 0
        assert "3 left" in left.stdout
    lines = journal.read_text()
    assert lines.count('"kind":"request"') == 26
    assert "sk-canary" not in lines


def test_a_mock_follows_a_script_or_one_behaviour(tmp_path: Path) -> None:
    script = tmp_path / "script.toml"
    script.write_text('[[rules]]\nbehaviour = "status=418"\n')
    for arguments in (("--script", str(script)), ("--behaviour", "status=418")):
        with mocking(*arguments) as url:
            assert "3 refused 418" in bench(url, "--streams", "3").stdout
    with mocking("--accept", "reset") as url:
        assert re.search(
            r"^ended +[0-9a-zA-Z ,]*(unanswered|unreachable)", bench(url, "--streams", "3").stdout, re.MULTILINE
        )


UNREACHABLE = {"refuse": "The mock refuses every connection at", "black_hole": "The mock completes no handshake at"}


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("kind", UNREACHABLE)
@pytest.mark.parametrize("is_scripted", [False, True])
def test_a_mock_may_be_unreachable(tmp_path: Path, kind: str, host: str, is_scripted: bool) -> None:  # U1, U2
    script = tmp_path / "script.toml"
    script.write_text(f'accept = "{kind}"\n[[rules]]\nbehaviour = "status=418"\n')
    chosen = ("--script", str(script)) if is_scripted else ("--accept", kind)
    ended_by = signal.SIGINT if is_scripted else signal.SIGTERM
    with mocking("--host", host, *chosen, told=UNREACHABLE[kind], ended_by=ended_by) as url:
        address = urlsplit(url)
        assert (address.hostname, address.port == 0) == (host, False)
        family = socket.AF_INET6 if host == "::1" else socket.AF_INET
        with socket.socket(family) as client:
            if kind == "refuse":
                with pytest.raises(ConnectionRefusedError):
                    client.connect((host, address.port))
            else:
                client.setblocking(False)
                with pytest.raises(BlockingIOError):
                    client.connect((host, address.port))
                assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO) == TCP_SYN_SENT


def test_an_unreachable_mock_gives_its_port_to_nobody_else() -> None:
    for kind, told in UNREACHABLE.items():
        with mocking("--accept", kind, told=told) as url:
            port = str(urlsplit(url).port)
            other = subprocess.run(
                ezai("mock", "--port", port), capture_output=True, text=True, check=False, timeout=TIMEOUT_S
            )
            assert other.returncode == 1
            assert f"127.0.0.1:{port} cannot be listened on" in other.stderr


def test_the_command_line_is_above_the_script(tmp_path: Path) -> None:
    script = tmp_path / "script.toml"
    script.write_text('accept = "refuse"\n[[rules]]\nbehaviour = "status=418"\n')
    with mocking("--script", str(script), "--accept", "serve") as url:
        assert "3 refused 418" in bench(url, "--streams", "3").stdout


def test_help_names_every_way_to_accept(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_mock(parser.add_subparsers())
    with pytest.raises(SystemExit):
        parser.parse_args(["mock", "--help"])
    told = capsys.readouterr().out.rpartition("--accept KIND")[2].partition("--tls-certificate")[0]
    assert {*Accept, *Unreachable} <= set(re.findall(r"\w+", told))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("mock", "--behaviour", "stall=3"), "ezai: --behaviour: stall: there is no such setting."),
        (("mock", "--script", "none.toml"), "ezai: none.toml: the file: it cannot be read"),
        (("mock", "--accept", "no"), "ezai: --accept no: use one of serve, reset, close, deaf, refuse, black_hole."),
        (("mock", "--port", "99999"), "ezai: command line: --port: 99999 is no port. Give one, such as 8080."),
        (("mock", "--port", "-1"), "ezai: command line: --port: -1 is no port. Give one, such as 8080."),
        (
            ("mock", "--port", "0", "--journal", "/nonexistent/x"),
            "ezai: The journal /nonexistent/x cannot be written (No such file or directory); choose another --journal.",
        ),
        (
            ("mock", "--behaviour", "tokens=3,stall_after=mesage_start"),
            "ezai: --behaviour: stall_after: 'mesage_start' is no kind of event. Did you mean message_start?",
        ),
        (("mock", "--tls-key", "key.pem"), "ezai: --tls-certificate and --tls-key go together."),
        (("mock", "--tls-key", "no.pem", "--tls-certificate", "no.pem"), "ezai: no.pem and no.pem are no certificate"),
        (("mock", "--host", "256.0.0.1"), "ezai: The address '256.0.0.1' is not known"),
        (("bench", "localhost"), "ezai: 'localhost' is no URL that can be asked"),
        (("bench", "http://h", "--rate", "1", "--concurrency", "1"), "ezai: Give either a rate"),
        (("bench", "http://h", "--rate", "-1"), "ezai: --rate -1: it has to be above 0."),
        (("bench", "http://h", "--rate", "0"), "ezai: --rate 0: it has to be above 0."),
        (("bench", "http://h", "--rate", "inf"), "ezai: --rate inf: it has to be above 0, and finite."),
        (("bench", "http://h", "--rate", "nan"), "ezai: --rate nan: it has to be a number, above 0."),
        (("bench", "http://h", "--concurrency", "0"), "ezai: --concurrency 0: it has to be above 0."),
        (("bench", "http://h", "--concurrency", "-1"), "ezai: --concurrency -1: it has to be above 0."),
        (("bench", "http://h", "--token-rate", "-1"), "ezai: --token-rate -1: it has to be 0 or more."),
        (("bench", "http://h", "--duration", "0"), "ezai: Give a duration or a number of streams"),
        (("bench", "http://h:99999"), "ezai: 'http://h:99999' is no URL that can be asked"),
        (("bench", "https://127.0.0.1:1", "--ca-file", "/nonexistent"), "ezai: /nonexistent holds no certificates"),
    ],
)
def test_a_mistake_is_told_in_one_line(arguments: tuple[str, ...], told: str) -> None:
    ended = subprocess.run(ezai(*arguments), capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    assert ended.returncode == 1
    assert ended.stderr.startswith(told)
    assert ended.stderr.count("\n") == 1


# The page shows what runs.


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_the_page_s_script_is_one(tmp_path: Path) -> None:
    (shown,) = blocks("toml")
    file = tmp_path / "script.toml"
    file.write_text(shown)
    assert len(load(file).rules) == 3


def test_the_page_s_examples_do_what_they_say(capsys: pytest.CaptureFixture[str]) -> None:
    with_the_sdk, in_a_test, *_ = blocks("python")
    with mocking() as url:
        exec(with_the_sdk.replace("http://127.0.0.1:8090", url), {})
    assert capsys.readouterr().out == "0 1 2 3 4 \n0 \n1 \noverloaded_error\n"
    exec(in_a_test, {})


def test_the_page_s_commands_are_understood() -> None:
    shown = re.findall(r"^ezai (mock|bench)( [^#\n]*)?", "\n".join(blocks("sh")), re.MULTILINE)
    assert shown
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers()
    add_mock(commands)
    add_bench(commands)
    for command, arguments in shown:
        parser.parse_args([command, *shlex.split(arguments)])
