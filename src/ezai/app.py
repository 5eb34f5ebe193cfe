"""The one composition root: a configuration becomes a gateway, every edge put behind its port."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

from ezai.config import AnthropicUpstream as AnthropicUpstreamConfig
from ezai.config import Config, PriceConfig, RouteConfig, TimeoutsConfig, UpstreamConfig
from ezai.config import EmbeddedUpstream as EmbeddedUpstreamConfig
from ezai.config import OpenAIUpstream as OpenAIUpstreamConfig
from ezai.errors import ConfigurationError, NotFound
from ezai.models.reference import LocalModel
from ezai.observe.metrics import CONTENT_TYPE, Metrics
from ezai.observe.request_log import RequestLog
from ezai.offload import ProcessOffload
from ezai.pipeline.driver import StreamRegistry
from ezai.policy.pricing import Price, price_of
from ezai.policy.routing import Route, Target, find_route
from ezai.ports import KeyStore, Ledger, Ports, Timeouts
from ezai.server.dataplane import DataPlane, DataPlaneSettings
from ezai.server.edge import EdgeSettings
from ezai.server.models import ListedModel
from ezai.store.prices import LibraryPrices, PricedUpstream
from ezai.system import RandomIds, SystemClock
from ezai.translate.base import ANTHROPIC, LLAMA_CPP, OPENAI_COMPATIBLE, OPENAI_ITSELF, MidSystem
from ezai.upstreams.anthropic import AnthropicUpstream
from ezai.upstreams.embedded import EmbeddedEndpoint, EmbeddedUpstream
from ezai.upstreams.http import Egress
from ezai.upstreams.openai import OpenAIUpstream, is_openai_itself

MIB = 1024 * 1024

AnyUpstream = EmbeddedUpstream | AnthropicUpstream | OpenAIUpstream


@dataclass(frozen=True, slots=True)
class Embedded:
    """The embedded model as the supervisor has it: what runs, and where, while it runs."""

    model: LocalModel
    display_name: str
    context_tokens: int
    endpoint: Callable[[], EmbeddedEndpoint | None]


@dataclass(frozen=True, slots=True)
class Gateway:
    """A composed gateway: serve `data_plane`; `clock` ticks while it serves; `aclose` lets go of every upstream."""

    data_plane: DataPlane
    edge: EdgeSettings
    registry: StreamRegistry
    clock: SystemClock
    models: tuple[ListedModel, ...]
    upstreams: tuple[AnyUpstream, ...]
    prices: LibraryPrices
    offload: ProcessOffload

    async def aclose(self) -> None:
        await self.offload.aclose()
        for upstream in self.upstreams:
            await upstream.aclose()


def build(
    config: Config,
    keys: KeyStore,
    ledger: Ledger,
    embedded: Embedded | None,
    clock: SystemClock,
    signing_key: bytes = b"",
) -> Gateway:
    """Compose. Opens nothing and awaits nothing; `embedded` is there when the configuration has such an upstream."""
    names = _embedded_names(config, embedded)
    routes = tuple(_route(item, names) for item in config.routes)
    making = _Making(config.data_dir, embedded, clock, signing_key)
    upstreams = tuple(making.upstream(item) for item in config.upstreams)
    prices = LibraryPrices(
        {item.name: _priced(item) for item in config.upstreams},
        {model: _price(item) for model, item in config.prices.items()},
        clock.epoch,
    )
    registry = StreamRegistry(config.limits.streams)
    metrics = Metrics(registry.__len__)
    offload = ProcessOffload(clock)
    ports = Ports(
        routes=routes,
        upstreams={upstream.name: upstream for upstream in upstreams},
        timeouts={item.name: _timeouts(item.timeouts) for item in config.upstreams},
        keys=keys,
        ledger=ledger,
        prices=prices,
        clock=clock,
        ids=RandomIds(),
        offload=offload,
        event_limit_bytes=config.limits.event_mib * MIB,
        commit_after_s=config.limits.commit_after,
        keep_alive_s=config.limits.keep_alive,
        observers=(RequestLog(), metrics),
    )
    models = tuple(_listed(routes, names, embedded))
    settings = DataPlaneSettings(
        config.limits.body_mib * MIB, config.server.strict_version, models, metrics.render, CONTENT_TYPE
    )
    edge = EdgeSettings(
        clock,
        ports.ids,
        head_limit_bytes=config.limits.header_kib * 1024,
        receipt_s=config.limits.request_receive,
        connection_limit=config.limits.connections,
        queue_bytes=config.limits.queue_kib * 1024,
        reader_stall_s=config.limits.reader_stall,
    )
    return Gateway(DataPlane(ports, registry, settings), edge, registry, clock, models, upstreams, prices, offload)


@dataclass(frozen=True, slots=True)
class _Making:
    """What upstreams are made with."""

    data_dir: Path
    embedded: Embedded | None
    clock: SystemClock
    signing_key: bytes

    def upstream(self, item: UpstreamConfig) -> AnyUpstream:
        """Raises `ConfigurationError` for a URL or a file that cannot be used."""
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


def _route(item: RouteConfig, embedded: dict[str, str]) -> Route:
    targets = tuple(
        Target(target.upstream, target.model or embedded.get(target.upstream), target.max_output)
        for target in item.targets
    )
    return Route(item.model, targets, item.display_name)


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
    """Plain routes, under their display name; and the embedded model, when its own name leads to it."""
    listed = [ListedModel(route.model, route.display_name or route.model) for route in routes if route.is_plain]
    if embedded is not None:
        for upstream, name in embedded_names.items():
            if _leads_to(routes, name, upstream) and all(model.id != name for model in listed):
                listed.append(ListedModel(name, embedded.display_name, embedded.context_tokens, 0.0, 0.0))
    return listed


def _leads_to(routes: Sequence[Route], model: str, upstream: str) -> bool:
    try:
        return find_route(routes, model).targets[0].upstream == upstream
    except NotFound:
        return False
