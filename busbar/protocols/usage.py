"""Tokens, counted the same way for every dialect."""

from __future__ import annotations

from msgspec.structs import astuple, replace

from busbar.protocols.native import Node


class Usage(Node):
    """Tokens of one answer. None means the provider did not say; 0 means it said none.

    The kinds never overlap in the prompt: `input_tokens` is fresh input only, `cache_read_tokens` was read from a
    cache and `cache_write_tokens` was written to one; the whole prompt is the sum of the three, so nothing is
    billed twice. `reasoning_tokens` is the part of `output_tokens` that was thinking, `cache_write_1h_tokens` is the
    part of `cache_write_tokens` that is kept for an hour.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    reasoning_tokens: int | None = None
    billed_input_tokens: int | None = None
    billed_output_tokens: int | None = None
    """What the provider charges for, where it says so and it is not what it counted: Cohere leaves its own prompts
    out."""

    @property
    def prompt_tokens(self) -> int:
        """The whole prompt: fresh, read from cache, written to cache."""
        return (self.input_tokens or 0) + (self.cache_read_tokens or 0) + (self.cache_write_tokens or 0)

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + (self.output_tokens or 0)

    def merged(self, later: Usage) -> Usage:
        """This usage with every count that `later` states replaced. Streams state usage more than once."""
        return Usage(
            input_tokens=self.input_tokens if later.input_tokens is None else later.input_tokens,
            output_tokens=self.output_tokens if later.output_tokens is None else later.output_tokens,
            cache_read_tokens=(
                self.cache_read_tokens if later.cache_read_tokens is None else later.cache_read_tokens
            ),
            cache_write_tokens=(
                self.cache_write_tokens if later.cache_write_tokens is None else later.cache_write_tokens
            ),
            cache_write_1h_tokens=(
                self.cache_write_1h_tokens if later.cache_write_1h_tokens is None else later.cache_write_1h_tokens
            ),
            reasoning_tokens=(self.reasoning_tokens if later.reasoning_tokens is None else later.reasoning_tokens),
            billed_input_tokens=(
                self.billed_input_tokens if later.billed_input_tokens is None else later.billed_input_tokens
            ),
            billed_output_tokens=(
                self.billed_output_tokens if later.billed_output_tokens is None else later.billed_output_tokens
            ),
        )


COUNT_MAX = 2**53
"""What a provider states beyond it (or below 0) is not believed, and nobody has to reckon with it."""


def believed(usage: Usage) -> Usage:
    """The counts of `usage` alone, without those that cannot be: what may be kept of it."""
    counts = usage if usage.native is None else replace(usage, native=None)
    for count in astuple(counts):
        if count and not 0 < count <= COUNT_MAX:
            return _without_the_absurd(counts)
    return counts


def _without_the_absurd(counts: Usage) -> Usage:
    return replace(counts, **{name: None for name in _COUNTS if not 0 <= (getattr(counts, name) or 0) <= COUNT_MAX})


def merged(known: Usage | None, later: Usage | None) -> Usage | None:
    """What is known of an answer's usage once `later` was stated too."""
    if known is None or later is None:
        return later if known is None else known
    return known.merged(later)


def added(first: Usage, second: Usage) -> Usage:
    """What two attempts used together."""
    return Usage(
        input_tokens=_sum(first.input_tokens, second.input_tokens),
        output_tokens=_sum(first.output_tokens, second.output_tokens),
        cache_read_tokens=_sum(first.cache_read_tokens, second.cache_read_tokens),
        cache_write_tokens=_sum(first.cache_write_tokens, second.cache_write_tokens),
        cache_write_1h_tokens=_sum(first.cache_write_1h_tokens, second.cache_write_1h_tokens),
        reasoning_tokens=_sum(first.reasoning_tokens, second.reasoning_tokens),
    )


_COUNTS = tuple(name for name in Usage.__struct_fields__ if name.endswith("_tokens"))


def _sum(first: int | None, second: int | None) -> int | None:
    return second if first is None else first + (second or 0)
