"""What models cost: the file's own prices first, then the price library. The port `Prices`.

An upstream's prices are those of the provider behind its base URL; an Anthropic upstream at an unknown address is
taken for a way to Anthropic. What runs embedded is free. Of any other model nothing is known, which is not the same
as free: its cost is told as unknown.

The library (genai-prices) is kept up to date by others. Nothing is fetched: its data is in its wheel. It is
imported when the first price is asked of it, in a thread, for importing takes 0.2 s and 30 MiB; a server that is
named by its IP address or as localhost is nobody's in it, so it is not asked.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ezai.policy.pricing import FREE, Price, Tariff, Tier, price_of

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, Provider

_ANTHROPIC = "anthropic"
_ADDRESS = re.compile(r"localhost|[0-9.]*|.*:.*")
_MAX_REMEMBERED = 1024
_MAX_MODEL_CHARS = 256
_VALID_S = 60
"""How long a tariff is taken from memory: some begin on a day, some at an hour of each day."""


@dataclass(frozen=True, slots=True)
class PricedUpstream:
    """What of an upstream says where its prices are found. `kind` is as in `[[upstreams]]`."""

    kind: str
    base_url: str = ""


class LibraryPrices:
    """The port `Prices`. `overrides` are the file's, by upstream model; `epoch` tells seconds since 1970.

    The library, once imported, is taken over from a `former` one.
    """

    def __init__(
        self,
        upstreams: Mapping[str, PricedUpstream],
        overrides: Mapping[str, Price],
        epoch: Callable[[], float],
        former: LibraryPrices | None = None,
    ) -> None:
        self._upstreams = upstreams
        self._overrides = {model: Tariff(price) for model, price in overrides.items()}
        self._epoch = epoch
        self._library: _Library | None = former._library if former else None
        self._remembered: dict[tuple[str, str], Tariff | None] = {}
        self._forget_at = 0.0

    async def find(self, upstream: str, model: str) -> Tariff | None:
        """What that model costs now on that upstream; None where nobody knows."""
        override = self._overrides.get(model)
        if override is not None:
            return override
        priced = self._upstreams[upstream]
        if priced.kind == "embedded":
            return _FREE
        if not _may_be_known(priced) or len(model) > _MAX_MODEL_CHARS:
            return None
        now = self._epoch()
        if now >= self._forget_at or len(self._remembered) >= _MAX_REMEMBERED:
            self._remembered.clear()
            self._forget_at = now + _VALID_S
        place = (upstream, model)
        if place not in self._remembered:
            library = self._library
            if library is None:
                library = self._library = await asyncio.to_thread(_Library)
            self._remembered[place] = library.find(priced, model, now)
        return self._remembered[place]

    async def load(self) -> None:
        """Import the library now, where some upstream may need it, so that no request waits for that."""
        if self._library is None and any(map(_may_be_known, self._upstreams.values())):
            self._library = await asyncio.to_thread(_Library)


_FREE = Tariff(FREE)


@lru_cache
def _may_be_known(priced: PricedUpstream) -> bool:
    host = urlsplit(priced.base_url).hostname or ""
    return priced.kind == _ANTHROPIC or (priced.kind == "openai" and not _ADDRESS.fullmatch(host))


class _Library:
    """The price library, asked without its caches: those keep every model name that any client ever sent."""

    def __init__(self) -> None:
        from genai_prices.data import providers

        self._providers: list[Provider] = providers
        self._by_address = [(re.compile(provider.api_pattern), provider) for provider in providers]
        self._by_id = {provider.id: provider for provider in providers}

    def find(self, priced: PricedUpstream, model: str, epoch_s: float) -> Tariff | None:
        provider = self._provider(priced)
        found = provider and provider.find_model(model, all_providers=self._providers)
        return _tariff(found, datetime.fromtimestamp(epoch_s, UTC)) if found else None

    def _provider(self, priced: PricedUpstream) -> Provider | None:
        for pattern, provider in self._by_address:
            if pattern.match(priced.base_url):
                return provider
        return self._by_id.get(_ANTHROPIC) if priced.kind == _ANTHROPIC else None


def _tariff(model: ModelInfo, at: datetime) -> Tariff | None:
    """None where what an answer costs cannot be told from its tokens alone, or part of the price is not known."""
    prices = model.get_prices(at)
    if prices.input_mtok is None or prices.output_mtok is None or prices.requests_kcount is not None:
        return None
    starts = {tier.start for field in _FIELDS for tier in getattr(getattr(prices, field), "tiers", ())}
    tiers = tuple(Tier(start, _price(prices, start + 1)) for start in sorted(starts))
    return Tariff(_price(prices, 0), tiers)


_FIELDS = ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok", "cache_write_1h_mtok")


def _price(prices: ModelPrice, prompt_tokens: int) -> Price:
    per_million = (_at(getattr(prices, field), prompt_tokens) for field in _FIELDS)
    input_usd, output_usd, read_usd, write_usd, write_1h_usd = per_million
    return price_of(input_usd or Decimal(0), output_usd or Decimal(0), read_usd, write_usd, write_1h_usd)


def _at(price: object, prompt_tokens: int) -> Decimal | None:
    """A price as it is for a prompt of that length."""
    if price is None or isinstance(price, Decimal):
        return price
    usd: Decimal = price.base  # type: ignore[attr-defined]  # a TieredPrices, of a module imported lazily
    for tier in price.tiers:  # type: ignore[attr-defined]  # in ascending order of their start
        if prompt_tokens > tier.start:
            usd = tier.price
    return usd
