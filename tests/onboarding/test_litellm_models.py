"""LiteLLM's deployments: what is said of one alone; groups, weights, fallbacks, aliases."""

from __future__ import annotations

from typing import Any

import pytest
from onboarding.litellm_files import Result, deployment, imported

from busbar.onboarding.litellm.advice import PARAMS
from busbar.onboarding.litellm.report import Kind

OPTIONS: list[tuple[str, str, dict[str, Any]]] = [
    ("timeout: 30", "{}", {"attempt_timeout_ms": 30_000}),
    ("timeout: '1.5'", "{}", {"attempt_timeout_ms": 1500}),
    ("timeout: 1000000000", "{}", {"attempt_timeout_ms": 86_400_000}),
    ("stream_timeout: 0.5", "{}", {"first_token_timeout_ms": 500, "stall_timeout_ms": 500}),
    ("max_parallel_requests: 7", "{}", {"max_concurrent": 7}),
    ("max_tokens: 20", "{}", {"default_max_tokens": 20}),
    ("order: 1", "{max_output_tokens: 8192}", {"default_max_tokens": 8192}),
    ("timeout: 0", "{}", {}),
    ("timeout: .nan", "{}", {}),
    ("timeout: os.environ/T", "{}", {}),
    ("timeout: true", "{}", {}),
]


@pytest.mark.parametrize(("params", "info", "options"), OPTIONS)
def test_what_is_said_of_one_model(params: str, info: str, options: dict[str, Any]) -> None:
    result = deployment(f"{{model: gpt-4o, {params}}}", model_info=info)
    assert result.document["models"] == {"m": {"provider": "openai", "upstream_model": "gpt-4o", **options}}


def test_prices_are_for_a_million_tokens_here() -> None:
    prices = "{input_cost_per_token: 0.0000025, output_cost_per_token: 1e-5, cache_read_input_token_cost: 0.00000125}"
    expected = {"m": {"input": 2.5, "output": 10, "cache_read": 1.25}}
    assert deployment("{model: gpt-4o}", model_info=prices).document["governance"] == {"prices": expected}
    in_params = deployment("{model: gpt-4o, input_cost_per_token: 0, output_cost_per_token: 0.000001}")
    assert in_params.document["governance"] == {"prices": {"m": {"input": 0, "output": 1}}}


def test_half_a_price_is_none() -> None:
    assert "governance" not in deployment("{model: gpt-4o}", model_info="{input_cost_per_token: 1e-6}").document


@pytest.mark.parametrize("key", [key for key in PARAMS if key != "*"])
def test_each_known_parameter_without_a_counterpart_is_told(key: str) -> None:
    kind, advice = PARAMS[key]
    assert deployment(f"{{model: gpt-4o, {key}: 1}}").told(kind)[f"litellm_params.{key}"] == advice


def test_an_unknown_parameter_is_told_too() -> None:
    result = deployment("{model: gpt-4o, sparkle: true, off: false}", model_info="{id: x, team: blue}")
    assert set(result.told(Kind.LEFT_OUT)) == {"litellm_params.sparkle", "model_info.team"}


# --- groups


def groups(*members: str, rest: str = "") -> Result:
    """Each member is `NAME: PARAMS`."""
    lines = (member.partition(": ") for member in members)
    entries = "\n".join(f"  - {{model_name: {name}, litellm_params: {{{params}}}}}" for name, _, params in lines)
    return imported(f"model_list:\n{entries}\n{rest}")


def weights(*params: str) -> list[int]:
    models = (f"g: model: groq/m{number}, {it}" for number, it in enumerate(params))
    return [member.weight for member in groups(*models).config.pools["g"].members]


def test_a_group_is_a_pool_and_callers_names_stay() -> None:
    result = groups("g: model: gpt-4o", "g: model: groq/m", "other: model: groq/n")
    assert [member.target for member in result.config.pools["g"].members] == ["g@openai", "g@groq"]
    assert list(result.config.models) == ["g@openai", "g@groq", "other"]
    assert list(result.config.pools) == ["g"]


def test_two_deployments_at_one_account_are_two_members() -> None:
    result = groups("g: model: groq/m", "g: model: groq/n")
    assert [member.target for member in result.config.pools["g"].members] == ["g@groq", "g@groq-2"]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        (("weight: 9", "weight: 3"), [3, 1]),
        (("rpm: 600", "rpm: 400"), [3, 2]),
        (("tpm: 20_000", "tpm: 100_000"), [1, 5]),
        (("weight: 1, rpm: 500", "weight: 2, rpm: 1"), [1, 2]),
        (("weight: 0.25", "weight: 0.75"), [1, 3]),
        (("weight: 0", "weight: 5"), [0, 1]),
        (("weight: 3", "max_tokens: 9"), [3, 1]),
        (("rpm: 1", "rpm: 123456789"), [1, 1000]),
        (("max_tokens: 9", "max_tokens: 9"), [1, 1]),
    ],
)
def test_weights_keep_their_proportions(params: tuple[str, ...], expected: list[int]) -> None:
    assert weights(*params) == expected


def test_a_context_is_the_members() -> None:
    result = imported("""
model_list:
  - {model_name: g, litellm_params: {model: groq/a}, model_info: {max_input_tokens: 8192}}
  - {model_name: g, litellm_params: {model: groq/b}, model_info: {max_tokens: 131072}}
""")
    assert [member.context_max for member in result.config.pools["g"].members] == [8192, 131_072]


def test_orders_are_pools_that_fall_back_on_the_next() -> None:
    result = groups(
        "g: model: groq/b, order: 2",
        "g: model: groq/a, order: 1",
        "last: model: gpt-4o",
        rest="router_settings: {fallbacks: [{g: [last]}]}",
    )
    chain = {name: (pool.members[0].target, pool.on_exhausted.action) for name, pool in result.config.pools.items()}
    assert chain == {
        "g": ("g@groq", "fallback_pool:g-order-2"),
        "g-order-2": ("g@groq-2", "fallback_pool:last"),
        "last": ("last@openai", "reject"),
    }
    assert result.config.models["g@groq"].upstream_model == "a"
    assert "order" in result.told(Kind.CHANGED)


def fallbacks(written: str, section: str = "router_settings") -> dict[str, str | None]:
    members = ("a: model: groq/a", "b: model: groq/b", "c: model: groq/c")
    result = groups(*members, rest=f"{section}: {{{written}}}")
    return {name: pool.on_exhausted.fallback_pool for name, pool in result.config.pools.items()}


@pytest.mark.parametrize("section", ["router_settings", "litellm_settings"])
def test_the_first_fallback_is_taken(section: str) -> None:
    assert fallbacks("fallbacks: [{a: [b, c]}]", section) == {"a": "b", "b": None}


def test_a_fallback_that_is_not_there_is_passed_over() -> None:
    assert fallbacks("fallbacks: [{a: [gone, c]}, {gone: [a]}]") == {"a": "c", "c": None}


@pytest.mark.parametrize("written", ["default_fallbacks: [c]", "fallbacks: [{'*': [c]}]"])
def test_default_fallbacks_are_for_all_but_themselves(written: str) -> None:
    assert fallbacks(written) == {"a": "c", "b": "c", "c": None}


def test_a_circle_is_opened_where_it_closes() -> None:
    assert fallbacks("fallbacks: [{a: [b]}, {b: [c]}, {c: [a]}]") == {"a": "b", "b": "c", "c": None}


def test_an_alias_is_another_name_for_the_same_models() -> None:
    result = groups(
        "a: model: groq/a",
        "a: model: groq/b",
        "b: model: gpt-4o",
        rest="router_settings:\n  model_group_alias: {x: a, y: {model: b, hidden: true}, z: gone}\n"
        "  fallbacks: [{a: [b]}]",
    )
    pools = result.config.pools
    assert pools["x"].members == pools["a"].members
    assert pools["x"].on_exhausted.fallback_pool == "b"
    assert result.config.models["y"].upstream_model == "gpt-4o"
    assert result.told(Kind.LEFT_OUT) == {"model_group_alias": "there is no group `gone`"}


def test_deployments_that_are_the_same_stay_two() -> None:
    result = groups("a: model: groq/a", "a: model: groq/a", rest="router_settings: {model_group_alias: {x: a}}")
    members = [[member.target for member in result.config.pools[name].members] for name in ("a", "x")]
    assert members == [["a@groq", "a@groq-2"], ["a@groq", "a@groq-2"]]


def test_names_that_cannot_be_are_changed_and_told() -> None:
    result = groups("'my model': model: groq/a", "chat: model: groq/b", "chat: model: groq/c")
    assert list(result.config.pools) == ["chat-pool"]
    assert "my-model" in result.config.models
    told = {finding.advice.split("`")[1] for finding in result.findings if finding.key == "model_name"}
    assert told == {"my-model", "chat-pool"}


def test_zero_is_a_setting_and_so_is_a_certificate_that_is_not_checked() -> None:
    told = deployment("{model: openai/m, temperature: 0, ssl_verify: false, drop_params: false}").told(Kind.LEFT_OUT)
    assert set(told) == {"litellm_params.temperature", "litellm_params.ssl_verify"}
