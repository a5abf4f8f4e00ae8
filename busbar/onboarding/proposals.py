"""Which models of a provider to begin with: a strong one first, then one that is quick and cheap.

Names as in the packaged price list (`busbar/prices.json`, as of November 2026), where the provider is in it: a test
holds the two together. A model that a provider has not got any more is told by `busbar check --live`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

PROPOSALS: Mapping[str, tuple[str, ...]] = {
    "anthropic": ("claude-sonnet-5-5", "claude-haiku-5-5"),
    "openai": ("gpt-6.1-sol", "gpt-6-luna"),
    "openai-responses": ("gpt-6.1-sol", "gpt-6-luna"),
    "gemini": ("gemini-4-argon", "gemini-3.8-flash"),
    "bedrock": ("us.anthropic.claude-sonnet-5-5", "amazon.nova-2-lite-v1:0"),
    "bedrock-api-key": ("us.anthropic.claude-sonnet-5-5", "amazon.nova-2-lite-v1:0"),
    "cohere": ("command-a-03-2025", "command-r7b-12-2024"),
    "mistral": ("mistral-large-latest", "mistral-small-latest"),
    "groq": ("openai/gpt-oss-120b", "llama-3.1-8b-instant"),
    "deepseek": ("deepseek-v4-pro", "deepseek-flash"),
    "xai": ("grok-4.7", "grok-4.3"),
    "together": ("moonshotai/Kimi-K3.1-Pro", "openai/gpt-oss-120b"),
    "fireworks": ("accounts/fireworks/models/kimi-k3p1-pro", "accounts/fireworks/models/glm-5p3-flash"),
    "cerebras": ("gpt-oss-120b", "qwen-3.8-27b"),
    "sambanova": ("gpt-oss-120b", "Meta-Llama-3.3-70B-Instruct"),
    "perplexity": ("sonar-pro", "sonar"),
    "moonshot": ("kimi-k3.1-pro", "kimi-k2.6"),
    "dashscope": ("qwen3.8-max", "qwen3.8-flash"),
    "minimax": ("MiniMax-M3", "MiniMax-M3.1-Flash"),
    "meta": ("muse-spark-1.3", "muse-ember-1.0"),
    "zai-api": ("glm-5.3", "glm-5.3-flash"),
    "baseten": ("moonshotai/Kimi-K3.1-Pro", "openai/gpt-oss-120b"),
    "volcengine": ("doubao-seed-2-1-pro-260915", "doubao-seed-2-0-mini-260215"),
    "xiaomi": ("mimo-v2.6-pro", "mimo-v2.6-flash"),
    "vertex-gemini-global": ("gemini-3.8-flash", "gemini-3.5-flash-lite"),
    "vertex-anthropic-global": ("claude-sonnet-5-5", "claude-haiku-5-5"),
}
"""By the catalog's name."""


def proposed(provider: str) -> tuple[str, ...]:
    """Upstream names; empty where nobody can know them: local servers, deployments of one's own."""
    return PROPOSALS.get(provider, ())


def model_name(upstream_model: str, provider: str, taken: Collection[str]) -> str:
    """What to call a model: its last part, `gpt-oss-120b` for `openai/gpt-oss-120b`; with the provider's name before
    it where that is taken."""
    last = upstream_model.rpartition("/")[2] or upstream_model
    name = last if last not in taken else f"{provider}-{last}"
    number = 2
    while name in taken:
        name, number = f"{provider}-{last}-{number}", number + 1
    return name
