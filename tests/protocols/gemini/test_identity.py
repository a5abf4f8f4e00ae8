"""Recorded traffic goes dialect → IR → same dialect and comes back equal; nothing is normalised but framing."""

from __future__ import annotations

import copy
import random
from typing import Any

import msgspec
import pytest

from busbar.protocols.framing.sse import SseDecoder
from busbar.protocols.gemini import PROTOCOL
from busbar.protocols.ir import (
    ArgumentsDelta,
    BlockStart,
    BlockStop,
    Chunk,
    CitationDelta,
    Ended,
    Errored,
    Event,
    Opaque,
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
from busbar.protocols.usage import Usage
from tests.recordings import Recording, recordings, with_answer, with_request, with_stream

NO_REQUEST = {140: "contents[0].role"}
"""Recorded requests that are none: Google refused them, and so do we, naming the same field."""

NO_ANSWER = {126, 133}
"""Streams that are not whole: one holds no answer at all, one never says why it stopped."""

BARE_ERROR = {135}
"""Streams that end in an error without the frame of an event: it comes back with one."""

SPLITS_PER_STREAM = 3


def with_array(recording: Recording) -> bool:
    """A stream that was asked for without `alt=sse`."""
    return recording.response.status < 400 and isinstance(recording.response.body, list)


def documents(wire: bytes) -> list[Any]:
    decoder = SseDecoder()
    events = decoder.feed(wire) + decoder.close()
    assert all(event.event == "" for event in events)
    return [msgspec.json.decode(event.data) for event in events]


def split_at_random(wire: bytes, seed: int) -> list[bytes]:
    chance = random.Random(seed)
    cuts = sorted(chance.randrange(len(wire) + 1) for _ in range(chance.choice((2, 9, 60))))
    return [wire[start:end] for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True)]


def read(pieces: list[bytes]) -> list[Chunk]:
    reader = PROTOCOL.stream_reader()
    chunks = [chunk for piece in pieces for chunk in reader.feed(piece)] + reader.close()
    assert reader.malformed == 0
    return chunks


def write(chunks: list[Chunk], framing: str = "") -> bytes:
    receipt = Receipt()
    writer = PROTOCOL.stream_writer(Hop(framing=framing), receipt)
    wire = b"".join(writer.write(chunk) for chunk in chunks)
    assert not receipt.entries
    return wire


def events_of(chunks: list[Chunk]) -> list[Event]:
    return [event for chunk in chunks for event in chunk.events]


@pytest.mark.parametrize("recording", recordings("gemini", with_request))
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


@pytest.mark.parametrize("recording", recordings("gemini", with_answer))
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


@pytest.mark.parametrize("recording", recordings("gemini", with_stream))
def test_stream_comes_back_equal_at_any_split(recording: Recording) -> None:
    wire = recording.response.wire
    at_once = read([wire])
    written = documents(write(at_once))
    if recording.number in BARE_ERROR:
        assert written.pop() == msgspec.json.decode(wire[wire.index(b'\n{\n  "error"') :])
    assert written == documents(wire)
    for seed in range(SPLITS_PER_STREAM):
        assert read(split_at_random(wire, seed)) == at_once


@pytest.mark.parametrize("recording", recordings("gemini", with_array))
def test_array_comes_back_equal_at_any_split(recording: Recording) -> None:
    wire = recording.response.wire
    at_once = read([wire])
    assert msgspec.json.decode(write(at_once, framing="array")) == recording.response.body
    for pretty in (wire, msgspec.json.format(wire, indent=2)):
        for seed in range(SPLITS_PER_STREAM):
            assert read(split_at_random(pretty, seed)) == at_once


@pytest.mark.parametrize(
    "recording", recordings("gemini", lambda it: with_stream(it) and it.number in (62, 110, 137))
)
def test_stream_comes_back_equal_byte_by_byte(recording: Recording) -> None:
    wire = recording.response.wire
    assert read([wire[at : at + 1] for at in range(len(wire))]) == read([wire])


@pytest.mark.parametrize("recording", recordings("gemini", with_stream))
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
            case TextDelta() | ThinkingDelta() | ArgumentsDelta() | CitationDelta() | SignatureDelta():
                assert (event.choice, event.index) in open_blocks
    whole = recording.number not in NO_ANSWER
    assert not open_blocks or not whole or isinstance(events[-1], Errored)
    assert sum(isinstance(event, Ended | Errored) for event in events) == whole
    assert sum(isinstance(event, Started) for event in events) == (recording.number != 126)


@pytest.mark.parametrize("recording", recordings("gemini", with_stream))
def test_tap_sees_what_the_reader_reads(recording: Recording) -> None:
    wire = recording.response.wire
    events = events_of(read([wire]))
    usage: Usage | None = None
    for event in events:
        if isinstance(event, UsageSeen):
            usage = event.usage if usage is None else usage.merged(event.usage)
    ended = any(isinstance(event, Ended) for event in events)
    errored = [event for event in events if isinstance(event, Errored)]
    for seed in range(SPLITS_PER_STREAM):
        tap = PROTOCOL.stream_tap()
        passed = b"".join([tap.feed(piece) for piece in split_at_random(wire, seed)]) + tap.close()
        assert passed == wire or (recording.number in NO_ANSWER and wire.startswith(passed))
        assert tap.ended == ended
        assert tap.error == (errored[0].signal if errored else None)
        assert counts(tap.usage) == counts(usage)
        assert tap.content == any(_says_something(event) for event in events)


@pytest.mark.parametrize("recording", recordings("gemini", with_stream))
def test_tap_makes_an_array_of_the_same_documents(recording: Recording) -> None:
    wire = recording.response.wire
    for seed in range(SPLITS_PER_STREAM):
        tap = PROTOCOL.stream_tap("array")
        passed = b"".join([tap.feed(piece) for piece in split_at_random(wire, seed)]) + tap.close()
        if recording.number in NO_ANSWER | BARE_ERROR:
            assert not tap.ended
            continue
        assert tap.ended
        assert msgspec.json.decode(passed) == documents(wire)


def _says_something(event: Event) -> bool:
    match event:
        case TextDelta() | ThinkingDelta() | ArgumentsDelta():
            return True
        case BlockStart(part=part):
            return isinstance(part, Opaque) or hasattr(part, "source")
        case _:
            return False


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
    *("text", "args", "id", "name", "thoughtSignature", "data", "fileUri", "maxOutputTokens", "temperature", "topP"),
    *("topK", "stopSequences", "seed", "candidateCount", "responseMimeType", "thinkingBudget", "response"),
}
"""What the IR has a place for, by the names that it has on the wire."""

ONLY_HERE = {"response.type", "response.description"}
"""A function's declared response; a schema of which no other dialect knows."""


@pytest.mark.parametrize(
    "recording", recordings("gemini", lambda it: with_request(it) and it.number not in NO_REQUEST)
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
            if not isinstance(node, Opaque):
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
