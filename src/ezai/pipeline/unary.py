"""A unary answer: whole before any of it is told, so a break at any place leaves the next target to be asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from ezai.errors import UpstreamMalformed
from ezai.pipeline import ending
from ezai.pipeline.attempts import Attempt
from ezai.pipeline.relay import Relay
from ezai.pipeline.waiting import DeadlinePassed, Waiter
from ezai.protocol.anthropic.answers import read_answer
from ezai.protocol.anthropic.events import MessagesEvent
from ezai.protocol.anthropic.fold import Fold
from ezai.protocol.end import Cause, End


class WholeAnswer(NamedTuple):
    """The body as the client gets it, and the end to settle."""

    body: bytes
    end: End


async def ask_whole(attempt: Attempt, waiter: Waiter) -> WholeAnswer:
    """Ask for a whole answer. Raises the `RequestError` of whatever came instead, and `Interrupted`."""
    return await (_tapped(attempt, waiter) if attempt.taps else _folded(attempt, waiter))


async def _tapped(attempt: Attempt, waiter: Waiter) -> WholeAnswer:
    """That of an upstream of the client's dialect is its body, byte for byte."""
    body = await attempt.open_unary(waiter)
    try:
        told = read_answer(body)
    except UpstreamMalformed as problem:
        raise attempt.error_told_in(body) or problem from None
    return WholeAnswer(body, End(Cause.FINISHED, told.usage, told.usage_source, told.stop_reason))


async def _folded(attempt: Attempt, waiter: Waiter) -> WholeAnswer:
    """That of a translated upstream is the fold of its stream."""
    folding = Fold()
    batch = await attempt.open_stream(waiter)
    relay = attempt.relay
    assert relay is not None, "the stream is open"
    while batch:
        for event in batch:
            folding.feed(event)
        batch = () if relay.over else await _next_batch(attempt, relay, waiter)
    return WholeAnswer(msgspec.json.encode(folding.result()), ending.whole(relay))


async def _next_batch(attempt: Attempt, relay: Relay, waiter: Waiter) -> Sequence[MessagesEvent]:
    """The next events, with the phases watched but nobody kept fed."""
    while True:
        try:
            batch = await waiter.wait(relay.read(), until=attempt.next_deadline())
        except DeadlinePassed:
            attempt.check_phases()
        else:
            relay.listen_again()
            if batch:
                return batch
