"""The one composition root: a configuration becomes a gateway, every edge put behind its port."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from pathlib import Path

import msgspec

from ezai.config import AnthropicUpstream as AnthropicUpstreamConfig
from ezai.config import Config, PriceConfig, RouteConfig, TargetConfig, TimeoutsConfig, UpstreamConfig
from ezai.config import EmbeddedUpstream as EmbeddedUpstreamConfig
from ezai.config import OpenAIUpstream as OpenAIUpstreamConfig
from ezai.errors import ConfigurationError, NotFound
from ezai.models.reference import LocalModel
from ezai.observe.metrics import CONTENT_TYPE, Metrics
from ezai.observe.request_log import RequestLog
from ezai.offload import ProcessOffload
from ezai.pipeline.driver import StreamRegistry
from ezai.policy.pricing import Price, price_of
from ezai.policy.retry_budget import RetryBudget
from ezai.policy.routing import Route, Target, find_route
from ezai.ports import KeyStore, Ledger, Ports, Timeouts
from ezai.server.cors import Cors
from ezai.server.dataplane import DataPlane, DataPlaneSettings
from ezai.server.edge_settings import EdgeSettings
from ezai.server.models import ListedModel
from ezai.server.tls import load_tls
from ezai.store.limits import UnenforcedLimits
from ezai.store.prices import LibraryPrices, PricedUpstream
from ezai.system import RandomIds, SystemClock
from ezai.translate.base import ANTHROPIC, LLAMA_CPP, OPENAI_COMPATIBLE, OPENAI_ITSELF, MidSystem
from ezai.upstreams.anthropic import AnthropicUpstream
from ezai.upstreams.embedded import EmbeddedEndpoint, EmbeddedUpstream
from ezai.upstreams.http import Egress
from ezai.upstreams.openai import OpenAIUpstream, is_openai_itself
from ezai.upstreams.target_states import TargetStates

MIB = 1024 * 1024

AnyUpstream = EmbeddedUpstream | AnthropicUpstream | OpenAIUpstream
RenderPage = Callable[[], Awaitable[bytes]]
RenderMetrics = Callable[[Metrics], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class Embedded:
    """The embedded model as the supervisor has it: what runs, and where, while it runs."""

    model: LocalModel
    display_name: str
    context_tokens: int
    endpoint: Callable[[], EmbeddedEndpoint | None]


@dataclass(frozen=True, slots=True)
class Gateway:
    """A composed gateway: serve `data_plane`; `clock` ticks while it serves."""

    config: Config
    embedded: Embedded | None
    data_plane: DataPlane
    edge: EdgeSettings
    registry: StreamRegistry
    clock: SystemClock
    models: tuple[ListedModel, ...]
    upstreams: tuple[AnyUpstream, ...]
    prices: LibraryPrices
    offload: ProcessOffload
    metrics: Metrics
    target_states: TargetStates

    async def aclose(self) -> None:
        """Let go of everything."""
        await self.offload.aclose()
        await self.release(())

    async def release(self, others: Collection[Gateway]) -> None:
        """Let go of the upstreams that none of the others asks."""
        shared = {id(upstream) for other in others for upstream in other.upstreams}
        for upstream in self.upstreams:
            if id(upstream) not in shared:
                await upstream.aclose()


def build(
    config: Config,
    keys: KeyStore,
    ledger: Ledger,
    embedded: Embedded | None,
    clock: SystemClock,
    signing_key: bytes = b"",
    *,
    former: Gateway | None = None,
    render_metrics: RenderMetrics | None = None,
) -> Gateway:
    """Compose. Opens nothing and awaits nothing; `embedded` is there when the configuration has such an upstream.

    After a reload the gateway takes over from a `former` one: what is counted, who is being served, and every
    upstream of which nothing was changed, with its connections. `render_metrics` makes the page of /metrics where this
    process is not the only one. Raises `ConfigurationError`; then the former one is as it was.
    """
    names = _embedded_names(config, embedded)
    routes = tuple(_route(item, config, names) for item in config.routes)
    making = _Making(config.data_dir, embedded, clock, signing_key, former)
    upstreams = tuple(making.upstream(item) for item in config.upstreams)
    prices = LibraryPrices(
        {item.name: _priced(item) for item in config.upstreams},
        {model: _price(item) for model, item in config.prices.items()},
        clock.epoch,
        former.prices if former else None,
    )
    registry = former.registry if former else StreamRegistry()
    target_states = former.target_states if former else TargetStates(clock)
    open_now = (registry.__len__, registry.open_streams)
    metrics = former.metrics if former else Metrics(*open_now, target_states.report, lambda: ledger.waiting)
    offload = former.offload if former else ProcessOffload(clock)
    ports = Ports(
        routes=routes,
        upstreams={upstream.name: upstream for upstream in upstreams},
        timeouts={item.name: _timeouts(item.timeouts) for item in config.upstreams},
        keys=keys,
        limits=UnenforcedLimits(),
        ledger=ledger,
        prices=prices,
        clock=clock,
        ids=RandomIds(),
        offload=offload,
        target_state=target_states,
        retry_budget=RetryBudget(registry.__len__),
        event_limit_bytes=config.limits.event_mib * MIB,
        commit_after_s=config.limits.commit_after,
        keep_alive_s=config.limits.keep_alive,
        observers=(RequestLog(clock), metrics),
    )
    models = tuple(_listed(routes, names, embedded))
    registry.limit = config.limits.streams
    page = partial(render_metrics or _rendered_alone, metrics)
    data_plane = DataPlane(ports, registry, _data_plane(config, models, page))
    target_states.configure(target for route in routes for target in route.targets)
    edge = _edge(config, ports)
    return Gateway(
        config, embedded, data_plane, edge, registry, clock, models, upstreams, prices, offload, metrics, target_states
    )


def _data_plane(config: Config, models: tuple[ListedModel, ...], render: RenderPage) -> DataPlaneSettings:
    server = config.server
    body_limit_bytes = config.limits.body_mib * MIB
    return DataPlaneSettings(
        body_limit_bytes, server.strict_version, models, render, CONTENT_TYPE, Cors(server.cors_origins)
    )


def _edge(config: Config, ports: Ports) -> EdgeSettings:
    server = config.server
    tls = None
    if server.tls_certificate:
        tls = load_tls(config.data_dir / server.tls_certificate, config.data_dir / server.tls_key, http2=server.http2)
    return EdgeSettings(
        ports.clock,
        ports.ids,
        head_limit_bytes=config.limits.header_kib * 1024,
        receipt_s=config.limits.request_receive,
        connection_limit=config.limits.connections,
        queue_bytes=config.limits.queue_kib * 1024,
        reader_stall_s=config.limits.reader_stall,
        http2=server.http2,
        tls=tls,
        rest_bytes=2 * config.limits.body_mib * MIB,  # so that also who sent somewhat too much can read that it was
        observers=ports.observers,
    )


async def _rendered_alone(metrics: Metrics) -> bytes:
    return metrics.render()


@dataclass(frozen=True, slots=True)
class _Making:
    """What upstreams are made with."""

    data_dir: Path
    embedded: Embedded | None
    clock: SystemClock
    signing_key: bytes
    former: Gateway | None

    def upstream(self, item: UpstreamConfig) -> AnyUpstream:
        """Raises `ConfigurationError` for a URL or a file that cannot be used."""
        return self._unchanged(item) or self._made(item)

    def _unchanged(self, item: UpstreamConfig) -> AnyUpstream | None:
        """The former gateway's, where it was configured in the same way. A file of authorities is read again."""
        former = self.former
        if former is None or item not in former.config.upstreams:
            return None
        is_same = self.embedded is former.embedded if isinstance(item, EmbeddedUpstreamConfig) else not item.ca_file
        return former.upstreams[former.config.upstreams.index(item)] if is_same else None

    def _made(self, item: UpstreamConfig) -> AnyUpstream:
        try:
            match item:
                case EmbeddedUpstreamConfig():
                    return self._embedded(item)
                case AnthropicUpstreamConfig():
                    return self._anthropic(item)
            return self._openai(item)
        except ValueError as error:
            raise ConfigurationError("configuration", f"the upstream {item.name}", str(error), "Correct it.") from None

    def _embedded(self, item: EmbeddedUpstreamConfig) -> EmbeddedUpstream:
        assert self.embedded is not None, "an embedded upstream is configured"
        facts = replace(LLAMA_CPP, signing_key=self._key(item), takes_tools=self.embedded.model.takes_tools)
        return EmbeddedUpstream(item.name, self.embedded.endpoint, self.clock, facts)

    def _anthropic(self, item: AnthropicUpstreamConfig) -> AnthropicUpstream:
        facts = replace(ANTHROPIC, strip_betas=tuple(item.strip_betas), strip_fields=_paths(item.strip_fields))
        return AnthropicUpstream(
            item.name,
            item.base_url,
            self.clock,
            facts,
            api_key=item.api_key,
            auth=item.auth,
            headers=item.headers,
            egress=self._egress(item),
        )

    def _openai(self, item: OpenAIUpstreamConfig) -> OpenAIUpstream:
        facts = replace(
            OPENAI_ITSELF if is_openai_itself(item.base_url) else OPENAI_COMPATIBLE,
            strip_fields=_paths(item.strip_fields),
            mid_system=MidSystem(item.mid_system),
            signing_key=self._key(item),
        )
        return OpenAIUpstream(
            item.name,
            item.base_url,
            self.clock,
            facts,
            api_key=item.api_key,
            headers=item.headers,
            egress=self._egress(item),
        )

    def _key(self, item: UpstreamConfig) -> bytes:
        """Each upstream's own: what one has thought is not for another."""
        return hmac.digest(self.signing_key, item.name.encode(), "sha256")

    def _egress(self, item: AnthropicUpstreamConfig | OpenAIUpstreamConfig) -> Egress:
        return Egress(self.data_dir / item.ca_file if item.ca_file else "", item.proxy)


def _paths(fields: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(path.split(".")) for path in fields)


def _route(item: RouteConfig, config: Config, embedded_names: Mapping[str, str]) -> Route:
    upstreams = {upstream.name: upstream for upstream in config.upstreams}
    targets = tuple(_target(target, upstreams[target.upstream], embedded_names) for target in item.targets)
    phases = msgspec.structs.asdict(item.timeouts)
    timeouts = tuple((phase, limit_s) for phase, limit_s in phases.items() if limit_s is not None)
    return Route(item.model, targets, item.display_name, timeouts)


def _target(item: TargetConfig, upstream: UpstreamConfig, embedded_names: Mapping[str, str]) -> Target:
    context = upstream.context if isinstance(upstream, EmbeddedUpstreamConfig) else None
    return Target(
        item.upstream,
        item.model or embedded_names.get(item.upstream),
        item.max_output,
        item.context or context,
        upstream.max_retries,
    )


def _priced(item: UpstreamConfig) -> PricedUpstream:
    if isinstance(item, EmbeddedUpstreamConfig):
        return PricedUpstream("embedded")
    return PricedUpstream("anthropic" if isinstance(item, AnthropicUpstreamConfig) else "openai", item.base_url)


def _price(item: PriceConfig) -> Price:
    cache = (item.cache_read, item.cache_write, item.cache_write_1h)
    return price_of(
        _decimal(item.input), _decimal(item.output), *(usd if usd is None else _decimal(usd) for usd in cache)
    )


def _decimal(usd: float) -> Decimal:
    """The number as it was written: the shortest decimal that means this float."""
    return Decimal(repr(usd))


def _timeouts(item: TimeoutsConfig) -> Timeouts:
    return Timeouts(item.connect, item.response_headers, item.first_event, item.idle, item.total)


def _embedded_names(config: Config, embedded: Embedded | None) -> dict[str, str]:
    """What the model of an embedded upstream is called: its name in the catalogue.

    A model from a file has no name of its own that may leave, so it is called what its upstream is.
    """
    if embedded is None:
        return {}
    upstreams = [item for item in config.upstreams if isinstance(item, EmbeddedUpstreamConfig)]
    return {item.name: embedded.model.public_id or item.name for item in upstreams}


def _listed(routes: Sequence[Route], embedded_names: Mapping[str, str], embedded: Embedded | None) -> list[ListedModel]:
    """Plain routes, under their display name; then the embedded model and those of targets, whose own names lead to
    them.
    """
    listed = [_plain(route) for route in routes if route.is_plain]
    if embedded is not None:
        for upstream, name in embedded_names.items():
            if _leads_to(routes, name, upstream):
                listed.append(ListedModel(name, embedded.display_name, embedded.context_tokens, 0.0, 0.0))
    for route in routes:
        first = route.targets[0]
        if not route.is_plain and first.model is not None and _leads_to(routes, first.model, first.upstream):
            name = route.display_name or first.model
            listed.append(ListedModel(first.model, name, target=(first.upstream, first.model)))
    once: dict[str, ListedModel] = {}
    for model in listed:
        once.setdefault(model.id, model)
    return list(once.values())


def _plain(route: Route) -> ListedModel:
    first, name = route.targets[0], route.display_name or route.model
    return ListedModel(route.model, name, target=(first.upstream, first.model or route.model))


def _leads_to(routes: Sequence[Route], model: str, upstream: str) -> bool:
    try:
        return find_route(routes, model).targets[0].upstream == upstream
    except NotFound:
        return False
