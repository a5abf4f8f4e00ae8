"""From what a provider states to what is kept: tokens by kind, believed within reason."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from busbar.actors.governance.batch import RateCount, RateKey, Tokens, UsageKey
from busbar.actors.governance.level import Level
from busbar.actors.governance.messages import Charge
from busbar.actors.governance.money import Tariff
from busbar.protocols.usage import Usage

TOKENS_MAX = 10**12
"""Of one kind in one answer: what a provider states beyond it (or below 0) is not believed."""


def rates_of(
    levels: list[Level], second: int, tokens: int, requests: int = 0
) -> tuple[tuple[RateKey, RateCount], ...]:
    """Of each level what it has a limit for."""
    return tuple((RateKey(level.scope.id, second), level.counting(requests, tokens)) for level in levels)


class Charged(Struct, frozen=True):
    """What a request's charges come to."""

    rows: tuple[tuple[UsageKey, Tokens], ...]
    """As the key's."""
    picodollars: int
    tokens: int


def charged(charges: Sequence[Charge], key: str, day: int, tariff: Tariff) -> Charged:
    """The request is counted once: of several charges with one that is an estimate, as then the whole is."""
    counted = next((charge for charge in charges if charge.estimated), charges[-1] if charges else None)
    rows, picodollars, total = [], 0, 0
    for charge in charges:
        tokens = _tokens_of(charge.usage, requests=int(charge is counted))
        row = UsageKey(key, day, charge.model, tariff.tier_of(charge.model, tokens.prompt), charge.estimated)
        rows.append((row, tokens))
        picodollars += tariff.price(row, tokens)
        total += tokens.total
    return Charged(tuple(rows), picodollars, total)


def _tokens_of(usage: Usage, requests: int) -> Tokens:
    output, cache_write = _count(usage.output_tokens), _count(usage.cache_write_tokens)
    if usage.billed_input_tokens is not None:  # the provider itself says what counts
        output = output if usage.billed_output_tokens is None else _count(usage.billed_output_tokens)
        return Tokens(requests=requests, input=_count(usage.billed_input_tokens), output=output)
    return Tokens(
        requests=requests,
        input=_count(usage.input_tokens),
        output=output,
        cache_read=_count(usage.cache_read_tokens),
        cache_write=cache_write,
        cache_write_1h=min(_count(usage.cache_write_1h_tokens), cache_write),
        reasoning=min(_count(usage.reasoning_tokens), output),
    )


def _count(stated: int | None) -> int:
    return 0 if stated is None else min(max(stated, 0), TOKENS_MAX)
