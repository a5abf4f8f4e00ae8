"""Virtual keys, budgets and prices."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from busbar.config.schema.values import FilePath, Tokens
from busbar.config.secret import Secret

Dollars = Annotated[float, Meta(ge=0, le=1_000_000)]
Cents = Annotated[float, Meta(ge=0, le=1_000_000)]


class Prices(Struct, frozen=True, kw_only=True):
    """US dollars for a million tokens, by kind of token."""

    input: Dollars
    """Input, what is sent."""
    output: Dollars
    """Output, what is answered."""
    cache_read: Dollars | None = None
    """Input that the provider had in its cache; null: as `input`."""
    cache_write: Dollars | None = None
    """Input that the provider put into its cache; null: as `input`."""
    cache_write_1h: Dollars | None = None
    """Input that it keeps there for an hour; null: as `cache_write`."""
    reasoning: Dollars | None = None
    """Output that the caller may not see; null: as `output`."""


class PriceTier(Prices, frozen=True, kw_only=True):
    """Prices of a whole request with a long prompt."""

    above: Tokens
    """For prompts of more tokens than this, cached ones included."""


TiersOfPrices = Annotated[tuple[PriceTier, ...], Meta(max_length=16)]


class PriceChange(Prices, frozen=True, kw_only=True):
    """Prices from a day on, in place of all that came before."""

    from_day: Annotated[
        str,
        Meta(
            pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}\Z",
            extra={"expected": "a day, such as 2026-12-01"},
            title="day, such as `2026-12-01`",
        ),
    ]
    """The first day of these prices, in UTC."""
    tiers: TiersOfPrices = ()
    """The tiers from that day on; none: long prompts cost what others do."""


class PriceConfig(Prices, frozen=True, kw_only=True):
    """What a model costs: US dollars for a million tokens, by kind of token."""

    tiers: TiersOfPrices = ()
    """Other prices of whole requests with long prompts; ascending."""
    changes: Annotated[tuple[PriceChange, ...], Meta(max_length=64)] = ()
    """Prices from a day on; ascending."""


class GovernanceConfig(Struct, frozen=True, kw_only=True):
    """Virtual keys, budgets and prices."""

    enabled: bool = False
    """Callers need a virtual key. Needs `admin_token`, and no `auth.mode: passthrough`."""
    db_path: FilePath = "busbar-governance.db"
    """The SQLite file of keys and usage, for one process; relative to the working directory. Beside it: `-wal`, and
    the [seed](governance.md#aws-shaped-pairs) of AWS-shaped pairs."""
    durability: Literal["strict", "relaxed"] = "strict"
    """`strict`: an answer's last byte waits until its usage is on the disk. `relaxed`: when the process dies, its
    last 100 ms may be lost; when the power goes, [more](governance.md#durability)."""
    admin_token: Secret | None = None
    """Opens the administration, and the [route of operators](supervision.md#back-from-quarantine) whether `enabled`
    or not; required when `enabled`."""
    # Where one of the two is said, they price every model without a price of its own here, in place of the packaged
    # list; see `busbar.governance.tariff`.
    price_per_request_cents: Cents | None = None
    """Flat, of models without `prices`, in US cents; null: what the price list that ships with Busbar says,
    else 1."""
    price_per_1k_tokens_cents: Cents | None = None
    """The same for a thousand tokens, of any kind; null: likewise, else 0."""
    prices: dict[Annotated[str, Meta(title="model")], PriceConfig] = {}
    """What your models cost, by name. The strategy `cheapest` goes by it whether `enabled` or not."""
