"""Where prices come from: the file, the library, nowhere. Its figures change, so its relations are held, not they."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Coroutine
from dataclasses import astuple
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, TypeVar

import pytest
from genai_prices.types import ClauseEquals, ConditionalPrice, ModelInfo, ModelPrice, StartDateConstraint, TieredPrices
from genai_prices.types import Tier as LibraryTier

from ezai.policy.pricing import FREE, Price, Tariff, Tier, price_of
from ezai.protocol.usage import Usage
from ezai.store import prices
from ezai.store.prices import LibraryPrices, PricedUpstream

T = TypeVar("T")

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC).timestamp()
UPSTREAMS = {
    "anthropic": PricedUpstream("anthropic", "https://api.anthropic.com"),
    "company": PricedUpstream("anthropic", "https://llm.example.com/anthropic"),
    "openai": PricedUpstream("openai", "https://api.openai.com/v1"),
    "openrouter": PricedUpstream("openai", "https://openrouter.ai/api/v1"),
    "vllm": PricedUpstream("openai", "http://127.0.0.1:8000/v1"),
    "local": PricedUpstream("embedded"),
}


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def found(upstream: str, model: str, **overrides: Price) -> Tariff | None:
    return run(LibraryPrices(UPSTREAMS, overrides, lambda: NOW).find(upstream, model))


def test_a_model_of_the_provider_has_its_price() -> None:
    tariff = found("anthropic", "claude-sonnet-4-5-20250929")
    assert tariff is not None
    price = tariff.base
    assert price == Price(3_000_000, 15_000_000, 300_000, 3_750_000, 6_000_000)
    assert price == found("company", "claude-sonnet-4-5").base  # type: ignore[union-attr]


def test_an_openai_upstream_is_known_by_its_address_alone() -> None:
    openai, openrouter = found("openai", "gpt-4o"), found("openrouter", "openai/gpt-4o")
    assert openai is not None
    assert openrouter is not None
    assert 0 < openai.base.cache_read_picousd < openai.base.input_picousd < openai.base.output_picousd
    assert found("vllm", "gpt-4o") is None, "a name says nothing of who serves it"


def test_what_runs_embedded_is_free() -> None:
    assert found("local", "smollm2-135m") == Tariff(FREE)
    assert found("local", "claude-sonnet-4-5") == Tariff(FREE)


@pytest.mark.parametrize("upstream", ["anthropic", "company", "openai", "vllm"])
@pytest.mark.parametrize("model", ["", "no-such-model", "m" * 1_000_000])
def test_of_other_models_nothing_is_known(upstream: str, model: str) -> None:
    assert found(upstream, model) is None


@pytest.mark.parametrize("upstream", list(UPSTREAMS))
def test_the_file_stands_above_everything(upstream: str) -> None:
    mine = Price(1, 2, 3, 4, 5)
    assert found(upstream, "gpt-4o", **{"gpt-4o": mine}) == Tariff(mine)


def test_a_tariff_is_remembered_for_a_minute_and_never_too_many() -> None:
    now = NOW
    library = LibraryPrices(UPSTREAMS, {}, lambda: now)

    async def scenario() -> None:
        nonlocal now
        first = await library.find("anthropic", "claude-sonnet-4-5")
        assert await library.find("anthropic", "claude-sonnet-4-5") is first
        now += prices._VALID_S
        later = await library.find("anthropic", "claude-sonnet-4-5")
        assert later == first
        assert later is not first
        for number in range(prices._MAX_REMEMBERED + 10):
            await library.find("vllm", f"model-{number}")
        assert len(library._remembered) <= prices._MAX_REMEMBERED

    run(scenario())


def test_whatever_model_the_library_has_is_understood() -> None:
    """Its data changes with every release: none may break a request."""
    from genai_prices.data import providers

    at = datetime.fromtimestamp(NOW, UTC)
    known = 0
    for provider in providers:
        for model in provider.models:
            tariff = prices._tariff(model, at)
            if tariff is None:
                continue
            known += 1
            assert all(type(each) is int and each >= 0 for each in astuple(tariff.base))
            assert list(tariff.tiers) == sorted(tariff.tiers, key=lambda tier: tier.above_prompt_tokens)
    assert known > 500


# How the library's forms are read.


def model(**fields: Any) -> ModelInfo:
    return ModelInfo("m", ClauseEquals("m"), prices=ModelPrice(**fields))


def tariff(what: ModelInfo, day: date = date(2026, 1, 1)) -> Tariff | None:
    return prices._tariff(what, datetime(day.year, day.month, day.day, tzinfo=UTC))


def tiered(base: int, **tiers: int) -> TieredPrices:
    return TieredPrices(Decimal(base), [LibraryTier(int(start[1:]), Decimal(usd)) for start, usd in tiers.items()])


def test_tiers_of_single_prices_become_prices_of_tiers() -> None:
    got = tariff(model(input_mtok=tiered(1, _200=2, _400=3), output_mtok=tiered(10, _300=20)))
    assert got == Tariff(
        price_of(Decimal(1), Decimal(10)),
        (
            Tier(200, price_of(Decimal(2), Decimal(10))),
            Tier(300, price_of(Decimal(2), Decimal(20))),
            Tier(400, price_of(Decimal(3), Decimal(20))),
        ),
    )
    assert got.price_for(Usage(input_tokens=201)).input_picousd == 2_000_000


def test_the_price_of_the_day_is_taken() -> None:
    old, new = (ModelPrice(input_mtok=Decimal(usd), output_mtok=Decimal(usd)) for usd in (1, 2))
    start = StartDateConstraint(date(2026, 6, 1))
    changing = ModelInfo(
        "m", ClauseEquals("m"), prices=[ConditionalPrice(prices=old), ConditionalPrice(start, prices=new)]
    )
    for day, usd in ((date(2026, 5, 31), 1), (date(2026, 6, 1), 2)):
        assert tariff(changing, day) == Tariff(price_of(Decimal(usd), Decimal(usd)))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"input_mtok": Decimal(1)},
        {"output_mtok": Decimal(1)},
        {"input_mtok": Decimal(1), "output_mtok": Decimal(1), "requests_kcount": Decimal(5)},
    ],
)
def test_a_cost_that_tokens_alone_do_not_tell_is_unknown(fields: dict[str, Decimal]) -> None:
    assert tariff(model(**fields)) is None


def test_prices_with_an_error_of_binary_fractions_are_rounded() -> None:
    got = tariff(model(input_mtok=Decimal("0.07999999999999999"), output_mtok=Decimal(0)))
    assert got is not None
    assert (got.base.input_picousd, got.base.output_picousd) == (80_000, 0)


# When it is imported.


def test_the_library_is_imported_when_something_may_need_it() -> None:
    program = """
import asyncio, sys
from ezai.policy.pricing import FREE
from ezai.store.prices import LibraryPrices, PricedUpstream

async def main():
    upstreams = {
        "local": PricedUpstream("embedded"),
        "vllm": PricedUpstream("openai", "http://127.0.0.1:8000/v1"),
        "six": PricedUpstream("openai", "http://[::1]:8000/v1"),
        "ollama": PricedUpstream("openai", "http://localhost:11434"),
    }
    local = LibraryPrices(upstreams, {"known": FREE}, lambda: 0.0)
    await local.load()
    for upstream in upstreams:
        assert (await local.find(upstream, "m") is None) == (upstream != "local")
        await local.find(upstream, "known")
    print("genai_prices" in sys.modules)
    await LibraryPrices({"a": PricedUpstream("anthropic")}, {}, lambda: 0.0).load()
    print("genai_prices" in sys.modules)

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["False", "True"]
