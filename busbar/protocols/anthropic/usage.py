"""Usage, both ways. Here `input_tokens` never holds cached tokens, exactly as in the IR."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from busbar.protocols.anthropic.words import DIALECT
from busbar.protocols.fields import take_int
from busbar.protocols.native import Native, own_fields
from busbar.protocols.protocol import InvalidRequest
from busbar.protocols.usage import Usage


class _WrittenTokens(Struct):
    ephemeral_1h_input_tokens: int | None = None


class _OutputDetails(Struct):
    thinking_tokens: int | None = None


class StatedUsage(Struct):
    """A `usage` object whose counts are counts, as nearly all are: for a look that decodes nothing else of it."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_creation: _WrittenTokens | None = None
    output_tokens_details: _OutputDetails | None = None


def counts_of(stated: StatedUsage) -> Usage:
    """What `read_usage` reads, but for what is left over."""
    breakdown, details = stated.cache_creation, stated.output_tokens_details
    return Usage(
        input_tokens=stated.input_tokens,
        output_tokens=stated.output_tokens,
        cache_read_tokens=stated.cache_read_input_tokens,
        cache_write_tokens=stated.cache_creation_input_tokens,
        cache_write_1h_tokens=None if breakdown is None else breakdown.ephemeral_1h_input_tokens,
        reasoning_tokens=None if details is None else details.thinking_tokens,
    )


def read_usage(value: Any) -> Usage | None:
    """A provider's `usage`, leniently: None when it is no object, a count of another type stays a leftover."""
    if not isinstance(value, dict):
        return None
    left = dict(value)
    return Usage(
        input_tokens=_count(left, "input_tokens"),
        output_tokens=_count(left, "output_tokens"),
        cache_read_tokens=_count(left, "cache_read_input_tokens"),
        cache_write_tokens=_count(left, "cache_creation_input_tokens"),
        cache_write_1h_tokens=_written_for_an_hour(left),
        reasoning_tokens=_thinking_tokens(left),
        native=Native(DIALECT, left, None),
    )


def write_usage(usage: Usage) -> dict[str, Any]:
    """What `usage` states, and what was left over when it was read from this dialect."""
    written: dict[str, Any] = {
        "input_tokens": usage.input_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "output_tokens": usage.output_tokens,
    }
    written = {key: count for key, count in written.items() if count is not None}
    if usage.reasoning_tokens is not None:
        written["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    for key, kept in own_fields(usage, DIALECT).items():
        known = written.get(key)
        written[key] = {**known, **kept} if isinstance(known, dict) and isinstance(kept, dict) else kept
    return written


def write_foreign_usage(usage: Usage | None) -> dict[str, Any]:
    """Usage of another dialect's answer, with every count that this dialect always states: 0 where it is unknown."""
    known = usage or Usage()
    written: dict[str, Any] = {
        "input_tokens": known.input_tokens or 0,
        "cache_creation_input_tokens": known.cache_write_tokens or 0,
        "cache_read_input_tokens": known.cache_read_tokens or 0,
        "output_tokens": known.output_tokens or 0,
    }
    if known.reasoning_tokens is not None:
        written["output_tokens_details"] = {"thinking_tokens": known.reasoning_tokens}
    return written


def _count(left: dict[str, Any], key: str) -> int | None:
    if type(count := left.get(key)) is int:
        del left[key]
        return count
    try:
        return take_int(left, key)
    except (InvalidRequest, OverflowError, ValueError):
        return None


def _written_for_an_hour(left: dict[str, Any]) -> int | None:
    """Read, not taken: the breakdown stays a leftover, and goes back as it came."""
    breakdown = left.get("cache_creation")
    count = breakdown.get("ephemeral_1h_input_tokens") if isinstance(breakdown, dict) else None
    return count if type(count) is int else None


def _thinking_tokens(left: dict[str, Any]) -> int | None:
    details = left.get("output_tokens_details")
    if not isinstance(details, dict):
        return None
    rest = dict(details)
    count = _count(rest, "thinking_tokens")
    if count is None:
        return None
    if rest:
        left["output_tokens_details"] = rest
    else:
        del left["output_tokens_details"]
    return count
