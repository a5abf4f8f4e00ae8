"""What is left of a caller's rate limits, and how it is told in headers.

Five dialects are told in the words that OpenAI's API uses (`x-ratelimit-remaining-requests: 59`): it and Responses
because they are its own, the others because they have none, and clients that look for any know these. Anthropic's
own are in its folder.
"""

from __future__ import annotations

from msgspec import Struct

ACCOUNT_HEADERS = ("x-ratelimit", "ratelimit", "openai-organization", "openai-project")
"""How the names of headers begin that speak of an account at the provider: OpenAI's limits, those of its clones
(`x-ratelimitbysize-limit-minute`, `ratelimitbysize-reset`) and of the IETF's draft (`ratelimit`, `ratelimit-policy`),
and whose account it is. Clones of any dialect send them."""


class RateLimits(Struct, frozen=True, kw_only=True):
    """A caller's limits as they stand. None where there is no such limit.

    `…_reset_secs`: until all of the limit is there again, if nothing more is asked; finite, and 0 or more.
    """

    requests_limit: int | None = None
    requests_remaining: int | None = None
    requests_reset_secs: float | None = None
    tokens_limit: int | None = None
    tokens_remaining: int | None = None
    tokens_reset_secs: float | None = None


def x_ratelimit_headers(limits: RateLimits, now: float) -> dict[str, str]:
    """As OpenAI's API tells them. The time of day is not needed: resets are durations."""
    del now
    headers = {}
    if limits.requests_limit is not None:
        headers["x-ratelimit-limit-requests"] = str(limits.requests_limit)
    if limits.tokens_limit is not None:
        headers["x-ratelimit-limit-tokens"] = str(limits.tokens_limit)
    if limits.requests_remaining is not None:
        headers["x-ratelimit-remaining-requests"] = str(limits.requests_remaining)
    if limits.tokens_remaining is not None:
        headers["x-ratelimit-remaining-tokens"] = str(limits.tokens_remaining)
    if limits.requests_reset_secs is not None:
        headers["x-ratelimit-reset-requests"] = duration(limits.requests_reset_secs)
    if limits.tokens_reset_secs is not None:
        headers["x-ratelimit-reset-tokens"] = duration(limits.tokens_reset_secs)
    return headers


def duration(secs: float) -> str:
    """As Go writes durations, to the millisecond: `0s`, `120ms`, `7.66s`, `6m0s`, `1h0m0s`."""
    ms = round(secs * 1000)
    if ms < 1000:
        return f"{ms}ms" if ms > 0 else "0s"
    minutes, ms = divmod(ms, 60_000)
    seconds = f"{ms / 1000:g}s"
    if not minutes:
        return seconds
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{seconds}" if hours else f"{minutes}m{seconds}"
