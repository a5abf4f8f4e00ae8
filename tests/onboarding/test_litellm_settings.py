"""LiteLLM's settings: routing, budgets of failures, doors, callbacks; and that no secret comes through."""

from __future__ import annotations

from typing import Any

import pytest
from onboarding.litellm_files import Result, deployment, imported

from busbar.onboarding.litellm.advice import CALLBACKS, GENERAL, LITELLM, ROUTER, TOP
from busbar.onboarding.litellm.report import Kind, text

TWO = """
model_list:
  - {model_name: g, litellm_params: {model: groq/a}}
  - {model_name: g, litellm_params: {model: groq/b}}
"""


def pool(settings: str) -> dict[str, Any]:
    """What is said of the one pool, but its members."""
    pools = imported(TWO + settings).document["pools"]
    return {key: value for key, value in pools["g"].items() if key != "members"}


BREAKER = {"trip": {"mode": "consecutive", "consecutive_n": 4}}
ROUTING: list[tuple[str, dict[str, Any]]] = [
    ("", {}),
    ("router_settings: {routing_strategy: simple-shuffle}", {}),
    ("router_settings: {routing_strategy: least-busy}", {"strategy": "least_busy"}),
    ("router_settings: {routing_strategy: latency-based-routing}", {"strategy": "fastest"}),
    ("router_settings: {routing_strategy: cost-based-routing}", {"strategy": "cheapest"}),
    ("router_settings: {routing_strategy: usage-based-routing}", {"strategy": "least_busy"}),
    ("router_settings: {routing_strategy: usage-based-routing-v2}", {"strategy": "least_busy"}),
    ("router_settings: {routing_strategy: own}", {}),
    ("router_settings: {num_retries: 5}", {"failover": {"cap": 5}}),
    ("litellm_settings: {num_retries: 500}", {"failover": {"cap": 64}}),
    ("router_settings: {num_retries: 0}", {"failover": {"cap": 0}}),
    ("router_settings: {timeout: 45}", {"failover": {"deadline_secs": 45}}),
    ("litellm_settings: {request_timeout: 6000}", {"failover": {"deadline_secs": 3600}}),
    ("router_settings: {allowed_fails: 3}", {"breaker": BREAKER}),
    ("litellm_settings: {allowed_fails: 3}", {"breaker": BREAKER}),
    ("router_settings: {cooldown_time: 30}", {"breaker": {"base_cooldown_secs": 30, "max_cooldown_secs": 30}}),
    ("router_settings: {cooldown_time: 0.5}", {"breaker": {"base_cooldown_secs": 1, "max_cooldown_secs": 1}}),
    (
        "router_settings: {disable_cooldowns: true}",
        {"breaker": {"trip": {"mode": "error_rate", "threshold": 1, "min_requests": 1024}}},
    ),
]


@pytest.mark.parametrize(("settings", "expected"), ROUTING)
def test_routing_is_said_of_the_pool(settings: str, expected: dict[str, Any]) -> None:
    assert pool(settings) == expected


def test_the_routers_word_comes_before_the_other() -> None:
    assert pool("router_settings: {num_retries: 1}\nlitellm_settings: {num_retries: 7}") == {"failover": {"cap": 1}}


def test_retries_of_a_group_of_one_are_at_the_same_member() -> None:
    result = deployment("{model: gpt-4o}", rest="router_settings: {num_retries: 2}")
    assert result.config.pools["m"].retry.same_member == 2
    own = deployment("{model: gpt-4o, max_retries: 4}", rest="router_settings: {num_retries: 2}")
    assert own.config.pools["m"].retry.same_member == 4


def test_a_streams_timeout_is_each_models() -> None:
    result = imported(f"{TWO}router_settings: {{stream_timeout: 9}}")
    assert {model.first_token_timeout_ms for model in result.config.models.values()} == {9000}


# --- doors


def test_the_master_key_is_a_client_token() -> None:
    result = deployment("{model: gpt-4o}", rest="general_settings: {master_key: os.environ/MASTER}")
    assert result.document["auth"] == {"mode": "token", "client_tokens": ["${MASTER}"]}
    assert "governance" not in result.document


def test_with_a_database_it_opens_the_administration_too() -> None:
    settings = "general_settings: {master_key: os.environ/MASTER, database_url: os.environ/DATABASE_URL}"
    result = deployment("{model: gpt-4o}", rest=settings)
    assert result.document["governance"] == {"enabled": True, "admin_token": "${MASTER}"}
    assert "general_settings.database_url" in result.told(Kind.LEFT_OUT)
    assert "DATABASE_URL" not in result.variables


def test_a_gateway_without_a_key_is_told() -> None:
    assert "general_settings.master_key" in deployment("{model: gpt-4o}").told(Kind.CHANGED)


def test_sizes_logs_and_health_checks_have_their_places() -> None:
    result = deployment(
        "{model: gpt-4o}",
        rest="general_settings: {max_request_size_mb: 10, background_health_checks: true,"
        " health_check_interval: 60}\n"
        "litellm_settings: {json_logs: true}\n",
    )
    assert result.config.limits.body_max_bytes == 10 << 20
    assert result.config.observability.log_format == "json"
    assert result.provider["health"] == {"mode": "active", "interval_secs": 60}


# --- what is left


@pytest.mark.parametrize("section", ["router_settings", "litellm_settings", "general_settings"])
def test_every_setting_without_a_counterpart_is_told(section: str) -> None:
    table = {"router_settings": ROUTER, "litellm_settings": LITELLM, "general_settings": GENERAL}[section]
    for key, (kind, advice) in table.items():
        written = "sparkle" if key == "*" else key
        told = deployment("{model: gpt-4o}", rest=f"{section}: {{{written}: 1}}").told(kind)
        assert told[f"{section}.{written}"] == advice


@pytest.mark.parametrize("key", TOP)
def test_everything_else_at_the_top_is_told(key: str) -> None:
    written = "sparkle" if key == "*" else key
    kind, advice = TOP[key]
    assert deployment("{model: gpt-4o}", rest=f"{written}: [{{a: 1}}]").told(kind)[written] == advice


@pytest.mark.parametrize("key", ["callbacks", "success_callback", "failure_callback"])
@pytest.mark.parametrize("word", CALLBACKS)
def test_each_callback_is_told(key: str, word: str) -> None:
    kind, advice = CALLBACKS[word]
    name = "sparkle" if word == "*" else word
    told = deployment("{model: gpt-4o}", rest=f"litellm_settings: {{{key}: [{name}]}}").told(kind)
    assert told[f"callback {name}"] == advice


def test_one_callback_needs_no_list() -> None:
    assert "callback prometheus" in deployment("{model: m}", rest="litellm_settings: {callbacks: prometheus}").keys


# --- secrets

SECRET = "sk-proj-0123456789abcdef"
PLACES = [
    f"model_list: [{{model_name: m, litellm_params: {{model: gpt-4o, api_key: {SECRET}}}}}]",
    f"model_list: [{{model_name: m, litellm_params: {{model: azure/d, api_key: {SECRET}}}}}]",
    f"model_list: [{{model_name: m, litellm_params: {{model: azure/d, azure_ad_token: {SECRET}}}}}]",
    "model_list: [{model_name: m, litellm_params: {model: azure/d, tenant_id: t, client_id: c,"
    f" client_secret: {SECRET}}}}}]",
    f"model_list: [{{model_name: m, litellm_params: {{model: bedrock/m, aws_region_name: r, api_key: {SECRET}}}}}]",
    "model_list: [{model_name: m, litellm_params: {model: bedrock/m, aws_region_name: r,"
    f" aws_access_key_id: AKIA0, aws_secret_access_key: {SECRET}}}}}]",
    "model_list: [{model_name: m, litellm_params: {model: vertex_ai/gemini-3, vertex_project: p,"
    f' vertex_credentials: \'{{"private_key": "{SECRET}"}}\'}}}}]',
    "model_list: [{model_name: m, litellm_params: {model: vertex_ai/gemini-3, vertex_project: p,"
    f" vertex_credentials: {{private_key: {SECRET}}}}}}}]",
    f"model_list: [{{model_name: m, litellm_params: {{model: gpt-4o, extra_headers: {{x-api-key: {SECRET}}}}}}}]",
    "model_list: [{model_name: m, litellm_params: {model: openai/m, api_base: 'http://h:1/v1', headers:"
    f" {{Authorization: Bearer {SECRET}}}}}}}]",
    f"model_list: [{{model_name: m, litellm_params: {{model: openai/m, api_base: 'https://u:{SECRET}@h/v1'}}}}]",
    f"model_list: [{{model_name: m, litellm_params: {{model: openai/m, api_base: 'https://h/v1?key={SECRET}'}}}}]",
    f"general_settings: {{master_key: {SECRET}}}",
    f"general_settings: {{database_url: 'postgresql://u:{SECRET}@h/d'}}",
    f"environment_variables: {{OPENAI_API_KEY: {SECRET}}}",
    f"router_settings: {{redis_password: {SECRET}, routing_strategy: {{a: {SECRET}}}}}",
    f"litellm_settings: {{callbacks: [{{key: {SECRET}}}], cache_params: {{password: {SECRET}}}}}",
    f"credential_list: [{{credential_name: c, credential_values: {{api_key: {SECRET}}}}}]\n"
    "model_list: [{model_name: m, litellm_params: {model: gpt-4o, litellm_credential_name: c}}]",
    f"model_list: [{{model_name: m, litellm_params: {{model: gpt-4o, mystery: {SECRET}}}, model_info:"
    f" {{note: {SECRET}}}}}]",
]


@pytest.mark.parametrize("written", PLACES)
def test_a_secret_goes_nowhere(written: str) -> None:
    from onboarding.litellm_files import CATALOG

    from busbar.onboarding.litellm import import_litellm

    result = import_litellm(written, CATALOG)
    assert SECRET not in result.text
    assert SECRET not in text(result.findings, "summary")
    assert SECRET not in repr(result)
    assert result.findings


def test_the_same_key_is_one_variable_and_another_is_another() -> None:
    result: Result = imported("""
model_list:
  - {model_name: a, litellm_params: {model: openai/a, api_key: sk-one}}
  - {model_name: b, litellm_params: {model: openai/b, api_key: sk-two}}
  - {model_name: c, litellm_params: {model: openai/c, api_key: sk-one}}
  - {model_name: d, litellm_params: {model: openai/d, api_key: os.environ/OPENAI_API_KEY_2}}
""")
    assert [result.config.providers[m.provider].keys[0].env for m in result.config.models.values()] == [
        "OPENAI_API_KEY",
        "OPENAI_API_KEY_3",
        "OPENAI_API_KEY",
        "OPENAI_API_KEY_2",
    ]
    assert "api_key" in result.told(Kind.TO_DO)
