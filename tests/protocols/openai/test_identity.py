"""Recorded traffic of this dialect comes back equal: the checks of `tests.protocols.identity`."""

from __future__ import annotations

import pytest

from busbar.protocols.ir import BlockStart, ToolUse
from busbar.protocols.openai import PROTOCOL
from busbar.protocols.protocol import InvalidRequest
from tests.protocols import identity
from tests.protocols.identity import DELTAS, events_of, read, wire_events, write
from tests.recordings import Recording, recordings, with_answer, with_request, with_stream

NO_REQUEST = {155: "messages[0].content"}
"""Recorded requests that are none: OpenAI refused them, and so do we, naming the same field."""

NO_ANSWER = {4}
"""Recorded 200s whose body is an error."""

AFTER_THE_ERROR = {53, 66, 132}
"""Streams in which frames follow an error event: an error is the last thing that a reader tells of a stream."""


@pytest.mark.parametrize("recording", recordings("openai", with_request))
def test_request_comes_back_equal(recording: Recording) -> None:
    identity.check_request(PROTOCOL, recording, NO_REQUEST)


@pytest.mark.parametrize("recording", recordings("openai", with_answer))
def test_response_comes_back_equal(recording: Recording) -> None:
    if recording.number in NO_ANSWER:
        with pytest.raises(InvalidRequest):
            PROTOCOL.read_response(recording.response.body)
        assert PROTOCOL.inspect_response(recording.response.wire).error is not None
        return
    identity.check_response(PROTOCOL, recording)


@pytest.mark.parametrize("recording", recordings("openai", with_stream))
def test_stream_comes_back_equal_at_any_split(recording: Recording) -> None:
    wire = recording.response.wire
    expected = wire_events(wire)
    if recording.number in AFTER_THE_ERROR:
        last = next(at for at, (_, data) in enumerate(expected) if isinstance(data, dict) and data.get("error"))
        expected = expected[: last + 1]
    assert wire_events(write(PROTOCOL, read(PROTOCOL, [wire]))) == expected
    identity.check_splits(PROTOCOL, wire)


@pytest.mark.parametrize("recording", recordings("openai", lambda it: with_stream(it) and it.number in (75, 85, 138)))
def test_stream_is_read_byte_by_byte(recording: Recording) -> None:
    identity.check_byte_by_byte(PROTOCOL, recording.response.wire)


@pytest.mark.parametrize("recording", recordings("openai", with_stream))
def test_blocks_of_recorded_streams_are_balanced(recording: Recording) -> None:
    identity.check_balance(events_of(read(PROTOCOL, [recording.response.wire])))


@pytest.mark.parametrize("recording", recordings("openai", with_stream))
def test_tap_sees_what_the_reader_reads(recording: Recording) -> None:
    wire = recording.response.wire
    said = any(isinstance(event, (*DELTAS, BlockStart)) for event in events_of(read(PROTOCOL, [wire])))
    identity.check_tap(PROTOCOL, wire, content=said or b'"audio":{' in wire)


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
    left = identity.leftovers_of_request(PROTOCOL, recording)
    assert [path for path in left if path.split(".")[-1] in CARRIED and path not in ONLY_HERE] == []


def test_a_tool_call_is_in_the_ir_and_not_beside_it() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    request = PROTOCOL.read_request({"model": "m", "messages": [{"role": "assistant", "tool_calls": [call]}]})
    assert request.messages[0].parts == [ToolUse(id="call_1", name="f", arguments="{}")]
