"""Random streams: whole and legal, cut anyhow, and mutated."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
from hypothesis import strategies as st

from ezai.protocol.anthropic import events
from ezai.protocol.anthropic.answers import blank_message, final_usage
from ezai.protocol.anthropic.events import MessagesEvent
from ezai.protocol.usage import Usage

TEXT = st.text(max_size=20) | st.sampled_from(["\u2028", "\x85", "é😀", "\n\nevent: message_stop\n\n", "data:", "\r\n"])
COUNT = st.integers(0, 10**9)
INTEGER = st.integers(-(2**53) + 1, 2**53 - 1)  # what JavaScript holds exactly


@st.composite
def cut(draw: st.DrawFn, whole: bytes) -> list[bytes]:
    """`whole` in pieces of any size, empty ones included."""
    places = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=min(len(whole), 30))))
    edges = [0, *places, len(whole)]
    return [whole[start:end] for start, end in itertools.pairwise(edges)]


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """Any usage."""
    return Usage(*[draw(COUNT) for _ in range(5)])


@st.composite
def legal_streams(draw: st.DrawFn) -> list[MessagesEvent]:
    """A whole legal stream of text, thinking and tool blocks, with pings anywhere."""
    out = [events.message_start(blank_message("msg_1", "m", draw(usages())))]
    for index in range(draw(st.integers(0, 4))):
        out += draw(_blocks(index))
    reason = draw(st.sampled_from(["end_turn", "max_tokens", "stop_sequence"]))
    out.append(events.message_delta(reason, None, final_usage(draw(usages()))))
    out.append(events.message_stop())
    for place in sorted(draw(st.lists(st.integers(1, len(out) - 1), max_size=3)), reverse=True):
        out.insert(place, events.ping())
    return out


@st.composite
def _blocks(draw: st.DrawFn, index: int) -> list[MessagesEvent]:
    kind = draw(st.sampled_from(["text", "thinking", "tool_use"]))
    if kind == "text":
        start = events.block_start(index, {"type": "text", "text": ""})
        deltas = [events.text_delta(index, text) for text in draw(st.lists(TEXT, max_size=5))]
    elif kind == "thinking":
        start = events.block_start(index, {"type": "thinking", "thinking": "", "signature": ""})
        deltas = [events.thinking_delta(index, text) for text in draw(st.lists(TEXT, max_size=5))]
    else:
        start = events.block_start(index, {"type": "tool_use", "id": f"toolu_{index}", "name": "f", "input": {}})
        tool_input = draw(st.dictionaries(TEXT, INTEGER | TEXT | st.booleans() | st.none(), max_size=3))
        # Cut as text: a delta's partial_json is a string of whole characters.
        text = msgspec.json.encode(tool_input).decode()
        places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=4)))
        edges = [0, *places, len(text)]
        deltas = [events.input_json_delta(index, text[a:b]) for a, b in itertools.pairwise(edges)]
    return [start, *deltas, events.block_stop(index)]


@st.composite
def chat_streams(draw: st.DrawFn) -> bytes:
    """A whole Chat Completions stream of text, with usage here, there or nowhere."""
    chunks: list[Any] = [_chunk({"role": "assistant", "content": draw(st.none() | st.just(""))})]
    chunks += [_chunk({"content": text}) for text in draw(st.lists(TEXT, max_size=8))]
    usage = {"prompt_tokens": draw(COUNT), "completion_tokens": draw(COUNT)}
    finish = _chunk({}, draw(st.sampled_from(["stop", "length", "content_filter", "odd"])))
    match draw(st.sampled_from(["own chunk", "finish chunk", "every chunk", "never"])):
        case "own chunk":
            chunks += [finish, {"choices": [], "usage": usage}]
        case "finish chunk":
            chunks.append(finish | {"usage": usage})
        case "every chunk":
            chunks = [chunk | {"usage": usage} for chunk in [*chunks, finish]]
        case _:
            chunks.append(finish)
    frames = [b"data: " + msgspec.json.encode(chunk) + b"\n\n" for chunk in chunks]
    if draw(st.booleans()):
        frames.append(b"data: [DONE]\n\n")
    return b"".join(frames)


@st.composite
def mutated(draw: st.DrawFn, whole: bytes) -> bytes:
    """`whole` with some bytes changed, lost or put in."""
    out = bytearray(whole)
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, len(out)))
        match draw(st.sampled_from(["change", "lose", "put"])):
            case "put":
                out[place:place] = draw(st.binary(min_size=1, max_size=4))
            case "change" if place < len(out):
                out[place] = draw(st.integers(0, 255))
            case _:
                del out[place : place + draw(st.integers(1, 8))]
    return bytes(out)


def _chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
