"""Token counts. The prompt's count includes what was read from and written to a cache; the IR keeps them apart.

Clones put the same facts in other places, which `UsageForm` remembers: DeepSeek and Moonshot name cached tokens at
the top level, Together names reasoning tokens there, xAI counts reasoning outside of the completion.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from busbar.protocols.native import Native, own_fields, own_form
from busbar.protocols.openai.words import DIALECT
from busbar.protocols.usage import Usage

_PROMPT_DETAILS = "prompt_tokens_details"
_COMPLETION_DETAILS = "completion_tokens_details"
_CACHED_AT = ((_PROMPT_DETAILS, "cached_tokens"), ("prompt_cache_hit_tokens",), ("cached_tokens",))
_WRITTEN_AT = ((_PROMPT_DETAILS, "cache_write_tokens"),)
_REASONING_AT = ((_COMPLETION_DETAILS, "reasoning_tokens"), ("reasoning_tokens",))


class UsageForm(Struct, frozen=True, kw_only=True):
    """Where a provider put its counts. The last two are set where its sums are not the sums of its parts."""

    cached_at: tuple[str, ...] = _CACHED_AT[0]
    reasoning_at: tuple[str, ...] = _REASONING_AT[0]
    reasoning_outside: bool = False
    prompt_tokens: int | None = None
    total_tokens: int | None = None
    total_stated: bool = True


class _PromptDetails(Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _CompletionDetails(Struct):
    reasoning_tokens: int | None = None


class StatedUsage(Struct):
    """A `usage` object whose counts are counts, as nearly all are: for a look that decodes nothing else of it."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None
    prompt_cache_hit_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


def counts_of(stated: StatedUsage) -> Usage:
    """What `read_usage` reads, but for what is left over."""
    cached = written = reasoning = None
    if (prompt := stated.prompt_tokens_details) is not None:
        cached, written = prompt.cached_tokens, prompt.cache_write_tokens
    if cached is None:
        cached = stated.cached_tokens if stated.prompt_cache_hit_tokens is None else stated.prompt_cache_hit_tokens
    if stated.completion_tokens_details is not None:
        reasoning = stated.completion_tokens_details.reasoning_tokens
    if reasoning is None:
        reasoning = stated.reasoning_tokens
    counts = stated.prompt_tokens, stated.completion_tokens, stated.total_tokens
    return _counted(*counts, cached, written, reasoning)[0]


def _counted(
    prompt: int | None,
    completion: int | None,
    total: int | None,
    cached: int | None,
    written: int | None,
    reasoning: int | None,
) -> tuple[Usage, bool]:
    """Also says whether the reasoning was counted outside of the completion."""
    outside = bool(reasoning) and total == (prompt or 0) + (completion or 0) + (reasoning or 0)
    usage = Usage(
        input_tokens=None if prompt is None else max(0, prompt - (cached or 0) - (written or 0)),
        output_tokens=(completion or 0) + (reasoning or 0) if outside else completion,
        cache_read_tokens=cached,
        cache_write_tokens=written,
        reasoning_tokens=reasoning,
    )
    return usage, outside


def read_usage(document: dict[str, Any]) -> Usage:
    """Reads a `usage` object; lenient: what is no count stays a leftover."""
    left = dict(document)
    for key in (_PROMPT_DETAILS, _COMPLETION_DETAILS):
        if isinstance(left.get(key), dict):
            left[key] = dict(left[key])
    prompt = _take(left, ("prompt_tokens",))
    completion = _take(left, ("completion_tokens",))
    cached_at, cached = _take_first(left, _CACHED_AT)
    _, written = _take_first(left, _WRITTEN_AT)
    reasoning_at, reasoning = _take_first(left, _REASONING_AT)
    total_stated = "total_tokens" in left
    total = _take(left, ("total_tokens",))
    usage, outside = _counted(prompt, completion, total, cached, written, reasoning)
    form = UsageForm(
        cached_at=cached_at,
        reasoning_at=reasoning_at,
        reasoning_outside=outside,
        prompt_tokens=prompt if prompt != usage.prompt_tokens else None,
        total_tokens=total if total != usage.total_tokens else None,
        total_stated=total_stated,
    )
    usage.native = Native(DIALECT, left, form)
    return usage


def write_usage(usage: Usage) -> dict[str, Any]:
    """`usage` as this dialect states it. Counts of another dialect's answer are always all there."""
    form = own_form(usage, DIALECT)
    if not isinstance(form, UsageForm):
        return _write_foreign(usage)
    document: dict[str, Any] = {**own_fields(usage, DIALECT)}
    if usage.input_tokens is not None:
        document["prompt_tokens"] = usage.prompt_tokens if form.prompt_tokens is None else form.prompt_tokens
    if usage.output_tokens is not None:
        outside = (usage.reasoning_tokens or 0) if form.reasoning_outside else 0
        document["completion_tokens"] = usage.output_tokens - outside
    if form.total_stated and "total_tokens" not in document:
        document["total_tokens"] = usage.total_tokens if form.total_tokens is None else form.total_tokens
    _put(document, form.cached_at, usage.cache_read_tokens)
    _put(document, _WRITTEN_AT[0], usage.cache_write_tokens)
    _put(document, form.reasoning_at, usage.reasoning_tokens)
    return document


def _write_foreign(usage: Usage) -> dict[str, Any]:
    prompt, output = usage.prompt_tokens, usage.output_tokens or 0
    document: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
    }
    details: dict[str, int] = {}
    if usage.cache_read_tokens is not None:
        details["cached_tokens"] = usage.cache_read_tokens
    if usage.cache_write_tokens is not None:
        details["cache_write_tokens"] = usage.cache_write_tokens
    if details:
        document[_PROMPT_DETAILS] = details
    if usage.reasoning_tokens is not None:
        document[_COMPLETION_DETAILS] = {"reasoning_tokens": usage.reasoning_tokens}
    return document


def _take_first(left: dict[str, Any], places: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], int | None]:
    """The first place that states a count, and the count, taken; further places stay leftovers."""
    for place in places:
        count = _take(left, place)
        if count is not None:
            return place, count
    return places[0], None


def _take(left: dict[str, Any], place: tuple[str, ...]) -> int | None:
    holder: Any = left
    for key in place[:-1]:
        holder = holder.get(key)
        if not isinstance(holder, dict):
            return None
    count = holder.get(place[-1])
    if isinstance(count, bool) or not isinstance(count, int):
        return None
    del holder[place[-1]]
    return count


def _put(document: dict[str, Any], place: tuple[str, ...], count: int | None) -> None:
    if count is None:
        return
    for key in place[:-1]:
        document[key] = dict(document.get(key) or {})
        document = document[key]
    document[place[-1]] = count
