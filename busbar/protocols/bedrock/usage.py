"""Usage, both ways. Here `inputTokens` never holds cached tokens, exactly as in the IR; `totalTokens` holds all.

The form of a `Usage` names the fields that only repeat what others say: nothing is lost where they do not cross.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from busbar.protocols.bedrock.words import DIALECT
from busbar.protocols.native import Native, own_fields, own_form
from busbar.protocols.usage import Usage

_REPEATED: Mapping[str, Callable[[Usage], int | None]] = {
    "totalTokens": lambda usage: usage.total_tokens,
    "cacheReadInputTokenCount": lambda usage: usage.cache_read_tokens,
    "cacheWriteInputTokenCount": lambda usage: usage.cache_write_tokens,
}


class _Written(Struct, rename="camel"):
    input_tokens: int | None = None
    ttl: str | None = None


class StatedUsage(Struct, rename="camel"):
    """A `usage` object whose counts are counts, as nearly all are: for a look that decodes nothing else of it."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_write_input_tokens: int | None = None
    cache_details: list[_Written] | None = None


def counts_of(stated: StatedUsage) -> Usage:
    """What `read_usage` reads, but for what is left over."""
    written = stated.cache_details
    return Usage(
        input_tokens=stated.input_tokens,
        output_tokens=stated.output_tokens,
        cache_read_tokens=stated.cache_read_input_tokens,
        cache_write_tokens=stated.cache_write_input_tokens,
        cache_write_1h_tokens=sum(one.input_tokens or 0 for one in written if one.ttl == "1h") if written else None,
    )


def read_usage(value: Any) -> Usage | None:
    """A provider's `usage`, leniently: None when it is no object, a count of another type stays a leftover."""
    if not isinstance(value, dict):
        return None
    left = dict(value)
    usage = Usage(
        input_tokens=_count(left, "inputTokens"),
        output_tokens=_count(left, "outputTokens"),
        cache_read_tokens=_count(left, "cacheReadInputTokens"),
        cache_write_tokens=_count(left, "cacheWriteInputTokens"),
        cache_write_1h_tokens=_written_for_an_hour(left),
    )
    repeated = tuple(key for key, count in _REPEATED.items() if key in left and left[key] == count(usage))
    for key in repeated:
        del left[key]
    usage.native = Native(DIALECT, left, repeated or None)
    return usage


def write_usage(usage: Usage) -> dict[str, Any]:
    """What `usage`, which was read from this dialect, states."""
    written: dict[str, Any] = {
        "inputTokens": usage.input_tokens,
        "outputTokens": usage.output_tokens,
        "cacheReadInputTokens": usage.cache_read_tokens,
        "cacheWriteInputTokens": usage.cache_write_tokens,
    }
    written = {key: count for key, count in written.items() if count is not None}
    for key in own_form(usage, DIALECT) or ():
        written[key] = _REPEATED[key](usage)
    written.update(own_fields(usage, DIALECT))
    return written


def write_foreign_usage(usage: Usage | None) -> dict[str, Any]:
    """Usage of another dialect's answer: the three counts that this one requires, and what is known of the cache."""
    known = usage or Usage()
    written: dict[str, Any] = {
        "inputTokens": known.input_tokens or 0,
        "outputTokens": known.output_tokens or 0,
        "totalTokens": known.total_tokens,
    }
    if known.cache_read_tokens is not None:
        written["cacheReadInputTokens"] = known.cache_read_tokens
    if known.cache_write_tokens is not None:
        written["cacheWriteInputTokens"] = known.cache_write_tokens
    return written


def _written_for_an_hour(left: dict[str, Any]) -> int | None:
    """Of `cacheDetails`, one entry for each time to live (`5m`, `1h`). Read, not taken: they stay a leftover."""
    details = left.get("cacheDetails")
    if not isinstance(details, list) or not details:
        return None
    hours = [
        detail.get("inputTokens") for detail in details if isinstance(detail, dict) and detail.get("ttl") == "1h"
    ]
    return sum(count for count in hours if type(count) is int)


def _count(left: dict[str, Any], key: str) -> int | None:
    count = left.get(key)
    if type(count) is not int:
        return None
    del left[key]
    return count
