"""What tokens cost, in integers.

Money is counted in pico-dollars (10**12 of them are a US dollar): a price of one dollar for a million tokens is
10**6 of them for a token, so every price that a provider lists is a whole number, and sums are exact. It is shown
as nano-dollars and as cents.

What is kept for long are tokens; `Tariff.price` makes money of them, with the prices of the day of the request, so
that a corrected price corrects the past.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import force_setattr

from busbar.actors.governance.batch import Tokens, UsageKey

PICODOLLARS_PER_DOLLAR = 10**12
PICODOLLARS_PER_CENT = PICODOLLARS_PER_DOLLAR // 100
PICODOLLARS_PER_NANODOLLAR = 1000


class Rates(Struct, frozen=True, kw_only=True):
    """Pico-dollars for one token of each kind, and for one request. None is negative."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    reasoning: int = 0
    per_request: int = 0

    @property
    def dearest_input(self) -> int:
        return max(self.input, self.cache_read, self.cache_write, self.cache_write_1h)

    @property
    def dearest_output(self) -> int:
        return max(self.output, self.reasoning)


class DatedRates(Struct, frozen=True, kw_only=True):
    """A model's rates from a day on, until others follow."""

    from_day: int = 0
    """UTC days since 1970 began."""
    base: Rates
    tiers: tuple[tuple[int, Rates], ...] = ()
    """Ascending by a number of prompt tokens: what the whole request costs whose prompt is above it."""
    dearest: tuple[tuple[int, int, int, int], ...] = ()
    """Worked out here: of each tier (0: the base) the price of a request, of the dearest input and output."""

    def __post_init__(self) -> None:
        tiers = ((0, self.base), *self.tiers)
        force_setattr(
            self,
            "dearest",
            tuple((above, it.per_request, it.dearest_input, it.dearest_output) for above, it in tiers),
        )

    def in_tier(self, context_tier: int) -> Rates:
        """The rates of the greatest tier that is not above `context_tier`."""
        rates = self.base
        for above, dearer in self.tiers:
            if above > context_tier:
                break
            rates = dearer
        return rates


def cost(rates: Rates, tokens: Tokens) -> int:
    """Pico-dollars. Every token is counted once: what is part of something else costs instead of it, not besides.
    A part that is said to be greater than its whole counts as the whole."""
    hour = min(tokens.cache_write_1h, tokens.cache_write)
    reasoning = min(tokens.reasoning, tokens.output)
    return (
        tokens.requests * rates.per_request
        + tokens.input * rates.input
        + tokens.cache_read * rates.cache_read
        + (tokens.cache_write - hour) * rates.cache_write
        + hour * rates.cache_write_1h
        + (tokens.output - reasoning) * rates.output
        + reasoning * rates.reasoning
    )


class Tariff:
    """Every model's rates, by day and length of the prompt. Immutable, and pure: any thread may ask.

    A day before a model's first rates has those; a model that is not in it has the `fallback`.
    """

    __slots__ = ("_fallback", "_models", "_tiers")

    def __init__(self, models: Mapping[str, Iterable[DatedRates]], fallback: Rates) -> None:
        """Each model has at least one `DatedRates`."""
        self._fallback = (DatedRates(base=fallback),)
        self._models = {
            model: tuple(sorted(dated, key=lambda rates: rates.from_day)) for model, dated in models.items()
        }
        assert all(self._models.values())
        self._tiers = {
            model: tuple(sorted({above for rates in dated for above, _ in rates.tiers}))
            for model, dated in self._models.items()
        }

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tariff):
            return NotImplemented
        return (self._models, self._fallback) == (other._models, other._fallback)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Tariff({self._models!r}, fallback={self._fallback[0].base!r})"

    def tier_of(self, model: str, prompt_tokens: int) -> int:
        """The context tier under which the ledger keeps a request: the greatest number of tokens, of all days, that
        its prompt is above; 0 when there is none."""
        tiers = self._tiers.get(model, ())
        below = bisect_right(tiers, prompt_tokens - 1)
        return tiers[below - 1] if below else 0

    def price(self, key: UsageKey, tokens: Tokens) -> int:
        """Pico-dollars of a sum of tokens. A tier that is no more has the rates of the next one below."""
        return cost(self._on(key.model, key.day).in_tier(key.context_tier), tokens)

    def worst(self, models: Iterable[str], day: int, input_tokens: int, output_tokens: int) -> int:
        """Pico-dollars that one request costs at most, whichever of the models answers it, while its prompt and its
        answer have no more than so many tokens.

        Input counts as the dearest kind of input, because how much of it a provider writes to its cache is not known
        before; tiers that the prompt may stay below count too, as nothing says that they are cheaper.
        """
        worst = 0
        for model in models:
            for above, per_request, dearest_input, dearest_output in self._on(model, day).dearest:
                if above < input_tokens or not above:
                    worst = max(worst, per_request + input_tokens * dearest_input + output_tokens * dearest_output)
        return worst

    def _on(self, model: str, day: int) -> DatedRates:
        dated = self._models.get(model, self._fallback)
        valid = dated[0]
        for later in dated[1:]:
            if later.from_day > day:
                break
            valid = later
        return valid


def picodollars_of_cents(cents: float) -> int:
    """Exact for what was written with up to ten decimals; more are rounded, half to even."""
    return cents * PICODOLLARS_PER_CENT if isinstance(cents, int) else _scaled(cents, 10)


def picodollars_per_token(dollars_per_million: float) -> int:
    """Exact for what was written with up to six decimals; more are rounded, half to even."""
    return _scaled(dollars_per_million, 6)


def picodollars_per_token_of_thousand(cents_per_1k: float) -> int:
    """The same for a price in cents for a thousand tokens, with up to seven decimals."""
    return _scaled(cents_per_1k, 7)


def nanodollars(picodollars: int) -> int:
    """Rounded half to even."""
    whole, rest = divmod(picodollars, PICODOLLARS_PER_NANODOLLAR)
    half = PICODOLLARS_PER_NANODOLLAR // 2
    return whole + (rest > half or (rest == half and whole % 2 == 1))


def cents(picodollars: int) -> float:
    """To be shown, not to reckon with: the float nearest to it, exact to 10**-9 cents up to a million cents."""
    return picodollars / PICODOLLARS_PER_CENT


def _scaled(written: float, decimals: int) -> int:
    """`written` × 10**`decimals`. A float stands for the shortest decimal number that it is the nearest to, which is
    what an operator wrote."""
    return int(Decimal(str(written)).scaleb(decimals).to_integral_value())
