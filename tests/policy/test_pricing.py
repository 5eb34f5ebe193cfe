"""What usage costs, exactly."""

from __future__ import annotations

from dataclasses import astuple, replace
from decimal import Decimal
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezai.policy.pricing import FREE, Price, Tariff, Tier, cost_nanousd, price_of, read_usd, usd_text
from ezai.protocol.usage import Usage

SONNET = price_of(Decimal(3), Decimal(15), Decimal("0.3"), Decimal("3.75"), Decimal(6))

tokens = st.integers(0, 10_000_000)
usages = st.builds(
    Usage,
    input_tokens=tokens,
    cache_creation_input_tokens=tokens,
    cache_read_input_tokens=tokens,
    output_tokens=tokens,
    thinking_tokens=tokens,
    cache_creation_1h_input_tokens=tokens,
)
picousd = st.integers(0, 10**12)
prices = st.builds(Price, picousd, picousd, picousd, picousd, picousd)


def test_an_answer_of_known_cost() -> None:
    usage = Usage(
        input_tokens=1200,
        cache_read_input_tokens=100_000,
        cache_creation_input_tokens=2000,
        output_tokens=340,
        thinking_tokens=300,
    )
    assert cost_nanousd(usage, SONNET) == 46_200_000
    # 1,200 x 3 + 340 x 15 + 100,000 x 0.3 + 1,500 x 3.75 + 500 x 6 millionths of a USD
    for_an_hour = msgspec.structs.replace(usage, cache_creation_1h_input_tokens=500)
    assert cost_nanousd(for_an_hour, SONNET) == 47_325_000


def test_prices_finer_than_a_nano_usd_a_token_are_exact() -> None:
    price = price_of(Decimal("0.0375"), Decimal("0.15"), Decimal("0.0028"))
    assert price == Price(37_500, 150_000, 2_800, 37_500, 37_500)
    assert cost_nanousd(Usage(input_tokens=2), price) == 75
    assert cost_nanousd(Usage(cache_read_input_tokens=1_000_000), price) == 2_800_000


@given(usages, prices)
def test_the_cost_is_the_sum_to_the_nearest_nano_usd(usage: Usage, price: Price) -> None:
    cost = cost_nanousd(usage, price)
    assert type(cost) is int
    written_1h = min(usage.cache_creation_1h_input_tokens, usage.cache_creation_input_tokens)
    counts = (
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_input_tokens,
        usage.cache_creation_input_tokens - written_1h,
        written_1h,
    )
    exact = sum((Fraction(count * each, 1000) for count, each in zip(counts, astuple(price), strict=True)), Fraction(0))
    assert abs(cost - exact) <= Fraction(1, 2)


@given(usages, prices, st.sampled_from(Usage.__struct_fields__), tokens)
def test_more_usage_never_costs_less(usage: Usage, price: Price, field: str, more: int) -> None:
    larger = msgspec.structs.replace(usage, **{field: getattr(usage, field) + more})
    dearer_1h = max(price.cache_write_picousd, price.cache_write_1h_picousd)
    price = replace(price, cache_write_1h_picousd=dearer_1h)
    assert cost_nanousd(larger, price) >= cost_nanousd(usage, price) >= 0


@given(usages)
def test_what_is_free_costs_nothing(usage: Usage) -> None:
    assert cost_nanousd(usage, FREE) == 0
    assert cost_nanousd(Usage(), SONNET) == 0


@given(usages, prices, tokens)
def test_thinking_is_part_of_the_output(usage: Usage, price: Price, thinking: int) -> None:
    assert cost_nanousd(usage, price) == cost_nanousd(msgspec.structs.replace(usage, thinking_tokens=thinking), price)


def test_of_an_unsaid_cache_price_the_tokens_cost_what_input_does() -> None:
    assert price_of(Decimal(2), Decimal(8)) == Price(2_000_000, 8_000_000, 2_000_000, 2_000_000, 2_000_000)
    with_write = price_of(Decimal(2), Decimal(8), cache_write_usd=Decimal(3))
    assert (with_write.cache_write_picousd, with_write.cache_write_1h_picousd) == (3_000_000, 3_000_000)
    assert price_of(Decimal(2), Decimal(8), Decimal(0)).cache_read_picousd == 0


@pytest.mark.parametrize("price", ["-1", "NaN", "Infinity", "-Infinity"])
def test_what_is_no_price_is_refused(price: str) -> None:
    with pytest.raises(ValueError, match="is no price"):
        price_of(Decimal(price), Decimal(1))


def test_a_long_prompt_has_the_price_of_its_tier() -> None:
    tiers = (Tier(200_000, Price(2, 0, 0, 0, 0)), Tier(1_000_000, Price(3, 0, 0, 0, 0)))
    tariff = Tariff(Price(1, 0, 0, 0, 0), tiers)
    for prompt_tokens, expected in ((0, 1), (200_000, 1), (200_001, 2), (1_000_000, 2), (1_000_001, 3)):
        assert tariff.price_for(Usage(input_tokens=prompt_tokens)).input_picousd == expected
    cached = Usage(input_tokens=1, cache_read_input_tokens=100_000, cache_creation_input_tokens=100_000)
    assert tariff.price_for(cached).input_picousd == 2, "the whole prompt counts"
    assert tariff.price_for(Usage(output_tokens=5_000_000)).input_picousd == 1


# Money as text.


@pytest.mark.parametrize(
    ("nanousd", "text"),
    [
        (0, "0.00"),
        (8_100_000, "0.0081"),
        (25_000_000_000, "25.00"),
        (1, "0.000000001"),
        (1_500_000_000, "1.50"),
        (-10_000_000, "-0.01"),
        (123_456_789_012_345_678, "123456789.012345678"),
    ],
)
def test_amounts_as_text(nanousd: int, text: str) -> None:
    assert usd_text(nanousd) == text
    assert read_usd(text) == nanousd


@given(st.integers(-(10**19), 10**19))
def test_every_amount_is_read_back(nanousd: int) -> None:
    assert read_usd(usd_text(nanousd)) == nanousd


@pytest.mark.parametrize("text", ["", "x", "1,5", "$5", "NaN", "inf", "0.0000000001", "1e99", "1e999999999", "-1e99"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no amount in USD"):
        read_usd(text)
