"""Asking a gateway: the interface that any client has."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from urllib.parse import quote

import msgspec

from ezai.errors import SetupError, UpstreamError, UpstreamUnreachable
from ezai.ports import Exchange, Headers, Timeouts, UpstreamRequest
from ezai.protocol.anthropic import events
from ezai.protocol.anthropic.events import MessagesEvent, read_event
from ezai.protocol.sse import SseDecoder
from ezai.system import SystemClock
from ezai.upstreams.http import HttpClient

MAX_TOKENS = 4096
TIMEOUTS = Timeouts(idle=60)


class Price(msgspec.Struct, frozen=True):
    """USD per million tokens."""

    input: float
    output: float


class Model(msgspec.Struct, frozen=True):
    """A model as /v1/models has it."""

    id: str
    price: Price | None = None


class _Listed(msgspec.Struct, frozen=True):
    data: list[Model]


async def connect(base_url: str, credential: str) -> HttpClient:
    """A client for the gateway. Raises `SetupError` for what is no URL; nobody is asked yet."""
    try:
        return HttpClient(base_url, SystemClock(), headers=_headers(credential))
    except ValueError as error:
        raise SetupError(f"{base_url!r} is no URL that can be asked ({error}); give --url http://HOST:PORT.") from None


async def choose_model(client: HttpClient, base_url: str, name: str | None) -> Model:
    """The model of that name, whether or not it is listed; without one, the first that is.

    The gateway is asked in any case: it shows whether anybody is there. Raises `SetupError` when nobody is, or no
    gateway; `UpstreamError` with the words of one that refuses.
    """
    try:
        if name is None:
            return await _first_model(client)
        status, body = await _get(client, f"/v1/models/{quote(name, safe='')}")
    except UpstreamUnreachable:
        raise SetupError(
            f"Nothing answers at {base_url}: start the gateway with `ezai serve`, or give --url."
        ) from None
    try:
        return Model(name, msgspec.json.decode(_accepted(status, body), type=Model).price)
    except (msgspec.DecodeError, UpstreamError):
        if status in {200, 400, 404}:  # a name that only a route's pattern knows: what it costs is not told
            return Model(name)
        raise


async def _first_model(client: HttpClient) -> Model:
    status, body = await _get(client, "/v1/models?limit=1")
    try:
        listed = msgspec.json.decode(_accepted(status, body), type=_Listed).data
    except msgspec.DecodeError:
        raise SetupError("What answers there lists no models as a gateway does; is it one? Look at --url.") from None
    if not listed:
        raise SetupError("The gateway lists no model; name one with --model.")
    return listed[0]


@asynccontextmanager
async def open_answer(
    client: HttpClient, model: str, messages: list[dict[str, str]]
) -> AsyncIterator[AsyncIterator[MessagesEvent]]:
    """The events of a streamed answer, to the last. Leaving the block early stops the model.

    Raises `UpstreamError` when the answer is refused, or when the stream ends without its end.
    """
    body = {"model": model, "max_tokens": MAX_TOKENS, "stream": True, "messages": messages}
    asked = UpstreamRequest("POST", "/v1/messages", (), msgspec.json.encode(body))
    with _named_gateway():
        exchange = await client.open(asked, TIMEOUTS)
    try:
        if exchange.status != 200:
            _refuse(model, exchange.status, await _whole(exchange))
        yield _events(exchange)
    finally:
        await exchange.aclose()


async def _events(exchange: Exchange) -> AsyncIterator[MessagesEvent]:
    decoder = SseDecoder()
    chunks = aiter(exchange.chunks())
    while True:
        with _named_gateway():
            chunk = await anext(chunks, None)
        if chunk is None:
            raise UpstreamError("The gateway's stream ended without its end.")
        for frame in decoder.feed(chunk):
            event = read_event(frame)
            yield event
            if event.kind == events.MESSAGE_STOP:
                return


@contextmanager
def _named_gateway() -> Iterator[None]:
    """What the client says of its upstream is said of the gateway: here that is who it talks to."""
    try:
        yield
    except UpstreamUnreachable:
        raise UpstreamError("The gateway does not answer any more; start it again with `ezai serve`.") from None
    except UpstreamError as error:
        raise UpstreamError(str(error).replace("The upstream", "The gateway")) from None


async def _get(client: HttpClient, target: str) -> tuple[int, bytes]:
    exchange = await client.open(UpstreamRequest("GET", target, (), b""), TIMEOUTS)
    try:
        return exchange.status, await _whole(exchange)
    finally:
        await exchange.aclose()


async def _whole(exchange: Exchange) -> bytes:
    return b"".join([chunk async for chunk in exchange.chunks()])


def _accepted(status: int, body: bytes) -> bytes:
    """The body of a 200. Raises `UpstreamError` with the gateway's own words for any other."""
    if status == 200:
        return body
    try:
        message: Any = msgspec.json.decode(body)["error"]["message"]
    except (msgspec.DecodeError, KeyError, TypeError):
        message = f"status {status}"
    raise UpstreamError(str(message))


def _refuse(model: str, status: int, body: bytes) -> None:
    try:
        _accepted(status, body)
    except UpstreamError as error:
        if str(error) == f"model: {model}":  # the reference's words for one that is not there
            raise UpstreamError(f"The gateway has no model {model!r}; name another with --model.") from None
        raise


def _headers(credential: str) -> Headers:
    fields = [
        (b"content-type", b"application/json"),
        (b"anthropic-version", b"2023-06-01"),
        (b"user-agent", b"ezai-chat"),
    ]
    return [*fields, (b"x-api-key", credential.encode())] if credential else fields
