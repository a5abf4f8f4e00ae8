"""LiteLLM's keys that are not carried over, each with a sentence what to do. `*` speaks for all others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from busbar.onboarding.litellm.report import Kind

Advice: TypeAlias = Mapping[str, tuple[Kind, str]]

_SAME, _CHANGED, _LEFT_OUT = Kind.SAME, Kind.CHANGED, Kind.LEFT_OUT

_SAMPLING = "Busbar has no defaults for requests; let callers send it, or force it for a provider with `body`"
_REDIS = "replicas share nothing here; each has breakers of its own (docs/operations.md)"
_STORE = "keys and usage are in a SQLite file (`governance.db_path`); make keys anew with `busbar keys create`"
_KEYS = "budgets and limits are a virtual key's or a group's: docs/governance.md"
_TAGS = "make a pool for each tag and give keys their pools"
_GUARDRAIL = "Busbar looks into no prompts; put guardrails before it"

PARAMS: Advice = {
    "temperature": (_LEFT_OUT, _SAMPLING),
    "top_p": (_LEFT_OUT, _SAMPLING),
    "seed": (_LEFT_OUT, _SAMPLING),
    "stop": (_LEFT_OUT, _SAMPLING),
    "frequency_penalty": (_LEFT_OUT, _SAMPLING),
    "presence_penalty": (_LEFT_OUT, _SAMPLING),
    "reasoning_effort": (_LEFT_OUT, _SAMPLING),
    "thinking": (_LEFT_OUT, _SAMPLING),
    "extra_body": (_LEFT_OUT, "single values can be put into each request with the provider's `body`"),
    "drop_params": (_SAME, "what a provider does not know is left out, with a receipt (docs/protocols.md)"),
    "additional_drop_params": (_CHANGED, "remove fields with the provider's `body: {field: null}`"),
    "tags": (_LEFT_OUT, _TAGS),
    "tag_regex": (_LEFT_OUT, _TAGS),
    "max_budget": (_LEFT_OUT, _KEYS),
    "budget_duration": (_LEFT_OUT, _KEYS),
    "mock_response": (_LEFT_OUT, "`busbar demo` has embedded providers to try things at"),
    "ssl_verify": (_LEFT_OUT, "certificates are always checked; give the system your authority"),
    "use_in_pass_through": (_LEFT_OUT, "there are no pass-through routes"),
    "merge_reasoning_content_in_choices": (_LEFT_OUT, "thinking stays thinking, in each dialect's own fields"),
    "itpm": (_LEFT_OUT, _KEYS),
    "otpm": (_LEFT_OUT, _KEYS),
    "*": (_LEFT_OUT, "it has no counterpart; where it is a field of requests, see the provider's `body`"),
}

ROUTER: Advice = {
    "redis_host": (_LEFT_OUT, _REDIS),
    "redis_port": (_LEFT_OUT, _REDIS),
    "redis_password": (_LEFT_OUT, _REDIS),
    "redis_url": (_LEFT_OUT, _REDIS),
    "redis_db": (_LEFT_OUT, _REDIS),
    "cache_responses": (_LEFT_OUT, "answers are not cached"),
    "cache_kwargs": (_LEFT_OUT, "answers are not cached"),
    "enable_pre_call_checks": (
        _SAME,
        "a prompt that is too long for one member goes on to one with a larger `context_max`",
    ),
    "optional_pre_call_checks": (_CHANGED, "a session stays at its member with the pool's `affinity`"),
    "routing_strategy_args": (_LEFT_OUT, "strategies have no arguments; one of your own is a supervision policy"),
    "context_window_fallbacks": (
        _CHANGED,
        "put the larger model into the same pool, both with a `context_max`: what is too long for one goes on to it",
    ),
    "content_policy_fallbacks": (_LEFT_OUT, "a refusal is an answer, and is passed on"),
    "retry_after": (_CHANGED, "how long a provider's Retry-After is waited for is `retry.retry_after_max_secs`"),
    "retry_policy": (
        _CHANGED,
        "which failures are tried again is fixed (docs/failures.md); how often: `failover.cap`",
    ),
    "model_group_retry_policy": (_CHANGED, "set `failover.cap` and `retry.same_member` in those pools"),
    "allowed_fails_policy": (_CHANGED, "which failures count is fixed (docs/failures.md); how many: `breaker.trip`"),
    "enable_tag_filtering": (_LEFT_OUT, _TAGS),
    "provider_budget_config": (_LEFT_OUT, _KEYS),
    "default_max_parallel_requests": (_CHANGED, "set `max_concurrent` at the models"),
    "enable_weighted_failover": (_SAME, "a request always goes on to the other members of its pool"),
    "enable_mid_stream_fallback_continuation": (_CHANGED, "set `stream_recovery: continue` in the pools"),
    "max_fallbacks": (_CHANGED, "how many further attempts there are is `failover.cap`"),
    "set_verbose": (_CHANGED, "`busbar serve --log-level debug`"),
    "debug_level": (_CHANGED, "`busbar serve --log-level debug`"),
    "alerting_config": (_LEFT_OUT, "alert rules for Prometheus are in deploy/ (docs/observability.md)"),
    "routing_groups": (_CHANGED, "each pool has a `strategy` of its own: set it there"),
    "*": (_LEFT_OUT, "it has no counterpart"),
}

LITELLM: Advice = {
    "drop_params": PARAMS["drop_params"],
    "modify_params": (_SAME, "requests are made to fit the other dialect, with a receipt of what was changed"),
    "set_verbose": ROUTER["set_verbose"],
    "cache": (_LEFT_OUT, "answers are not cached; providers' prompt caches are used, and their prices are known"),
    "cache_params": (_LEFT_OUT, "answers are not cached"),
    "turn_off_message_logging": (_SAME, "no prompt is ever logged"),
    "redact_user_api_key_info": (_SAME, "records name a key's id, never the key"),
    "telemetry": (_SAME, "Busbar calls nobody that the configuration does not name"),
    "context_window_fallbacks": ROUTER["context_window_fallbacks"],
    "content_policy_fallbacks": ROUTER["content_policy_fallbacks"],
    "max_budget": (_LEFT_OUT, _KEYS),
    "budget_duration": (_LEFT_OUT, _KEYS),
    "max_internal_user_budget": (_LEFT_OUT, _KEYS),
    "default_internal_user_params": (_LEFT_OUT, _KEYS),
    "default_team_settings": (_LEFT_OUT, "teams are groups of keys: docs/governance.md"),
    "upperbound_key_generate_params": (_LEFT_OUT, _KEYS),
    "ssl_verify": PARAMS["ssl_verify"],
    "forward_traceparent_to_llm_provider": (_SAME, "with `otlp_endpoint`, traces go on to providers"),
    "enable_preview_features": (_SAME, "there are none"),
    "*": (_LEFT_OUT, "it has no counterpart"),
}

GENERAL: Advice = {
    "database_url": (_LEFT_OUT, _STORE),
    "store_model_in_db": (_LEFT_OUT, "the configuration is the file; `POST /admin/config/reload` takes a new one"),
    "store_prompts_in_spend_logs": (_LEFT_OUT, "prompts are kept nowhere but in spans, with `capture_content`"),
    "alerting": (_LEFT_OUT, "alert rules for Prometheus are in deploy/ (docs/observability.md)"),
    "alert_types": (_LEFT_OUT, "alert rules for Prometheus are in deploy/ (docs/observability.md)"),
    "alerting_threshold": (_LEFT_OUT, "alert rules for Prometheus are in deploy/ (docs/observability.md)"),
    "custom_auth": (_LEFT_OUT, "callers hold client tokens or virtual keys; more is a proxy's before Busbar"),
    "enable_jwt_auth": (_LEFT_OUT, "tokens of an identity provider are checked by a proxy before Busbar"),
    "max_parallel_requests": (_LEFT_OUT, "a key's or a group's `max_concurrent`: docs/governance.md"),
    "global_max_parallel_requests": (_CHANGED, "`limits.connections_max`, and `max_concurrent` at each model"),
    "pass_through_endpoints": (_LEFT_OUT, "there are no pass-through routes; chats are served in six dialects"),
    "coordination_redis": (_LEFT_OUT, _REDIS),
    "use_redis_transaction_buffer": (_LEFT_OUT, _REDIS),
    "proxy_batch_write_at": (_SAME, "usage is on disk before an answer ends"),
    "key_management_system": (_CHANGED, "a provider's `api_key_command` runs a program that prints the key"),
    "completion_model": (_LEFT_OUT, "callers name their model"),
    "infer_model_from_keys": (_LEFT_OUT, "models are listed by name"),
    "disable_spend_logs": (_SAME, "without governance there are none"),
    "*": (_LEFT_OUT, "it has no counterpart"),
}

TOP: Advice = {
    "guardrails": (_LEFT_OUT, _GUARDRAIL),
    "mcp_servers": (_LEFT_OUT, "Busbar serves models, not tools"),
    "mcp_tools": (_LEFT_OUT, "Busbar serves models, not tools"),
    "files_settings": (_LEFT_OUT, "files stay with their provider"),
    "finetune_settings": (_LEFT_OUT, "fine-tuning stays with its provider"),
    "vector_store_registry": (_LEFT_OUT, "vector stores stay with their provider"),
    "include": (_LEFT_OUT, "files are not read from within this one: put them together, and import again"),
    "callback_settings": (_LEFT_OUT, "what is logged is in docs/observability.md"),
    "*": (_LEFT_OUT, "it has no counterpart"),
}

CALLBACKS: Advice = {
    "prometheus": (_SAME, "metrics are always at /metrics"),
    "otel": (_CHANGED, "set `observability.otlp_endpoint` to where OTEL_EXPORTER_OTLP_ENDPOINT leads"),
    "arize": (_CHANGED, "it takes OTLP: `observability.otlp_endpoint` and `otlp_headers`"),
    "arize_phoenix": (_CHANGED, "it takes OTLP: `observability.otlp_endpoint` and `otlp_headers`"),
    "langfuse": (_CHANGED, "it takes OTLP: `observability.otlp_endpoint` and `otlp_headers`"),
    "langfuse_otel": (_CHANGED, "it takes OTLP: `observability.otlp_endpoint` and `otlp_headers`"),
    "langsmith": (_CHANGED, "it takes OTLP: `observability.otlp_endpoint` and `otlp_headers`"),
    "logfire": (_CHANGED, "it takes OTLP: `observability.otlp_endpoint` and `otlp_headers`"),
    "datadog": (_CHANGED, "its agent takes OTLP: `observability.otlp_endpoint`"),
    "generic_api": (_CHANGED, "`observability.request_log_webhook_url` posts a record of each request"),
    "*": (_LEFT_OUT, "records of requests go to a file, a webhook or as spans (docs/observability.md)"),
}
