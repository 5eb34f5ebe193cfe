"""`ezai mock` and `ezai bench` as processes of their own."""

from __future__ import annotations

import argparse
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from ezai.cli.lab import add_bench, add_mock
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


def ezai(*arguments: str) -> list[str]:
    return [sys.executable, "-W", "error", "-c", RUN, *arguments]


@contextmanager
def mocking(*arguments: str) -> Iterator[str]:
    """The URL of a running `ezai mock`; it has to end well when it is told to."""
    process = subprocess.Popen(ezai("mock", "--port", "0", *arguments), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        found = re.fullmatch(r"The mock is ready at (http://\S+)\n", process.stderr.readline())
        assert found
        yield found[1]
        process.send_signal(signal.SIGTERM)
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


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("mock", "--behaviour", "stall=3"), "ezai: --behaviour: stall: there is no such setting."),
        (("mock", "--script", "none.toml"), "ezai: none.toml: the file: it cannot be read"),
        (("mock", "--accept", "no"), "ezai: --accept no: use one of serve, reset, close, deaf."),
        (("mock", "--tls-key", "key.pem"), "ezai: --tls-certificate and --tls-key go together."),
        (("mock", "--tls-key", "no.pem", "--tls-certificate", "no.pem"), "ezai: no.pem and no.pem are no certificate"),
        (("mock", "--host", "256.0.0.1"), "ezai: The address '256.0.0.1' is not known"),
        (("bench", "localhost"), "ezai: 'localhost' is no URL that can be asked"),
        (("bench", "http://h", "--rate", "1", "--concurrency", "1"), "ezai: Give either a rate"),
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
