"""What events hold: garbage, floods, bombs, absurd usage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ezai.lab.mock import wire
from ezai.lab.mock.asked import Asked
from ezai.lab.mock.faults.placing import after, each, instead, until
from ezai.lab.mock.reply import BODY, Frame, Items
from ezai.lab.mock.values import At, Where
from ezai.protocol.sse import parse_frame

_FLOOD_LINES = 1000
"""Lines that leave as one piece; nobody counts pieces of a flood."""
_LINE_PIECE_BYTES = 64 * 1024

Usage = dict[str, Any]


def garbage(items: Items, where: Where, _asked: Asked) -> Items:
    """The event's data is not JSON: it breaks off in the middle."""

    def broken(frame: Frame) -> Iterable[Frame]:
        name, data = (b"", frame.data) if frame.kind == BODY else parse_frame(frame.data)
        half = (data or b"")[: len(data or b"") // 2]
        if frame.kind == BODY:
            return [frame.with_data(half)]
        return [frame.with_data((b"event: %b\n" % name if name else b"") + b"data: %b\n\n" % half)]

    return instead(items, where, broken)


def in_string(inserted: bytes) -> Callable[[Items, Where, Asked], Items]:
    """These bytes inside the last string of the event."""

    def spoiled(frame: Frame) -> Iterable[Frame]:
        head, quote, rest = frame.data.rpartition(b'"')
        return [frame.with_data(head + inserted + quote + rest)]

    def stage(items: Items, where: Where, _asked: Asked) -> Items:
        return instead(items, where, spoiled)

    return stage


def unnamed(items: Items, _on: bool, _asked: Asked) -> Items:
    """No event has its `event:` line."""
    return each(items, lambda frame: frame.with_data(b"data: " + (parse_frame(frame.data)[1] or b"") + b"\n\n"))


def error_after(items: Items, place: At[str], asked: Asked) -> Items:
    """An error inside the stream, and its end."""
    behaviour = asked.behaviour
    kind = place.value or behaviour.error_type or asked.wire.error_type(529)
    message = behaviour.error_message or "The mock broke off."
    return until(items, place.where, asked.wire.error_event(kind, message, asked.request_id))


def unknown_event(items: Items, where: Where, asked: Asked) -> Items:
    """One event more, of a name that no client knows."""
    return after(items, where, asked.wire.unknown_event(asked))


def unknown_delta(items: Items, where: Where, asked: Asked) -> Items:
    """One delta more, of a kind that no client knows."""
    return after(items, where, asked.wire.unknown_delta(asked))


def huge_event(items: Items, size_bytes: int, asked: Asked) -> Items:
    """One piece of text of this size before the others."""
    return _before_text(items, asked, lambda: iter([asked.wire.text_event(asked, "a" * (size_bytes - 1) + " ")]))


def long_line(items: Items, size_bytes: int, asked: Asked) -> Items:
    """A comment line of this size before the text: no line end comes for so long."""
    return _before_text(items, asked, lambda: _line(size_bytes))


def lines(line: bytes) -> Callable[[Items, int, Asked], Items]:
    """So many of this line before the text."""

    def flood(count: int) -> Iterator[Frame]:
        for start in range(0, count, _FLOOD_LINES):
            yield _no_event(line * min(_FLOOD_LINES, count - start))

    def stage(items: Items, count: int, asked: Asked) -> Items:
        return _before_text(items, asked, lambda: flood(count))

    return stage


def index_gap(items: Items, where: Where, _asked: Asked) -> Items:
    """From this event on, block indexes are one too high."""
    is_past = where.at_start

    def moved(frame: Frame) -> Frame:
        nonlocal is_past
        is_past = is_past or where.hits(frame)
        return wire.changed(frame, _index_raised) if is_past else frame

    return each(items, moved)


def usage(items: Items, kind: str, _asked: Asked) -> Items:
    """Usage that no answer can have."""
    change = _USAGES[kind]
    for item in items:
        if not isinstance(item, Frame) or item.usage is None:
            yield item
            continue
        if kind == "shrinking" and item.kind not in {"message_start", BODY}:
            yield _with_usage(item, _grown(item.usage))
        yield _with_usage(item, change(item.usage))


def _before_text(items: Items, asked: Asked, inserted: Callable[[], Iterator[Frame]]) -> Items:
    is_due = True
    for item in items:
        if is_due and isinstance(item, Frame) and asked.wire.is_text(item):
            is_due = False
            yield from inserted()
        yield item


def _line(size_bytes: int) -> Iterator[Frame]:
    yield _no_event(b":")
    for start in range(1, size_bytes, _LINE_PIECE_BYTES):
        yield _no_event(b"a" * min(_LINE_PIECE_BYTES, size_bytes - start))
    yield _no_event(b"\n\n")


def _no_event(data: bytes) -> Frame:
    frame = Frame(data, "flood")
    frame.whole = False
    return frame


def _index_raised(payload: Any) -> Any:
    return {**payload, "index": payload["index"] + 1} if "index" in payload else payload


def _with_usage(frame: Frame, stated: Usage | None) -> Frame:
    """The same event stating other usage, or none at all."""

    def put(payload: Any) -> Any:
        holder = payload.get("message", payload)
        without = {name: value for name, value in holder.items() if name != "usage"}
        holder = without if stated is None else {**without, "usage": stated}
        return {**payload, "message": holder} if "message" in payload else holder

    frame = wire.changed(frame, put)
    frame.usage = stated
    return frame


def _counts(change: Callable[[int], object]) -> Callable[[Usage], Usage | None]:
    """Every count changed."""
    return lambda stated: {name: change(value) if isinstance(value, int) else value for name, value in stated.items()}


def _grown(stated: Usage) -> Usage:
    grown = _counts(lambda count: count * 10)(stated)
    assert grown is not None
    return grown


_USAGES: dict[str, Callable[[Usage], Usage | None]] = {
    "negative": _counts(lambda count: -count - 1),
    "huge": _counts(lambda _count: 10**18),
    "float": _counts(lambda count: count + 0.5),
    "text": _counts(lambda _count: "many"),
    "null": _counts(lambda _count: None),
    "missing": lambda _stated: None,
    "shrinking": _counts(lambda count: count),
}
USAGE_KINDS = tuple(_USAGES)
