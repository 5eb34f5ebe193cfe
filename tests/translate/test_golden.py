"""Recordings and what becomes of them: one reviewed file per recording and direction.

`recordings/openai/CASE.sse` is a stream as an upstream sent it, `CASE.request.json` the request that asked for it.
Beside them stand `CASE.asked.json`, what the upstream is asked, and `CASE.told.sse`, what the client is told. After a
wanted change, `EZAI_GOLDEN=write make test` writes them anew; then the diff is reviewed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from ezai.protocol.anthropic.events import MessagesEvent
from ezai.protocol.anthropic.order import StreamState
from ezai.protocol.anthropic.requests import read_request
from ezai.protocol.sse import SseDecoder
from ezai.translate.anthropic_openai import AnthropicToOpenAI
from ezai.translate.base import LLAMA_CPP, OPENAI_COMPATIBLE

RECORDINGS = Path(__file__).parents[2] / "recordings" / "openai"
CASES = sorted(path.name.removesuffix(".sse") for path in RECORDINGS.glob("*.sse") if ".told." not in path.name)


@pytest.mark.parametrize("case", CASES)
def test_what_the_upstream_is_asked(case: str) -> None:
    request = read_request((RECORDINGS / f"{case}.request.json").read_bytes())
    asked = translator(case).request(request)
    assert (asked.method, asked.path) == ("POST", "/chat/completions")
    holds(RECORDINGS / f"{case}.asked.json", msgspec.json.format(asked.body, indent=1) + b"\n")


@pytest.mark.parametrize("case", CASES)
def test_what_the_client_is_told(case: str) -> None:
    events = told(case)
    state = StreamState()
    for event in events:
        state.process(event)
    assert state.over
    holds(RECORDINGS / f"{case}.told.sse", b"".join(event.wire() for event in events))


def told(case: str) -> Sequence[MessagesEvent]:
    request = read_request((RECORDINGS / f"{case}.request.json").read_bytes())
    stream = translator(case).stream("msg_golden", request, translator(case).request(request).terms)
    events: list[MessagesEvent] = []
    for frame in SseDecoder().feed((RECORDINGS / f"{case}.sse").read_bytes()):
        events += stream.feed(stream.read(frame))
    return [*events, *stream.close()]


def translator(case: str) -> AnthropicToOpenAI:
    facts = LLAMA_CPP if case.startswith("llama-cpp") else OPENAI_COMPATIBLE
    return AnthropicToOpenAI("upstream-model", facts)


def holds(golden: Path, now: bytes) -> None:
    if os.environ.get("EZAI_GOLDEN") == "write":
        golden.write_bytes(now)
    assert now.decode() == golden.read_text()
