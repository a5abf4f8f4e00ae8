"""What each configured model costs: the operator's prices and the packaged list, made into the tariff of governance.

For a model, the first of these that says something:

1. `governance.prices`, where the operator priced it;
2. `governance.price_per_request_cents` and `price_per_1k_tokens_cents`, where the operator wrote one of them: so much
   for each request and each token of any kind, the other being what it is by default (1 and 0);
3. the packaged list, by provider and upstream model;
4. the defaults of 2: a cent for a request.
"""

from __future__ import annotations

from datetime import date

from busbar.actors.governance.money import (
    DatedRates,
    Rates,
    Tariff,
    picodollars_of_cents,
    picodollars_per_token,
    picodollars_per_token_of_thousand,
)
from busbar.config import Config
from busbar.config.prices import price_of
from busbar.config.schema import GovernanceConfig, ModelConfig, PriceConfig, Prices, PriceTier

PRICE_PER_REQUEST_CENTS = 1
PRICE_PER_1K_TOKENS_CENTS = 0

_EPOCH = date(1970, 1, 1)


def tariff_of(config: Config) -> Tariff:
    """Reads the packaged list only where it is asked."""
    models = {
        name: _dated(price)
        for name, model in config.models.items()
        if (price := _price_of(model, config)) is not None
    }
    return Tariff(models, _flat(config.governance))


def _price_of(model: ModelConfig, config: Config) -> PriceConfig | None:
    """None: it is priced flat."""
    governance = config.governance
    if (own := governance.prices.get(model.name)) is not None:
        return own
    if governance.price_per_request_cents is not None or governance.price_per_1k_tokens_cents is not None:
        return None
    return price_of(model, config.providers[model.provider], governance.prices)


def _flat(governance: GovernanceConfig) -> Rates:
    per_request, per_1k = governance.price_per_request_cents, governance.price_per_1k_tokens_cents
    token = picodollars_per_token_of_thousand(PRICE_PER_1K_TOKENS_CENTS if per_1k is None else per_1k)
    return Rates(
        input=token,
        output=token,
        cache_read=token,
        cache_write=token,
        cache_write_1h=token,
        reasoning=token,
        per_request=picodollars_of_cents(PRICE_PER_REQUEST_CENTS if per_request is None else per_request),
    )


def _dated(price: PriceConfig) -> tuple[DatedRates, ...]:
    changes = (
        DatedRates(
            from_day=(date.fromisoformat(change.from_day) - _EPOCH).days,
            base=_rates(change),
            tiers=_tiers(change.tiers),
        )
        for change in price.changes
    )
    return DatedRates(base=_rates(price), tiers=_tiers(price.tiers)), *changes


def _tiers(tiers: tuple[PriceTier, ...]) -> tuple[tuple[int, Rates], ...]:
    return tuple((tier.above, _rates(tier)) for tier in tiers)


def _rates(prices: Prices) -> Rates:
    """A price that is left out is that of what it is part of."""
    cache_write = prices.input if prices.cache_write is None else prices.cache_write
    return Rates(
        input=picodollars_per_token(prices.input),
        output=picodollars_per_token(prices.output),
        cache_read=picodollars_per_token(prices.input if prices.cache_read is None else prices.cache_read),
        cache_write=picodollars_per_token(cache_write),
        cache_write_1h=picodollars_per_token(cache_write if prices.cache_write_1h is None else prices.cache_write_1h),
        reasoning=picodollars_per_token(prices.output if prices.reasoning is None else prices.reasoning),
    )
