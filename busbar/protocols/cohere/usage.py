"""Token counts. `tokens` is what the model read and wrote, `billed_units` what is charged for (without Cohere's own
prompts); `cached_tokens` is a part of the prompt. The IR keeps the real counts; the billed ones stay on the node."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from busbar.protocols.cohere.words import DIALECT
from busbar.protocols.native import Native, own_fields, own_form
from busbar.protocols.receipt import Receipt
from busbar.protocols.usage import Usage

_TOKENS, _BILLED = "tokens", "billed_units"


class UsageForm(Struct, frozen=True):
    """`at`: the object that states the counts; `prompt_tokens`: its own, where it is not the sum of the parts."""

    at: str = _TOKENS
    prompt_tokens: int | None = None


_Count = Annotated[int, Meta(ge=0)] | None


class _Units(Struct):
    input_tokens: _Count = None
    output_tokens: _Count = None
    reasoning_tokens: _Count = None


class StatedUsage(Struct):
    """A `usage` object whose counts are counts, as nearly all are: for a look that decodes nothing else of it."""

    tokens: _Units | None = None
    billed_units: _Units | None = None
    cached_tokens: _Count = None


_NONE = _Units()


def counts_of(stated: StatedUsage) -> Usage | None:
    """What `read_usage` reads, but for what is left over."""
    counts, billed = (stated.billed_units, None) if stated.tokens is None else (stated.tokens, stated.billed_units)
    counts, billed, cached = counts or _NONE, billed or _NONE, stated.cached_tokens
    if counts == _NONE and cached is None:
        return None
    prompt = counts.input_tokens
    return Usage(
        input_tokens=None if prompt is None else max(0, prompt - (cached or 0)),
        output_tokens=counts.output_tokens,
        cache_read_tokens=cached,
        reasoning_tokens=counts.reasoning_tokens,
        billed_input_tokens=billed.input_tokens,
        billed_output_tokens=billed.output_tokens,
    )


def read_usage(stated: Any) -> Usage | None:
    """Lenient: what is no count stays a leftover. None when it is no object, or states no counts."""
    if not isinstance(stated, dict) or not stated:
        return None
    left = dict(stated)
    at = _TOKENS if isinstance(left.get(_TOKENS), dict) else _BILLED
    counts = dict(left[at]) if isinstance(left.get(at), dict) else {}
    prompt, output, reasoning = (_take(counts, f"{key}_tokens") for key in ("input", "output", "reasoning"))
    cached = _take(left, "cached_tokens")
    if prompt is None and output is None and cached is None and reasoning is None:
        return None
    if at in left:
        left[at] = counts
        if not counts:
            del left[at]
    billed = left.get(_BILLED) if at == _TOKENS else None
    usage = Usage(
        input_tokens=None if prompt is None else max(0, prompt - (cached or 0)),
        output_tokens=output,
        cache_read_tokens=cached,
        reasoning_tokens=reasoning,
        billed_input_tokens=_billed(billed, "input_tokens"),
        billed_output_tokens=_billed(billed, "output_tokens"),
    )
    usage.native = Native(DIALECT, left, UsageForm(at, None if prompt == usage.prompt_tokens else prompt))
    return usage


def write_usage(usage: Usage) -> dict[str, Any]:
    """Usage that was read from this dialect, as it came."""
    form = own_form(usage, DIALECT)
    left = own_fields(usage, DIALECT)
    counts: dict[str, Any] = {**left.get(form.at, {})}
    if usage.input_tokens is not None:
        counts["input_tokens"] = usage.prompt_tokens if form.prompt_tokens is None else form.prompt_tokens
    if usage.output_tokens is not None:
        counts["output_tokens"] = usage.output_tokens
    if usage.reasoning_tokens is not None:
        counts["reasoning_tokens"] = usage.reasoning_tokens
    written = {**left, form.at: counts} if counts or form.at in left else dict(left)
    if usage.cache_read_tokens is not None:
        written["cached_tokens"] = usage.cache_read_tokens
    return written


def write_foreign_usage(usage: Usage | None, receipt: Receipt) -> dict[str, Any]:
    """Another dialect's counts; everything counted is billed."""
    usage = usage or Usage()
    if usage.cache_write_tokens:
        receipt.changed("usage", "what was written to a cache is counted as input")
    counts = {"input_tokens": usage.prompt_tokens, "output_tokens": usage.output_tokens or 0}
    written: dict[str, Any] = {_BILLED: counts, _TOKENS: dict(counts)}
    if usage.reasoning_tokens is not None:
        written[_TOKENS]["reasoning_tokens"] = usage.reasoning_tokens
    if usage.cache_read_tokens is not None:
        written["cached_tokens"] = usage.cache_read_tokens
    return written


def _billed(units: Any, key: str) -> int | None:
    """Looked at only: it stays a leftover."""
    return _take({key: units.get(key)}, key) if isinstance(units, dict) else None


def _take(left: dict[str, Any], key: str) -> int | None:
    """A count; the SDK's types say that it may be a float."""
    count = left.get(key)
    if isinstance(count, bool) or not isinstance(count, int | float) or count != count // 1 or count < 0:
        return None
    del left[key]
    return int(count)
