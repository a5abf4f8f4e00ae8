"""Recorded traffic goes dialect → IR → same dialect and comes back equal; nothing is normalised but framing."""

from __future__ import annotations

import copy
import random
from typing import Any

import msgspec
import pytest

from busbar.protocols.framing.sse import SseDecoder
from busbar.protocols.ir import (
    ArgumentsDelta,
    BlockStart,
    BlockStop,
    Chunk,
    CitationDelta,
    Ended,
    Errored,
    Event,
    RefusalDelta,
    Started,
    Stopped,
    TextDelta,
    ThinkingDelta,
    ToolUse,
    UsageSeen,
)
from busbar.protocols.native import Native
from busbar.protocols.openai import PROTOCOL
from busbar.protocols.openai.stream_tap import stream_tap
from busbar.protocols.protocol import Hop, InvalidRequest
from busbar.protocols.receipt import Receipt
from busbar.protocols.usage import Usage
from tests.recordings import Recording, recordings, with_answer, with_request, with_stream

NO_REQUEST = {155: "messages[0].content"}
"""Recorded requests that are none: OpenAI refused them, and so do we, naming the same field."""

NO_ANSWER = {4}
"""Recorded 200s whose body is an error."""

AFTER_THE_ERROR = {53, 66, 132}
"""Streams in which frames follow an error event: an error is the last thing that a reader tells of a stream."""

SPLITS_PER_STREAM = 3


def wire_events(wire: bytes) -> list[tuple[str, Any]]:
    decoder = SseDecoder()
    events = decoder.feed(wire) + decoder.close()
    return [(each.event, "[DONE]" if each.data == b"[DONE]" else msgspec.json.decode(each.data)) for each in events]


def split_at_random(wire: bytes, seed: int) -> list[bytes]:
    chance = random.Random(seed)
    cuts = sorted(chance.randrange(len(wire) + 1) for _ in range(chance.choice((2, 9, 60))))
    return [wire[start:end] for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True)]


def read(pieces: list[bytes]) -> list[Chunk]:
    reader = PROTOCOL.stream_reader()
    chunks = [chunk for piece in pieces for chunk in reader.feed(piece)] + reader.close()
    assert reader.malformed == 0
    return chunks


def write(chunks: list[Chunk]) -> bytes:
    receipt = Receipt()
    writer = PROTOCOL.stream_writer(Hop(), receipt)
    wire = b"".join(writer.write(chunk) for chunk in chunks)
    assert not receipt.entries
    return wire


def events_of(chunks: list[Chunk]) -> list[Event]:
    return [event for chunk in chunks for event in chunk.events]


@pytest.mark.parametrize("recording", recordings("openai", with_request))
def test_request_comes_back_equal(recording: Recording) -> None:
    document = recording.request.body
    before = copy.deepcopy(document)
    if recording.number in NO_REQUEST:
        with pytest.raises(InvalidRequest) as refused:
            PROTOCOL.read_request(document)
        assert refused.value.path == NO_REQUEST[recording.number]
        return
    receipt = Receipt()
    assert PROTOCOL.write_request(PROTOCOL.read_request(document), Hop(), receipt) == before
    assert document == before
    assert not receipt.entries


@pytest.mark.parametrize("recording", recordings("openai", with_answer))
def test_response_comes_back_equal(recording: Recording) -> None:
    document = recording.response.body
    before = copy.deepcopy(document)
    if recording.number in NO_ANSWER:
        with pytest.raises(InvalidRequest):
            PROTOCOL.read_response(document)
        assert PROTOCOL.inspect_response(recording.response.wire).error is not None
        return
    response = PROTOCOL.read_response(document)
    receipt = Receipt()
    assert PROTOCOL.write_response(response, Hop(), receipt) == before
    assert document == before
    assert not receipt.entries
    inspection = PROTOCOL.inspect_response(recording.response.wire)
    assert inspection.usage == response.usage
    assert inspection.error is None


@pytest.mark.parametrize("recording", recordings("openai", with_stream))
def test_stream_comes_back_equal_at_any_split(recording: Recording) -> None:
    wire = recording.response.wire
    expected = wire_events(wire)
    if recording.number in AFTER_THE_ERROR:
        last = next(at for at, (_, data) in enumerate(expected) if isinstance(data, dict) and data.get("error"))
        expected = expected[: last + 1]
    at_once = read([wire])
    assert wire_events(write(at_once)) == expected
    for seed in range(SPLITS_PER_STREAM):
        assert read(split_at_random(wire, seed)) == at_once


@pytest.mark.parametrize("recording", recordings("openai", lambda it: with_stream(it) and it.number in (75, 85, 138)))
def test_stream_comes_back_equal_byte_by_byte(recording: Recording) -> None:
    wire = recording.response.wire
    assert read([wire[at : at + 1] for at in range(len(wire))]) == read([wire])


@pytest.mark.parametrize("recording", recordings("openai", with_stream))
def test_blocks_of_recorded_streams_are_balanced(recording: Recording) -> None:
    events = events_of(read([recording.response.wire]))
    begun: dict[int, int] = {}
    open_blocks: set[tuple[int, int]] = set()
    stopped: set[int] = set()
    for event in events:
        match event:
            case BlockStart():
                assert event.choice not in stopped
                assert event.index == begun.get(event.choice, 0)
                begun[event.choice] = event.index + 1
                open_blocks.add((event.choice, event.index))
            case BlockStop():
                open_blocks.remove((event.choice, event.index))
            case Stopped():
                assert event.choice not in stopped
                assert not any(choice == event.choice for choice, _ in open_blocks)
                stopped.add(event.choice)
            case TextDelta() | ThinkingDelta() | ArgumentsDelta() | CitationDelta() | RefusalDelta():
                assert (event.choice, event.index) in open_blocks
    assert not open_blocks or isinstance(events[-1], Errored)
    assert sum(isinstance(event, Ended | Errored) for event in events) == 1
    assert sum(isinstance(event, Started) for event in events) == isinstance(events[0], Started)


SAID = (TextDelta, ThinkingDelta, ArgumentsDelta, CitationDelta, RefusalDelta, BlockStart)


@pytest.mark.parametrize("recording", recordings("openai", with_stream))
def test_tap_sees_what_the_reader_reads(recording: Recording) -> None:
    wire = recording.response.wire
    events = events_of(read([wire]))
    usage: Usage | None = None
    for event in events:
        if isinstance(event, UsageSeen):
            usage = event.usage if usage is None else usage.merged(event.usage)
    said = any(isinstance(event, SAID) for event in events)
    for seed in range(SPLITS_PER_STREAM):
        tap = stream_tap()
        passed = b"".join([tap.feed(piece) for piece in split_at_random(wire, seed)]) + tap.close()
        assert passed == wire
        assert tap.ended == isinstance(events[-1], Ended)
        assert tap.error == (events[-1].signal if isinstance(events[-1], Errored) else None)
        assert counts(tap.usage) == counts(usage)
        assert tap.content == (said or b'"audio":{' in wire)


def counts(usage: Usage | None) -> tuple[int | None, ...] | None:
    return (
        None
        if usage is None
        else (
            usage.input_tokens,
            usage.output_tokens,
            usage.cache_read_tokens,
            usage.cache_write_tokens,
            usage.reasoning_tokens,
        )
    )


CARRIED = {
    *("content", "text", "arguments", "id", "tool_call_id", "name", "stop", "refusal", "reasoning_content"),
    *("max_completion_tokens", "finish_reason", "prompt_tokens", "completion_tokens", "temperature", "image_url"),
}
"""What the IR has a place for, by the names that it has on the wire."""

ONLY_HERE = {
    "prediction.content",  # OpenAI's predicted output
    "plugins[].id",  # OpenRouter's
    "tool_choice.name",  # Anthropic's shape at an endpoint that takes both
    "id",  # of a `reasoning_details` entry
}


@pytest.mark.parametrize(
    "recording", recordings("openai", lambda it: with_request(it) and it.number not in NO_REQUEST)
)
def test_leftovers_of_a_request_hold_nothing_that_the_ir_carries(recording: Recording) -> None:
    found: list[str] = []
    _collect(PROTOCOL.read_request(recording.request.body), found)
    assert [path for path in found if path.split(".")[-1] in CARRIED and path not in ONLY_HERE] == []


def _collect(node: Any, found: list[str]) -> None:
    if isinstance(node, Native):
        _collect_paths(node.fields, "", found)
    elif isinstance(node, msgspec.Struct):
        for field in node.__struct_fields__:
            _collect(getattr(node, field), found)
    elif isinstance(node, list):
        for each in node:
            _collect(each, found)


def _collect_paths(value: Any, path: str, found: list[str]) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            _collect_paths(inner, f"{path}.{key}" if path else key, found)
    elif isinstance(value, list):
        for inner in value:
            _collect_paths(inner, f"{path}[]", found)
    elif value not in (None, ""):
        found.append(path)


def test_a_tool_call_is_in_the_ir_and_not_beside_it() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    request = PROTOCOL.read_request({"model": "m", "messages": [{"role": "assistant", "tool_calls": [call]}]})
    assert request.messages[0].parts == [ToolUse(id="call_1", name="f", arguments="{}")]
