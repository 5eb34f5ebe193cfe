"""What models cost, as `/v1/models` tells it."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from ezai.policy.pricing import Tariff, Tier, price_of
from ezai.server.models import ListedModel, anthropic_model, openai_model, priced

CHEAP = price_of(Decimal("0.0028"), Decimal("1.5"))
DEAR = price_of(Decimal(6), Decimal(22))


class TwoPrices:
    """Knows two models of one upstream."""

    async def find(self, upstream: str, model: str) -> Tariff | None:
        known = {("up", "cheap"): Tariff(CHEAP), ("up", "tiered"): Tariff(CHEAP, (Tier(200_000, DEAR),))}
        return known.get((upstream, model))


def told(*models: ListedModel) -> list[object]:
    found = asyncio.run(priced(models, TwoPrices()))
    assert [anthropic_model(model)["price"] for model in found] == [openai_model(model)["price"] for model in found]
    return [anthropic_model(model)["price"] for model in found]


def test_a_price_is_told_in_usd_per_million_tokens_by_what_the_upstream_calls_the_model() -> None:
    assert told(ListedModel("any", "Any", target=("up", "cheap"))) == [{"input": 0.0028, "output": 1.5}]


def test_of_a_price_with_tiers_the_lowest_is_told() -> None:
    assert told(ListedModel("any", "Any", target=("up", "tiered"))) == [{"input": 0.0028, "output": 1.5}]


def test_what_nobody_knows_has_no_price_and_what_is_free_has_one() -> None:
    models = ListedModel("cheap", "Cheap", target=("other", "cheap")), ListedModel("local", "Local", 8192, 0.0, 0.0)
    assert told(*models) == [None, {"input": 0.0, "output": 0.0}]
    assert told() == []
