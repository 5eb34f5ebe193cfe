"""What usage costs. Exact: integers throughout, one rounding at the end.

Costs are integer nano-USD (10^-9). Prices are integer pico-USD (10^-12) per token, which is USD per million tokens
times a million: cache reads are sold for 0.0028 USD per million tokens, and that is no whole number of nano-USD.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

from ezai.protocol.usage import Usage

NANOUSD_PER_USD = 10**9
_PICOUSD_PER_NANOUSD = 1000
_MOST_NANOUSD = 10**20


@dataclass(frozen=True, slots=True)
class Price:
    """The price of one token of each kind, in pico-USD. Writing to the prompt cache for an hour has its own."""

    input_picousd: int
    output_picousd: int
    cache_read_picousd: int
    cache_write_picousd: int
    cache_write_1h_picousd: int


FREE = Price(0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Tier:
    """The price of every token of an answer whose prompt has more than so many tokens."""

    above_prompt_tokens: int
    price: Price


@dataclass(frozen=True, slots=True)
class Tariff:
    """What a model costs: one price, or also dearer ones for long prompts, in ascending order of their start."""

    base: Price
    tiers: tuple[Tier, ...] = ()

    def price_for(self, usage: Usage) -> Price:
        """The price that holds for an answer of this usage."""
        price = self.base
        for tier in self.tiers:
            if usage.prompt_tokens > tier.above_prompt_tokens:
                price = tier.price
        return price


def cost_nanousd(usage: Usage, price: Price) -> int:
    """What the usage costs at this price, to the nearest nano-USD.

    Thinking is part of the output, what was written for an hour part of what was written to the cache, and neither
    what was read from it nor what was written part of the input (`protocol/usage.py`). Zero usage costs nothing, and
    more usage never costs less.
    """
    written_1h = min(usage.cache_creation_1h_input_tokens, usage.cache_creation_input_tokens)
    picousd = (
        usage.input_tokens * price.input_picousd
        + usage.output_tokens * price.output_picousd
        + usage.cache_read_input_tokens * price.cache_read_picousd
        + (usage.cache_creation_input_tokens - written_1h) * price.cache_write_picousd
        + written_1h * price.cache_write_1h_picousd
    )
    return (picousd + _PICOUSD_PER_NANOUSD // 2) // _PICOUSD_PER_NANOUSD


def price_of(
    input_usd: Decimal,
    output_usd: Decimal,
    cache_read_usd: Decimal | None = None,
    cache_write_usd: Decimal | None = None,
    cache_write_1h_usd: Decimal | None = None,
) -> Price:
    """The price that is told as USD per million tokens.

    Where nothing is said of the cache its tokens cost what other input does; where nothing is said of an hour, as
    much as other writing. Raises `ValueError` for a price below zero or without end.
    """
    read = input_usd if cache_read_usd is None else cache_read_usd
    write = input_usd if cache_write_usd is None else cache_write_usd
    write_1h = write if cache_write_1h_usd is None else cache_write_1h_usd
    return Price(*(_picousd_per_token(usd) for usd in (input_usd, output_usd, read, write, write_1h)))


def _picousd_per_token(usd_per_million: Decimal) -> int:
    if not usd_per_million.is_finite() or usd_per_million < 0:
        raise ValueError(f"{usd_per_million} is no price")
    return int((usd_per_million * 1_000_000).to_integral_value(ROUND_HALF_EVEN))


# Money as text.


def usd_text(nanousd: int) -> str:
    """The exact amount in USD, with two to nine decimals: 8100000 is `0.0081`."""
    whole, fraction = divmod(abs(nanousd), NANOUSD_PER_USD)
    decimals = f"{fraction:09d}".rstrip("0").ljust(2, "0")
    return f"{'-' if nanousd < 0 else ''}{whole}.{decimals}"


def read_usd(text: str) -> int:
    """An amount in USD as nano-USD. Raises `ValueError` for what is none, or finer than a nano-USD."""
    refusal = ValueError(f"{text!r} is no amount in USD, such as 25 or 0.50")
    try:
        nanousd = Decimal(text) * NANOUSD_PER_USD
    except ArithmeticError:
        raise refusal from None
    if not nanousd.is_finite() or abs(nanousd) > _MOST_NANOUSD or nanousd != nanousd.to_integral_value():
        raise refusal
    return int(nanousd)
