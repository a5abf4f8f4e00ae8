"""Tokens are counted once, and unknown is not zero."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from busbar.protocols.bedrock.usage import read_usage as read_bedrock
from busbar.protocols.bedrock.usage import write_usage as write_bedrock
from busbar.protocols.protocol import Hop, Protocol
from busbar.protocols.receipt import Receipt
from busbar.protocols.registry import PROTOCOLS
from busbar.protocols.usage import Usage, added, believed

ANTHROPIC: Protocol = PROTOCOLS["anthropic"]
STATED = {
    "input_tokens": 3,
    "cache_creation_input_tokens": 50,
    "cache_read_input_tokens": 7,
    "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 40},
    "output_tokens": 9,
}
ANSWER = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": "a"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": STATED,
}
STREAM = b"".join(
    b"event: %b\ndata: %b\n\n" % (event["type"].encode(), msgspec.json.encode(event))
    for event in (
        {"type": "message_start", "message": {**ANSWER, "content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "a"}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"cache_creation_input_tokens": 50, "output_tokens": 12},
        },
        {"type": "message_stop"},
    )
)

COUNT = st.none() | st.integers(0, 10**6)
USAGES = st.builds(
    Usage,
    input_tokens=COUNT,
    output_tokens=COUNT,
    cache_read_tokens=COUNT,
    cache_write_tokens=COUNT,
    cache_write_1h_tokens=COUNT,
    reasoning_tokens=COUNT,
)


def test_prompt_is_fresh_and_cached_input_and_reasoning_is_inside_the_output() -> None:
    usage = Usage(
        input_tokens=1,
        cache_read_tokens=20,
        cache_write_tokens=300,
        cache_write_1h_tokens=200,
        output_tokens=4000,
        reasoning_tokens=50,
    )
    assert (usage.prompt_tokens, usage.total_tokens) == (321, 4321)


def test_unknown_counts_add_nothing() -> None:
    assert (Usage().prompt_tokens, Usage(output_tokens=5).total_tokens) == (0, 5)


def test_later_counts_replace_earlier_ones_and_silence_replaces_nothing() -> None:
    start = Usage(
        input_tokens=10, output_tokens=1, cache_read_tokens=7, cache_write_tokens=6, cache_write_1h_tokens=4
    )
    end = Usage(output_tokens=42, cache_read_tokens=0, cache_write_tokens=6, reasoning_tokens=3)
    assert start.merged(end) == Usage(
        input_tokens=10,
        output_tokens=42,
        cache_read_tokens=0,
        cache_write_tokens=6,
        cache_write_1h_tokens=4,
        reasoning_tokens=3,
    )
    assert end.merged(Usage(cache_write_1h_tokens=5)).cache_write_1h_tokens == 5


@given(USAGES, USAGES, USAGES)
def test_merging_is_associative_and_nothing_said_is_neutral(a: Usage, b: Usage, c: Usage) -> None:
    assert a.merged(b).merged(c) == a.merged(b.merged(c))
    assert a.merged(Usage()) == a == Usage().merged(a)


@given(USAGES, USAGES)
def test_what_two_attempts_used_is_the_sum_and_unknown_only_where_neither_said(a: Usage, b: Usage) -> None:
    both = added(a, b)
    for name in ("input", "output", "cache_read", "cache_write", "cache_write_1h", "reasoning"):
        counts = [getattr(usage, f"{name}_tokens") for usage in (a, b)]
        known = [count for count in counts if count is not None]
        assert getattr(both, f"{name}_tokens") == (sum(known) if known else None)


# --- what is written for an hour


def test_anthropic_says_what_it_keeps_for_an_hour_and_gets_its_breakdown_back() -> None:
    read = ANTHROPIC.read_response(ANSWER)
    assert read.usage is not None
    assert (read.usage.cache_write_tokens, read.usage.cache_write_1h_tokens) == (50, 40)
    assert ANTHROPIC.write_response(read, Hop(), Receipt())["usage"] == STATED
    inspected = ANTHROPIC.inspect_response(msgspec.json.encode(ANSWER)).usage
    assert inspected is not None
    assert inspected.cache_write_1h_tokens == 40


@pytest.mark.parametrize("piece_bytes", [1, 97, len(STREAM)])
def test_a_stream_says_it_once_at_the_start_and_it_is_known_at_the_end(piece_bytes: int) -> None:
    tap = ANTHROPIC.stream_tap()
    passed = b"".join(tap.feed(STREAM[at : at + piece_bytes]) for at in range(0, len(STREAM), piece_bytes))
    assert passed + tap.close() == STREAM
    assert tap.usage == Usage(
        input_tokens=3, output_tokens=12, cache_read_tokens=7, cache_write_tokens=50, cache_write_1h_tokens=40
    )


@pytest.mark.parametrize("stated", [None, [], 7, {}, {"ephemeral_1h_input_tokens": "40"}])
def test_a_breakdown_of_another_shape_says_nothing_and_is_kept(stated: Any) -> None:
    answer = {**ANSWER, "usage": {**STATED, "cache_creation": stated}}
    read = ANTHROPIC.read_response(answer)
    assert read.usage is not None
    assert read.usage.cache_write_1h_tokens is None
    assert ANTHROPIC.write_response(read, Hop(), Receipt())["usage"] == answer["usage"]


@pytest.mark.parametrize(
    ("details", "hour"),
    [
        ([{"ttl": "1h", "inputTokens": 40}, {"ttl": "5m", "inputTokens": 10}], 40),
        ([{"ttl": "5m", "inputTokens": 10}], 0),
        ([], None),
        (None, None),
        ([7, {"ttl": "1h", "inputTokens": "40"}], 0),
    ],
)
def test_bedrock_says_it_by_time_to_live(details: Any, hour: int | None) -> None:
    stated = {"inputTokens": 3, "outputTokens": 9, "cacheWriteInputTokens": 50, "cacheDetails": details}
    read = read_bedrock(stated)
    assert read is not None
    assert (read.cache_write_tokens, read.cache_write_1h_tokens) == (50, hour)
    assert write_bedrock(read) == stated


def test_counts_that_cannot_be_are_not_believed() -> None:
    sane = Usage(input_tokens=5, output_tokens=2**53)
    assert believed(sane) is sane
    absurd = Usage(input_tokens=-1, output_tokens=10**400, cache_read_tokens=3)
    assert believed(absurd) == Usage(cache_read_tokens=3)
