"""An upstream's bytes as checked Messages events: the inner loop of the product."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from ezai.errors import RequestError, UpstreamTruncated
from ezai.protocol.anthropic.events import MessagesEvent
from ezai.protocol.anthropic.order import StreamState
from ezai.protocol.sse import SseDecoder
from ezai.translate.base import StreamTranslator


class Relay:
    """Reads one upstream stream to its end.

    Every event that `read` returns has passed the table of legal orders. `received_bytes` grows with what arrives,
    whatever it holds: the measure of an upstream that is alive.
    """

    __slots__ = ("_chunks", "_decoder", "_fault", "_hung_up", "received_bytes", "state", "translator")

    def __init__(self, chunks: AsyncIterator[bytes], translator: StreamTranslator, event_limit_bytes: int) -> None:
        self._chunks = chunks
        self._decoder = SseDecoder(event_limit_bytes)
        self._fault: RequestError | None = None
        self._hung_up = False
        self.translator = translator
        self.state = StreamState()
        self.received_bytes = 0

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
        self._chunks = _silence()

    async def read(self) -> Sequence[MessagesEvent]:
        """The events of the next read that holds any, in order.

        Empty once the stream is over, and when the upstream told its end (`translator.told_end`) with no event in it.

        Raises the `RequestError` that broke the stream, after every event before it has been returned. Cancelling
        it loses nothing: it only waits for bytes.
        """
        told_end = self.translator.told_end
        while not self.over:
            if self._fault is not None:
                raise self._fault
            try:
                chunk = await anext(self._chunks)
            except StopAsyncIteration:
                batch = self._close(UpstreamTruncated("The upstream's stream ended inside an event."))
            except UpstreamTruncated as broken:
                batch = self._close(broken)
            else:
                self.received_bytes += len(chunk)
                batch = self._process(chunk)
            if batch or self.translator.told_end is not told_end:
                return batch
        return ()

    def _process(self, chunk: bytes) -> list[MessagesEvent]:
        batch: list[MessagesEvent] = []
        try:
            for frame in self._decoder.feed(chunk):
                self._check(self.translator.feed(self.translator.read(frame)), batch)
                if self.over:
                    break
        except RequestError as fault:
            self._fault = fault
        return batch

    def _close(self, broken: UpstreamTruncated) -> list[MessagesEvent]:
        """The body ended, cleanly or not. That is the end of the stream only if the stream had told it.

        A broken connection after the last event has lost nothing (row U16).
        """
        batch: list[MessagesEvent] = []
        try:
            self._check(self.translator.close(), batch)
        except RequestError as fault:
            self._fault = broken if self._decoder.close().strip() else fault
        else:
            if not self.over:
                self._fault = broken
        return batch

    def _check(self, events: Sequence[MessagesEvent], batch: list[MessagesEvent]) -> None:
        for event in events:
            self.state.process(event)
            batch.append(event)
            if self.state.over:
                return


async def _silence() -> AsyncIterator[bytes]:
    """The chunks of nobody."""
    for chunk in list[bytes]():
        yield chunk
