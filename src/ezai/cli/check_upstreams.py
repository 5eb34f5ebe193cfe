"""What `ezai check` asks of each upstream: a real request of a few tokens, by the way that every request goes.

It is recorded nowhere, since nobody is to be billed for it, and asked once: nothing is tried again.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import NamedTuple

import msgspec

from ezai.app import Embedded, Gateway, build
from ezai.cli.findings import Finding, note, ok, trouble
from ezai.config import (
    AnthropicUpstream,
    Config,
    EmbeddedUpstream,
    RouteConfig,
    ServerConfig,
    TargetConfig,
    TimeoutsConfig,
    UpstreamConfig,
)
from ezai.errors import (
    RequestError,
    SetupError,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamTruncated,
    UpstreamUnreachable,
)
from ezai.models.reference import resolve
from ezai.pipeline.request import GatewayRequest
from ezai.pipeline.silence import PING
from ezai.pipeline.stream import open_stream
from ezai.pipeline.waiting import Waiter
from ezai.policy.keys import Credentials, VirtualKey
from ezai.policy.pricing import Tariff
from ezai.policy.routing import matches
from ezai.ports import AttemptIntent, AttemptSettlement, Timeouts, Upstream, UpstreamRequest
from ezai.protocol.anthropic.requests import read_request
from ezai.protocol.end import End
from ezai.supervise.embedded import EmbeddedChild, EmbeddedSettings
from ezai.supervise.embedded_models import spare_threads
from ezai.system import SystemClock

PATIENCE_S = 30.0
"""For the first token; what takes longer is told as too slow, whatever the configuration allows."""
MAX_LIST_BYTES = 4 * 1024 * 1024
FEW_TOKENS = 16
"""Some models think before they speak, and refuse a smaller number."""
_ANTHROPIC_VERSION = (b"anthropic-version", b"2023-06-01")
_CREDENTIAL_STATUSES = {401, 403}
_UNREACHED = "Check base_url, the network, a firewall, and the proxy if there is one."
_SLOW = "See whether it is overloaded, or still loads its model."


class Choice(NamedTuple):
    """The model to ask for. One that was guessed from the upstream's list may be of another kind than chat models."""

    model: str
    is_guess: bool = False


async def ask_upstreams(config: Config) -> list[Finding]:
    """Ask all of them at once; their findings in the order of the configuration."""
    return list(await asyncio.gather(*(_ask(config, item) for item in config.upstreams)))


async def _ask(config: Config, item: UpstreamConfig) -> Finding:
    subject = f"upstream {item.name}"
    if (
        isinstance(item, AnthropicUpstream)
        and "api.anthropic.com" in item.base_url
        and not (item.api_key or item.headers)
    ):
        return trouble(subject, "it has no credential", 'Set api_key, such as "${ANTHROPIC_API_KEY}".')
    async with AsyncExitStack() as running:
        clock = SystemClock()
        clock.start()
        running.callback(clock.stop)
        try:
            embedded = await _started(config, item, running)
            gateway = build(_alone(config, item), _NoKeys(), _NoRecord(), embedded, clock)
        except SetupError as error:
            return trouble(subject, str(error), "")
        running.push_async_callback(gateway.aclose)
        try:
            choice = await _choose(config, item, gateway)
        except RequestError as error:
            return _failure(subject, error)
        if choice is None:
            return note(subject, "it answers; no route names a model of it, so none was asked")
        return await _answer(subject, gateway, choice)


def _alone(config: Config, item: UpstreamConfig) -> Config:
    """A configuration of that upstream, asked once and without much patience."""
    phases = {phase: min(limit_s, PATIENCE_S) for phase, limit_s in msgspec.structs.asdict(item.timeouts).items()}
    once = msgspec.structs.replace(item, timeouts=TimeoutsConfig(**phases), max_retries=0)
    route = RouteConfig(model="*", targets=[TargetConfig(upstream=item.name)])
    return msgspec.structs.replace(config, server=ServerConfig(), upstreams=[once], routes=[route])


async def _started(config: Config, item: UpstreamConfig, running: AsyncExitStack) -> Embedded | None:
    """The embedded model, with as little memory for its answers as it takes. Raises `SetupError`."""
    if not isinstance(item, EmbeddedUpstream):
        return None
    local = await asyncio.to_thread(resolve, item.model, config.data_dir)
    child = EmbeddedChild(EmbeddedSettings(local.path, min(item.context, 512), 1, item.threads or spare_threads()))
    await child.start()
    running.push_async_callback(child.aclose)
    return Embedded(local, item.name, child.context_tokens, lambda: child.endpoint)


# Which model.


async def _choose(config: Config, item: UpstreamConfig, gateway: Gateway) -> Choice | None:
    """One that a route names, else the first of its own list that a route leads to it. Raises `RequestError`."""
    if isinstance(item, EmbeddedUpstream):
        return Choice(item.model)
    leading = [(route.model, target) for route in config.routes for target in route.targets]
    to_it = [(pattern, target.model) for pattern, target in leading if target.upstream == item.name]
    named = [model or pattern for pattern, model in to_it if model or not set(pattern) & set("*?[")]
    if named:
        return Choice(named[0])
    listed = await _listed(item, gateway)
    found = (model for model in listed for pattern, _ in to_it if matches(pattern, model))
    model = next(found, None)
    return None if model is None else Choice(model, is_guess=True)


async def _listed(item: UpstreamConfig, gateway: Gateway) -> Sequence[str]:
    """The models that the upstream lists; none where it has no list. Raises `RequestError` where it refuses us, or
    does not answer in time.
    """
    ports = gateway.data_plane.ports
    timeouts = ports.timeouts[item.name]
    try:
        async with asyncio.timeout(timeouts.response_headers):
            return await _list_of(
                ports.upstreams[item.name], timeouts, is_anthropic=isinstance(item, AnthropicUpstream)
            )
    except TimeoutError:
        raise UpstreamTimeout("response_headers", timeouts.response_headers) from None


async def _list_of(upstream: Upstream, timeouts: Timeouts, *, is_anthropic: bool) -> Sequence[str]:
    request = UpstreamRequest("GET", "/v1/models" if is_anthropic else "/models", [_ANTHROPIC_VERSION], b"")
    exchange = await upstream.open(request, timeouts)
    try:
        if exchange.status in _CREDENTIAL_STATUSES:
            raise UpstreamRefused("", status=502, wire_type="api_error", upstream_status=exchange.status)
        body = b""
        async for chunk in exchange.chunks():
            body += chunk
            if len(body) > MAX_LIST_BYTES:
                return ()
        return _names_in(body) if exchange.status == 200 else ()
    finally:
        await exchange.aclose()


class _Listed(msgspec.Struct):
    id: str


class _List(msgspec.Struct):
    data: list[_Listed] = []


def _names_in(body: bytes) -> Sequence[str]:
    try:
        return [model.id for model in msgspec.json.decode(body, type=_List).data]
    except msgspec.DecodeError:
        return ()


# Asking.


async def _answer(subject: str, gateway: Gateway, choice: Choice) -> Finding:
    now = asyncio.get_running_loop().time
    ports = replace(gateway.data_plane.ports, prices=_NoPrices())
    began_s, first_s, end = now(), 0.0, None
    with Waiter(gateway.clock) as waiter:
        async with open_stream(_request(choice.model), ports, waiter) as stream:
            async for frame in stream.frames:
                if not first_s and frame != PING:
                    first_s = now() - began_s
        end = stream.end
    assert end is not None, "the stream is over"
    if end.finished:
        return ok(subject, f"{choice.model} answers, the first token after {1000 * first_s:.0f} ms")
    return _told(subject, choice, end)


def _request(model: str) -> GatewayRequest:
    hello = [{"role": "user", "content": "Hi"}]
    body = {"model": model, "max_tokens": FEW_TOKENS, "stream": True, "messages": hello}
    message = read_request(msgspec.json.encode(body))
    return GatewayRequest("req_check", None, message, [_ANTHROPIC_VERSION])


def _told(subject: str, choice: Choice, end: End) -> Finding:
    assert end.error is not None, "the client stays until the end"
    if choice.is_guess and _is_about_the_model(end.error):
        return note(
            subject,
            f"it answers and takes the credential; {choice.model}, the first of its list, was refused: "
            f"{end.error.message}",
            "Name a model in a target to have it asked.",
        )
    return _failure(subject, end.error)


def _is_about_the_model(error: RequestError) -> bool:
    status = error.upstream_status if isinstance(error, UpstreamRefused) else error.http_status
    return status in {400, 404, 422}


def _failure(subject: str, error: RequestError) -> Finding:
    """What went wrong, and what is to be done by whoever runs the gateway."""
    match error:
        case UpstreamUnreachable():
            found = f"{error.message} {_reason(error.__cause__)}".strip()
            return trouble(subject, found, "Check base_url, the network, proxy and ca_file.")
        case UpstreamTimeout():
            return trouble(subject, error.message, _UNREACHED if error.phase == "connect" else _SLOW)
        case UpstreamRefused(upstream_status=401 | 403 as status):
            return trouble(subject, f"it refuses the credential (status {status})", "Correct api_key, or auth.")
        case UpstreamRefused(upstream_status=402):
            return trouble(subject, error.message, "Settle the account there.")
        case UpstreamRefused(upstream_status=429):
            return trouble(subject, error.message, "Wait, or raise the quota there.")
        case UpstreamRefused(upstream_status=int(status)) if status >= 500:
            return trouble(
                subject, f"{error.message} (status {status})", "It fails by itself: see its log or status page."
            )
        case UpstreamTruncated():
            return trouble(subject, error.message, "See its log, and what stands between: it broke off.")
        case _:
            return trouble(subject, error.message, "See whether base_url, kind and model belong together.")


def _reason(cause: BaseException | None) -> str:
    """What the system says, for the operator; a client is never told."""
    if isinstance(cause, ConnectionError) and cause.errno:
        return f"{os.strerror(cause.errno)}."
    return str(cause or "")


class _NoKeys:
    """Whoever runs `ezai check` needs none."""

    async def find(self, credentials: Credentials) -> Sequence[VirtualKey]:
        return ()

    def has_keys(self) -> bool:
        return False


class _NoPrices:
    """Nothing is billed, and the price library takes longer to import than many an upstream to answer."""

    async def find(self, upstream: str, model: str) -> Tariff | None:
        return None


class _NoRecord:
    """The ledger of requests that nobody is billed for."""

    waiting = 0

    async def intend(self, intent: AttemptIntent) -> None:
        pass

    async def settle(self, settlement: AttemptSettlement) -> None:
        pass
