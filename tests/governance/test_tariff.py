"""Where a model's price comes from, and what recorded answers cost, worked out by hand."""

from __future__ import annotations

import subprocess
import sys
from datetime import date

import msgspec
import pytest
from recordings import load

from busbar.actors.governance.batch import Tokens, UsageKey
from busbar.actors.governance.money import DatedRates, Rates, Tariff, nanodollars
from busbar.config import Config, loads
from busbar.governance.tariff import tariff_of
from busbar.protocols.registry import PROTOCOLS

MODELS = """
providers:
  anthropic: {}
  openai: {}
  gemini: {}
  bedrock: {}
  gpu-box: {protocol: openai, base_url: "http://localhost:8000", auth: none}
models:
  sonnet: {provider: anthropic, upstream_model: claude-sonnet-4-5}
  argon: {provider: gemini, upstream_model: gemini-4-argon}
  gpt-5.4: {provider: openai}
  own: {provider: gpu-box, upstream_model: gpt-4o}
"""
ENV = {"ANTHROPIC_API_KEY": "k", "OPENAI_API_KEY": "k", "GEMINI_API_KEY": "k"}

DECEMBER = (date(2026, 12, 1) - date(1970, 1, 1)).days

SONNET = DatedRates(
    base=Rates(
        input=3_000_000,
        output=15_000_000,
        cache_read=300_000,
        cache_write=3_750_000,
        cache_write_1h=6_000_000,
        reasoning=15_000_000,
    )
)


def flat(per_request: int, per_token: int) -> Rates:
    kinds = ("input", "output", "cache_read", "cache_write", "cache_write_1h", "reasoning")
    return Rates(per_request=per_request, **dict.fromkeys(kinds, per_token))


def plain(dollars_in: int, dollars_out: int, cache_read: int) -> Rates:
    """Of dollars; what is written to a cache is priced as input, reasoning as output."""
    return Rates(
        input=dollars_in,
        output=dollars_out,
        cache_read=cache_read,
        cache_write=dollars_in,
        cache_write_1h=dollars_in,
        reasoning=dollars_out,
    )


def config(governance: str = "") -> Config:
    return loads(MODELS + governance, env=ENV)


LISTED = {
    "sonnet": (SONNET,),
    "argon": (
        DatedRates(base=plain(2_000_000, 10_000_000, 100_000)),
        DatedRates(from_day=DECEMBER, base=plain(4_000_000, 20_000_000, 200_000)),
    ),
    "gpt-5.4": (
        DatedRates(
            base=plain(2_500_000, 15_000_000, 250_000),
            tiers=((272_000, plain(5_000_000, 22_500_000, 500_000)),),
        ),
    ),
}


def test_models_that_the_list_knows_have_its_prices_and_others_cost_a_cent_for_a_request() -> None:
    assert tariff_of(config()) == Tariff(LISTED, fallback=flat(10**10, 0))


def test_the_operator_s_price_comes_before_the_list_s() -> None:
    prices = """
governance:
  prices:
    own: {input: 0.5, output: 2, reasoning: 1, tiers: [{above: 1000, input: 1, output: 3, cache_write: 2}]}
    sonnet: {input: 3.3, output: 16.5, changes: [{from_day: 2026-12-01, input: 1, output: 2, cache_read: 0}]}
"""
    own = DatedRates(
        base=Rates(
            input=500_000,
            output=2_000_000,
            cache_read=500_000,
            cache_write=500_000,
            cache_write_1h=500_000,
            reasoning=1_000_000,
        ),
        tiers=(
            (
                1000,
                Rates(
                    input=1_000_000,
                    output=3_000_000,
                    cache_read=1_000_000,
                    cache_write=2_000_000,
                    cache_write_1h=2_000_000,
                    reasoning=3_000_000,
                ),
            ),
        ),
    )
    sonnet = (
        DatedRates(base=plain(3_300_000, 16_500_000, 3_300_000)),
        DatedRates(from_day=DECEMBER, base=plain(1_000_000, 2_000_000, 0)),
    )
    assert tariff_of(config(prices)) == Tariff({**LISTED, "own": (own,), "sonnet": sonnet}, fallback=flat(10**10, 0))


@pytest.mark.parametrize(
    ("written", "fallback"),
    [
        ("price_per_request_cents: 2.5", flat(25 * 10**9, 0)),
        ("price_per_request_cents: 1", flat(10**10, 0)),
        ("price_per_request_cents: 0", flat(0, 0)),
        ("price_per_1k_tokens_cents: 0.2", flat(10**10, 2_000_000)),
        ("price_per_request_cents: 0, price_per_1k_tokens_cents: 0.2", flat(0, 2_000_000)),
    ],
)
def test_flat_prices_that_are_written_come_before_the_list_and_after_a_model_s_own(
    written: str, fallback: Rates
) -> None:
    one = "prices: {argon: {input: 1, output: 2}}"
    argon = (DatedRates(base=plain(1_000_000, 2_000_000, 1_000_000)),)
    assert tariff_of(config(f"governance: {{{written}, {one}}}")) == Tariff({"argon": argon}, fallback)


def test_the_list_is_not_read_before_it_is_asked_for() -> None:
    code = (
        "import busbar.governance.tariff, busbar.config.prices as prices; from busbar.config import loads\n"
        "busbar.governance.tariff.tariff_of(loads('governance: {price_per_request_cents: 1}'))\n"
        "raise SystemExit(prices.price_list.cache_info().currsize)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


# --- recorded answers


RECORDED = [
    # 2 × 2 + 77 × 2.5 + 3522 × 0.2 + 43 × 10 micro-dollars
    ("anthropic", 36, "anthropic", "claude-sonnet-5", 1_330_900),
    # 2 × 2 + 1135 × 2.5 + 142 × 10; 67 of the 142 are thinking
    ("anthropic", 108, "anthropic", "claude-sonnet-5", 4_261_500),
    # 12 × 1.25 + 1880 × 10; 1536 of the 1880 are thinking
    ("openai", 6, "openai", "gpt-5-2025-08-07", 18_815_000),
    # 90 × 2 + 60 × 12
    ("responses", 26, "openai-responses", "gpt-5.6-terra", 900_000),
    # 13 × 0.3 + 9609 × 0.03 + (35 + 136) × 2.5; 9609 of the prompt's 9622 were cached
    ("gemini", 4, "gemini", "models/gemini-2.5-flash", 719_670),
    # 10 × 0.06 + 1298 × 0.06 + 2 × 0.24
    ("bedrock", 31, "bedrock", "us.amazon.nova-lite-v1:0", 78_960),
    # 458 × 0.06 + 2098 × 0.015 + 4 × 0.24
    ("bedrock", 101, "bedrock", "us.amazon.nova-lite-v1:0", 59_910),
    # Not in the list: a cent for the request
    ("bedrock", 57, "bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", 10_000_000),
]


@pytest.mark.fixtures
@pytest.mark.parametrize(("dialect", "number", "provider", "upstream_model", "nano"), RECORDED)
def test_a_recorded_answer_costs_what_its_provider_charges(
    dialect: str, number: int, provider: str, upstream_model: str, nano: int
) -> None:
    recording = next((recording for recording in load(dialect) if recording.number == number), None)
    if recording is None:
        pytest.skip(f"no recordings at ../shared/fixtures/{dialect}")
    usage = PROTOCOLS[dialect].inspect_response(msgspec.json.encode(recording.response.body)).usage
    assert usage is not None
    tokens = Tokens(
        requests=1,
        input=usage.input_tokens or 0,
        output=usage.output_tokens or 0,
        cache_read=usage.cache_read_tokens or 0,
        cache_write=usage.cache_write_tokens or 0,
        cache_write_1h=usage.cache_write_1h_tokens or 0,
        reasoning=usage.reasoning_tokens or 0,
    )
    asked = loads(
        f"providers: {{{provider}: {{}}}}\n"
        f"models: {{m: {{provider: {provider}, upstream_model: '{upstream_model}'}}}}",
        env=ENV,
    )
    tariff = tariff_of(asked)
    key = UsageKey("vk_1", DECEMBER, "m", tariff.tier_of("m", tokens.prompt), estimated=False)
    assert nanodollars(tariff.price(key, tokens)) == nano
