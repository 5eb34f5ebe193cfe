"""`python -m benchmarks.bodies URL KEY MODEL SHAPE SECONDS`: post large bodies, several at a time.

Prints how many answers were `WHOLE`, and what became of the others.
"""

from __future__ import annotations

import http.client
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count, cycle
from typing import Any
from urllib.parse import urlsplit

import msgspec

WHOLE = "200"
"""How an answer is told that is as it should be."""
AT_A_TIME = 4
SIZES = (64 * 1024, 1024 * 1024, 4 * 1024 * 1024, 4 * 1024 * 1024)
"""Of the bodies that each of them posts in turn."""

Message = dict[str, Any]


def files() -> Iterator[Message]:
    """What grows large in practice: a conversation in which files are read. A message is about 8 KB, or a line."""
    lines = "\n".join(
        f'{line:4}  def step_{line}(self, value: "Größe") -> str: return "\\t{line}"' for line in range(110)
    )
    for number in count():
        told = [{"type": "text", "text": f"This is src/file_{number}.py:"}, {"type": "text", "text": lines}]
        yield {"role": "user", "content": told}
        yield {"role": "assistant", "content": [{"type": "text", "text": "I look at the next file."}]}


def small_talk() -> Iterator[Message]:
    """As many values as a body can reasonably hold: a message is about 50 bytes."""
    for number in count():
        role = "assistant" if number % 2 else "user"
        yield {"role": role, "content": [{"type": "text", "text": f"Word {number}."}]}


SHAPES: dict[str, Callable[[], Iterator[Message]]] = {"files": files, "talk": small_talk}


def body(model: str, shape: str, size_bytes: int) -> bytes:
    """A request of about that size, and not more."""
    messages: list[Message] = []
    room = size_bytes - 200 - len(model)
    for message in SHAPES[shape]():
        room -= len(msgspec.json.encode(message)) + 1
        if room < 0:
            break
        messages.append(message)
    if messages[-1]["role"] == "assistant":
        messages.pop()
    return msgspec.json.encode({"model": model, "max_tokens": 16, "stream": True, "messages": messages})


def main(url: str, key: str, model: str, shape: str, seconds: float) -> dict[str, int]:
    """Post until the time is over; returns how many answers were what: `WHOLE`, another status, or broken off."""
    bodies = [body(model, shape, size_bytes) for size_bytes in SIZES]
    until_s = time.monotonic() + seconds
    ends: list[str] = []
    threads = [
        threading.Thread(target=_post, args=(url, key, bodies[turn:] + bodies[:turn], until_s, ends))
        for turn in range(AT_A_TIME)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {end: ends.count(end) for end in set(ends)}


def _post(url: str, key: str, bodies: list[bytes], until_s: float, ends: list[str]) -> None:
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
    headers = {"x-api-key": key, "anthropic-version": "2023-06-01", "content-type": "application/json"}
    for data in cycle(bodies):
        if time.monotonic() >= until_s:
            break
        try:
            connection.request("POST", "/v1/messages", data, headers)
            response = connection.getresponse()
            ends.append(_end(response.status, response.read()))
        except (OSError, http.client.HTTPException) as error:
            ends.append(f"badly ({type(error).__name__})")
            break
    connection.close()


def _end(status: int, answer: bytes) -> str:
    is_broken = status == http.HTTPStatus.OK and b'"message_stop"' not in answer
    return f"{status}, broken off" if is_broken else str(status)


if __name__ == "__main__":
    url, key, model, shape, seconds = sys.argv[1:]
    sys.stdout.buffer.write(msgspec.json.encode(main(url, key, model, shape, float(seconds))))
