"""What the documentation of OpenAI and its clones says about errors, as data.

Only words that mean the same wherever they occur stand here. Numbers do not (1002 is a throttle at MiniMax and a bad
key at Z.AI), nor does `invalid_request_error`, which DeepSeek puts on an empty account: those belong to a provider's
own `error_map`.
"""

from __future__ import annotations

import re

from busbar.protocols.failures import DialectKnowledge, FailureClass, TextRule


def _text(pattern: str, kind: FailureClass, *statuses: int) -> TextRule:
    return TextRule(pattern=re.compile(pattern, re.IGNORECASE | re.DOTALL), kind=kind, statuses=frozenset(statuses))


_TEXTS = (
    # A request larger than a whole minute's allowance never fits, however long one waits (OpenAI 429, Groq 413).
    _text(r"request too large for .*(per (min|day)|\bTP[MD]\b)", FailureClass.CLIENT_ERROR, 413, 429),
    # xAI's spending limit comes as 403 or 429; DeepSeek's empty account is a 402 with a misleading code.
    _text(r"used all available credits|monthly spending limit", FailureClass.BILLING, 403, 429),
    _text(r"insufficient balance|credit balance is (too low|exhausted)", FailureClass.BILLING, 400, 402, 403, 429),
    # xAI refuses a bad key with 400.
    _text(r"incorrect api key provided|api key not valid", FailureClass.AUTH, 400),
    # Azure and Moonshot call overload a rate limit.
    _text(r"experiencing high demand|\bNoCapacity\b|engine is currently overloaded", FailureClass.OVERLOADED, 429),
    # Together's docs: 403 for a prompt that does not fit.
    _text(r"longer than the model'?s context length", FailureClass.CONTEXT_LENGTH, 403),
    # OpenRouter's 403 is moderation, its own or the provider's; a bad key is a 401 there.
    _text(r"provider returned error|requires moderation|was flagged", FailureClass.CLIENT_ERROR, 403),
)

_WORDS = {
    FailureClass.CONTEXT_LENGTH: ("context_length_exceeded", "exceed_context_size_error"),
    FailureClass.RATE_LIMIT: (
        "rate_limit_exceeded",
        "rate_limit_error",
        "rate_limit_reached_error",
        "rate_limited",
        "usage_limit_reached",
        "openrouter_in_flight_budget",
        "request_quota_exceeded",
        "token_quota_exceeded",
        "limit_requests",
        "RATE_LIMIT_EXCEEDED",
        "TOKEN_LIMIT_EXCEEDED",
        "RateLimitReached",
        "QuotaExceeded",
        "TooManyRequests",
    ),
    FailureClass.OVERLOADED: (
        "slow_down",
        "server_is_overloaded",
        "service_unavailable_error",
        "engine_overloaded_error",
        "overloaded_error",
        "queue_exceeded",
        "service_tier_capacity_exceeded",
        "NoCapacity",
        "ServerOverloaded",
        "unavailable_error",
    ),
    FailureClass.SERVER_ERROR: ("server_error", "internal_error"),
    FailureClass.BILLING: (
        "insufficient_quota",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "billing_hard_limit_reached",
        "billing_not_active",
        "usage_not_included",
        "exceeded_current_quota_error",
        "Arrearage",
        "AllocationQuota.FreeTierOnly",
        "NOT_ENOUGH_BALANCE",
        "AccountOverdueError",
    ),
    FailureClass.AUTH: (
        "invalid_api_key",
        "invalid_authentication_error",
        "incorrect_api_key_error",
        "authentication_error",
        "account_deactivated",
        "wrong_api_key",
        "FAILED_TO_AUTH",
        "INVALID_API_KEY",
    ),
    FailureClass.CLIENT_ERROR: (
        "model_not_found",
        "DeploymentNotFound",
        "content_filter",
        "content_policy_violation",
        "cyber_policy",
        "moderation",
        "tool_use_failed",
        "invalid_parameter_error",
    ),
}

KNOWLEDGE = DialectKnowledge(
    texts=_TEXTS,
    words={word: kind for kind, words in _WORDS.items() for word in words},
    statuses={
        413: FailureClass.CONTEXT_LENGTH,  # whoever finds a body too large finds the prompt too long
        498: FailureClass.OVERLOADED,  # Groq's flex tier
    },
)
