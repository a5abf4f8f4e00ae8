"""Recorded traffic of this dialect comes back equal: the checks of `tests.protocols.identity`."""

from __future__ import annotations

import pytest

from busbar.protocols.cohere import PROTOCOL
from busbar.protocols.framing.tap import SseTap
from busbar.protocols.ir import BlockStart, Ended, Errored, Started, Stopped, Text, TextDelta
from tests.protocols import identity
from tests.protocols.identity import events_of, read, wire_events, write
from tests.recordings import Recording, recordings, with_answer, with_request, with_stream


@pytest.mark.parametrize("recording", recordings("cohere", with_request))
def test_request_comes_back_equal(recording: Recording) -> None:
    identity.check_request(PROTOCOL, recording)


@pytest.mark.parametrize("recording", recordings("cohere", with_answer))
def test_response_comes_back_equal(recording: Recording) -> None:
    identity.check_response(PROTOCOL, recording)


@pytest.mark.parametrize("recording", recordings("cohere", with_stream))
def test_stream_comes_back_equal_at_any_split(recording: Recording) -> None:
    wire = recording.response.wire
    assert wire_events(write(PROTOCOL, read(PROTOCOL, [wire]))) == wire_events(wire)
    identity.check_splits(PROTOCOL, wire)


@pytest.mark.parametrize("recording", recordings("cohere", lambda it: with_stream(it) and it.number in (38, 55, 65)))
def test_stream_is_read_byte_by_byte(recording: Recording) -> None:
    identity.check_byte_by_byte(PROTOCOL, recording.response.wire)


@pytest.mark.parametrize("recording", recordings("cohere", with_stream))
def test_blocks_of_recorded_streams_are_balanced(recording: Recording) -> None:
    events = events_of(read(PROTOCOL, [recording.response.wire]))
    identity.check_balance(events)
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Ended | Errored)


@pytest.mark.parametrize("recording", recordings("cohere", with_stream))
def test_tap_sees_what_the_reader_reads(recording: Recording) -> None:
    wire = recording.response.wire
    events = events_of(read(PROTOCOL, [wire]))
    begun = [event.part for event in events if isinstance(event, BlockStart)]
    said = any(isinstance(event, TextDelta) for event in events) or any(not isinstance(part, Text) for part in begun)
    for tap in identity.check_tap(PROTOCOL, wire, content=said):
        assert isinstance(tap, SseTap)
        assert tap.finished == any(isinstance(event, Stopped) for event in events)


CARRIED = {
    *("content", "text", "thinking", "tool_plan", "arguments", "id", "tool_call_id", "name", "stop_sequences"),
    *("max_tokens", "token_budget", "finish_reason", "temperature", "p", "k", "seed", "url", "json_schema"),
}
"""What the IR has a place for, by the names that it has on the wire."""

ONLY_HERE = {
    "documents[].id",  # retrieval stays within the dialect
    "documents[].data.text",
    "connectors[].id",
    "document.id",  # of a document in a tool's result
}


@pytest.mark.parametrize("recording", recordings("cohere", with_request))
def test_leftovers_of_a_request_hold_nothing_that_the_ir_carries(recording: Recording) -> None:
    left = identity.leftovers_of_request(PROTOCOL, recording)
    assert [path for path in left if path.split(".")[-1] in CARRIED and path not in ONLY_HERE] == []


@pytest.mark.parametrize("recording", recordings("cohere", with_answer))
def test_what_an_answer_says_is_in_the_ir(recording: Recording) -> None:
    (choice,) = PROTOCOL.read_response(recording.response.body).choices
    message = recording.response.body["message"]
    texts = [part["text"] for part in message.get("content", []) if part["type"] == "text"]
    assert [part.text for part in choice.parts if isinstance(part, Text)] == texts
    cited = [(each["start"], each["text"]) for each in message.get("citations", [])]
    held = [each for part in choice.parts if isinstance(part, Text) for each in part.citations]
    assert [(each.start, each.cited_text) for each in held] == cited
