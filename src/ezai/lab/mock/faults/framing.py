"""Lengths and chunks that lie; pieces; cuts at a byte. These work on the bytes as they go out, head and framing too."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import TypeGuard

from ezai.lab.mock.asked import Asked
from ezai.lab.mock.faults.placing import instead
from ezai.lab.mock.reply import CUT, HEAD, INTERIM, RESET, TAIL, TURN, Frame, Framing, Item, Items, Reply, Step, Wait
from ezai.lab.mock.values import Where

_LENGTH = re.compile(rb"content-length: (\d+)")
_HEAD = Where(kind=HEAD)


def content_length(reply: Reply, kind: str, _asked: Asked) -> None:
    """A Content-Length that is wrong, missing a digit's worth of sense, or beside chunks."""
    if kind != "beside_chunks":
        reply.framing = Framing.LENGTH
    reply.wire_stages.append(lambda items: _head_rewritten(items, _LENGTHS[kind]))


def chunk_size(change: Callable[[bytes, int], bytes]) -> Callable[[Items, Where, Asked], Items]:
    """The chunk of one event, its size line made by `change` from the true one and the size."""

    def rewrite(frame: Frame) -> Iterable[Item]:
        size, end, data = frame.data.partition(b"\r\n")
        yield frame.with_data(change(size, int(size, 16)) + end + data)

    def stage(items: Items, where: Where, _asked: Asked) -> Items:
        return instead(items, where, rewrite)

    return stage


def bad_trailer(items: Items, _on: bool, _asked: Asked) -> Items:
    """What stands behind the last chunk is no trailer."""
    for item in items:
        if isinstance(item, Frame) and item.kind == TAIL:
            yield item.with_data(b"0\r\nthis is no trailer\r\n\r\n")
        else:
            yield item


def no_last_chunk(items: Items, _on: bool, _asked: Asked) -> Items:
    """Every event comes, but the framing is not ended: a clean close stands in the last chunk's place."""
    for item in items:
        yield CUT if isinstance(item, Frame) and item.kind == TAIL else item


def split(items: Items, offsets: tuple[int, ...], asked: Asked) -> Items:
    """The body leaves in pieces that end at these offsets."""
    return _in_pieces(items, lambda start, end: [offset for offset in offsets if start < offset < end], asked)


def slices(items: Items, size_bytes: int, asked: Asked) -> Items:
    """The whole answer, head too, leaves in pieces of this size."""
    size_bytes = max(1, size_bytes)
    pause = _pause(asked)
    for item in items:
        if not isinstance(item, Frame):
            yield item
            continue
        for start in range(0, len(item.data), size_bytes):
            piece = item.data[start : start + size_bytes]
            is_last = start + size_bytes >= len(item.data)
            yield item.with_data(piece) if is_last else item.part(piece)
            yield pause


def cut_byte(items: Items, offset: int, _asked: Asked) -> Items:
    """A clean close after so many bytes of the body, as it goes out."""
    return _ended_at(items, offset, CUT)


def reset_byte(items: Items, offset: int, _asked: Asked) -> Items:
    """A reset after so many bytes of the body, as it goes out."""
    return _ended_at(items, offset, RESET)


def longer(_line: bytes, size: int) -> bytes:
    """More than there is."""
    return b"%x" % (size + 5)


def shorter(_line: bytes, size: int) -> bytes:
    """Less than there is."""
    return b"%x" % max(1, size - 5)


def junk(_line: bytes, _size: int) -> bytes:
    """No number."""
    return b"xyz"


def enormous(_line: bytes, _size: int) -> bytes:
    """More than 64 bits hold."""
    return b"f" * 17


_LENGTHS: dict[str, Callable[[bytes], bytes]] = {
    "short": lambda head: _LENGTH.sub(lambda found: b"content-length: %d" % max(0, int(found[1]) - 5), head),
    "long": lambda head: _LENGTH.sub(lambda found: b"content-length: %d" % (int(found[1]) + 5), head),
    "junk": lambda head: _LENGTH.sub(b"content-length: 5x", head),
    "negative": lambda head: _LENGTH.sub(b"content-length: -1", head),
    "twice": lambda head: _LENGTH.sub(rb"content-length: \1\r\ncontent-length: 1", head),
    "beside_chunks": lambda head: head[:-2] + b"content-length: 5\r\n\r\n",
}
LENGTH_KINDS = tuple(_LENGTHS)


def _head_rewritten(items: Items, rewrite: Callable[[bytes], bytes]) -> Items:
    for item in items:
        yield item.with_data(rewrite(item.data)) if isinstance(item, Frame) and item.kind == HEAD else item


def _in_pieces(items: Items, cuts: Callable[[int, int], list[int]], asked: Asked) -> Items:
    position = 0
    for item in items:
        if not _is_body(item):
            yield item
            continue
        start, position = position, position + len(item.data)
        edges = [start, *cuts(start, position), position]
        for left, right in pairwise(edges):
            piece = item.data[left - start : right - start]
            if right == position:
                yield item.with_data(piece)
            else:
                yield item.part(piece)
                yield _pause(asked)


def _ended_at(items: Items, offset: int, step: Step) -> Items:
    left_bytes = offset
    for item in items:
        if not _is_body(item):
            yield item
        elif len(item.data) <= left_bytes:
            left_bytes -= len(item.data)
            yield item
        else:
            yield item.part(item.data[:left_bytes])
            break
    yield TURN
    yield step


def _is_body(item: Item) -> TypeGuard[Frame]:
    return isinstance(item, Frame) and item.kind not in {HEAD, INTERIM}


def _pause(asked: Asked) -> Item:
    seconds = asked.behaviour.piece_delay_s
    return Wait(seconds) if seconds else TURN
