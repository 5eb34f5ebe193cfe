"""Fuzz target: the SSE decoder and both dialects' readers.

Whatever the bytes and however they are cut: the same frames, or an error of the tree, and nothing else. What a tap's
short way takes is a delta that the long way takes too, and changes nothing of the state.

    python fuzz/sse.py fuzz/corpus/sse -max_total_time=15
"""

import sys
from contextlib import suppress

import atheris

with atheris.instrument_imports(include=["ezai"]):
    from ezai.errors import UpstreamError
    from ezai.protocol.anthropic.events import BLOCK_DELTA, read_event
    from ezai.protocol.anthropic.order import StreamState
    from ezai.protocol.openai.chunks import read_chunk
    from ezai.protocol.sse import BOM, SseDecoder, parse_frame
    from ezai.translate.anthropic_anthropic import MessagesTap

LIMIT_BYTES = 4096


def frames(stream: bytes, size: int) -> tuple[list[tuple[bytes, bytes | None]], bytes, bool]:
    """The fields of every frame, all frame bytes and the tail, and whether the limit was met."""
    decoder = SseDecoder(LIMIT_BYTES)
    raw: list[bytes] = []
    try:
        for start in range(0, len(stream), size):
            raw += decoder.feed(stream[start : start + size])
    except UpstreamError:
        return [parse_frame(frame) for frame in raw if frame.strip()], b"", True
    return [parse_frame(frame) for frame in raw if frame.strip()], b"".join(raw) + decoder.close(), False


def one_input(data: bytes) -> None:
    """The invariant."""
    if len(data) < 2:
        return
    size, stream = data[0] + 1, data[1:]
    whole, raw, over = frames(stream, max(1, len(stream)))
    cut, cut_raw, cut_over = frames(stream, size)
    if not over and not cut_over:
        assert cut == whole
        assert raw == cut_raw == stream.removeprefix(BOM)
    state = StreamState()
    for frame in SseDecoder().feed(stream):
        with suppress(UpstreamError):
            read_chunk(frame)
        is_plain, before = MessagesTap().feed_plain(frame, state), told(state)
        try:
            event = read_event(frame)
            state.process(event)
        except UpstreamError:
            assert not is_plain
        else:
            assert not is_plain or (event.kind, told(state)) == (BLOCK_DELTA, before)


def told(state: StreamState) -> list[object]:
    """All that a state is."""
    return [getattr(state, name) for name in StreamState.__slots__]


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
