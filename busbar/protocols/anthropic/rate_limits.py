"""What is left of a caller's rate limits, as this API's headers tell it: a reset is a time of day, not a duration."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from busbar.protocols.rate_limits import ACCOUNT_HEADERS as COMMON
from busbar.protocols.rate_limits import RateLimits

ACCOUNT_HEADERS = ("anthropic-ratelimit-", "anthropic-priority-", *COMMON)
"""How the names of such headers begin. Others who speak this dialect send those of OpenAI's API."""

_EPOCH = datetime(1970, 1, 1)
"""Without a zone: all is UTC here, and with one it takes half as long again."""


def rate_limit_headers(limits: RateLimits, now: float) -> dict[str, str]:
    """`anthropic-ratelimit-{requests,tokens}-{limit,remaining,reset}`, as the API reference describes them."""
    headers = {}
    if limits.requests_limit is not None:
        headers["anthropic-ratelimit-requests-limit"] = str(limits.requests_limit)
    if limits.requests_remaining is not None:
        headers["anthropic-ratelimit-requests-remaining"] = str(limits.requests_remaining)
    if limits.requests_reset_secs is not None:
        headers["anthropic-ratelimit-requests-reset"] = _moment(now + limits.requests_reset_secs)
    if limits.tokens_limit is not None:
        headers["anthropic-ratelimit-tokens-limit"] = str(limits.tokens_limit)
    if limits.tokens_remaining is not None:
        headers["anthropic-ratelimit-tokens-remaining"] = str(limits.tokens_remaining)
    if limits.tokens_reset_secs is not None:
        headers["anthropic-ratelimit-tokens-reset"] = _moment(now + limits.tokens_reset_secs)
    return headers


def _moment(at: float) -> str:
    """RFC 3339 in UTC, in whole seconds as Anthropic writes it; rounded up, so that nobody comes too early."""
    return f"{(_EPOCH + timedelta(seconds=math.ceil(at))).isoformat()}Z"
