"""Recorded traffic of this dialect comes back equal: the checks of `tests.protocols.identity`."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from busbar.protocols.gemini import PROTOCOL
from busbar.protocols.ir import ArgumentsDelta, BlockStart, Event, Opaque, Started, TextDelta, ThinkingDelta
from tests.protocols import identity
from tests.protocols.identity import SEEDS, events_of, read, split_at_random, wire_events, write
from tests.recordings import Recording, recordings, with_answer, with_request, with_stream

NO_REQUEST = {140: "contents[0].role"}
"""Recorded requests that are none: Google refused them, and so do we, naming the same field."""

NO_START = {126}
"""Streams that hold no answer at all."""

NO_ANSWER = {126, 133}
"""Streams that are not whole: one holds no answer at all, one never says why it stopped."""

BARE_ERROR = {135}
"""Streams that end in an error without the frame of an event: it comes back with one."""


def with_array(recording: Recording) -> bool:
    """A stream that was asked for without `alt=sse`."""
    return recording.response.status < 400 and isinstance(recording.response.body, list)


def documents(wire: bytes) -> list[Any]:
    """The values of a stream, whose events have no names."""
    events = wire_events(wire)
    assert {name for name, _ in events} <= {""}
    return [value for _, value in events]


@pytest.mark.parametrize("recording", recordings("gemini", with_request))
def test_request_comes_back_equal(recording: Recording) -> None:
    identity.check_request(PROTOCOL, recording, NO_REQUEST)


@pytest.mark.parametrize("recording", recordings("gemini", with_answer))
def test_response_comes_back_equal(recording: Recording) -> None:
    identity.check_response(PROTOCOL, recording)


@pytest.mark.parametrize("recording", recordings("gemini", with_stream))
def test_stream_comes_back_equal_at_any_split(recording: Recording) -> None:
    wire = recording.response.wire
    written = documents(write(PROTOCOL, read(PROTOCOL, [wire])))
    if recording.number in BARE_ERROR:
        assert written.pop() == msgspec.json.decode(wire[wire.index(b'\n{\n  "error"') :])
    assert written == documents(wire)
    identity.check_splits(PROTOCOL, wire)


@pytest.mark.parametrize("recording", recordings("gemini", with_array))
def test_array_comes_back_equal_at_any_split(recording: Recording) -> None:
    wire = recording.response.wire
    at_once = read(PROTOCOL, [wire])
    assert msgspec.json.decode(write(PROTOCOL, at_once, framing="array")) == recording.response.body
    for pretty in (wire, msgspec.json.format(wire, indent=2)):
        for seed in SEEDS:
            assert read(PROTOCOL, split_at_random(pretty, seed)) == at_once


@pytest.mark.parametrize(
    "recording", recordings("gemini", lambda it: with_stream(it) and it.number in (62, 110, 137))
)
def test_stream_is_read_byte_by_byte(recording: Recording) -> None:
    identity.check_byte_by_byte(PROTOCOL, recording.response.wire)


@pytest.mark.parametrize("recording", recordings("gemini", with_stream))
def test_blocks_of_recorded_streams_are_balanced(recording: Recording) -> None:
    events = events_of(read(PROTOCOL, [recording.response.wire]))
    identity.check_balance(events, whole=recording.number not in NO_ANSWER)
    assert any(isinstance(event, Started) for event in events) == (recording.number not in NO_START)


@pytest.mark.parametrize("recording", recordings("gemini", with_stream))
def test_tap_sees_what_the_reader_reads(recording: Recording) -> None:
    wire = recording.response.wire
    said = any(_says_something(event) for event in events_of(read(PROTOCOL, [wire])))
    cut_off = recording.number in NO_ANSWER
    identity.check_tap(PROTOCOL, wire, content=said, passes=wire.startswith if cut_off else None)


@pytest.mark.parametrize("recording", recordings("gemini", with_stream))
def test_tap_makes_an_array_of_the_same_documents(recording: Recording) -> None:
    wire = recording.response.wire
    for seed in SEEDS:
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
    left = identity.leftovers_of_request(PROTOCOL, recording)
    assert [path for path in left if path.split(".")[-1] in CARRIED and path not in ONLY_HERE] == []
