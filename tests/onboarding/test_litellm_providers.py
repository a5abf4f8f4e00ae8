"""LiteLLM's deployments: whose they are here, and where."""

from __future__ import annotations

from typing import Any

import pytest
from onboarding.litellm_files import CATALOG, deployment, imported

from busbar.onboarding.litellm.counterparts import COUNTERPARTS, NO_COUNTERPART
from busbar.onboarding.litellm.report import Kind


@pytest.mark.parametrize("prefix", sorted(COUNTERPARTS))
def test_every_counterpart_is_in_the_catalog_and_loads(prefix: str) -> None:
    result = deployment(f"{{model: {prefix}/some/model}}")
    assert result.provider["name"] == COUNTERPARTS[prefix].catalog
    assert result.provider["name"] in CATALOG
    assert result.config.models["m"].upstream_model == "some/model"
    assert result.findings[1:] == ()  # but that there is no master key


@pytest.mark.parametrize("prefix", [*sorted(NO_COUNTERPART), "nobody_knows"])
def test_what_has_no_counterpart_is_told_and_what_to_do(prefix: str) -> None:
    result = deployment(f"{{model: {prefix}/some-model}}")
    assert result.document["providers"] == {}
    assert len(result.told(Kind.LEFT_OUT)[f"provider {prefix}"]) > 30


ADDRESSES: list[tuple[str, dict[str, Any]]] = [
    ("{model: openai/m, api_key: os.environ/K}", {"name": "openai", "api_key_env": "K"}),
    ("{model: gpt-4o}", {"name": "openai"}),
    ("{model: o3-mini}", {"name": "openai"}),
    ("{model: claude-sonnet-4-5}", {"name": "anthropic"}),
    ("{model: m, custom_llm_provider: groq}", {"name": "groq"}),
    ("{model: groq/m, custom_llm_provider: groq}", {"name": "groq"}),
    ("{model: openai/m, api_base: 'https://api.openai.com/v1'}", {"name": "openai"}),
    (
        "{model: openai/m, api_base: 'http://gpu:8000/v1', api_key: EMPTY}",
        {"name": "gpu", "protocol": "openai", "base_url": "http://gpu:8000", "auth": "none"},
    ),
    (
        "{model: openai/m, api_base: 'http://ollama:8000/v1/'}",
        {"name": "ollama-2", "protocol": "openai", "base_url": "http://ollama:8000", "auth": "none"},
    ),
    (
        "{model: custom_openai/m, base_url: 'https://h.example/api/v3', api_key: os.environ/K}",
        {
            "name": "h.example",
            "protocol": "openai",
            "base_url": "https://h.example/api/v3",
            "path": "/chat/completions",
            "auth": "bearer",
            "api_key_env": "K",
        },
    ),
    (
        "{model: openai/m, api_base: os.environ/BASE, api_key: os.environ/K}",
        {
            "name": "base",
            "protocol": "openai",
            "base_url": "${BASE}",
            "path": "/chat/completions",
            "auth": "bearer",
            "api_key_env": "K",
        },
    ),
    (
        "{model: anthropic/m, api_base: 'https://h.example/v1/messages'}",
        {"name": "anthropic", "base_url": "https://h.example"},
    ),
    ("{model: anthropic/m, api_base: os.environ/BASE}", {"name": "anthropic", "base_url": "${BASE}"}),
    ("{model: anthropic/m, api_base: 'https://h.example'}", {"name": "anthropic", "base_url": "https://h.example"}),
    (
        "{model: anthropic/m, api_base: 'https://h.example/v1'}",
        {"name": "anthropic", "base_url": "https://h.example"},
    ),
    ("{model: cohere/m, api_base: 'https://h.example/v2/chat'}", {"name": "cohere", "base_url": "https://h.example"}),
    ("{model: cohere_chat/m}", {"name": "cohere"}),
    ("{model: gemini/m, api_base: 'https://h.example'}", {"name": "gemini", "base_url": "https://h.example"}),
    ("{model: deepinfra/m}", {"name": "deepinfra"}),
    (
        "{model: deepinfra/m, api_base: 'https://h.example/v1'}",
        {"name": "deepinfra", "base_url": "https://h.example", "path": "/v1/chat/completions"},
    ),
    ("{model: ollama/m, api_base: 'http://gpu:11434'}", {"name": "ollama", "base_url": "http://gpu:11434"}),
    ("{model: hosted_vllm/m, api_base: 'http://gpu:8000/v1'}", {"name": "vllm", "base_url": "http://gpu:8000"}),
    (
        "{model: hosted_vllm/m, api_base: 'http://gpu:8000/v1', api_key: os.environ/K}",
        {"name": "vllm", "base_url": "http://gpu:8000", "auth": "bearer", "api_key_env": "K"},
    ),
    ("{model: nvidia_nim/m}", {"name": "nvidia-nim", "api_key_env": "NVIDIA_NIM_API_KEY"}),
    (
        "{model: openai/m, organization: org-1, extra_headers: {X-Team: a, X-Auth-Token: os.environ/T}}",
        {"name": "openai", "headers": {"openai-organization": "org-1", "x-team": "a", "x-auth-token": "${T}"}},
    ),
    # Azure
    (
        "{model: azure/d, api_base: 'https://mine.openai.azure.com/', api_key: os.environ/K}",
        {"name": "azure-openai", "variables": {"resource": "mine"}, "api_key_env": "K"},
    ),
    (
        "{model: azure/d, api_base: 'https://mine.openai.azure.com', api_version: '2024-06-01'}",
        {
            "name": "azure-openai-classic",
            "variables": {"resource": "mine", "api_version": "2024-06-01"},
            "api_key_env": "AZURE_API_KEY",
        },
    ),
    (
        "{model: azure/d, api_base: os.environ/B, api_version: os.environ/V, api_key: os.environ/K}",
        {
            "name": "azure-openai-classic",
            "base_url": "${B}",
            "variables": {"api_version": "${V}"},
            "api_key_env": "K",
        },
    ),
    (
        "{model: azure/d, api_base: 'https://gateway.example/openai', api_key: os.environ/K}",
        {"name": "azure-openai-classic", "base_url": "https://gateway.example", "api_key_env": "K"},
    ),
    (
        "{model: azure/d, api_base: 'https://mine.openai.azure.com', tenant_id: t, client_id: os.environ/C,"
        " client_secret: os.environ/S}",
        {
            "name": "azure-openai",
            "variables": {"resource": "mine"},
            "auth": "entra",
            "identity": {"tenant": "t", "client_id": "${C}", "client_secret": "${S}"},
        },
    ),
    (
        "{model: azure/d, api_base: 'https://mine.openai.azure.com', azure_ad_token: os.environ/T}",
        {"name": "azure-openai", "variables": {"resource": "mine"}, "auth": "bearer", "api_key_env": "T"},
    ),
    (
        "{model: azure_ai/grok-4, api_base: 'https://mine.services.ai.azure.com/models', api_key: os.environ/K}",
        {"name": "azure-foundry", "variables": {"resource": "mine"}, "api_key_env": "K"},
    ),
    (
        "{model: azure_ai/claude-sonnet-4-5, api_base: os.environ/B}",
        {"name": "azure-foundry-anthropic", "base_url": "${B}/anthropic", "api_key_env": "AZURE_AI_API_KEY"},
    ),
    (
        "{model: azure_ai/llama, api_base: 'https://mine.eastus.models.ai.azure.com', api_key: os.environ/K}",
        {
            "name": "mine.eastus.models.ai.azure.com",
            "protocol": "openai",
            "base_url": "https://mine.eastus.models.ai.azure.com",
            "auth": "bearer",
            "api_key_env": "K",
        },
    ),
    # AWS
    (
        "{model: bedrock/m, aws_region_name: eu-west-1}",
        {"name": "bedrock", "variables": {"region": "eu-west-1"}},
    ),
    ("{model: bedrock/converse/eu-west-1/m}", {"name": "bedrock", "variables": {"region": "eu-west-1"}}),
    (
        "{model: bedrock/m, aws_region_name: os.environ/R, aws_profile_name: prod}",
        {"name": "bedrock", "variables": {"region": "${R}"}, "identity": {"profile": "prod"}},
    ),
    (
        "{model: bedrock/m, aws_region_name: eu-west-1, aws_access_key_id: os.environ/AWS_ACCESS_KEY_ID,"
        " aws_secret_access_key: os.environ/AWS_SECRET_ACCESS_KEY}",
        {"name": "bedrock", "variables": {"region": "eu-west-1"}},
    ),
    (
        "{model: bedrock/m, aws_region_name: eu-west-1, aws_access_key_id: os.environ/A, aws_secret_access_key:"
        " os.environ/S, aws_session_token: os.environ/T}",
        {"name": "bedrock", "variables": {"region": "eu-west-1"}, "api_key": "${A}:${S}:${T}"},
    ),
    (
        "{model: bedrock/m, aws_region_name: eu-west-1, api_key: os.environ/K}",
        {"name": "bedrock-api-key", "variables": {"region": "eu-west-1"}, "api_key_env": "K"},
    ),
    (
        "{model: bedrock/m, aws_region_name: eu-west-1, aws_bedrock_runtime_endpoint: 'https://vpce.example'}",
        {"name": "bedrock", "base_url": "https://vpce.example", "identity": {"region": "eu-west-1"}},
    ),
    ("{model: bedrock/m}", {"name": "bedrock", "variables": {"region": "${AWS_REGION_NAME}"}}),
    # Google
    (
        "{model: vertex_ai/gemini-3-pro, vertex_project: p, vertex_location: europe-west1}",
        {"name": "vertex-gemini", "variables": {"project": "p", "location": "europe-west1"}},
    ),
    (
        "{model: vertex_ai_beta/gemini-3-pro, vertex_project: os.environ/P}",
        {"name": "vertex-gemini", "variables": {"project": "${P}", "location": "us-central1"}},
    ),
    (
        "{model: vertex_ai/claude-x, vertex_project: p, vertex_location: global, vertex_credentials: /sa.json}",
        {
            "name": "vertex-anthropic-global",
            "variables": {"project": "p"},
            "identity": {"credentials_file": "/sa.json"},
        },
    ),
    (
        "{model: vertex_ai/meta/x, vertex_project: p, vertex_location: global, vertex_credentials: os.environ/F}",
        {"name": "vertex-openai-global", "variables": {"project": "p"}, "identity": {"credentials_file": "${F}"}},
    ),
    # Others
    (
        "{model: cloudflare/m, api_base: 'https://api.cloudflare.com/client/v4/accounts/abc123/ai/run/'}",
        {"name": "cloudflare-workers-ai", "variables": {"account_id": "abc123"}},
    ),
    (
        "{model: databricks/m, api_base: 'https://adb-1.example/serving-endpoints', api_key: os.environ/K}",
        {
            "name": "databricks-serving",
            "variables": {"workspace_host": "adb-1.example"},
            "api_key_env": "K",
        },
    ),
    (
        "{model: databricks/m}",
        {
            "name": "databricks-serving",
            "base_url": "${DATABRICKS_API_BASE}",
            "path": "/chat/completions",
            "api_key_env": "DATABRICKS_API_KEY",
        },
    ),
]


@pytest.mark.parametrize(("params", "provider"), ADDRESSES, ids=[params[:70] for params, _ in ADDRESSES])
def test_a_deployment_becomes_an_account(params: str, provider: dict[str, Any]) -> None:
    assert deployment(params).provider == provider


NAMES = {
    "bedrock/converse/us.anthropic.claude-sonnet-4-6": "us.anthropic.claude-sonnet-4-6",
    "bedrock/invoke/eu-west-1/anthropic.claude-3": "anthropic.claude-3",
    "bedrock/llama/arn:aws:bedrock:us-east-1:1:imported-model/x": "arn:aws:bedrock:us-east-1:1:imported-model/x",
    "openrouter/anthropic/claude-sonnet-4.5": "anthropic/claude-sonnet-4.5",
    "fireworks_ai/accounts/fireworks/models/kimi-k3": "accounts/fireworks/models/kimi-k3",
    "huggingface/together/deepseek-ai/DeepSeek-R1": "deepseek-ai/DeepSeek-R1:together",
    "huggingface/deepseek-ai/DeepSeek-R1": "deepseek-ai/DeepSeek-R1",
    "groq/openai/gpt-oss-120b": "openai/gpt-oss-120b",
    "gpt-4o": "gpt-4o",
}


@pytest.mark.parametrize(("written", "upstream"), NAMES.items())
def test_the_provider_is_asked_for_the_model_by_its_own_name(written: str, upstream: str) -> None:
    assert deployment(f"{{model: '{written}'}}").config.models["m"].upstream_model == upstream


@pytest.mark.parametrize(
    "written",
    [
        "bedrock/agent/x/y",
        "bedrock/mantle/openai.gpt-oss",
        "vertex_ai/1234567890",
        "openai/text-embedding-3-small",
        "azure/whisper-1",
        "openai/*",
    ],
)
def test_what_is_no_chat_or_cannot_be_reached_is_left_out(written: str) -> None:
    result = deployment(f"{{model: '{written}', vertex_project: p, api_base: 'https://mine.openai.azure.com'}}")
    assert result.config.models == {}
    assert len(result.told(Kind.LEFT_OUT)) == 1


def test_a_mode_says_what_a_name_does_not() -> None:
    assert deployment("{model: openai/embedding-chat}", model_info="{mode: chat}").config.models
    assert not deployment("{model: openai/x}", model_info="{mode: image_generation}").config.models


def test_a_wildcard_leaves_its_provider_to_add_models_to() -> None:
    result = imported("model_list: [{model_name: 'anthropic/*', litellm_params: {model: 'anthropic/*'}}]")
    assert list(result.config.providers) == ["anthropic"]
    assert "`anthropic`" in result.told(Kind.LEFT_OUT)["wildcards"]


def test_two_keys_at_one_provider_are_two_accounts_and_one_key_is_one() -> None:
    result = imported("""
model_list:
  - {model_name: a, litellm_params: {model: groq/x, api_key: os.environ/ONE}}
  - {model_name: b, litellm_params: {model: groq/y, api_key: os.environ/TWO}}
  - {model_name: c, litellm_params: {model: groq/z, api_key: os.environ/ONE}}
""")
    first, second = result.config.providers["groq"], result.config.providers["groq-2"]
    assert [model.provider for model in result.config.models.values()] == ["groq", "groq-2", "groq"]
    assert (first.keys[0].env, second.keys[0].env) == ("ONE", "TWO")
    assert (second.base_url, second.error_map) == (first.base_url, first.error_map)
    assert first.error_map


def test_an_account_never_has_the_name_that_callers_ask_for() -> None:
    """A pool could not be called like a provider; callers' names are the ones that stay."""
    result = imported("""
model_list:
  - {model_name: groq, litellm_params: {model: groq/x}}
  - {model_name: groq, litellm_params: {model: together_ai/x}}
""")
    assert list(result.config.pools) == ["groq"]
    assert list(result.config.providers) == ["groq-2", "together"]


def test_a_named_credential_is_that_of_its_list() -> None:
    result = deployment(
        "{model: azure/d, litellm_credential_name: eu}",
        rest="credential_list:\n  - {credential_name: eu, credential_values: {api_base:"
        " 'https://eu.openai.azure.com', api_key: os.environ/EU_KEY}}\n",
    )
    assert result.provider == {"name": "azure-openai", "variables": {"resource": "eu"}, "api_key_env": "EU_KEY"}


def test_an_unknown_credential_name_is_to_be_done() -> None:
    assert "litellm_credential_name" in deployment("{model: gpt-4o, litellm_credential_name: x}").told(Kind.TO_DO)


@pytest.mark.parametrize(
    "base", ["https://user:hunter22@h.example/v1", "ftp://h.example", "h.example/v1", "http://["]
)
def test_an_address_that_cannot_be_carried_is_a_variable_to_set(base: str) -> None:
    result = deployment(f"{{model: openai/m, api_base: '{base}', api_key: os.environ/K}}")
    assert result.provider["base_url"].startswith("${")
    assert "hunter22" not in result.text + str(result.findings)
    assert "api_base" in result.told(Kind.TO_DO)


@pytest.mark.parametrize(
    ("written", "called"),
    [
        ("http://0.0.0.0:4000/v1", "http://127.0.0.1:4000"),
        ("http://0.0.0.0", "http://127.0.0.1"),
        ("http://[::]:8000", "http://127.0.0.1:8000"),
    ],
)
def test_a_server_on_all_addresses_is_called_on_this_machine(written: str, called: str) -> None:
    result = deployment(f"{{model: openai/m, api_base: '{written}', api_key: none}}")
    assert result.provider["base_url"] == called
    assert result.told(Kind.CHANGED)["api_base"] == "a server that listens on 0.0.0.0 is called at 127.0.0.1 here"


def test_an_address_that_only_begins_like_it_stays() -> None:
    assert deployment("{model: openai/m, api_base: 'http://0.0.0.0.example/v1'}").provider["base_url"] == (
        "http://0.0.0.0.example"
    )


def test_a_wildcard_for_everything_is_a_wildcard_and_no_provider() -> None:
    result = imported(
        'model_list: [{model_name: "*", litellm_params: {model: "*"}}, '
        "{model_name: m, litellm_params: {model: openai/m}}]"
    )
    assert result.told(Kind.LEFT_OUT) == {
        "wildcards": "Busbar lists its models by name; add those that you call under `models`"
    }
