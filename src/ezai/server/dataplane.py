"""The ASGI callable for /v1, the probes and, by way of `pages`, the pages for browsers.

Routes are matched on the path alone, before anything of the request is trusted, and everything that is not a probe
needs authentication; an unknown path is told to nobody who may not know.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

from ezai import __version__
from ezai.errors import InternalError, MethodNotAllowed, NotFound, Overloaded, RequestError
from ezai.pipeline.counting import count_tokens
from ezai.pipeline.driver import Attended, StreamRegistry, run_plain
from ezai.pipeline.request import GatewayRequest
from ezai.policy.keys import VirtualKey, authenticate, check_name, may_ask_for, read_credentials
from ezai.policy.openness import check_content_type, check_host
from ezai.policy.versions import check_version
from ezai.ports import Headers, Outcome, Ports
from ezai.protocol.anthropic.requests import (
    MessagesRequest,
    Read,
    is_large,
    read_count_request,
    read_facts,
    read_request,
    wants_beta,
)
from ezai.server.body import ClientLeft, Receive
from ezai.server.cors import Cors
from ezai.server.exchange import Exchange, Scope, Send
from ezai.server.models import (
    ListedModel,
    anthropic_model,
    anthropic_page,
    find_model,
    openai_list,
    openai_model,
    priced,
    wants_anthropic_shape,
)

if TYPE_CHECKING:
    from ezai.server.pages import Pages

logger = logging.getLogger("ezai.server")

Handler = Callable[[Exchange], Awaitable[None]]

_MODELS = "/v1/models"
_ASSETS = "/assets/"
_OFFERED = "POST /v1/messages, POST /v1/messages/count_tokens, GET /v1/models"


@dataclass(frozen=True, slots=True)
class DataPlaneSettings:
    """What the data plane itself is configured with."""

    body_limit_bytes: int
    strict_version: bool
    models: Sequence[ListedModel]
    render_metrics: Callable[[], Awaitable[bytes]]
    metrics_type: bytes
    cors: Cors


class DataPlane:
    """`await data_plane(scope, receive, send)`: answers every request, whatever happens, exactly once."""

    def __init__(self, ports: Ports, registry: StreamRegistry, settings: DataPlaneSettings) -> None:
        self.ports = ports
        self.registry = registry
        self._settings = settings
        self._pages: Pages | None = None
        self._public: dict[str, dict[str, Handler]] = {
            "/": {"HEAD": self._hello, "GET": self._page},
            "/api/hello": {"GET": self._hello},
            "/healthz": {"GET": self._health},
            "/readyz": {"GET": self._ready},
            "/metrics": {"GET": self._metrics},
        }
        self._keyed: dict[str, dict[str, Handler]] = {
            "/v1/messages": {"POST": self._messages},
            "/v1/messages/count_tokens": {"POST": self._count_tokens},
            _MODELS: {"GET": self._models},
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send, self.ports.ids.new("req_"))
        exchange.cors = self._settings.cors.headers(exchange.path, exchange.headers)
        try:
            if exchange.over_capacity:
                full = "The gateway has as many requests as it may have connections; try again."
                raise Overloaded(full, retry_after_s=1)
            await self._handler(exchange)(exchange)
        except RequestError as error:
            await self._refuse(exchange, error)
        except ClientLeft:
            return
        except Exception as error:
            logger.error("request %s: a defect of the gateway", exchange.request_id, exc_info=error)
            if exchange.answering:
                raise  # the server cuts the connection: no stream looks finished, by its framing or by its end
            await self._refuse(exchange, InternalError("The gateway failed on this request; its log has the details."))

    async def _refuse(self, exchange: Exchange, error: RequestError, *extra: tuple[bytes, bytes]) -> None:
        """Answer with an error that came before the pipeline; nothing was admitted, so it is told but not recorded."""
        if exchange.is_refused:
            return
        outcome = Outcome(
            exchange.request_id,
            error.http_status,
            error.error_code,
            duration_s=0.0,
            key_id=exchange.key_id,
            model=exchange.model,
        )
        for observer in self.ports.observers:
            observer.ended(outcome)
        await exchange.answer_error(error, *extra)

    # Routing.

    async def _preflight(self, exchange: Exchange) -> None:
        """A browser asks what a page of a listed origin may; it shows no credential, and learns of nothing here."""
        await exchange.answer(204, self._preflight_headers(exchange) or (), b"")

    def _preflight_headers(self, exchange: Exchange) -> Headers | None:
        return self._settings.cors.preflight(exchange.method, exchange.path, exchange.headers)

    def _handler(self, exchange: Exchange) -> Handler:
        if exchange.method == "OPTIONS" and self._preflight_headers(exchange) is not None:
            return self._preflight
        methods = self._public.get(exchange.path) or self._keyed.get(exchange.path)
        if methods is None and exchange.path.startswith(_MODELS + "/"):
            methods = {"GET": self._model}
        if methods is None and exchange.path.startswith(_ASSETS):
            methods = {"GET": self._page}
        if methods is None:
            return self._unknown
        handler = methods.get(exchange.method) or (methods.get("GET") if exchange.method == "HEAD" else None)
        if handler is None:
            return self._wrong_method
        return handler

    async def _unknown(self, exchange: Exchange) -> None:
        await self._authenticated(exchange)
        if exchange.path.startswith("/v1/v1/"):
            raise NotFound(f"{exchange.path}: the base URL already ends in /v1; leave /v1 out of it.")
        raise NotFound(f"{exchange.path}: not offered here; this gateway offers {_OFFERED}.")

    async def _wrong_method(self, exchange: Exchange) -> None:
        methods = self._public.get(exchange.path) or self._keyed.get(exchange.path) or {"GET": self._model}
        allowed = ", ".join(methods)
        error = MethodNotAllowed(f"{exchange.method} {exchange.path}: use {allowed}.")
        await self._refuse(exchange, error, (b"allow", allowed.encode()))

    async def _authenticated(self, exchange: Exchange) -> VirtualKey | None:
        """The key of the request, None on an open gateway, which answers to its own machine alone."""
        keys = self.ports.keys
        open_gateway = not keys.has_keys()
        if open_gateway:
            check_host(exchange.header(b"host"))
        credentials = read_credentials(exchange.headers)
        found = () if open_gateway else await keys.find(credentials)
        key = authenticate(credentials, found, open_gateway=open_gateway)
        exchange.key_id = key.public_id if key else None
        return key

    # Messages.

    async def _messages(self, exchange: Exchange) -> None:
        request = await self._read(exchange, read_request)
        await run_plain(request, self.ports, self.registry, exchange)

    async def _count_tokens(self, exchange: Exchange) -> None:
        request = await self._read(exchange, read_count_request)
        async with Attended(exchange, self.ports, self.registry, streamed=False) as waiter:
            answer = await count_tokens(request, self.ports, waiter)
        if answer is not None:
            await exchange.answer(*answer)

    async def _read(self, exchange: Exchange, read: Read) -> GatewayRequest:
        key = await self._authenticated(exchange)
        if key is None:
            check_content_type(exchange.header(b"content-type"))
        body = await exchange.body(self._settings.body_limit_bytes)
        if is_large(body):
            message = MessagesRequest(body, await self.ports.offload.run(read_facts, read, body))
        else:
            message = read(body)
        check_name(message.model)
        exchange.model = message.model
        if self._settings.strict_version:
            check_version(exchange.header(b"anthropic-version"), message.facts.names)
        message.beta = wants_beta(exchange.query)
        return GatewayRequest(exchange.request_id, key, message, exchange.headers)

    # Models.

    async def _listed(self, exchange: Exchange) -> list[ListedModel]:
        """The models that the key of the request may ask for."""
        key = await self._authenticated(exchange)
        return [model for model in self._settings.models if may_ask_for(key, model.id)]

    async def _models(self, exchange: Exchange) -> None:
        models = await priced(await self._listed(exchange), self.ports.prices)
        page = anthropic_page(models, exchange.query) if _speaks_anthropic(exchange) else openai_list(models)
        await exchange.answer_json(page)

    async def _model(self, exchange: Exchange) -> None:
        models = await self._listed(exchange)
        encoded = exchange.raw_path.decode("latin-1").removeprefix(_MODELS + "/")
        found = find_model(models, unquote(encoded))
        (model,) = await priced([found], self.ports.prices)
        await exchange.answer_json(anthropic_model(model) if _speaks_anthropic(exchange) else openai_model(model))

    # Pages: no authentication either, since a page asks its reader for the key; an open gateway's own machine alone.

    async def _page(self, exchange: Exchange) -> None:
        if not self.ports.keys.has_keys():
            check_host(exchange.header(b"host"))
        if self._pages is None:
            from ezai.server.pages import Pages

            self._pages = Pages()
        await self._pages.answer(exchange)

    # Probes: no authentication, nothing about the inside.

    async def _hello(self, exchange: Exchange) -> None:
        await exchange.answer_json({"name": "EzAI", "version": __version__, "messages": "/v1/messages"})

    async def _health(self, exchange: Exchange) -> None:
        await exchange.answer_json({"status": "ok"})

    async def _ready(self, exchange: Exchange) -> None:
        if self.registry.closed:
            await exchange.answer_json({"status": "draining"}, 503)
        else:
            await exchange.answer_json({"status": "ready"})

    async def _metrics(self, exchange: Exchange) -> None:
        """Numbers and names of upstreams: on an open gateway for its own machine, else for whoever reaches the port."""
        if not self.ports.keys.has_keys():
            check_host(exchange.header(b"host"))
        headers = [(b"content-type", self._settings.metrics_type)]
        await exchange.answer(200, headers, await self._settings.render_metrics())


def _speaks_anthropic(exchange: Exchange) -> bool:
    header = exchange.header
    return wants_anthropic_shape(header(b"anthropic-version"), header(b"x-api-key"), header(b"user-agent"))
