"""One HTTP request and its answer, over ASGI."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from ezai.errors import RequestError, RequestTooLarge
from ezai.pipeline.stream import JSON, Head
from ezai.ports import Headers
from ezai.protocol.anthropic.answers import error_body

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_encode = msgspec.json.Encoder().encode


class ClientLeft(Exception):
    """The client hung up before its request was whole: there is nobody to answer."""


class Exchange:
    """The request as it came and the way to answer it once. Also the `Client` of the pipeline's driver."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.raw_path: bytes = scope["raw_path"]
        self.query: bytes = scope["query_string"]
        self.headers: Headers = scope["headers"]
        self.request_id = request_id
        self.answering = False
        self._receive = receive
        self._send = send

    def header(self, name: bytes) -> str | None:
        """The first value of a header, by its lower-case name."""
        for key, value in self.headers:
            if key == name:
                return value.decode("latin-1")
        return None

    async def body(self, limit_bytes: int) -> bytes:
        """The whole request body. Raises `RequestTooLarge` as soon as it is, `ClientLeft` if it never becomes whole."""
        declared = self.header(b"content-length")
        if declared is not None and declared.isdigit() and int(declared) > limit_bytes:
            raise _too_large(limit_bytes)
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientLeft
            part = message.get("body", b"")
            size += len(part)
            if size > limit_bytes:
                raise _too_large(limit_bytes)
            parts.append(part)
            if not message.get("more_body", False):
                return parts[0] if len(parts) == 1 else b"".join(parts)

    # Answering as a whole.

    async def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole answer."""
        length = (b"content-length", str(len(body)).encode())
        await self._start(status, [*headers, length])
        await self._send({"type": "http.response.body", "body": body})

    async def answer_json(self, value: object, status: int = 200) -> None:
        """Send a value as JSON."""
        await self.answer(status, JSON, _encode(value))

    async def answer_error(self, error: RequestError, *extra: tuple[bytes, bytes]) -> None:
        """Send an error, with its retry advice."""
        await self.answer(error.http_status, [*JSON, *error.headers(), *extra], error_body(error, self.request_id))

    # Answering as the pipeline does: `ezai.pipeline.driver.Client`.

    async def start(self, head: Head) -> None:
        await self._start(head.status, head.headers)

    async def send(self, batch: bytes) -> None:
        await self._send({"type": "http.response.body", "body": batch, "more_body": True})

    async def finish(self) -> None:
        await self._send({"type": "http.response.body", "body": b""})

    async def left(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _start(self, status: int, headers: Headers) -> None:
        self.answering = True
        head = [*headers, (b"request-id", self.request_id.encode())]
        await self._send({"type": "http.response.start", "status": status, "headers": head})


def _too_large(limit_bytes: int) -> RequestTooLarge:
    return RequestTooLarge(f"The request body is larger than {limit_bytes} bytes.")
