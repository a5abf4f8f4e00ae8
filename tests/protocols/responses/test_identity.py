"""Recorded traffic of this dialect comes back equal: the checks of `tests.protocols.identity`."""

from __future__ import annotations

from typing import Any

import pytest

from busbar.protocols.ir import (
    ArgumentsDelta,
    BlockStart,
    Ended,
    Errored,
    OpaqueEvent,
    Stopped,
    TextDelta,
    ThinkingDelta,
    UsageSeen,
)
from busbar.protocols.responses import PROTOCOL
from tests.protocols import identity
from tests.protocols.identity import DELTAS, events_of, read, wire_events, write
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


def with_typed_stream(recording: Recording) -> bool:
    return with_stream(recording) and recording.number not in NO_STREAM


@pytest.mark.parametrize("recording", recordings("responses", with_request))
def test_request_comes_back_equal(recording: Recording) -> None:
    identity.check_request(PROTOCOL, recording, NO_REQUEST)


@pytest.mark.parametrize("recording", recordings("responses", with_answer))
def test_response_comes_back_equal(recording: Recording) -> None:
    identity.check_response(PROTOCOL, recording)


@pytest.mark.parametrize("recording", recordings("responses", with_stream))
def test_stream_comes_back_equal_at_any_split(recording: Recording) -> None:
    wire = recording.response.wire
    expected = wire_events(wire)
    at_once = read(PROTOCOL, [wire])
    if recording.number in AFTER_THE_END:
        assert len(at_once) == len(expected) - 1
        expected.pop()
    assert wire_events(write(PROTOCOL, at_once)) == expected
    identity.check_splits(PROTOCOL, wire)


@pytest.mark.parametrize("recording", recordings("responses", lambda it: with_stream(it) and it.number in (30, 44)))
def test_stream_is_read_byte_by_byte(recording: Recording) -> None:
    identity.check_byte_by_byte(PROTOCOL, recording.response.wire)


@pytest.mark.parametrize("recording", recordings("responses", with_typed_stream))
def test_blocks_of_recorded_streams_are_balanced(recording: Recording) -> None:
    events = events_of(read(PROTOCOL, [recording.response.wire]))
    identity.check_balance(events)
    assert any(isinstance(event, Stopped) for event in events) == isinstance(events[-1], Ended)


@pytest.mark.parametrize(
    "recording", recordings("responses", lambda it: with_typed_stream(it) and it.number not in REWRITTEN)
)
def test_stream_says_what_its_last_snapshot_says(recording: Recording) -> None:
    wire = recording.response.wire
    last = [data for _, data in wire_events(wire) if data != "[DONE]"][-1]["response"]
    whole = PROTOCOL.read_response(last)
    events = events_of(read(PROTOCOL, [wire]))
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


@pytest.mark.parametrize("recording", recordings("responses", with_stream))
def test_tap_sees_what_the_reader_reads(recording: Recording) -> None:
    wire = recording.response.wire
    events = events_of(read(PROTOCOL, [wire]))
    said = any(isinstance(event, (*DELTAS, BlockStart, OpaqueEvent)) for event in events)
    identity.check_tap(PROTOCOL, wire, content=said)


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
    left = identity.leftovers_of_request(PROTOCOL, recording)
    assert [path for path in left if path.split(".")[-1] in CARRIED and path not in ONLY_HERE] == []
