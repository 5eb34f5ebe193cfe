"""`ezai chat`: a terminal conversation with a running gateway, over the same interface as any client."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from ezai import config
from ezai.errors import EzaiError, SetupError, UpstreamError, UpstreamUnreachable
from ezai.ports import Exchange, Headers, Timeouts, UpstreamRequest
from ezai.protocol.anthropic import events
from ezai.protocol.anthropic.events import MessagesEvent, read_event, usage_report
from ezai.protocol.sse import SseDecoder
from ezai.protocol.usage import Usage
from ezai.system import SystemClock
from ezai.upstreams.http import HttpClient

MAX_TOKENS = 2048
TIMEOUTS = Timeouts(idle=60)

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

Write = Callable[[str], object]


def chat(
    config_file: Path | None,
    url: str | None,
    model: str | None,
    prompt: str | None,
    environ: Mapping[str, str] = os.environ,
) -> int:
    """Ask `prompt`, or converse until the end of input. Returns 0, 1 after an answer that broke off, 130 stopped."""
    base_url = url or environ.get("ANTHROPIC_BASE_URL") or _configured_url(config_file, environ)
    with asyncio.Runner() as runner:
        talk = runner.run(_begin(base_url, _credential(environ), model))
        try:
            if prompt is not None:
                return _turn(runner, talk, prompt)
            return _converse(runner, talk)
        finally:
            runner.run(talk.client.aclose())


def _converse(runner: asyncio.Runner, talk: Talk) -> int:
    sys.stderr.write(f"Talking to {talk.model}. Ctrl-C stops an answer, Ctrl-D leaves.\n")
    while True:
        try:
            prompt = input("> ").strip()
        except EOFError:
            return 0
        if prompt:
            _turn(runner, talk, prompt)


def _turn(runner: asyncio.Runner, talk: Talk, prompt: str) -> int:
    """One question and its answer; what was said of an answer that did not end is kept."""
    talk.messages.append({"role": "user", "content": prompt})
    answer = Answer()
    status = 0
    try:
        runner.run(_ask(talk, answer, _to_stdout))
    except KeyboardInterrupt:
        status = 130
        sys.stderr.write("\n[stopped]")
    except EzaiError as error:
        status = 1
        sys.stderr.write(f"\nezai: the answer broke off: {error}" if answer.text else f"ezai: {error}")
    talk.messages.append({"role": "assistant", "content": answer.text}) if answer.text else talk.messages.pop()
    sys.stdout.write("\n")
    sys.stdout.flush()
    sys.stderr.write(f"{answer.summary()}\n" if answer.text else "\n")
    return status


def _to_stdout(text: str) -> None:
    """Text of a model moves no cursor and sets no title: control characters but tab and line feed are left out."""
    sys.stdout.write(_CONTROL.sub("", text))
    sys.stdout.flush()


# Asking.


@dataclass
class Talk:
    """A conversation with one gateway."""

    client: HttpClient
    model: str
    messages: list[dict[str, str]] = field(default_factory=list)


@dataclass
class Answer:
    """What has been said, and how fast. Times are of this end of the line."""

    text: str = ""
    usage: Usage = field(default_factory=Usage)
    asked_at: float = field(default_factory=time.monotonic)
    first_text_at: float | None = None
    last_text_at: float = 0.0

    def add(self, text: str) -> None:
        """More text has come."""
        self.last_text_at = time.monotonic()
        if self.first_text_at is None:
            self.first_text_at = self.last_text_at
        self.text += text

    def summary(self) -> str:
        """Tokens, time to first token, rate."""
        parts = [f"{self.usage.prompt_tokens} tokens in", f"{self.usage.output_tokens} out"]
        if self.first_text_at is not None:
            parts.append(f"first token after {(self.first_text_at - self.asked_at) * 1000:.0f} ms")
            seconds = self.last_text_at - self.first_text_at
            if seconds > 0 and self.usage.output_tokens > 1:
                parts.append(f"{(self.usage.output_tokens - 1) / seconds:.0f} tokens/s")
        return " · ".join(parts)


class _ListedModel(msgspec.Struct, frozen=True):
    id: str


class _Listed(msgspec.Struct, frozen=True):
    data: list[_ListedModel]


async def _begin(base_url: str, credential: str, model: str | None) -> Talk:
    try:
        client = HttpClient(base_url, SystemClock(), headers=_headers(credential))
    except ValueError as error:
        raise SetupError(f"{base_url!r} is no URL that can be asked ({error}); give --url http://HOST:PORT.") from None
    try:
        # Asked in any case: it shows whether anybody is there.
        first = await _first_model(client, required=model is None)
        return Talk(client, model or first)
    except UpstreamUnreachable:
        await client.aclose()
        raise SetupError(
            f"Nothing answers at {base_url}: start the gateway with `ezai serve`, or give --url."
        ) from None
    except BaseException:
        await client.aclose()
        raise


async def _first_model(client: HttpClient, *, required: bool) -> str:
    exchange = await client.open(UpstreamRequest("GET", "/v1/models?limit=1", (), b""), TIMEOUTS)
    try:
        listed = msgspec.json.decode(await _whole(exchange), type=_Listed).data
    except msgspec.DecodeError:
        raise SetupError("What answers there lists no models as a gateway does; is it one? Look at --url.") from None
    finally:
        await exchange.aclose()
    if not listed and required:
        raise SetupError("The gateway lists no model; name one with --model.")
    return listed[0].id if listed else ""


async def _ask(talk: Talk, answer: Answer, write: Write) -> None:
    """Stream one answer into `answer` and `write`. Raises `UpstreamError` when it is refused or breaks off."""
    body = {"model": talk.model, "max_tokens": MAX_TOKENS, "stream": True, "messages": talk.messages}
    asked = UpstreamRequest("POST", "/v1/messages", (), msgspec.json.encode(body))
    exchange = await talk.client.open(asked, TIMEOUTS)
    try:
        if exchange.status != 200:
            await _whole(exchange)
        async for event in _events(exchange):
            _take(event, answer, write)
            if event.kind == events.MESSAGE_STOP:
                return
        raise UpstreamError("the gateway's stream ended without its end")
    finally:
        await exchange.aclose()


def _take(event: MessagesEvent, answer: Answer, write: Write) -> None:
    fields = event.fields
    if fields.delta is not None and isinstance(fields.delta.text, str) and fields.delta.text:
        answer.add(fields.delta.text)
        write(fields.delta.text)
    elif fields.message is not None:
        answer.usage = answer.usage.updated(usage_report(fields.message.usage))
    elif event.kind == events.MESSAGE_DELTA:
        answer.usage = answer.usage.updated(usage_report(fields.usage))
    elif fields.error is not None:
        raise UpstreamError(fields.error.message)


async def _events(exchange: Exchange) -> AsyncIterator[MessagesEvent]:
    decoder = SseDecoder()
    async for chunk in exchange.chunks():
        for frame in decoder.feed(chunk):
            yield read_event(frame)


async def _whole(exchange: Exchange) -> bytes:
    """The body of an answer. Raises `UpstreamError` with the gateway's own words when it is an error."""
    body = b"".join([chunk async for chunk in exchange.chunks()])
    if exchange.status == 200:
        return body
    try:
        message: Any = msgspec.json.decode(body)["error"]["message"]
    except (msgspec.DecodeError, KeyError, TypeError):
        message = f"status {exchange.status}"
    raise UpstreamError(str(message))


def _headers(credential: str) -> Headers:
    fields = [
        (b"content-type", b"application/json"),
        (b"anthropic-version", b"2023-06-01"),
        (b"user-agent", b"ezai-chat"),
    ]
    return [*fields, (b"x-api-key", credential.encode())] if credential else fields


def _credential(environ: Mapping[str, str]) -> str:
    """The key, from where the SDKs take it, or the gateway's own."""
    names = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "EZAI_ADMIN_KEY")
    return next((environ[name] for name in names if environ.get(name)), "")


def _configured_url(config_file: Path | None, environ: Mapping[str, str]) -> str:
    server = config.load(config_file, environ).server
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"http://{host}:{server.port}"
