"""Token counts. Input includes what was read from and written to a cache; the IR keeps them apart."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from busbar.protocols.native import Native, own_fields, own_form
from busbar.protocols.responses.words import DIALECT
from busbar.protocols.usage import Usage

_INPUT = "input_tokens_details"
_OUTPUT = "output_tokens_details"


class UsageForm(Struct, frozen=True, kw_only=True):
    """What was stated; a sum is set where it is not the sum of its parts."""

    total_stated: bool = True
    input_tokens: int | None = None
    total_tokens: int | None = None


class _InputDetails(Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _OutputDetails(Struct):
    reasoning_tokens: int | None = None


class StatedUsage(Struct):
    """A `usage` object whose counts are counts, as nearly all are: for a look that decodes nothing else of it."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: _InputDetails | None = None
    output_tokens_details: _OutputDetails | None = None


def counts_of(stated: StatedUsage) -> Usage:
    """What `read_usage` reads, but for what is left over."""
    cached = written = None
    if (details := stated.input_tokens_details) is not None:
        cached, written = details.cached_tokens, details.cache_write_tokens
    prompt, output = stated.input_tokens, stated.output_tokens_details
    return Usage(
        input_tokens=None if prompt is None else max(0, prompt - (cached or 0) - (written or 0)),
        output_tokens=stated.output_tokens,
        cache_read_tokens=cached,
        cache_write_tokens=written,
        reasoning_tokens=None if output is None else output.reasoning_tokens,
    )


def read_usage(document: dict[str, Any]) -> Usage:
    """Reads a `usage` object; lenient: what is no count stays a leftover."""
    left = dict(document)
    for key in (_INPUT, _OUTPUT):
        if isinstance(left.get(key), dict):
            left[key] = dict(left[key])
    stated, output, total = (_take(left, key) for key in ("input_tokens", "output_tokens", "total_tokens"))
    cached = _take(left.get(_INPUT), "cached_tokens")
    written = _take(left.get(_INPUT), "cache_write_tokens")
    usage = Usage(
        input_tokens=None if stated is None else max(0, stated - (cached or 0) - (written or 0)),
        output_tokens=output,
        cache_read_tokens=cached,
        cache_write_tokens=written,
        reasoning_tokens=_take(left.get(_OUTPUT), "reasoning_tokens"),
    )
    form = UsageForm(
        total_stated=total is not None,
        input_tokens=stated if stated != usage.prompt_tokens else None,
        total_tokens=total if total != usage.total_tokens else None,
    )
    usage.native = Native(DIALECT, left, form)
    return usage


def write_usage(usage: Usage) -> dict[str, Any]:
    """`usage` as this dialect states it. Counts of another dialect's answer are always all there."""
    form = own_form(usage, DIALECT)
    if not isinstance(form, UsageForm):
        return {
            "input_tokens": usage.prompt_tokens,
            _INPUT: {
                "cached_tokens": usage.cache_read_tokens or 0,
                "cache_write_tokens": usage.cache_write_tokens or 0,
            },
            "output_tokens": usage.output_tokens or 0,
            _OUTPUT: {"reasoning_tokens": usage.reasoning_tokens or 0},
            "total_tokens": usage.total_tokens,
        }
    document: dict[str, Any] = {**own_fields(usage, DIALECT)}
    if usage.input_tokens is not None:
        document["input_tokens"] = usage.prompt_tokens if form.input_tokens is None else form.input_tokens
    if usage.output_tokens is not None:
        document["output_tokens"] = usage.output_tokens
    if form.total_stated:
        document["total_tokens"] = usage.total_tokens if form.total_tokens is None else form.total_tokens
    _put(document, _INPUT, "cached_tokens", usage.cache_read_tokens)
    _put(document, _INPUT, "cache_write_tokens", usage.cache_write_tokens)
    _put(document, _OUTPUT, "reasoning_tokens", usage.reasoning_tokens)
    return document


def _take(holder: Any, key: str) -> int | None:
    count = holder.get(key) if isinstance(holder, dict) else None
    if type(count) is not int:
        return None
    del holder[key]
    return count


def _put(document: dict[str, Any], details: str, key: str, count: int | None) -> None:
    if count is not None:
        document[details] = {**document.get(details, {}), key: count}
