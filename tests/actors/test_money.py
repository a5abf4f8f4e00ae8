"""Tokens into money: every token once, in integers, and never less than was reserved for."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from busbar.actors.governance.batch import Tokens, UsageKey
from busbar.actors.governance.money import (
    DatedRates,
    Rates,
    Tariff,
    cents,
    cost,
    nanodollars,
    picodollars_of_cents,
    picodollars_per_token,
    picodollars_per_token_of_thousand,
)

USD = 10**12
RATE = st.integers(0, 100 * 10**6)
RATES = st.builds(
    Rates,
    input=RATE,
    output=RATE,
    cache_read=RATE,
    cache_write=RATE,
    cache_write_1h=RATE,
    reasoning=RATE,
    per_request=st.integers(0, USD),
)
COUNT = st.integers(0, 10**7)


@st.composite
def tokens(draw: st.DrawFn, requests: st.SearchStrategy[int] = COUNT) -> Tokens:
    written, output = draw(COUNT), draw(COUNT)
    return Tokens(
        requests=draw(requests),
        input=draw(COUNT),
        output=output,
        cache_read=draw(COUNT),
        cache_write=written,
        cache_write_1h=draw(st.integers(0, written)),
        reasoning=draw(st.integers(0, output)),
    )


@st.composite
def dated(draw: st.DrawFn) -> list[DatedRates]:
    def one(day: int) -> DatedRates:
        thresholds = sorted(draw(st.sets(st.integers(1, 1000), max_size=3)))
        return DatedRates(from_day=day, base=draw(RATES), tiers=tuple((above, draw(RATES)) for above in thresholds))

    return [one(day) for day in sorted(draw(st.sets(st.integers(0, 50), min_size=1, max_size=3)))]


def key(model: str = "m", day: int = 0, context_tier: int = 0) -> UsageKey:
    return UsageKey(scope="vk_1", day=day, model=model, context_tier=context_tier, estimated=False)


# --- one request's cost

EACH_ITS_OWN = Rates(
    input=1,
    output=100,
    cache_read=10_000,
    cache_write=10**6,
    cache_write_1h=10**8,
    reasoning=10**10,
    per_request=10**12,
)


def test_every_kind_of_token_costs_its_own_and_a_part_costs_instead_of_its_whole() -> None:
    used = Tokens(requests=1, input=2, output=7, cache_read=5, cache_write=9, cache_write_1h=6, reasoning=4)
    #                             request reasoning    1h  write   read  output input
    assert cost(EACH_ITS_OWN, used) == 1_04_06_03_05_03_02


def test_a_part_that_is_greater_than_its_whole_is_the_whole() -> None:
    used = Tokens(output=2, reasoning=3, cache_write=4, cache_write_1h=5)
    assert cost(EACH_ITS_OWN, used) == 2 * 10**10 + 4 * 10**8


@given(RATES, tokens(), tokens())
def test_a_sum_costs_what_its_parts_cost(rates: Rates, a: Tokens, b: Tokens) -> None:
    both = replace(a)
    both.add(b)
    assert cost(rates, both) == cost(rates, a) + cost(rates, b)


@given(RATES, tokens())
def test_a_cost_is_an_integer_of_at_least_nothing_and_of_each_token_at_its_dearest(
    rates: Rates, used: Tokens
) -> None:
    charged = cost(rates, used)
    assert isinstance(charged, int)
    most = used.requests * rates.per_request + used.prompt * rates.dearest_input + used.output * rates.dearest_output
    assert 0 <= charged <= most


@given(RATE, tokens())
def test_where_all_tokens_cost_the_same_none_counts_twice(rate: int, used: Tokens) -> None:
    same = Rates(input=rate, output=rate, cache_read=rate, cache_write=rate, cache_write_1h=rate, reasoning=rate)
    assert cost(same, used) == rate * used.total


# --- by length of the prompt, and by day

DAY_1, DAY_2 = 20_000, 20_100
CHEAP, LONG, LONGER, DEAR = (Rates(input=rate, output=10 * rate) for rate in (1, 2, 3, 4))
TARIFF = Tariff(
    {
        "m": (
            DatedRates(base=CHEAP, tiers=((200_000, LONG), (500_000, LONGER))),
            DatedRates(from_day=DAY_1, base=DEAR, tiers=((100_000, LONGER),)),
            DatedRates(from_day=DAY_2, base=LONG),
        )
    },
    fallback=Rates(per_request=7),
)
A_MILLION = Tokens(requests=1, input=10**6)


@pytest.mark.parametrize(
    ("prompt_tokens", "tier"),
    [(0, 0), (100_000, 0), (100_001, 100_000), (200_000, 100_000), (200_001, 200_000), (10**9, 500_000)],
)
def test_a_prompt_is_in_the_greatest_tier_of_any_day_that_it_is_above(prompt_tokens: int, tier: int) -> None:
    assert TARIFF.tier_of("m", prompt_tokens) == tier
    assert TARIFF.tier_of("unheard-of", prompt_tokens) == 0


@pytest.mark.parametrize(
    ("day", "context_tier", "rate"),
    [
        (DAY_1 - 1, 0, 1),
        (DAY_1 - 1, 100_000, 1),
        (DAY_1 - 1, 200_000, 2),
        (DAY_1 - 1, 499_999, 2),
        (DAY_1 - 1, 500_000, 3),
        (DAY_1 - 1, 10**9, 3),
        (DAY_1, 0, 4),
        (DAY_1, 200_000, 3),
        (DAY_2 - 1, 0, 4),
        (DAY_2, 200_000, 2),
        (0, 0, 1),
        (-1, 0, 1),
    ],
)
def test_a_stored_sum_has_the_price_of_its_day_and_of_the_next_tier_that_there_is(
    day: int, context_tier: int, rate: int
) -> None:
    assert TARIFF.price(key(day=day, context_tier=context_tier), A_MILLION) == rate * 10**6


def test_a_model_that_is_gone_from_the_tariff_has_the_fallback_s_price() -> None:
    assert TARIFF.price(key("gone", context_tier=200_000), A_MILLION) == 7
    assert TARIFF.worst(["gone"], DAY_1, 10**6, 10**6) == 7


def test_the_order_in_which_days_are_given_says_nothing() -> None:
    early, late = DatedRates(from_day=1, base=CHEAP), DatedRates(from_day=2, base=DEAR)
    assert Tariff({"m": (early, late)}, DEAR) == Tariff({"m": (late, early)}, DEAR)
    assert Tariff({"m": (early, late)}, DEAR) != Tariff({"m": (early,)}, DEAR)


# --- the worst case


def test_the_worst_case_is_that_of_the_dearest_model_on_the_day() -> None:
    tariff = Tariff(
        {
            "wordy": (DatedRates(base=Rates(input=1, output=100)),),
            "cached": (DatedRates(base=Rates(input=2, output=1, cache_write=3, cache_write_1h=5, per_request=50)),),
            "later": (DatedRates(base=Rates()), DatedRates(from_day=9, base=Rates(reasoning=1000))),
        },
        fallback=Rates(),
    )
    assert tariff.worst(["wordy", "cached", "later"], 8, input_tokens=10, output_tokens=1) == 10 + 100
    assert tariff.worst(["wordy", "cached", "later"], 8, input_tokens=100, output_tokens=1) == 50 + 500 + 1
    assert tariff.worst(["wordy", "cached", "later"], 9, input_tokens=10, output_tokens=1) == 1000
    assert tariff.worst([], 9, input_tokens=10, output_tokens=1) == 0


@given(dated(), st.integers(-1, 60), tokens(st.just(1)), st.integers(0, 1000), st.data())
def test_no_request_costs_more_than_its_worst_case(
    rates: list[DatedRates], day: int, shape: Tokens, prompt_tokens: int, data: st.DataObject
) -> None:
    """Whatever the split of the prompt, and for every prompt and answer that are not longer than estimated."""
    read = data.draw(st.integers(0, prompt_tokens))
    written = data.draw(st.integers(0, prompt_tokens - read))
    used = replace(
        shape,
        cache_read=read,
        cache_write=written,
        cache_write_1h=min(shape.cache_write_1h, written),
        input=prompt_tokens - read - written,
    )
    tariff = Tariff({"m": rates}, fallback=Rates())
    real = tariff.price(key(day=day, context_tier=tariff.tier_of("m", used.prompt)), used)
    longer = data.draw(st.integers(0, 1000))
    assert real <= tariff.worst(["other", "m"], day, used.prompt + longer, used.output + longer)


# --- conversions


@pytest.mark.parametrize(
    ("written", "picodollars"),
    [
        (0.1, 10**9),
        (3, 3 * 10**10),
        (1e-05, 10**5),
        (0.29, 2_900_000_000),
        (999_999.99, 9_999_999_900_000_000),
        (0, 0),
    ],
)
def test_cents_are_read_as_they_were_written(written: float, picodollars: int) -> None:
    assert picodollars_of_cents(written) == picodollars
    assert cents(picodollars) == written


@pytest.mark.parametrize(
    ("written", "picodollars"), [(3, 3_000_000), (0.388126, 388_126), (2.15625, 2_156_250), (0.0028, 2800), (0, 0)]
)
def test_dollars_for_a_million_are_micro_dollars_for_one(written: float, picodollars: int) -> None:
    assert picodollars_per_token(written) == picodollars


def test_cents_for_a_thousand_are_ten_dollars_for_a_million() -> None:
    assert picodollars_per_token_of_thousand(0.3) == picodollars_per_token(3) == 3_000_000


def halves() -> Iterator[tuple[int, int]]:
    yield from [(0, 0), (499, 0), (500, 0), (501, 1), (1499, 1), (1500, 2), (2500, 2), (2501, 3)]
    yield from [(-500, 0), (-501, -1), (-1500, -2), (-2500, -2)]


@pytest.mark.parametrize(("picodollars", "nano"), list(halves()))
def test_nano_dollars_are_rounded_half_to_even(picodollars: int, nano: int) -> None:
    assert nanodollars(picodollars) == nano
    assert type(nanodollars(picodollars)) is int


@given(st.integers(-(10**18), 10**18))
@example(123_456_789_012_345_678)
def test_rounding_is_that_of_decimal_arithmetic(picodollars: int) -> None:
    assert nanodollars(picodollars) == round(Fraction(picodollars, 1000))


@given(st.integers(0, 10**16))
def test_shown_cents_are_exact_to_a_billionth(picodollars: int) -> None:
    assert abs(Decimal(cents(picodollars)) - Decimal(picodollars) / 10**10) <= Decimal("1e-9")


@given(st.integers(0, 10**6), st.integers(0, 10**8 - 1))
def test_what_an_operator_writes_as_cents_comes_back(whole: int, decimals: int) -> None:
    written = float(f"{whole}.{decimals:08}")
    assert picodollars_of_cents(written) == whole * 10**10 + decimals * 100
