"""Putting something behind or instead of an event: what most faults are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ezai.lab.mock.reply import Frame, Item, Items
from ezai.lab.mock.values import Where


def after(items: Items, where: Where, *inserted: Item) -> Items:
    """The items, and behind the event the inserted ones."""
    if where.at_start:
        yield from inserted
    for item in items:
        yield item
        if isinstance(item, Frame) and where.hits(item):
            yield from inserted


def instead(items: Items, where: Where, replace: Callable[[Frame], Iterable[Item]]) -> Items:
    """The items, and in the event's place what it is replaced by."""
    for item in items:
        if isinstance(item, Frame) and where.hits(item):
            yield from replace(item)
        else:
            yield item


def each(items: Items, replace: Callable[[Frame], Frame]) -> Items:
    """The items, every event changed."""
    for item in items:
        yield replace(item) if isinstance(item, Frame) else item


def until(items: Items, where: Where, *inserted: Item) -> Items:
    """The items up to the event and with it, and behind it the inserted ones."""
    if where.at_start:
        yield from inserted
        return
    for item in items:
        yield item
        if isinstance(item, Frame) and where.hits(item):
            yield from inserted
            return
