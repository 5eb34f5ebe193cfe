"""Random streams: whole and legal, cut anyhow, and mutated."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import msgspec
from hypothesis import strategies as st

from ezai.protocol.anthropic import events
from ezai.protocol.anthropic.answers import blank_message, final_usage
from ezai.protocol.anthropic.events import MessagesEvent
from ezai.protocol.usage import Usage
from ezai.translate.terms import Thinking

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
def cut_text(draw: st.DrawFn, whole: str) -> list[str]:
    """The same of text, between characters."""
    places = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=5)))
    return [whole[start:end] for start, end in itertools.pairwise([0, *places, len(whole)])]


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
    reason = draw(st.sampled_from(["end_turn", "max_tokens", "stop_sequence", "refusal"]))
    details = {"type": "refusal", "category": None, "explanation": draw(TEXT)} if reason == "refusal" else None
    out.append(events.message_delta(reason, None, final_usage(draw(usages())), details))
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
        deltas.append(events.signature_delta(index, draw(TEXT)))
    else:
        start = events.block_start(index, {"type": "tool_use", "id": f"toolu_{index}", "name": "f", "input": {}})
        tool_input = draw(st.dictionaries(TEXT, INTEGER | TEXT | st.booleans() | st.none(), max_size=3))
        pieces = draw(cut_text(msgspec.json.encode(tool_input).decode()))
        deltas = [events.input_json_delta(index, piece) for piece in pieces]
    return [start, *deltas, events.block_stop(index)]


@st.composite
def chat_streams(draw: st.DrawFn) -> bytes:
    """A whole Chat Completions stream of reasoning, text, calls and refusals, with usage here, there or nowhere."""
    chunks: list[Any] = [_chunk({"role": "assistant", "content": draw(st.none() | st.just(""))})]
    chunks += [_chunk(fields) for fields in draw(st.lists(_reasoning(), max_size=4))]
    for text in draw(st.lists(TEXT, max_size=8)):
        chunks.append(_chunk({"content": draw(st.sampled_from([text, [{"type": "text", "text": text}]]))}))
    if draw(st.booleans()):
        chunks += [_chunk(fields) for fields in draw(call_scripts())[0]]
    if draw(st.integers(0, 9)) == 0:
        chunks.append(_chunk({"refusal": draw(TEXT)}))
    usage = {"prompt_tokens": draw(COUNT), "completion_tokens": draw(COUNT)}
    finish = _chunk({}, draw(st.sampled_from(["stop", "length", "tool_calls", "content_filter", "odd"])))
    match draw(st.sampled_from(["own chunk", "finish chunk", "every chunk", "never"])):
        case "own chunk":
            chunks += [finish, {"choices": [], "usage": usage}]
        case "finish chunk":
            chunks.append(finish | {"usage": usage})
        case "every chunk":
            chunks = [chunk | {"usage": usage} for chunk in [*chunks, finish]]
        case _:
            chunks.append(finish)
    frames = [chat_frame(chunk) for chunk in chunks]
    if draw(st.booleans()):
        frames.append(b"data: [DONE]\n\n")
    return b"".join(frames)


@st.composite
def answer_terms(draw: st.DrawFn) -> dict[str, Any]:
    """How the answer to some request is read: fields of `AnswerTerms`."""
    return {
        "thinking": draw(st.sampled_from(Thinking)),
        "signing_key": b"key",
        "stop_sequences": tuple(draw(st.lists(st.text(min_size=1, max_size=3), max_size=3))),
        "prompt_tokens": draw(st.integers(0, 1000)),
        "offered": CALLED,
        "bare_calls": draw(st.booleans()),
    }


def chat_frame(chunk: dict[str, Any]) -> bytes:
    """A chunk on the wire."""
    return b"data: " + msgspec.json.encode(chunk) + b"\n\n"


@st.composite
def _reasoning(draw: st.DrawFn) -> dict[str, Any]:
    text = draw(TEXT)
    details = [{"type": "reasoning.text", "text": text}, {"type": "reasoning.encrypted", "data": "x"}]
    fields = {"reasoning_content": text, "reasoning": text, "reasoning_details": details}
    return {name: fields[name] for name in draw(st.sets(st.sampled_from(sorted(fields)), min_size=1))}


class CallMade(NamedTuple):
    """A call as the model made it; `id` is None where the server names none."""

    id: str | None
    name: str
    input: dict[str, Any]


CALLED = tuple(f"f{number}" for number in range(4))
"""The tools that are called."""


@st.composite
def call_scripts(draw: st.DrawFn) -> tuple[list[dict[str, Any]], list[CallMade]]:
    """Deltas that tell some calls in one server's manner, and the calls, in the order in which they begin.

    Manners in which nobody could tell the calls apart are left out: mixed calls need indexes, or ids everywhere.
    """
    index = draw(st.sampled_from(["right", "missing", "zero"]))
    ids = draw(st.sampled_from(["first", "every", "none"]))
    calls = [
        CallMade(None if ids == "none" else f"call_{number}", name, draw(_INPUT))
        for number, name in enumerate(CALLED[: draw(st.integers(1, len(CALLED)))])
    ]
    scripts = [draw(_call_script(call, number, index, ids)) for number, call in enumerate(calls)]
    if index != "right" and ids != "every":
        return [delta for script in scripts for delta in script], calls
    mixed: list[dict[str, Any]] = []
    begun: list[int] = []
    while any(scripts):
        number = draw(st.sampled_from([number for number, script in enumerate(scripts) if script]))
        begun += [] if number in begun else [number]
        mixed.append(scripts[number].pop(0))
    return mixed, [calls[number] for number in begun]


_INPUT = st.dictionaries(TEXT, INTEGER | TEXT | st.booleans() | st.none() | st.lists(INTEGER, max_size=2), max_size=3)


@st.composite
def _call_script(draw: st.DrawFn, call: CallMade, number: int, index: str, ids: str) -> list[dict[str, Any]]:
    """The deltas of one call, each with one fragment."""
    fragments: list[dict[str, Any]] = [{"function": {"arguments": part}} for part in draw(_arguments(call))]
    match draw(st.sampled_from(["first", "every", "pieces"])):
        case "first":
            fragments[0]["function"]["name"] = call.name
        case "every":
            for fragment in fragments:
                fragment["function"]["name"] = call.name
        case _:
            fragments[0]["function"]["name"] = call.name[1:]
            fragments.insert(0, {"function": {"name": call.name[:1]}})
    if draw(st.booleans()):
        fragments.append({"function": {"arguments": msgspec.json.encode(call.input).decode()}})
    if ids != "none" and draw(st.booleans()):
        fragments.insert(0, {"id": call.id, "type": "function"})
    for fragment in fragments if ids == "every" else fragments[:1]:
        if ids != "none":
            fragment["id"] = call.id
    for fragment in fragments:
        if index != "missing":
            fragment["index"] = number if index == "right" else 0
    return [{"tool_calls": [fragment]} for fragment in fragments]


@st.composite
def _arguments(draw: st.DrawFn, call: CallMade) -> list[Any]:
    """The input as one server tells it: at least one piece."""
    match draw(st.sampled_from(["pieces", "once", "object"])):
        case "object":
            return [call.input]
        case "once":
            return [msgspec.json.encode(call.input).decode()]
    if not call.input and draw(st.booleans()):
        return [draw(st.sampled_from(["", None]))]
    pieces: list[Any] = draw(cut_text(msgspec.json.encode(call.input).decode()))
    return pieces


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
