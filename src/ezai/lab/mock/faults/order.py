"""Events that are lost, doubled or exchanged: what a load generator has to find, and a gateway to refuse."""

from __future__ import annotations

from ezai.lab.mock.asked import Asked
from ezai.lab.mock.faults.placing import instead
from ezai.lab.mock.reply import Frame, Items
from ezai.lab.mock.values import Where


def drop(items: Items, where: Where, _asked: Asked) -> Items:
    """One event is missing."""
    return instead(items, where, lambda _frame: ())


def repeat(items: Items, where: Where, _asked: Asked) -> Items:
    """One event comes twice."""

    def doubled(frame: Frame) -> tuple[Frame, Frame]:
        again = frame.with_data(frame.data)
        again.number, again.first_of_kind, again.last = 0, False, False
        return frame, again

    return instead(items, where, doubled)


def swap(items: Items, where: Where, _asked: Asked) -> Items:
    """One event comes after the next."""
    held: Frame | None = None
    for item in items:
        if isinstance(item, Frame) and where.hits(item):
            held = item
            continue
        yield item
        if held is not None and isinstance(item, Frame):
            yield held
            held = None
    if held is not None:
        yield held
