"""`usageMetadata`. The prompt's count includes what was read from a cache, and not what hosted tools put into it;
thoughts are counted beside the candidates. The IR has fresh input, cache, and an output that thoughts are part of."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from busbar.protocols.gemini.words import DIALECT
from busbar.protocols.native import Native, own_fields, own_form
from busbar.protocols.usage import Usage

_COUNTS = (
    "promptTokenCount",
    "cachedContentTokenCount",
    "toolUsePromptTokenCount",
    "candidatesTokenCount",
    "thoughtsTokenCount",
    "totalTokenCount",
)


class UsageForm(Struct, frozen=True, kw_only=True):
    """Which counts were stated, and those that are no sums of what the IR has."""

    stated: tuple[str, ...]
    tool_use: int = 0
    total: int | None = None
    prompt: int | None = None


class StatedUsage(Struct, rename="camel"):
    """A `usageMetadata` whose counts are counts, as nearly all are: for a look that decodes nothing else of it."""

    prompt_token_count: int | None = None
    cached_content_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None


def counts_of(stated: StatedUsage) -> Usage:
    """What `read_usage` reads, but for what is left over."""
    return _counted(
        stated.prompt_token_count,
        stated.cached_content_token_count,
        stated.tool_use_prompt_token_count,
        stated.candidates_token_count,
        stated.thoughts_token_count,
    )


def _counted(
    prompt: int | None, cached: int | None, tool_use: int | None, candidates: int | None, thoughts: int | None
) -> Usage:
    states_input = prompt is not None or tool_use is not None
    states_output = candidates is not None or thoughts is not None
    return Usage(
        input_tokens=max(0, (prompt or 0) - (cached or 0)) + (tool_use or 0) if states_input else None,
        output_tokens=(candidates or 0) + (thoughts or 0) if states_output else None,
        cache_read_tokens=cached,
        reasoning_tokens=thoughts,
    )


def read_usage(document: dict[str, Any]) -> Usage:
    """Lenient: what is no count stays a leftover."""
    found = {key: count for key, count in document.items() if type(count) is int and key in _COUNTS}
    left = {key: value for key, value in document.items() if key not in found}
    prompt, cached, tool_use, candidates, thoughts, total = map(found.get, _COUNTS)
    usage = _counted(prompt, cached, tool_use, candidates, thoughts)
    form = UsageForm(
        stated=tuple(found),
        tool_use=tool_use or 0,
        total=total if total != usage.total_tokens else None,
        prompt=prompt if prompt is not None and prompt < (cached or 0) else None,
    )
    usage.native = Native(DIALECT, left, form)
    return usage


def write_usage(usage: Usage) -> dict[str, Any]:
    """`usage` as this dialect states it."""
    form = own_form(usage, DIALECT)
    if not isinstance(form, UsageForm):
        return _write_foreign(usage)
    prompt = (usage.input_tokens or 0) - form.tool_use + (usage.cache_read_tokens or 0)
    counts = {
        "promptTokenCount": prompt if form.prompt is None else form.prompt,
        "cachedContentTokenCount": usage.cache_read_tokens,
        "toolUsePromptTokenCount": form.tool_use,
        "candidatesTokenCount": (usage.output_tokens or 0) - (usage.reasoning_tokens or 0),
        "thoughtsTokenCount": usage.reasoning_tokens,
        "totalTokenCount": usage.total_tokens if form.total is None else form.total,
    }
    return {**own_fields(usage, DIALECT), **{key: counts[key] for key in form.stated}}


def _write_foreign(usage: Usage) -> dict[str, Any]:
    thoughts = usage.reasoning_tokens or 0
    document = {
        "promptTokenCount": usage.prompt_tokens,
        "candidatesTokenCount": max(0, (usage.output_tokens or 0) - thoughts),
        "totalTokenCount": usage.total_tokens,
    }
    if thoughts:
        document["thoughtsTokenCount"] = thoughts
    if usage.cache_read_tokens is not None:
        document["cachedContentTokenCount"] = usage.cache_read_tokens
    return document
