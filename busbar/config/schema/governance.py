"""Virtual keys, budgets and prices."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from busbar.config.schema.values import Name, Tokens
from busbar.config.secret import Secret

Dollars = Annotated[float, Meta(ge=0, le=1_000_000)]
Cents = Annotated[float, Meta(ge=0, le=1_000_000)]


class Prices(Struct, frozen=True, kw_only=True):
    """US dollars for a million tokens, by kind of token."""

    input: Dollars
    output: Dollars
    cache_read: Dollars | None = None
    """Input that the provider had in its cache; None: as `input`."""
    cache_write: Dollars | None = None
    """Input that the provider put into its cache; None: as `input`."""
    cache_write_1h: Dollars | None = None
    """Input that it keeps there for an hour; None: as `cache_write`."""
    reasoning: Dollars | None = None
    """Output that the caller may not see; None: as `output`."""


class PriceTier(Prices, frozen=True, kw_only=True):
    """Prices of a whole request with a long prompt."""

    above: Tokens
    """Its prompt has more tokens, cached ones included."""


TiersOfPrices = Annotated[tuple[PriceTier, ...], Meta(max_length=16)]


class PriceChange(Prices, frozen=True, kw_only=True):
    """Prices from a day on, in place of all that came before."""

    from_day: Annotated[
        str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}\Z", extra={"expected": "a day, such as 2026-12-01"})
    ]
    """In UTC."""
    tiers: TiersOfPrices = ()


class PriceConfig(Prices, frozen=True, kw_only=True):
    """What a model costs."""

    tiers: TiersOfPrices = ()
    """Ascending."""
    changes: Annotated[tuple[PriceChange, ...], Meta(max_length=64)] = ()
    """Ascending."""


class GovernanceConfig(Struct, frozen=True, kw_only=True):
    """Virtual keys, budgets and prices."""

    enabled: bool = False
    db_path: Name = "busbar-governance.db"
    durability: Literal["strict", "relaxed"] = "strict"
    """Strict: the last byte of an answer waits until the ledger has it, on the disk. Relaxed: when the process dies,
    100 ms of it may be lost; when the power goes, what the system had not put on the disk yet."""
    admin_token: Secret | None = None
    """Required when `enabled`."""
    price_per_request_cents: Cents | None = None
    price_per_1k_tokens_cents: Cents | None = None
    """None: not said. Where one of the two is said, they price every model without a price of its own here, in place
    of the packaged list; see `busbar.governance.tariff`."""
    prices: dict[str, PriceConfig] = {}
    """By model. The strategy `cheapest` goes by them, and by the packaged list, whether `enabled` or not."""
