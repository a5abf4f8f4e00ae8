"""What Google's documentation, and its answers, say about errors, as data (facts/errors.md §4 in this project)."""

from __future__ import annotations

import re

from busbar.protocols.failures import DialectKnowledge, FailureClass, TextRule


def _text(pattern: str, kind: FailureClass, *statuses: int) -> TextRule:
    return TextRule(pattern=re.compile(pattern, re.IGNORECASE | re.DOTALL), kind=kind, statuses=frozenset(statuses))


_TEXTS = (
    # A bad key is a 400; its ErrorInfo is missing behind some proxies.
    _text(r"api key (not valid|not found|expired)|pass a valid api key", FailureClass.AUTH, 400),
    # 402 replaces an older 429; both carry RESOURCE_EXHAUSTED.
    _text(r"prepayment credits|spend(ing)? cap", FailureClass.BILLING, 402, 403, 429),
    _text(r"", FailureClass.BILLING, 402),
    # A plan that does not have the model at all.
    _text(r"\blimit: 0\b(?!\.)", FailureClass.BILLING, 429),
    # FAILED_PRECONDITION where the account may not be served: a country without a free tier, no billing.
    _text(
        r"location is not supported|free tier|enable billing|billing (is )?(not enabled|disabled)",
        FailureClass.BILLING,
        400,
    ),
    # A stored file or cache that is not the caller's, or is gone.
    _text(r"permission to access the file|cached ?content not found", FailureClass.CLIENT_ERROR, 403),
    _text(r"request payload size exceeds", FailureClass.CLIENT_ERROR, 400, 413),
)

_WORDS = {
    FailureClass.AUTH: (
        "API_KEY_INVALID",
        "API_KEY_EXPIRED",
        "API_KEY_SERVICE_BLOCKED",
        "API_KEY_HTTP_REFERRER_BLOCKED",
        "API_KEY_IP_ADDRESS_BLOCKED",
        "SERVICE_DISABLED",
        "CONSUMER_INVALID",
        "CONSUMER_SUSPENDED",
        "CREDENTIALS_MISSING",
        "ACCESS_TOKEN_EXPIRED",
        "ACCESS_TOKEN_TYPE_UNSUPPORTED",
        "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
        "IAM_PERMISSION_DENIED",
        "UNAUTHENTICATED",
        "PERMISSION_DENIED",
    ),
    FailureClass.BILLING: ("BILLING_DISABLED", "BILLING_NOT_ACTIVE"),
    FailureClass.RATE_LIMIT: ("RATE_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED"),
    FailureClass.OVERLOADED: ("MODEL_CAPACITY_EXHAUSTED", "UNAVAILABLE"),
    FailureClass.SERVER_ERROR: ("INTERNAL", "UNKNOWN", "DATA_LOSS"),
    FailureClass.TIMEOUT: ("DEADLINE_EXCEEDED",),
    FailureClass.CLIENT_ERROR: (
        "INVALID_ARGUMENT",
        "FAILED_PRECONDITION",
        "OUT_OF_RANGE",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "CANCELLED",
        "UNIMPLEMENTED",
    ),
}

KNOWLEDGE = DialectKnowledge(
    texts=_TEXTS,
    words={word: kind for kind, words in _WORDS.items() for word in words},
)
