"""What the dialects have in common, and what a fault needs to know of one.

Everything is written here without the gateway's own encoders: a mistake in those would otherwise be on both sides of a
test, and cancel out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count, pairwise
from typing import Any, Protocol

import msgspec

from ezai.lab.mock.asked import Asked, HttpRequest
from ezai.lab.mock.behaviour import Behaviour
from ezai.lab.mock.reply import BODY, Frame
from ezai.protocol.sse import SseDecoder, parse_frame

Headers = list[tuple[bytes, bytes]]

JSON_TYPE = b"application/json"
STREAM_TYPE = b"text/event-stream; charset=utf-8"

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder().decode


class Wire(Protocol):
    """One dialect."""

    name: str
    kinds: tuple[str, ...]
    """Of the events of its well-behaved streams."""

    def events(self, asked: Asked) -> Iterator[Frame]:
        """The events of a well-behaved stream."""

    def whole(self, asked: Asked) -> dict[str, Any]:
        """A well-behaved unary answer."""

    def models(self, names: list[str]) -> dict[str, Any]:
        """The list of models."""

    def model(self, name: str) -> dict[str, Any]:
        """One model of the list."""

    def check(self, asked: Asked) -> None:
        """Raises `Refused` for a request that no server of this dialect would take."""

    def headers(self, request_id: str) -> Headers:
        """What stands on every answer."""

    def error_body(self, kind: str, message: str, request_id: str) -> bytes:
        """The body of an error answer."""

    def error_type(self, status: int) -> str:
        """The type of an error that fits a status."""

    def error_event(self, kind: str, message: str, request_id: str) -> Frame:
        """An error inside a stream."""

    def is_text(self, frame: Frame) -> bool:
        """Whether an event carries a token of text."""

    def text_event(self, asked: Asked, text: str) -> Frame:
        """One more piece of text."""

    def unknown_event(self, asked: Asked) -> Frame:
        """An event of a name that no client knows."""

    def unknown_delta(self, asked: Asked) -> Frame:
        """A delta of a kind that no client knows."""


# The text.


def text_pieces(asked: Asked) -> Iterator[str]:
    """The text of an answer, token by token: "0 ", "1 ", "2 ", ... or what the behaviour says."""
    behaviour = asked.behaviour
    if behaviour.text:
        yield from _pieces(behaviour.text, token_count(asked))
        return
    mark = asked.mark
    numbers = count() if behaviour.endless and asked.body.stream else range(token_count(asked))
    for number in numbers:
        yield f"{mark}{number} ".ljust(behaviour.token_bytes)


def token_count(asked: Asked) -> int:
    """How many tokens of text a whole answer has."""
    behaviour = asked.behaviour
    wanted = min(behaviour.tokens, len(behaviour.text)) if behaviour.text else behaviour.tokens
    limit = asked.token_limit
    return wanted if limit is None else min(wanted, limit)


def is_cut_by_limit(asked: Asked) -> bool:
    """Whether the client's limit made the text shorter than it would be."""
    behaviour = asked.behaviour
    wanted = min(behaviour.tokens, len(behaviour.text)) if behaviour.text else behaviour.tokens
    return token_count(asked) < wanted


def output_tokens(behaviour: Behaviour, asked: Asked) -> int:
    """What a whole answer costs."""
    return behaviour.thinking + token_count(asked) + behaviour.tools * behaviour.tool_fragments


def thinking_pieces(asked: Asked) -> list[str]:
    """The thinking, token by token."""
    return [f"thought {number}. " for number in range(asked.behaviour.thinking)]


def tool_arguments(asked: Asked, call: int) -> str:
    """The arguments of one tool call: the same for the same call, and of some length."""
    words = " ".join(str(number) for number in range(10))
    return encode({"call": call, "query": f"{asked.mark}{words}"}).decode()


def fragments(text: str, asked: Asked) -> list[str]:
    """Arguments in the pieces they come in."""
    return _pieces(text, asked.behaviour.tool_fragments)


def _pieces(text: str, pieces: int) -> list[str]:
    """Text in so many pieces of nearly one size, none of them empty as long as the text reaches."""
    if not pieces:
        return []
    ends = [len(text) * place // pieces for place in range(pieces + 1)]
    return [text[start:end] for start, end in pairwise(ends)]


# Frames, and changing what they say.


def payload(frame: Frame) -> Any:
    """The decoded JSON of an event or a body; None where it has none."""
    data = frame.data if frame.kind == BODY else parse_frame(frame.data)[1]
    try:
        return decode(data) if data else None
    except msgspec.DecodeError:
        return None


def with_payload(frame: Frame, value: Any) -> Frame:
    """The same event saying something else."""
    data = encode(value)
    if frame.kind == BODY:
        return frame.with_data(data)
    name, _ = parse_frame(frame.data)
    return frame.with_data(b"event: %b\ndata: %b\n\n" % (name, data) if name else b"data: %b\n\n" % data)


def changed(frame: Frame, change: Callable[[Any], Any]) -> Frame:
    """The same event after a change of its payload; itself where it has none."""
    value = payload(frame)
    return frame if value is None else with_payload(frame, change(value))


def recorded(recording: bytes, kind_of: Callable[[Frame], str]) -> Iterator[Frame]:
    """The events of a recorded stream; what stands behind the last blank line comes last, as it is."""
    decoder = SseDecoder(limit_bytes=len(recording))
    for data in decoder.feed(recording):
        frame = Frame(data, "")
        frame.kind = kind_of(frame)
        yield frame
    if tail := decoder.close():
        frame = Frame(tail, "tail")
        frame.whole = False
        yield frame


def wants_openai(request: HttpRequest) -> bool:
    """Which dialect a request without one of its own, such as `GET /v1/models`, is in."""
    agent = request.header(b"user-agent") or b""
    names = {name for name, _ in request.headers}
    return not (names & {b"anthropic-version", b"x-api-key"} or agent.startswith((b"claude-code/", b"Anthropic")))
