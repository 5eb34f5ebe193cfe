"""An upstream's bytes as checked Messages events: the inner loop of the product."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ezai.errors import RequestError, UpstreamTruncated
from ezai.pipeline.silence import QUIET, is_silence
from ezai.ports import Exchange
from ezai.protocol.anthropic.events import MessagesEvent, brings_content
from ezai.protocol.anthropic.order import StreamState
from ezai.protocol.sse import SseDecoder
from ezai.translate.base import StreamTranslator

Events = Sequence[MessagesEvent]
Push = Callable[[bytes], bool]
"""Sends bytes of whole events at once; returns whether there is room for more."""


class Relay:
    """Reads one upstream stream to its end.

    Every event that it hands out has passed the table of legal orders, or is a plain delta (`feed_plain`), held to the
    same rules. It notes when something came, and when something went on, because that is cheaper here than to call
    whoever has to know; what follows from it is not its business.
    """

    __slots__ = (
        "_decoder",
        "_exchange",
        "_fault",
        "_held",
        "_hung_up",
        "_now",
        "_push",
        "_short_way",
        "first_token_at",
        "handed_on_at",
        "heard_at",
        "state",
        "translator",
    )

    def __init__(
        self, exchange: Exchange, translator: StreamTranslator, event_limit_bytes: int, now: Callable[[], float]
    ) -> None:
        self._exchange = exchange
        self._decoder = SseDecoder(event_limit_bytes)
        self._fault: RequestError | None = None
        self._short_way: Callable[[bytes, StreamState], bool] | None = None  # not for the first token: it is looked at
        self._held: Events = ()
        self._hung_up = False
        self._push: Push | None = None
        self._now = now
        self.translator = translator
        self.state = StreamState()
        self.first_token_at: float | None = None
        """When the first content of the answer came."""
        self.heard_at = now()
        """When bytes came last, whatever they held, or were listened for again: the measure of an upstream's life."""
        self.handed_on_at = self.heard_at
        """When something of the answer was last handed on, or is listened for again; see `silence.is_silence`."""

    @property
    def over(self) -> bool:
        """Whether the stream told its end: nothing follows."""
        return self.state.over

    @property
    def left_early(self) -> bool:
        """Whether the upstream may still be speaking, though the stream is over."""
        return self._hung_up or self.translator.cut_short

    def hang_up(self) -> None:
        """Listen no longer to an upstream that has told its end: the next `read` ends the stream."""
        self._hung_up = True

    def listen_again(self, taken: Events = ()) -> None:
        """The reader has taken these events: the upstream's silence begins now.

        The answer's silence too, unless they are nothing but what an upstream fills one with.
        """
        self.heard_at = self._now()
        if not taken or not is_silence(taken, self.state):
            self.handed_on_at = self.heard_at

    async def read(self, push: Push | None = None) -> Events:
        """The events of the next read that holds any, in order.

        With `push` they are sent by that instead, in the very call that received them and for as long as it has
        room. What is returned then are the events behind those, which are for the caller to look at first: the ones
        that end the stream, or that come before a fault.

        Empty once the stream is over, when `push` has no more room, and when the upstream told its end
        (`translator.told_end`) with no event in it.

        Raises the `RequestError` that broke the stream, after every event before it has been handed out. Cancelling
        it loses nothing: it only waits for bytes, and after a cancellation nothing is pushed.
        """
        self._push = push
        while not self._held and not self.state.over:
            if self._fault is not None:
                raise self._fault
            if await self._pour() and self._fault is None:
                break
        held, self._held = self._held, ()
        return held

    async def _pour(self) -> bool:
        """Returns True when there is something to look at, False when the body has ended, and the stream with it."""
        if self._hung_up:
            self._close(UpstreamTruncated("The upstream was not listened to any longer."))
            return False
        try:
            if await self._exchange.pour(self._take):
                return True
            self._close(UpstreamTruncated("The upstream's stream ended inside an event."))
        except UpstreamTruncated as broken:
            self._close(broken)
        return False

    def _take(self, chunk: bytes) -> bool:
        """The sink that the exchange pours into: returns whether it wants more."""
        self.heard_at = now = self._now()
        push, feed_plain, decoder = self._push, self._short_way, self._decoder
        if (
            push is None
            or feed_plain is None
            or decoder.tail
            or len(chunk) > decoder.limit_bytes
            or not feed_plain(chunk, self.state)
        ):
            return self._take_apart(chunk)
        self.handed_on_at = now  # a delta of a tap, alone in its read: nearly every event comes to here
        if push(chunk):
            return True
        self._exchange.hold()
        return False

    def _take_apart(self, chunk: bytes) -> bool:
        """Take a chunk, whatever it holds."""
        told_end = self.translator.told_end
        batch = self._events_in(chunk)
        if self.first_token_at is None:
            self._look_for_token(batch)
        if self.state.over or self._fault is not None or self.translator.told_end is not told_end:
            self._held = batch
            return False
        if not batch:
            return True
        if self._push is None:
            self._held = batch
            return False
        if batch[-1].kind not in QUIET or not is_silence(batch, self.state):
            self.handed_on_at = self.heard_at
        if self._push(wire(batch)):
            return True
        self._exchange.hold()
        return False

    def _events_in(self, chunk: bytes) -> list[MessagesEvent]:
        """The events that a chunk completes, up to the end of the stream or to a fault, which is noted."""
        translator, state = self.translator, self.state
        batch: list[MessagesEvent] = []
        try:
            for frame in self._decoder.feed(chunk):  # in one piece: it runs for every event of a transform
                for event in translator.feed(translator.read(frame)):
                    state.process(event)
                    batch.append(event)
                    if state.over:
                        return batch
        except RequestError as fault:
            self._fault = fault
        return batch

    def _look_for_token(self, batch: Events) -> None:
        if any(map(brings_content, batch)):
            self.first_token_at = self.heard_at
            self._short_way = self.translator.feed_plain

    def _close(self, broken: UpstreamTruncated) -> None:
        """The body ended, cleanly or not. That is the end of the stream only if the stream had told it.

        A broken connection after the last event has lost nothing (row U16).
        """
        batch: list[MessagesEvent] = []
        try:
            for event in self.translator.close():
                self.state.process(event)
                batch.append(event)
        except RequestError as fault:
            self._fault = broken if self._decoder.close().strip() else fault
        else:
            if not self.over:
                self._fault = broken
        self._held = batch


def wire(events: Events) -> bytes:
    """The bytes of events, as one client is sent them."""
    return b"".join([event.raw or event.wire() for event in events])  # a tapped event is its bytes: no call for it
