"""A tap's short way through the relay beside the long one: the same stream, in the same chunks, to the same reader."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from itertools import cycle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezai.errors import RequestError
from ezai.pipeline.relay import Relay
from ezai.protocol.anthropic.order import StreamState
from ezai.translate.anthropic_anthropic import MessagesTap

Delta = dict[str, Any]
LONG = 10**6


class Chunks:
    """An exchange whose body is these chunks; the part of `ezai.ports.Exchange` that a relay uses."""

    status = 200
    headers = ()

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = list(chunks)
        self.holds = 0

    async def pour(self, sink: Callable[[bytes], bool]) -> bool:
        while self._chunks:
            if not sink(self._chunks.pop(0)):
                return True
        return False

    def hold(self) -> None:
        self.holds += 1

    def chunks(self) -> AsyncIterator[bytes]:
        raise NotImplementedError

    def release(self) -> None:
        raise NotImplementedError

    async def aclose(self) -> None:
        raise NotImplementedError


class LongWay(MessagesTap):
    feed_plain = None  # type: ignore[assignment]


class Counting(MessagesTap):
    """Counts what took the short way."""

    __slots__ = ("plain",)

    def __init__(self) -> None:
        super().__init__()
        self.plain = 0

    def feed_plain(self, chunk: bytes, state: StreamState) -> bool:
        is_plain = super().feed_plain(chunk, state)
        self.plain += is_plain
        return is_plain


async def relayed(tap: MessagesTap, chunks: Sequence[bytes], room: Sequence[bool], limit_bytes: int) -> dict[str, Any]:
    """All that is seen of one stream, when a reader's room after each push is as in `room`, over and over."""
    exchange, rooms, ticks = Chunks(chunks), cycle(room), iter(range(LONG))
    relay = Relay(exchange, tap, limit_bytes, lambda: float(next(ticks)))
    told: list[object] = []

    def push(data: bytes) -> bool:
        told.append(data)
        return next(rooms)

    error = ""
    try:
        told.append([event.wire() for event in await relay.read()])
        while not relay.over:
            told.append([event.wire() for event in await relay.read(push)])
    except RequestError as fault:
        error = repr(fault)
    return {
        "told": told,
        "error": error,
        "holds": exchange.holds,
        "usage": (tap.usage, tap.usage_source),
        "state": {name: getattr(relay.state, name) for name in StreamState.__slots__},
        "times": (relay.heard_at, relay.handed_on_at, relay.first_token_at),
    }


def frame(data: dict[str, Any], end: str = "\n\n") -> bytes:
    return f"event: {data['type']}\ndata: {json.dumps(data, ensure_ascii=False)}{end}".encode()


def delta(index: int, said: Delta, end: str = "\n\n") -> bytes:
    return frame({"type": "content_block_delta", "index": index, "delta": said}, end)


USAGE = {"input_tokens": 1, "output_tokens": 1}
START = frame({"type": "message_start", "message": {"id": "m", "model": "m", "content": [], "usage": USAGE}})
END = [
    frame({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}}),
    frame({"type": "message_stop"}),
]
PING = frame({"type": "ping"})
HELLO = delta(0, {"type": "text_delta", "text": "Hello"})


def opened(index: int, kind: str = "text") -> bytes:
    block = {"type": kind, "text": "", "thinking": ""}
    return frame({"type": "content_block_start", "index": index, "content_block": block})


def closed(index: int) -> bytes:
    return frame({"type": "content_block_stop", "index": index})


_SAID = st.sampled_from(
    [
        {"type": kind, field: text}
        for kind, field in (
            ("text_delta", "text"),
            ("thinking_delta", "thinking"),
            ("input_json_delta", "partial_json"),
            ("signature_delta", "signature"),
            ("citations_delta", "citation"),
        )
        for text in ("a", "é", "日\u2028", "", '"', "x" * 90)
    ]
)
_ENDS = st.sampled_from(["\n\n"] * 8 + ["\n\n\n", "\r\n\r\n", "\r\r"])
_BETWEEN = st.sampled_from(
    [b""] * 12 + [b": c\n\n", b"\n\n", b"\n", b"\r", b": c\n", PING, b"id: 3\n", b"event: new\ndata: {}\n\n"]
)


@st.composite
def _streams(draw: st.DrawFn) -> list[bytes]:
    """The frames of an answer, now and then with a fault in it."""
    frames = [START]
    for index in range(draw(st.integers(1, 3))):
        frames.append(opened(index, draw(st.sampled_from(["text", "thinking", "tool_use"]))))
        for said, end, between in draw(st.lists(st.tuples(_SAID, _ENDS, _BETWEEN), max_size=6)):
            frames += [delta(index, said, end), between]
        if draw(st.integers(0, 19)) == 0:
            frames.append(delta(index + 1, {"type": "text_delta", "text": "a"}))
        frames.append(closed(index))
    frames = [one for one in frames + END if one]
    if draw(st.integers(0, 4)) == 0:
        which = draw(st.integers(0, len(frames) - 1))
        where = draw(st.integers(0, len(frames[which]) - 1))
        odd = draw(st.sampled_from([b"\xff", b"\n", b"\r", b'"', b"}", b" "]))
        frames[which] = frames[which][:where] + odd + frames[which][where + 1 :]
    return frames


@st.composite
def _chunks(draw: st.DrawFn) -> list[bytes]:
    """A stream as it is read: by frames, some together, and some cut in the middle."""
    chunks: list[bytes] = []
    for one in draw(_streams()):
        match draw(st.sampled_from(["alone", "alone", "alone", "joined", "cut"])):
            case "joined" if chunks:
                chunks[-1] += one
            case "cut" if len(one) > 1:
                where = draw(st.integers(1, len(one) - 1))
                chunks += [one[:where], one[where:]]
            case _:
                chunks.append(one)
    return chunks


@given(_chunks(), st.sampled_from([[True], [True, False], [False]]), st.sampled_from([150, 400, LONG]))
def test_both_ways_hand_out_the_same(chunks: list[bytes], room: list[bool], limit_bytes: int) -> None:
    short, long = (asyncio.run(relayed(tap, chunks, room, limit_bytes)) for tap in (MessagesTap(), LongWay()))
    assert short == long


def taken(
    chunks: Sequence[bytes], room: Sequence[bool] = (True,), limit_bytes: int = LONG
) -> tuple[int, dict[str, Any]]:
    """How many chunks took the short way, and what was seen; the same as on the long way."""
    tap = Counting()
    seen = asyncio.run(relayed(tap, chunks, room, limit_bytes))
    assert seen == asyncio.run(relayed(LongWay(), chunks, room, limit_bytes))
    return tap.plain, seen


def test_the_deltas_of_an_answer_take_the_short_way_but_for_the_first() -> None:
    plain, seen = taken([START, opened(0), HELLO, HELLO, HELLO, HELLO, closed(0), *END])
    assert plain == 3, "the first one is looked at: it is the first token"
    assert seen["told"][1:] == [opened(0), HELLO, HELLO, HELLO, HELLO, closed(0), END[0], [END[1]]]


def test_a_delta_behind_half_a_frame_is_no_frame_of_its_own() -> None:
    plain, seen = taken([START, opened(0), HELLO, b": half a comment, and ", HELLO, closed(0), *END])
    assert plain == 0
    assert b": half a comment, and " + HELLO in seen["told"]


def test_a_delta_over_the_limit_is_refused() -> None:
    big = delta(0, {"type": "text_delta", "text": "x" * 400})
    plain, seen = taken([START, opened(0), HELLO, big, closed(0), *END], limit_bytes=400)
    assert plain == 0
    assert "larger than 400 bytes" in seen["error"]


@pytest.mark.parametrize("room", [True, False])
def test_a_reader_without_room_holds_the_upstream(room: bool) -> None:
    plain, seen = taken([START, opened(0), HELLO, HELLO, HELLO, closed(0), *END], [room])
    assert plain == 2
    assert seen["holds"] == (0 if room else 6)


def test_it_is_noted_when_a_delta_went_on() -> None:
    """Else an empty delta would be sent into a stream that runs, to keep it alive."""
    _, before = taken([START, opened(0)])
    _, after = taken([START, opened(0), HELLO, HELLO])
    assert after["times"][0] == after["times"][1] == before["times"][1] + 2
