"""What OpenAI's documentation, its SDK and the clones of this dialect say about errors, as data.

Codes of a failed response have no status beside them, so those that blame the request are named here too.
"""

from __future__ import annotations

import re

from busbar.protocols.failures import DialectKnowledge, FailureClass, TextRule


def _text(pattern: str, kind: FailureClass, *statuses: int) -> TextRule:
    return TextRule(pattern=re.compile(pattern, re.IGNORECASE | re.DOTALL), kind=kind, statuses=frozenset(statuses))


_TOO_LONG = FailureClass.CONTEXT_LENGTH

_TEXTS = (
    # A request larger than a whole minute's allowance never fits, however long one waits.
    _text(r"request too large for .*(per (min|day)|\bTP[MD]\b)", FailureClass.CLIENT_ERROR, 413, 429),
    # xAI's spending limit comes as 403 or 429, and its bad key as 400; DeepSeek's empty account misnames itself.
    _text(r"used all available credits|monthly spending limit", FailureClass.BILLING, 403, 429),
    _text(r"insufficient balance|credit balance is (too low|exhausted)", FailureClass.BILLING, 400, 402, 403, 429),
    _text(r"incorrect api key provided|api key not valid", FailureClass.AUTH, 400),
    # Azure calls overload a rate limit.
    _text(r"experiencing high demand|\bNoCapacity\b|engine is currently overloaded", FailureClass.OVERLOADED, 429),
    # OpenRouter's 403 is moderation, its own or the provider's; a bad key is a 401 there.
    _text(r"provider returned error|requires moderation|was flagged", FailureClass.CLIENT_ERROR, 403),
    # Whoever finds a body too large finds the prompt too long. (Rules speak for errors without a status too, so none
    # may match every text.)
    _text(r"(request|payload|entity|body|content|prompt|input)\b.*\btoo (large|long)|\A\Z", _TOO_LONG, 413),
)

_WORDS = {
    FailureClass.CONTEXT_LENGTH: ("context_length_exceeded", "exceed_context_size_error"),
    FailureClass.RATE_LIMIT: (
        *("rate_limit_exceeded", "rate_limit_error", "usage_limit_reached", "RateLimitReached", "TooManyRequests"),
        "openrouter_in_flight_budget",
    ),
    FailureClass.OVERLOADED: (
        *("slow_down", "server_is_overloaded", "service_unavailable_error", "overloaded_error", "NoCapacity"),
        "unavailable_error",
    ),
    FailureClass.SERVER_ERROR: ("server_error", "internal_error"),
    FailureClass.TIMEOUT: ("vector_store_timeout",),
    FailureClass.BILLING: (
        *("insufficient_quota", "credit_balance_exhausted", "organization_spend_limit_exceeded"),
        *("project_spend_limit_exceeded", "organization_usage_limit_exceeded", "billing_hard_limit_reached"),
        *("billing_not_active", "usage_not_included"),
    ),
    FailureClass.AUTH: (
        *("invalid_api_key", "invalid_authentication_error", "authentication_error", "account_deactivated"),
    ),
    FailureClass.CLIENT_ERROR: (
        *("invalid_prompt", "data_residency_mismatch", "bio_policy", "cyber_policy", "content_policy_violation"),
        *("misalignment_policy_violation", "content_filter", "moderation", "model_not_found", "DeploymentNotFound"),
        *("invalid_image", "invalid_image_format", "invalid_base64_image", "invalid_image_url", "invalid_image_mode"),
        *("image_too_large", "image_too_small", "image_parse_error", "image_content_policy_violation"),
        *("image_file_too_large", "unsupported_image_media_type", "empty_image_file", "failed_to_download_image"),
        *("image_file_not_found", "previous_response_not_found"),
    ),
}

KNOWLEDGE = DialectKnowledge(
    texts=_TEXTS,
    words={word: kind for kind, words in _WORDS.items() for word in words},
)
