"""Stalls, cuts and resets after, or inside, an event. Events are counted as in the answer without faults."""

from __future__ import annotations

from collections.abc import Iterable

from ezai.lab.mock.asked import Asked
from ezai.lab.mock.faults.placing import after, instead, until
from ezai.lab.mock.reply import CUT, HOLD, RESET, TURN, Frame, Item, Items, Step, Wait
from ezai.lab.mock.values import At, Where


def stall_after(items: Items, where: Where, _asked: Asked) -> Items:
    """Silence; `Mock.release` ends it."""
    return after(items, where, HOLD)


def stall_in(items: Items, place: At[int], _asked: Asked) -> Items:
    """Silence inside an event; after a release, the rest of it."""

    def parted(frame: Frame) -> Iterable[Item]:
        some = _some(frame, place.value)
        return [some, HOLD, frame.with_data(frame.data[len(some.data) :])]

    return instead(items, place.where, parted)


def pause_after(items: Items, place: At[float], _asked: Asked) -> Items:
    """Silence for a time."""
    return after(items, place.where, Wait(place.value))


def end_after(items: Items, where: Where, _asked: Asked) -> Items:
    """The HTTP answer ends as it should, the message does not."""
    return until(items, where)


def end_in(items: Items, place: At[int], _asked: Asked) -> Items:
    """The same inside an event."""
    return until(instead(items, place.where, lambda frame: [_some(frame, place.value)]), place.where)


def cut_after(items: Items, where: Where, _asked: Asked) -> Items:
    """A clean close (FIN); with chunks or a length, the framing is left open."""
    return after(items, where, TURN, CUT)


def cut_in(items: Items, place: At[int], _asked: Asked) -> Items:
    """The same inside an event, and inside the chunk that holds it."""
    return _broken_in(items, place, CUT)


def reset_after(items: Items, where: Where, _asked: Asked) -> Items:
    """A TCP reset."""
    return after(items, where, TURN, RESET)


def reset_in(items: Items, place: At[int], _asked: Asked) -> Items:
    """The same inside an event."""
    return _broken_in(items, place, RESET)


def _broken_in(items: Items, place: At[int], step: Step) -> Items:
    def broken(frame: Frame) -> Iterable[Item]:
        return [_some(frame, place.value), TURN, step]

    return instead(items, place.where, broken)


def _some(frame: Frame, size_bytes: int) -> Frame:
    """So many bytes of an event, or half of it."""
    return frame.part(frame.data[: size_bytes or len(frame.data) // 2])
