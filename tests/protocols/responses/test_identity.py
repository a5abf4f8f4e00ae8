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
    OpaqueEvent,
    RefusalDelta,
    SignatureDelta,
    Started,
    Stopped,
    TextDelta,
    ThinkingDelta,
    UsageSeen,
)
from busbar.protocols.native import Native
from busbar.protocols.protocol import Hop, InvalidRequest
from busbar.protocols.receipt import Receipt
from busbar.protocols.responses import PROTOCOL
from busbar.protocols.usage import Usage
from tests.recordings import Recording, recordings, with_answer, with_request, with_stream

NO_REQUEST = {156: "input[2].role", 165: "input[2].content"}
"""Recorded requests that are none: OpenAI refused them, and so do we, naming the same item."""

AFTER_THE_END = {32, 44, 127}
"""Streams in which something follows an error (OpenAI says it twice) or the end (OpenRouter's `[DONE]`): those are
the last thing that a reader tells of a stream."""

NO_STREAM = {131}
"""Frames of some older shape that have no `type`: kept as they are, but nobody can tell what they mean."""

REWRITTEN = {46, 137}
"""Streams whose snapshot at the end says something else than was streamed."""

SPLITS_PER_STREAM = 3


def with_typed_stream(recording: Recording) -> bool:
    return with_stream(recording) and recording.number not in NO_STREAM


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


@pytest.mark.parametrize("recording", recordings("responses", with_request))
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


@pytest.mark.parametrize("recording", recordings("responses", with_answer))
def test_response_comes_back_equal(recording: Recording) -> None:
    document = recording.response.body
    before = copy.deepcopy(document)
    response = PROTOCOL.read_response(document)
    receipt = Receipt()
    assert PROTOCOL.write_response(response, Hop(), receipt) == before
    assert document == before
    assert not receipt.entries
    inspection = PROTOCOL.inspect_response(recording.response.wire)
    assert inspection.usage == response.usage
    assert inspection.error is None


@pytest.mark.parametrize("recording", recordings("responses", with_stream))
def test_stream_comes_back_equal_at_any_split(recording: Recording) -> None:
    wire = recording.response.wire
    expected = wire_events(wire)
    at_once = read([wire])
    if recording.number in AFTER_THE_END:
        assert len(at_once) == len(expected) - 1
        expected.pop()
    assert wire_events(write(at_once)) == expected
    for seed in range(SPLITS_PER_STREAM):
        assert read(split_at_random(wire, seed)) == at_once


@pytest.mark.parametrize("recording", recordings("responses", lambda it: with_stream(it) and it.number in (30, 44)))
def test_stream_comes_back_equal_byte_by_byte(recording: Recording) -> None:
    wire = recording.response.wire
    assert read([wire[at : at + 1] for at in range(len(wire))]) == read([wire])


DELTAS = (TextDelta, ThinkingDelta, ArgumentsDelta, CitationDelta, RefusalDelta, SignatureDelta)


@pytest.mark.parametrize("recording", recordings("responses", with_typed_stream))
def test_blocks_of_recorded_streams_are_balanced(recording: Recording) -> None:
    events = events_of(read([recording.response.wire]))
    begun = 0
    open_blocks: set[int] = set()
    stopped = False
    for event in events:
        match event:
            case BlockStart():
                assert not stopped
                assert event.index == begun
                begun += 1
                open_blocks.add(event.index)
            case BlockStop():
                open_blocks.remove(event.index)
            case Stopped():
                assert not stopped
                assert not open_blocks
                stopped = True
            case _ if isinstance(event, DELTAS):
                assert event.index in open_blocks
    assert stopped == isinstance(events[-1], Ended)
    assert sum(isinstance(event, Ended | Errored) for event in events) == 1
    assert sum(isinstance(event, Started) for event in events) == isinstance(events[0], Started)


@pytest.mark.parametrize(
    "recording", recordings("responses", lambda it: with_typed_stream(it) and it.number not in REWRITTEN)
)
def test_stream_says_what_its_last_snapshot_says(recording: Recording) -> None:
    wire = recording.response.wire
    last = [data for _, data in wire_events(wire) if data != "[DONE]"][-1]["response"]
    whole = PROTOCOL.read_response(last)
    events = events_of(read([wire]))
    if isinstance(events[-1], Errored):
        return
    texts: dict[type[Any], list[str]] = {}
    for event in events:
        match event:
            case TextDelta(text=said) | ThinkingDelta(text=said) | ArgumentsDelta(fragment=said):
                texts.setdefault(type(event), []).append(said)
    parts = whole.choices[0].parts
    for delta, name in ((TextDelta, "Text"), (ThinkingDelta, "Thinking"), (ArgumentsDelta, "ToolUse")):
        expected = [getattr(it, "arguments", getattr(it, "text", "")) for it in parts if type(it).__name__ == name]
        assert "".join(texts.get(delta, ())) == "".join(expected)
    assert [event.usage for event in events if isinstance(event, UsageSeen)] == [whole.usage]
    assert [event.stop for event in events if isinstance(event, Stopped)] == [whole.choices[0].stop]


SAID = (*DELTAS, BlockStart, OpaqueEvent)


@pytest.mark.parametrize("recording", recordings("responses", with_stream))
def test_tap_sees_what_the_reader_reads(recording: Recording) -> None:
    wire = recording.response.wire
    events = events_of(read([wire]))
    usage: Usage | None = None
    for event in events:
        if isinstance(event, UsageSeen):
            usage = event.usage
    for seed in range(SPLITS_PER_STREAM):
        tap = PROTOCOL.stream_tap()
        passed = b"".join([tap.feed(piece) for piece in split_at_random(wire, seed)]) + tap.close()
        assert passed == wire
        assert tap.ended == isinstance(events[-1], Ended)
        assert tap.error == (events[-1].signal if isinstance(events[-1], Errored) else None)
        assert tap.usage == usage
        assert tap.content == any(isinstance(event, SAID) for event in events)


CARRIED = {
    *("content", "text", "arguments", "call_id", "name", "instructions", "encrypted_content", "image_url"),
    *("max_output_tokens", "temperature", "top_p", "output", "effort", "file_data", "user", "parameters", "strict"),
}
"""What the IR has a place for, by the names that it has on the wire."""

ONLY_HERE = {
    "tool_choice.tools[].name",  # a choice among several tools
    "function.name",  # Chat Completions' shape of a tool, which OpenAI takes here and does not look at
    "function.parameters",
    "function.strict",
}


@pytest.mark.parametrize(
    "recording", recordings("responses", lambda it: with_request(it) and it.number not in NO_REQUEST)
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
