"""How long a provider asks to be left alone, in every form that providers use.

Sources, first answer wins: `retry-after-ms`, `retry-after` (RFC 9110 §10.2.3: seconds or an HTTP date; fractions are
accepted as some providers send them), the reset headers of exhausted rate-limit buckets
(`x-ratelimit-reset-requests: 6m0s`, `anthropic-ratelimit-tokens-reset: 2026-01-01T00:00:00Z`), and the text of the
error ("Please try again in 7.66s", "retry after 26 seconds").
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

RETRY_AFTER_SECS_MAX = 86_400.0
"""A day. Whoever asks for more is asked again tomorrow."""

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?\Z")
_IN_TEXT = re.compile(
    r"(?:try again|retry) (?:in|after) (?:"
    r"(\d+(?:\.\d+)?)\s?(ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hours?)|(\d[\d.hms]*s))\b",
    re.IGNORECASE,
)
_UNIT_SECS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_BUCKETS = ("requests", "tokens", "input-tokens", "output-tokens")


def retry_after_secs(headers: Mapping[str, str], message: str, now: float) -> float | None:
    """Seconds to wait from `now` (Unix seconds), within 0 and a day; None when the provider did not say."""
    for asked in (
        _milliseconds(headers.get("retry-after-ms")),
        _seconds_or_date(headers.get("retry-after"), now),
        _reset_of_exhausted(headers, now),
        _in_text(message),
    ):
        if asked is not None:
            return min(max(asked, 0.0), RETRY_AFTER_SECS_MAX)
    return None


def _milliseconds(value: str | None) -> float | None:
    number = _number(value)
    return None if number is None else number / 1000


def _seconds_or_date(value: str | None, now: float) -> float | None:
    if value is None:
        return None
    number = _number(value)
    if number is not None:
        return number
    try:
        return _until(parsedate_to_datetime(value), now)
    except (ValueError, OverflowError):
        return None


def _until(moment: datetime, now: float) -> float:
    """Seconds until `moment`. One that names no zone is meant as UTC, as in HTTP's old asctime form."""
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return max(0.0, aware.timestamp() - now)


def _number(value: str | None) -> float | None:
    """A finite, non-negative decimal number, or None. `float` alone would take `nan`, `inf` and `1_0`."""
    if value is None or not re.fullmatch(r"[ \t]*\d{1,12}(\.\d{1,9})?[ \t]*", value, re.ASCII):
        return None
    return float(value)


def _reset_of_exhausted(headers: Mapping[str, str], now: float) -> float | None:
    """The latest reset among the buckets that have nothing left."""
    waits = []
    for bucket in _BUCKETS:
        if headers.get(f"x-ratelimit-remaining-{bucket}") == "0":
            waits.append(_duration(headers.get(f"x-ratelimit-reset-{bucket}")))
        if headers.get(f"anthropic-ratelimit-{bucket}-remaining") == "0":
            waits.append(_timestamp(headers.get(f"anthropic-ratelimit-{bucket}-reset"), now))
    return max((wait for wait in waits if wait is not None), default=None)


def _duration(value: str | None) -> float | None:
    """A duration as Go writes it: `1s`, `6m0s`, `7.66s`, `20ms`."""
    found = _DURATION.match(value or "")
    if found is None or not any(found.groups()):
        return None
    hours, minutes, seconds, milliseconds = (float(group or 0) for group in found.groups())
    return hours * 3600 + minutes * 60 + seconds + milliseconds / 1000


def _timestamp(value: str | None, now: float) -> float | None:
    try:
        return _until(datetime.fromisoformat(value or ""), now)
    except ValueError:
        return None


def _in_text(message: str) -> float | None:
    found = _IN_TEXT.search(message)
    if found is None:
        return None
    number, unit, duration = found.groups()
    if duration is not None:
        return _duration(duration.lower())
    unit = unit.lower()
    return float(number) * _UNIT_SECS["ms" if unit.startswith(("ms", "mil")) else unit[0]]
