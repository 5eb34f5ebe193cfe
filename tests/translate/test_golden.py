"""Recordings and what becomes of them: one reviewed file per case and target (recordings/README.md).

After a wanted change, `EZAI_GOLDEN=write make test` writes the goldens anew; then the diff is reviewed.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from ezai.errors import InvalidRequest, RequestError
from ezai.protocol.anthropic.answers import error_frame
from ezai.protocol.anthropic.fold import fold
from ezai.protocol.anthropic.order import StreamState
from ezai.protocol.anthropic.requests import read_request
from ezai.protocol.end import UsageSource
from ezai.protocol.sse import SseDecoder
from ezai.translate.anthropic_anthropic import AnthropicToAnthropic
from ezai.translate.base import LLAMA_CPP, OPENAI_COMPATIBLE, OPENAI_ITSELF, UpstreamFacts
from ezai.translate.pairs import translator_for
from ezai.translate.terms import AnswerTerms

ROOT = Path(__file__).parents[2] / "recordings"
REQUESTS = sorted(path.stem for path in (ROOT / "requests").glob("*.json"))
CHATS = sorted(path.name.removesuffix(".sse") for path in (ROOT / "openai").glob("*.sse") if ".told." not in path.name)
MESSAGES = sorted(path.stem for path in (ROOT / "anthropic").glob("*.sse"))
TARGETS: dict[str, UpstreamFacts] = {
    "openai-compatible": OPENAI_COMPATIBLE,
    "openai": OPENAI_ITSELF,
    "llama-cpp": replace(LLAMA_CPP, grammars=True),
}
READ_AS = {
    **TARGETS,
    "llama-cpp-tools": replace(LLAMA_CPP, grammars=True, takes_tools=True),
    "llama-cpp-bare-calls": replace(LLAMA_CPP, grammars=True, takes_tools=True, bare_calls=True),
}
"""Whose stream it is, by the beginning of its name; the longest counts."""


@pytest.mark.parametrize("case", REQUESTS)
@pytest.mark.parametrize("target", TARGETS)
def test_what_a_target_is_asked(target: str, case: str) -> None:
    request = read_request((ROOT / "requests" / f"{case}.json").read_bytes())
    try:
        asked = translator_for(TARGETS[target], "upstream-model").request(request).body
    except InvalidRequest as refused:
        asked = msgspec.json.encode({"refused": refused.message})
    holds(ROOT / "requests" / target / f"{case}.json", msgspec.json.format(asked, indent=1) + b"\n")


@pytest.mark.parametrize("case", REQUESTS)
def test_an_anthropic_target_is_asked_the_same_bytes(case: str) -> None:
    body = (ROOT / "requests" / f"{case}.json").read_bytes()
    request = read_request(body)
    assert AnthropicToAnthropic(request.model).request(request).body == body


@pytest.mark.parametrize("case", CHATS)
def test_what_the_client_is_told(case: str) -> None:
    holds(ROOT / "openai" / f"{case}.told.sse", told(case))


@pytest.mark.parametrize("case", MESSAGES)
def test_a_stream_of_the_clients_dialect_is_told_as_it_is(case: str) -> None:
    recorded = (ROOT / "anthropic" / f"{case}.sse").read_bytes()
    stream, state = AnthropicToAnthropic().stream("", read_request(MINIMAL), AnswerTerms()), StreamState()
    events = [event for frame in SseDecoder().feed(recorded) for event in stream.feed(stream.read(frame))]
    for event in events:
        state.process(event)
    assert b"".join(event.wire() for event in events) == recorded
    assert state.over
    assert fold(events)["usage"]["output_tokens"] == stream.usage.output_tokens
    assert stream.usage_source is UsageSource.UPSTREAM


MINIMAL = b'{"model":"m","max_tokens":1,"messages":[{}]}'


def told(case: str) -> bytes:
    """What a client reads: legal events, to the end or to the one error."""
    request = read_request((ROOT / "openai" / f"{case}.request.json").read_bytes())
    names = [name for name in READ_AS if case.startswith(f"{name}-")]
    facts = READ_AS[max(names, key=len, default="openai-compatible")]
    translator = translator_for(facts, "upstream-model")
    stream, state = translator.stream("msg_golden", request, translator.request(request).terms), StreamState()
    wire = b""
    try:
        for frame in SseDecoder().feed((ROOT / "openai" / f"{case}.sse").read_bytes()):
            for event in stream.feed(stream.read(frame)):
                state.process(event)
                wire += event.wire()
        for event in stream.close():
            state.process(event)
            wire += event.wire()
    except RequestError as error:
        return wire + error_frame(error, "req_golden")
    assert state.over
    return wire


def holds(golden: Path, now: bytes) -> None:
    if os.environ.get("EZAI_GOLDEN") == "write":
        golden.parent.mkdir(exist_ok=True)
        golden.write_bytes(now)
    assert now.decode() == golden.read_text()
