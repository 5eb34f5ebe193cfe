"""An answer played onto a transport: frames are written, steps are done, back-pressure is obeyed and noted."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable

from ezai.lab.mock.journal import Ended, Journal, RequestRecord
from ezai.lab.mock.reply import CUT, HOLD, RESET, TURN, Frame, Framing, Item, Reply, Wait

WRITE_BYTES = 64 * 1024
"""Frames without a step between them leave together, up to this size."""
TURNS = 3
"""A peer in the same process has read after two: one to be told of the bytes, one to read them."""
LATE_S = 1.0
"""A playback later than this gives up catching up."""

_LINGER_NOT = struct.pack("ii", 1, 0)


class Playback:
    """Plays one reply. `over` is called once, with how it ended; after it nothing more is written."""

    def __init__(
        self,
        reply: Reply,
        transport: asyncio.Transport,
        record: RequestRecord,
        journal: Journal,
        over: Callable[[Ended], None],
    ) -> None:
        self.reply = reply
        self._items = reply.items()
        self._transport = transport
        self.record = record
        self._journal = journal
        self._over = over
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.Handle | None = None
        self._due_s = 0.0
        self._is_paused = False
        self._waits_for_peer = False
        self._told_last = False
        self._is_over = False

    def start(self, *, is_paused: bool) -> None:
        """Begin. `is_paused` says that an earlier answer still waits to be read."""
        self._is_paused = is_paused
        self._due_s = self._loop.time()
        self._play()

    def stop(self, ended: Ended) -> None:
        """End it from outside. Idempotent."""
        if not self._is_over:
            self._is_over = True
            if self._timer is not None:
                self._timer.cancel()
            self._over(ended)

    def release(self) -> bool:
        """Go on where it holds; whether it did hold."""
        if not self.record.is_holding:
            return False
        self.record.is_holding = False
        self._due_s = self._loop.time()
        self._timer = self._loop.call_soon(self._play)
        return True

    # Back-pressure.

    def pause_writing(self) -> None:
        """The peer does not read."""
        self._is_paused = True
        self.record.blocked += 1
        self._journal.changed()

    def resume_writing(self) -> None:
        """The peer has read."""
        self._is_paused = False
        if self._waits_for_peer:
            self._waits_for_peer = False
            self._due_s = self._loop.time()
            self._timer = self._loop.call_soon(self._play)

    # Playing.

    def _play(self) -> None:
        """Play until a step says to wait, the peer does not read, or a fair share is written."""
        self._timer = None
        if self._is_paused:
            self._waits_for_peer = True
            return
        parts: list[bytes] = []
        size_bytes = 0
        for item in self._items:
            if isinstance(item, Frame):
                parts.append(item.data)
                size_bytes += len(item.data)
                self._note(item)
                if size_bytes < WRITE_BYTES:
                    continue
                self._write(parts, size_bytes)
                self._timer = self._loop.call_soon(self._play)
                return
            self._write(parts, size_bytes)
            size_bytes = 0
            if not self._do(item):
                return
        self._write(parts, size_bytes)
        self.stop(Ended.WHOLE if self._told_last or self.reply.framing is Framing.NONE else Ended.CUT)

    def _note(self, frame: Frame) -> None:
        record = self.record
        if frame.whole:
            record.events += 1
            record.tokens += frame.tokens
            if frame.usage is not None:
                record.usage = frame.usage
            if frame.last:
                self._told_last = True

    def _write(self, parts: list[bytes], size_bytes: int) -> None:
        if parts:
            self.record.written_bytes += size_bytes
            self._transport.write(parts[0] if len(parts) == 1 else b"".join(parts))
            parts.clear()
            self._journal.changed()

    def _do(self, step: Item) -> bool:
        """Do one step; whether playing goes on at once."""
        if isinstance(step, Wait):
            return self._wait(step.seconds)
        if step is TURN:
            self._turn(TURNS)
        elif step is HOLD:
            self.record.is_holding = True
            self._journal.changed()
        elif step is CUT:
            self._transport.close()
            self.stop(Ended.CUT)
        elif step is RESET:
            reset(self._transport)
            self.stop(Ended.RESET)
        return False

    def _wait(self, seconds: float) -> bool:
        now_s = self._loop.time()
        self._due_s = max(self._due_s + seconds, now_s - LATE_S)
        if self._due_s <= now_s:
            return True
        self._timer = self._loop.call_at(self._due_s, self._play)
        return False

    def _turn(self, left: int) -> None:
        self._timer = self._loop.call_soon(self._turn, left - 1) if left else self._loop.call_soon(self._play)


def reset(transport: asyncio.Transport) -> None:
    """Close with a TCP reset."""
    if (sock := transport.get_extra_info("socket")) is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    transport.abort()
