"""The packaged price list: what it holds, what it finds, and what it leaves alone because it is not certain."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from importlib import resources

import msgspec
import pytest

from busbar.cli.described import same_account
from busbar.config.files import packaged_providers
from busbar.config.known import known_providers
from busbar.config.prices import OWN_PRICE, SAME_ACCOUNT, price_list
from busbar.config.schema import PriceChange, PriceConfig, Prices, PriceTier, ProtocolName

PRICES = price_list()
CATALOG = known_providers(packaged_providers(), {})

SONNET_4_5 = PriceConfig(input=3, output=15, cache_read=0.3, cache_write=3.75, cache_write_1h=6)
GPT_4O = PriceConfig(input=2.5, output=10, cache_read=1.25)
NOVA_LITE = PriceConfig(input=0.06, output=0.24, cache_read=0.015, cache_write=0.06)
HAIKU_IN_THE_US = PriceConfig(input=1.1, output=5.5, cache_read=0.11, cache_write=1.375, cache_write_1h=2.2)
LLAMA_IN_THE_US = PriceConfig(input=0.72, output=0.72)


def find(provider: str, model: str, protocol: ProtocolName = "openai") -> PriceConfig | None:
    return PRICES.find(provider, protocol, model)


# --- what it holds


def test_every_provider_of_the_list_is_in_the_catalog_and_its_prices_are_whole_picodollars() -> None:
    assert set(PRICES.prices) - set(CATALOG) == set()
    assert sum(map(len, PRICES.prices.values())) == 237
    assert date.fromisoformat(PRICES.as_of) == date(2026, 11, 12)
    for models in PRICES.prices.values():
        for price in models.values():
            for prices in (price, *price.tiers, *price.changes):
                for name in Prices.__struct_fields__:
                    amount = getattr(prices, name)
                    assert amount is None or (amount > 0 and Decimal(str(amount)) * 10**6 % 1 == 0)


def test_tiers_and_changes_ascend_and_price_what_the_base_prices() -> None:
    def kinds(prices: Prices) -> set[str]:
        return {name for name in Prices.__struct_fields__ if getattr(prices, name) is not None}

    for models in PRICES.prices.values():
        for model, price in models.items():
            thresholds = [tier.above for tier in price.tiers]
            days = [date.fromisoformat(change.from_day) for change in price.changes]
            assert thresholds == sorted(set(thresholds)), model
            assert days == sorted(set(days)), model
            assert all(kinds(other) == kinds(price) for other in (*price.tiers, *price.changes)), model


def test_a_writer_of_the_list_is_told_of_a_typo() -> None:
    content = (resources.files("busbar") / "prices.json").read_text(encoding="utf-8")
    with pytest.raises(msgspec.ValidationError, match="cache_reed"):
        type(PRICES)(content.replace("cache_read", "cache_reed", 1).encode())


@pytest.mark.parametrize(
    ("provider", "model", "price"),
    [
        # What one tier leaves out at zero is priced as input, and not free.
        (
            "openai",
            "gpt-5.4",
            PriceConfig(
                input=2.5,
                output=15,
                cache_read=0.25,
                tiers=(PriceTier(above=272_000, input=5, output=22.5, cache_read=0.5),),
            ),
        ),
        (
            "dashscope",
            "qwen3-coder-plus",
            PriceConfig(
                input=1,
                output=5,
                cache_read=0.1,
                tiers=(
                    PriceTier(above=32_000, input=1.8, output=9, cache_read=0.18),
                    PriceTier(above=128_000, input=3, output=15, cache_read=0.3),
                    PriceTier(above=256_000, input=6, output=60, cache_read=0.6),
                ),
            ),
        ),
        (
            "gemini",
            "gemini-4-argon",
            PriceConfig(
                input=2,
                output=10,
                cache_read=0.1,
                changes=(PriceChange(from_day="2026-12-01", input=4, output=20, cache_read=0.2),),
            ),
        ),
        # The hour's price of the long prompts: twice fresh input, as everywhere at Anthropic.
        (
            "anthropic",
            "claude-haiku-5-5",
            PriceConfig(
                input=0.1,
                output=0.5,
                cache_read=0.01,
                cache_write=0.125,
                cache_write_1h=0.2,
                tiers=(
                    PriceTier(
                        above=100_000, input=0.5, output=2.5, cache_read=0.05, cache_write=0.625, cache_write_1h=1
                    ),
                ),
            ),
        ),
        ("deepseek", "deepseek-v4-pro", PriceConfig(input=1.32, output=3.96, cache_read=0.044)),
        ("groq", "openai/gpt-oss-20b", PriceConfig(input=0.075, output=0.3, cache_read=0.0375)),
    ],
)
def test_a_model_has_the_price_of_its_provider(provider: str, model: str, price: PriceConfig) -> None:
    assert find(provider, model) == price


def test_the_most_that_a_model_answers_is_known_where_its_price_is() -> None:
    assert PRICES.max_output("anthropic", "anthropic", "claude-sonnet-4-5") == 64_000
    assert PRICES.max_output("gemini", "gemini", "models/gemini-2.5-pro") == 65_536
    assert PRICES.max_output("mine", "openai", "gpt-4o") is None


# --- what it finds under other names


@pytest.mark.parametrize(
    ("provider", "protocol", "model", "price"),
    [
        ("anthropic", "anthropic", "claude-sonnet-4-5", SONNET_4_5),
        ("anthropic", "anthropic", "claude-sonnet-4-5-20250929", SONNET_4_5),
        ("anthropic", "anthropic", "claude-sonnet-4-5-20260301", SONNET_4_5),
        ("openai", "openai", "gpt-4o-2024-08-06", GPT_4O),
        ("openai", "openai", "gpt-4o-mini-2024-07-18", PriceConfig(input=0.15, output=0.6, cache_read=0.075)),
        ("openai-responses", "responses", "gpt-4o-2024-11-20", GPT_4O),
        ("gemini", "gemini", "models/gemini-2.5-flash", PriceConfig(input=0.3, output=2.5, cache_read=0.03)),
        ("deepseek-anthropic", "anthropic", "deepseek-flash", PriceConfig(input=0.3, output=1.2, cache_read=0.006)),
        ("bedrock", "bedrock", "us.anthropic.claude-haiku-4-5-20251001-v1:0", HAIKU_IN_THE_US),
        ("bedrock", "bedrock", "us.anthropic.claude-haiku-4-5-20251001-v1", HAIKU_IN_THE_US),
        ("bedrock", "bedrock", "us.anthropic.claude-haiku-4-5-20251001", HAIKU_IN_THE_US),
        ("bedrock", "bedrock", "us.anthropic.claude-haiku-4-5", HAIKU_IN_THE_US),
        ("bedrock", "bedrock", "anthropic.claude-haiku-4-5-20251001-v1:0", HAIKU_IN_THE_US),
        ("bedrock", "bedrock", "eu.anthropic.claude-haiku-4-5-20251001-v1:0", HAIKU_IN_THE_US),
        ("bedrock", "bedrock", "us.amazon.nova-lite-v1:0", NOVA_LITE),
        ("bedrock", "bedrock", "amazon.nova-lite-v1", NOVA_LITE),
        ("bedrock", "bedrock", "meta.llama3-3-70b-instruct-v1:0", LLAMA_IN_THE_US),
        ("bedrock-api-key", "bedrock", "amazon.nova-lite-v1:0", NOVA_LITE),
        ("my-account-in-ohio", "bedrock", "amazon.nova-lite-v1:0", NOVA_LITE),
        ("bedrock", "bedrock", "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0", NOVA_LITE),
        (
            "bedrock",
            "bedrock",
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-haiku-4-5-20251001-v1:0",
            HAIKU_IN_THE_US,
        ),
    ],
)
def test_a_model_is_found_under_the_names_that_mean_the_same(
    provider: str, protocol: ProtocolName, model: str, price: PriceConfig
) -> None:
    assert PRICES.find(provider, protocol, model) == price


def test_the_exact_region_is_found_first() -> None:
    prices = [find("bedrock", f"{region}.anthropic.claude-opus-5-5", "bedrock") for region in ("us", "eu", "global")]
    assert [price and price.input for price in prices] == [4.4, 4.4, 4]


def test_every_door_to_an_account_with_prices_is_known() -> None:
    """Doors have the same key, as the catalog shows it; only at AWS are the two kinds of keys two."""
    doors = {
        other: listed
        for listed in PRICES.prices
        for other in CATALOG
        if other != listed and same_account(CATALOG[other], CATALOG[listed])
    }
    unpriced = {"z.ai": "zai-api", "zai-coding": "zai-api", "perplexity-responses": "perplexity"}
    assert {**doors, "bedrock-api-key": "bedrock"} == {**SAME_ACCOUNT, **unpriced}


def test_a_model_costs_the_same_by_every_door() -> None:
    for other, listed in SAME_ACCOUNT.items():
        model = next(iter(PRICES.prices[listed]))
        assert PRICES.find(other, CATALOG[other].protocol, model) == PRICES.prices[listed][model]
    assert find("gemini-openai", "models/gemini-4-argon") == find("gemini", "gemini-4-argon", "gemini") is not None


# --- what it leaves alone


@pytest.mark.parametrize(
    ("provider", "protocol", "model"),
    [
        ("my-claude", "anthropic", "claude-sonnet-4-5"),
        ("azure-openai", "openai", "gpt-4o"),
        ("vertex-gemini", "gemini", "gemini-2.5-pro"),
        ("openrouter", "openai", "anthropic/claude-sonnet-4.5"),
        ("z.ai", "anthropic", "glm-5.2"),
        ("zai-coding", "openai", "glm-5.2"),
        ("moonshot-cn", "openai", "kimi-k3"),
        ("zhipuai", "openai", "glm-5.2"),
        ("ollama", "openai", "gpt-oss-120b"),
        ("openai", "openai", "claude-sonnet-4-5"),
        ("openai", "openai", "gpt-4o-audio-preview-2024-12-17"),
        ("openai", "openai", "ft:gpt-4o-mini-2024-07-18:acme::abc"),
        ("openai", "openai", "gpt-4o-20240806"),
        ("openai", "openai", "GPT-4o"),
        ("openai", "openai", "models/gpt-4o"),
        *(("openai", "openai", model) for model in OWN_PRICE),
        ("anthropic", "anthropic", "claude-sonnet-4"),
        ("anthropic", "anthropic", "claude-sonnet-4-5@20250929"),
        ("gemini", "gemini", "tunedModels/gemini-2.5-flash"),
        ("gemini", "gemini", "gemini-2.5-flash-preview-09-2025"),
        ("bedrock", "bedrock", "claude-sonnet-4-5"),
        ("bedrock", "bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
        ("bedrock", "bedrock", "global.anthropic.claude-haiku-4-5-20251001-v1:0"),
        ("bedrock", "bedrock", "us.anthropic.claude-opus-5"),
        ("bedrock", "bedrock", "apac.anthropic.claude-haiku-4-5-20251001-v1:0"),
        ("bedrock", "bedrock", "eu.amazon.nova-lite-v1:0"),
        ("bedrock", "bedrock", "amazon.nova-lite-v2:0"),
        ("bedrock", "bedrock", "openai.gpt-oss-120b"),
        ("bedrock", "bedrock", "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123"),
    ],
)
def test_what_is_not_certain_has_no_price(provider: str, protocol: ProtocolName, model: str) -> None:
    assert PRICES.find(provider, protocol, model) is None


def test_a_list_with_two_snapshots_does_not_say_which_one_an_undated_name_is() -> None:
    one, two = {"input": 1, "output": 2}, {"input": 3, "output": 4}
    models = {"gpt-9-2027-01-01": one, "gpt-9-2027-02-02": two, "gpt-8-2026-01-01": one}
    content = {"as_of": "2027-03-03", "notes": [], "prices": {"openai": models}}
    prices = type(PRICES)(msgspec.json.encode(content))
    names = ("gpt-9", "gpt-9-2027-02-02", "gpt-9-2027-03-03", "gpt-8")
    assert [prices.find("openai", "openai", name) for name in names] == [
        None,
        PriceConfig(input=3, output=4),
        None,
        PriceConfig(input=1, output=2),
    ]
