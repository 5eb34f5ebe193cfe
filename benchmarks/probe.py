"""`python -m benchmarks.probe HOST PORT SECONDS`: ask /healthz all the time, and print how long each answer took.

The answer's arrival is the kernel's own time stamp, which it takes when the server writes. So it does not matter when
this process is run again: with large bodies on their way its core has other work.
"""

from __future__ import annotations

import socket
import struct
import sys
import time

import msgspec

INTERVAL_S = 0.002
HELD_UP_NS = 1_000_000
"""A question that took longer than this to write is not counted: this process was interrupted in between."""

_SO_TIMESTAMPNS = 35  # linux/asm-generic/socket.h; Python's socket module has no name for it
_END = b"}"
"""Of an answer: its body is one small object."""
_TIMESPEC = struct.Struct("qq")


def main(host: str, port: int, seconds: float) -> list[float]:
    """Milliseconds from each question to its answer."""
    question = b"GET /healthz HTTP/1.1\r\nhost: %b:%d\r\n\r\n" % (host.encode(), port)
    found = []
    with socket.create_connection((host, port), timeout=30) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            asked_ns = time.time_ns()
            sock.sendall(question)
            was_held_up = time.time_ns() - asked_ns > HELD_UP_NS
            answered_ns = _answered_ns(sock)
            if not was_held_up:
                found.append((answered_ns - asked_ns) / 1e6)
            time.sleep(INTERVAL_S)
    return found


def _answered_ns(sock: socket.socket) -> int:
    """Read one answer; returns when the kernel got the last of it."""
    answer, stamp = b"", b""
    while not answer.endswith(_END):
        data, ancillary, _, _ = sock.recvmsg(65536, socket.CMSG_SPACE(_TIMESPEC.size))
        answer += data
        stamps = [value for level, kind, value in ancillary if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS)]
        if not data or not stamps or not answer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"/healthz: {answer[:200]!r} with {len(stamps)} time stamps")
        stamp = stamps[-1]
    seconds, nanoseconds = _TIMESPEC.unpack(stamp[: _TIMESPEC.size])
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))))
