"""What a stream delivered is metered without reading it, and billed as the estimate that it is."""

from __future__ import annotations

import base64
import json
import random
import re
import statistics
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from busbar.protocols.ir import ArgumentsDelta, SignatureDelta, TextDelta, ThinkingDelta
from busbar.protocols.meter import Marks, Meter, completed, estimate_of_text
from busbar.protocols.registry import PROTOCOLS
from busbar.protocols.usage import Usage
from tests.recordings import Recording, load

MARKS = {name: protocol.marks for name, protocol in PROTOCOLS.items()}


def metered(dialect: str, *chunks: bytes) -> int:
    meter = Meter(MARKS[dialect])
    for chunk in chunks:
        meter.feed(chunk)
    return meter.output_tokens


def sse(value: dict[str, Any]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (value["type"].encode(), msgspec.json.encode(value))


def claude(delta: dict[str, str]) -> bytes:
    return sse({"type": "content_block_delta", "index": 0, "delta": delta})


def says(text: str) -> bytes:
    return claude({"type": "text_delta", "text": text})


def test_nothing_was_delivered_before_the_model_said_something() -> None:
    start = sse(
        {"type": "message_start", "message": {"content": [], "usage": {"input_tokens": 9, "output_tokens": 1}}}
    )
    begun = sse({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
    assert metered("anthropic") == 0
    assert metered("anthropic", start, begun, sse({"type": "ping"}), says("")) == 0


def test_a_short_text_is_a_token_and_a_longer_one_has_a_token_to_four_bytes() -> None:
    assert metered("anthropic", says("Hi")) == 1
    assert metered("anthropic", *[says(" word")] * 1000) == 1000
    assert metered("anthropic", *[says("fourteen bytes" * 2)] * 1000) == 7000


def test_events_that_share_a_chunk_are_counted_like_those_that_do_not() -> None:
    events = [says("sixteen letters.")] * 400
    assert (
        metered("anthropic", *events) == metered("anthropic", b"".join(events[:150]), b"".join(events[150:])) == 1600
    )


@pytest.mark.parametrize("first", [5, 50, 500])
def test_what_is_read_stands_for_the_events_around_it_and_not_for_all(first: int) -> None:
    long, short = [says("x" * 60)] * first, [says(" word")] * 500
    assert metered("anthropic", *long, *short) == pytest.approx(first * 15 + 500, rel=0.25)
    assert metered("anthropic", *short, *long) == pytest.approx(first * 15 + 500, rel=0.25)


def test_a_stream_that_repeats_the_request_and_the_answer_is_not_billed_for_that() -> None:
    asked = {"instructions": "Say it. " * 2000, "tools": [{"name": "f", "parameters": {"delta": "text"}}]}
    said = [sse({"type": "response.output_text.delta", "delta": " word", "obfuscation": "x" * 9})] * 50
    repeated = [
        sse({"type": "response.output_text.done", "text": " word" * 50}),
        sse({"type": "response.completed", "response": {**asked, "output": [{"content": " word" * 50}]}}),
    ]
    created = sse({"type": "response.created", "response": asked})
    assert metered("responses", created, *said, *repeated) == 50


def test_a_model_that_speaks_of_the_marks_is_counted_by_its_words() -> None:
    text = json.dumps({"type": "content_block_delta", "text": "an example", "input": {}})
    assert metered("anthropic", says(text)) == len(json.dumps(text)[1:-1]) // 4


def test_a_tool_call_costs_more_than_its_arguments() -> None:
    block = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {}}
    start = sse({"type": "content_block_start", "index": 1, "content_block": block})
    arguments = claude({"type": "input_json_delta", "partial_json": '{"city": "Rome"}'})
    assert metered("anthropic", start, arguments) == metered("anthropic", start + arguments) == 35 + 5


@pytest.mark.parametrize("size", [200, 700, 1460, 16384])
def test_a_long_text_is_counted_through_the_chunks_that_it_spans(size: int) -> None:
    call = {"name": "write", "arguments": json.dumps({"text": 'He said "\\".\n' * 2000})}
    delta = {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": call}]}}]}
    wire = b"data: %s\n\ndata: [DONE]\n\n" % msgspec.json.encode(delta)
    before = [b'data: {"choices":[{"index":0,"delta":{"content":" word"}}],"usage":null}\n\n'] * 100
    chunks = [wire[at : at + size] for at in range(0, len(wire), size)]
    assert metered("openai", *before, *chunks) == pytest.approx(len(wire) / 4, rel=0.05)


def test_thinking_that_is_withheld_is_metered_by_its_signature() -> None:
    signed = claude({"type": "signature_delta", "signature": "x" * (350 + 4 * 500)})
    begun = claude({"type": "thinking_delta", "thinking": ""})
    told = [claude({"type": "thinking_delta", "thinking": "x" * 40})] * 30
    assert metered("anthropic", begun, signed, says("yes!")) == 501
    assert metered("anthropic", *told, signed) == 500
    assert metered("anthropic", *told * 2, signed) == 600


def test_what_a_hosted_tool_found_is_not_what_the_model_said() -> None:
    found = [{"type": "url_citation", "url_citation": {"title": "A", "content": "a page of text. " * 40}}]
    chunk = {"choices": [{"index": 0, "delta": {"content": " word", "annotations": found}}]}
    plain = {"choices": [{"index": 0, "delta": {"content": " word"}}]}
    frames = [b"data: %s\n\n" % msgspec.json.encode(value) for value in (chunk, plain)]
    assert metered("openai", *frames) == metered("openai", b"".join(frames)) == 2


@given(st.lists(st.binary(max_size=40) | st.sampled_from([says("word"), says("word" * 200), says("")])), st.data())
def test_any_bytes_in_any_pieces_are_metered(pieces: list[bytes], data: st.DataObject) -> None:
    wire = b"".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    chunks = [wire[start:end] for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
    assert 0 <= metered("anthropic", *chunks) <= len(wire)


# What was recorded.


class Sample(NamedTuple):
    """A recorded stream: its frames, and how many bytes the model had said after each."""

    name: str
    frames: list[bytes]
    said: list[int]
    output_tokens: int
    """As stated, without thinking of which the stream shows nothing."""


def _frames(dialect: str, wire: bytes) -> list[bytes]:
    if dialect != "bedrock":
        return [frame for frame in re.split(rb"(?<=\n\n)|(?<=\r\n\r\n)", wire) if frame]
    frames = []
    while wire:
        size = int.from_bytes(wire[:4], "big")
        frames.append(wire[:size])
        wire = wire[size:]
    return frames


def _sample(dialect: str, recording: Recording) -> Sample | None:
    encoded = recording.response.body_base64
    wire = recording.response.wire if encoded is None else base64.b64decode(encoded)
    tap = PROTOCOLS[dialect].stream_tap()
    tap.feed(wire)
    tap.close()
    reader = PROTOCOLS[dialect].stream_reader()
    frames, said, shown = _frames(dialect, wire), [0], b"houghtSignature" in wire
    for frame in frames:
        said.append(said[-1])
        for event in (event for chunk in reader.feed(frame) for event in chunk.events):
            match event:
                case TextDelta(text=text) | ArgumentsDelta(fragment=text):
                    said[-1] += len(text.encode())
                case ThinkingDelta(text=text):
                    said[-1] += len(text.encode())
                    shown = shown or bool(text)
                case SignatureDelta():
                    shown = shown or dialect != "responses"
                case _:
                    pass
    if tap.usage is None or not tap.usage.output_tokens or not said[-1]:
        return None
    hidden = 0 if shown else tap.usage.reasoning_tokens or 0
    return Sample(recording.name, frames, said[1:], tap.usage.output_tokens - hidden)


@cache
def samples(dialect: str) -> tuple[Sample, ...]:
    recorded = (
        _sample(dialect, recording)
        for recording in load(dialect)
        if recording.response.streamed or (recording.response.status < 400 and recording.response.body_base64)
    )
    return tuple(sample for sample in recorded if sample is not None)


def _cuts(sample: Sample) -> Iterator[tuple[list[bytes], float]]:
    """The stream cut after a quarter, a half, three quarters and all of what was said; and the tokens until there."""
    for share in (0.25, 0.5, 0.75, 1):
        at = next(at for at, said in enumerate(sample.said) if said >= share * sample.said[-1])
        tokens = sample.output_tokens * sample.said[at] / sample.said[-1]
        if tokens >= 16:
            yield sample.frames[: at + 1], tokens


def _as_chunks(how: str, frames: list[bytes], seed: str) -> list[bytes]:
    chance = random.Random(seed)
    wire = b"".join(frames)
    match how:
        case "frames":
            return frames
        case "groups":
            starts = [0, *(at for at in range(1, len(frames)) if chance.random() < 0.3), len(frames)]
            return [b"".join(frames[start:end]) for start, end in pairwise(starts)]
        case _:
            starts = sorted({0, len(wire), *(chance.randrange(len(wire)) for _ in range(len(wire) // 800))})
            return [wire[start:end] for start, end in pairwise(starts)]


class _Events:
    """The simplest rival: an event is a token."""

    def __init__(self, marks: Marks) -> None:
        self._mark = marks.event
        self.output_tokens = 0

    def feed(self, data: bytes) -> None:
        self.output_tokens += data.count(self._mark)


class _Bytes:
    """The other: what events are longer than the shortest is text, with a token to four bytes."""

    def __init__(self, marks: Marks) -> None:
        self._mark = marks.event
        self._events = self._bytes = 0
        self._shortest = float("inf")

    def feed(self, data: bytes) -> None:
        if found := data.count(self._mark):
            self._events += found
            self._bytes += len(data)
            self._shortest = min(self._shortest, len(data) / found)

    @property
    def output_tokens(self) -> int:
        text = self._bytes - self._events * self._shortest if self._events else 0
        return max(self._events, round(text / 4))


def _ratios(kind: Any, dialect: str, how: str) -> list[float]:
    """Estimate ÷ truth, sorted, at every cut of every recorded stream."""
    found = []
    for sample in samples(dialect):
        for frames, tokens in _cuts(sample):
            meter = kind(MARKS[dialect])
            for chunk in _as_chunks(how, frames, sample.name):
                meter.feed(chunk)
            found.append(meter.output_tokens / tokens)
    return sorted(found)


def _typical_error(ratios: list[float]) -> float:
    """The factor by which half of the estimates are off by no more."""
    return statistics.median(max(ratio, 1 / ratio) if ratio else 100.0 for ratio in ratios)


needs_recordings = pytest.mark.skipif(not load("anthropic"), reason="no recordings at ../shared/fixtures")


@pytest.mark.fixtures
@needs_recordings
@pytest.mark.parametrize("how", ["frames", "groups", "anywhere"])
@pytest.mark.parametrize("dialect", MARKS)
def test_recorded_streams_are_metered_about_right_wherever_they_are_cut(dialect: str, how: str) -> None:
    ratios = _ratios(Meter, dialect, how)
    assert len(ratios) > 80
    assert 0.55 < statistics.median(ratios) < 1.3
    assert ratios[len(ratios) * 9 // 10] < 1.7


@pytest.mark.fixtures
@needs_recordings
@pytest.mark.parametrize("how", ["frames", "groups", "anywhere"])
def test_no_simpler_meter_does_as_well(how: str) -> None:
    def typical(kind: Any) -> float:
        return _typical_error([ratio for dialect in MARKS for ratio in _ratios(kind, dialect, how)])

    ours, events, size = (typical(kind) for kind in (Meter, _Events, _Bytes))
    assert ours < 1.5
    assert min(events, size) > 1.5 * ours


@pytest.mark.fixtures
@needs_recordings
@pytest.mark.parametrize("dialect", MARKS)
def test_recorded_answers_are_estimated_about_right(dialect: str) -> None:
    ratios = []
    for recording in load(dialect):
        if recording.response.status < 400 and isinstance(recording.response.body, dict):
            usage = PROTOCOLS[dialect].inspect_response(recording.response.wire).usage
            tokens = (usage.output_tokens or 0) - (usage.reasoning_tokens or 0) if usage is not None else 0
            if tokens >= 16:
                estimate = estimate_of_text(recording.response.wire, MARKS[dialect].call_tokens)
                ratios.append(estimate / tokens)
    assert len(ratios) > 30
    assert 0.6 < statistics.median(ratios) < 1.7


def test_a_whole_answer_is_estimated_by_what_the_model_said() -> None:
    call = {"type": "tool_use", "id": "toolu_" + "x" * 99, "name": "f", "input": {"city": "Rome"}}
    found = {"type": "web_search_tool_result", "tool_use_id": "x", "content": [{"title": "x" * 99}]}
    answer = {"id": "msg_1", "content": [{"type": "text", "text": "x" * 40}, call, found], "system": "x" * 99}
    assert estimate_of_text(msgspec.json.encode(answer), call_tokens=30) == 10 + 4 + 30


@pytest.mark.parametrize("document", [b"", b"not found", b"[1]", b"\xff", b"[" * 9999, b'{"error":{"message":"no"}}'])
def test_what_is_no_answer_is_estimated_to_say_nothing(document: bytes) -> None:
    assert estimate_of_text(document) == 0


# What is billed.

FINAL = Usage(input_tokens=10, output_tokens=200, cache_read_tokens=5)


@pytest.mark.parametrize(
    ("usage", "whole", "billed", "estimated"),
    [
        # the answer ended: what was stated stays, whatever the meter says
        (FINAL, True, FINAL, False),
        (Usage(input_tokens=10, output_tokens=0), True, Usage(input_tokens=10, output_tokens=0), False),
        # it ended, and something was never stated
        (None, True, Usage(input_tokens=50, output_tokens=90), True),
        (Usage(), True, Usage(input_tokens=50, output_tokens=90), True),
        (Usage(input_tokens=10), True, Usage(input_tokens=10, output_tokens=90), True),
        (Usage(output_tokens=7), True, Usage(input_tokens=50, output_tokens=7), True),
        # openai, responses, bedrock, cohere: cut before anything was stated
        (None, False, Usage(input_tokens=50, output_tokens=90), True),
        # anthropic: the prompt is known, and the output only to its first token
        (
            Usage(input_tokens=10, output_tokens=1, cache_read_tokens=5, cache_write_tokens=0),
            False,
            Usage(input_tokens=10, output_tokens=90, cache_read_tokens=5, cache_write_tokens=0),
            True,
        ),
        # gemini: all is known up to the last chunk; or nothing but that there is a count
        (
            Usage(input_tokens=10, output_tokens=150, reasoning_tokens=80),
            False,
            Usage(input_tokens=10, output_tokens=150, reasoning_tokens=80),
            True,
        ),
        (Usage(), False, Usage(input_tokens=50, output_tokens=90), True),
        # a clone that puts zeros until it knows
        (Usage(input_tokens=0, output_tokens=0), False, Usage(input_tokens=50, output_tokens=90), True),
        # cached input is never counted twice
        (Usage(cache_read_tokens=30), False, Usage(input_tokens=20, output_tokens=90, cache_read_tokens=30), True),
        (
            Usage(input_tokens=0, cache_read_tokens=30),
            False,
            Usage(input_tokens=0, output_tokens=90, cache_read_tokens=30),
            True,
        ),
    ],
)
def test_what_was_not_stated_is_filled_in(usage: Usage | None, whole: bool, billed: Usage, estimated: bool) -> None:
    assert completed(usage, prompt_estimate=50, metered_output=90, whole=whole) == (billed, estimated)


def test_an_answer_that_said_nothing_and_states_its_prompt_is_complete() -> None:
    blocked = Usage(input_tokens=10)
    assert completed(blocked, prompt_estimate=50, metered_output=0, whole=True) == (blocked, False)


COUNT = st.none() | st.integers(0, 10**6)


@given(st.builds(Usage, input_tokens=COUNT, output_tokens=COUNT, cache_read_tokens=COUNT), st.booleans())
def test_a_bill_is_never_lower_than_what_was_stated(usage: Usage, whole: bool) -> None:
    billed, estimated = completed(usage, prompt_estimate=50, metered_output=90, whole=whole)
    assert billed.input_tokens is not None or not estimated
    assert billed.prompt_tokens >= usage.prompt_tokens
    assert (billed.output_tokens or 0) >= (usage.output_tokens or 0)
    assert billed.total_tokens > 0 or (whole and not estimated)
