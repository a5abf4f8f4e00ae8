"""LiteLLM's providers → the catalog's entries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct


class Counterpart(Struct, frozen=True):
    """A provider that is reached by a key and an address."""

    catalog: str
    key_envs: tuple[str, ...] = ()
    """The variables that LiteLLM looks for the key in, where the file names none; empty: it goes without."""
    rooted: bool = False
    """LiteLLM speaks the server's own dialect: its `api_base` has no `/v1`."""


def _keyed(catalog: str, *key_envs: str) -> Counterpart:
    return Counterpart(catalog, key_envs)


COUNTERPARTS: Mapping[str, Counterpart] = {
    "ai21": _keyed("ai21", "AI21_API_KEY"),
    "ai21_chat": _keyed("ai21", "AI21_API_KEY"),
    "aihubmix": _keyed("aihubmix", "AIHUBMIX_API_KEY"),
    "aiml": _keyed("aimlapi", "AIML_API_KEY", "AIMLAPI_KEY"),
    "anthropic": _keyed("anthropic", "ANTHROPIC_API_KEY"),
    "baseten": _keyed("baseten", "BASETEN_API_KEY"),
    "cerebras": _keyed("cerebras", "CEREBRAS_API_KEY"),
    "chutes": _keyed("chutes", "CHUTES_API_KEY"),
    "clarifai": _keyed("clarifai", "CLARIFAI_PAT", "CLARIFAI_API_KEY"),
    "cohere": _keyed("cohere", "COHERE_API_KEY", "CO_API_KEY"),
    "cohere_chat": _keyed("cohere", "COHERE_API_KEY", "CO_API_KEY"),
    "cometapi": _keyed("cometapi", "COMETAPI_KEY"),
    "cortecs": _keyed("cortecs", "CORTECS_API_KEY"),
    "crusoe": _keyed("crusoe", "CRUSOE_API_KEY"),
    "dashscope": _keyed("dashscope", "DASHSCOPE_API_KEY"),
    "deepinfra": _keyed("deepinfra", "DEEPINFRA_API_KEY"),
    "deepseek": _keyed("deepseek", "DEEPSEEK_API_KEY"),
    "docker_model_runner": Counterpart("docker-model-runner"),
    "edenai": _keyed("edenai", "EDENAI_API_KEY"),
    "featherless_ai": _keyed("featherless", "FEATHERLESS_AI_API_KEY", "FEATHERLESS_API_KEY"),
    "fireworks_ai": _keyed("fireworks", "FIREWORKS_API_KEY", "FIREWORKS_AI_API_KEY"),
    "friendliai": _keyed("friendliai", "FRIENDLIAI_API_KEY", "FRIENDLI_TOKEN"),
    "gemini": _keyed("gemini", "GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "gmi": _keyed("gmi", "GMI_API_KEY"),
    "gradient_ai": _keyed("digitalocean", "GRADIENT_AI_API_KEY"),
    "groq": _keyed("groq", "GROQ_API_KEY"),
    "helicone": _keyed("helicone", "HELICONE_API_KEY"),
    "heroku": _keyed("heroku", "HEROKU_API_KEY"),
    "hosted_vllm": Counterpart("vllm"),
    "huggingface": _keyed("huggingface", "HF_TOKEN", "HUGGINGFACE_API_KEY"),
    "hyperbolic": _keyed("hyperbolic", "HYPERBOLIC_API_KEY"),
    "inception": _keyed("inception", "INCEPTION_API_KEY"),
    "lambda_ai": _keyed("lambda", "LAMBDA_API_KEY"),
    "litellm_proxy": _keyed("litellm-proxy", "LITELLM_PROXY_API_KEY"),
    "llamafile": Counterpart("llama-cpp"),
    "lm_studio": Counterpart("lmstudio"),
    "meta": _keyed("meta-openai", "META_API_KEY"),
    "meta_llama": _keyed("meta-llama", "LLAMA_API_KEY"),
    "minimax": _keyed("minimax", "MINIMAX_API_KEY"),
    "mistral": _keyed("mistral", "MISTRAL_API_KEY"),
    "modelscope": _keyed("modelscope", "MODELSCOPE_API_KEY"),
    "moonshot": _keyed("moonshot", "MOONSHOT_API_KEY"),
    "morph": _keyed("morph", "MORPH_API_KEY"),
    "nano-gpt": _keyed("nano-gpt", "NANOGPT_API_KEY"),
    "nebius": _keyed("nebius", "NEBIUS_API_KEY"),
    "novita": _keyed("novita", "NOVITA_API_KEY"),
    "nscale": _keyed("nscale", "NSCALE_API_KEY"),
    "nvidia_nim": _keyed("nvidia-nim", "NVIDIA_NIM_API_KEY"),
    "ollama": Counterpart("ollama", rooted=True),
    "ollama_chat": Counterpart("ollama", rooted=True),
    "openai": _keyed("openai", "OPENAI_API_KEY"),
    "openrouter": _keyed("openrouter", "OPENROUTER_API_KEY", "OR_API_KEY"),
    "ovhcloud": _keyed("ovhcloud", "OVHCLOUD_API_KEY"),
    "parasail": _keyed("parasail", "PARASAIL_API_KEY"),
    "perplexity": _keyed("perplexity", "PERPLEXITYAI_API_KEY", "PERPLEXITY_API_KEY"),
    "poe": _keyed("poe", "POE_API_KEY"),
    "publicai": _keyed("publicai", "PUBLICAI_API_KEY"),
    "sambanova": _keyed("sambanova", "SAMBANOVA_API_KEY"),
    "sarvam": _keyed("sarvam", "SARVAM_API_KEY"),
    "scaleway": _keyed("scaleway", "SCW_SECRET_KEY"),
    "synthetic": _keyed("synthetic", "SYNTHETIC_API_KEY"),
    "tencent": _keyed("tencent-tokenhub", "TENCENT_API_KEY"),
    "together_ai": _keyed("together", "TOGETHER_API_KEY", "TOGETHER_AI_API_KEY", "TOGETHERAI_API_KEY"),
    "veniceai": _keyed("venice", "VENICE_AI_API_KEY"),
    "vercel_ai_gateway": _keyed("vercel-ai-gateway", "VERCEL_AI_GATEWAY_API_KEY"),
    "vllm": Counterpart("vllm"),
    "volcengine": _keyed("volcengine", "VOLCENGINE_API_KEY", "ARK_API_KEY"),
    "wandb": _keyed("wandb", "WANDB_API_KEY"),
    "xai": _keyed("xai", "XAI_API_KEY"),
    "xiaomi_mimo": _keyed("xiaomi", "XIAOMI_MIMO_API_KEY"),
    "zai": _keyed("zai-api", "ZAI_API_KEY"),
}

COMPATIBLE = frozenset({"openai", "custom_openai", "openai_like", "aiohttp_openai", "xinference"})
"""With an address of one's own: whatever speaks OpenAI's dialect there."""

CLOUDS = frozenset({"azure", "azure_ai", "bedrock", "vertex_ai", "vertex_ai_beta", "cloudflare", "databricks"})
"""Those that are told apart by more than a key; see `clouds`."""

NO_COUNTERPART: Mapping[str, str] = {
    "replicate": "Replicate has a dialect of its own that Busbar does not speak",
    "sagemaker": "SageMaker endpoints speak what their container speaks; put one that speaks OpenAI's dialect under"
    " `providers` with a base_url",
    "sagemaker_chat": "a SageMaker endpoint that speaks OpenAI's dialect can be put under `providers` with a"
    " base_url, behind a proxy that signs",
    "watsonx": "watsonx.ai takes tokens of IBM's IAM, which Busbar cannot mint; its gateway with an API key can be"
    " put under `providers` with a base_url",
    "watsonx_text": "watsonx.ai's text completions are no chat",
    "text-completion-openai": "text completions are no chat; the same models answer at `openai`",
    "codestral": "codestral.mistral.ai: put it under `providers` as {protocol: openai, base_url:"
    " https://codestral.mistral.ai, api_key_env: CODESTRAL_API_KEY}",
    "oci": "Oracle's signatures are not spoken here; with an API key use the catalog's `oci-genai`",
    "snowflake": "use the catalog's `snowflake-cortex` with a programmatic access token",
    "github": "GitHub Models was retired in July 2026",
    "github_copilot": "Copilot's device login is LiteLLM's own; the catalog's `github-copilot` takes a token",
    "predibase": "Predibase is not in the catalog; its OpenAI-compatible address can be put under `providers`",
}


def guessed_provider(model: str) -> str | None:
    """The provider of a model that is named without one, as LiteLLM's list of models has it."""
    for start, provider in _STARTS:
        if model.startswith(start):
            return provider
    return None


_STARTS = (
    *((start, "openai") for start in ("gpt-", "chatgpt-", "o1", "o3", "o4", "ft:gpt-")),
    ("claude-", "anthropic"),
    ("gemini-", "vertex_ai"),
    ("command-", "cohere"),
    ("deepseek-", "deepseek"),
)

_NOT_CHAT = ("embedding", "embed-", "rerank", "whisper", "tts-", "dall-e", "gpt-image", "moderation", "transcribe")
CHAT_MODES = frozenset({"chat", "completion", "responses"})


def is_chat(model: str, mode: Any) -> bool:
    """Whether a model answers chats; embeddings, pictures and sounds are not Busbar's."""
    if isinstance(mode, str):
        return mode in CHAT_MODES
    name = model.rpartition("/")[2].lower()
    return not any(word in name for word in _NOT_CHAT)
