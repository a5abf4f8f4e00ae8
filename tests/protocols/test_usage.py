"""Tokens are counted once, and unknown is not zero."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from busbar.protocols.usage import Usage

COUNT = st.none() | st.integers(0, 10**6)
USAGES = st.builds(
    Usage,
    input_tokens=COUNT,
    output_tokens=COUNT,
    cache_read_tokens=COUNT,
    cache_write_tokens=COUNT,
    reasoning_tokens=COUNT,
)


def test_prompt_is_fresh_and_cached_input_and_reasoning_is_inside_the_output() -> None:
    usage = Usage(
        input_tokens=1, cache_read_tokens=20, cache_write_tokens=300, output_tokens=4000, reasoning_tokens=50
    )
    assert (usage.prompt_tokens, usage.total_tokens) == (321, 4321)


def test_unknown_counts_add_nothing() -> None:
    assert (Usage().prompt_tokens, Usage(output_tokens=5).total_tokens) == (0, 5)


def test_later_counts_replace_earlier_ones_and_silence_replaces_nothing() -> None:
    start = Usage(input_tokens=10, output_tokens=1, cache_read_tokens=7)
    end = Usage(output_tokens=42, cache_read_tokens=0, reasoning_tokens=3)
    assert start.merged(end) == Usage(
        input_tokens=10, output_tokens=42, cache_read_tokens=0, cache_write_tokens=None, reasoning_tokens=3
    )


@given(USAGES, USAGES, USAGES)
def test_merging_is_associative_and_nothing_said_is_neutral(a: Usage, b: Usage, c: Usage) -> None:
    assert a.merged(b).merged(c) == a.merged(b.merged(c))
    assert a.merged(Usage()) == a == Usage().merged(a)
