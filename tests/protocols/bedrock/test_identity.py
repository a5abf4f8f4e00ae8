"""Recorded traffic of this dialect comes back equal: the checks of `tests.protocols.identity`."""

from __future__ import annotations

import pytest

from busbar.protocols.bedrock import PROTOCOL
from busbar.protocols.ir import (
    BlockStart,
    BlockStop,
    CitationDelta,
    Ended,
    Event,
    Opaque,
    SignatureDelta,
    Started,
    Stopped,
    Text,
    TextDelta,
    UsageSeen,
)
from busbar.protocols.native import own_fields
from tests.protocols import identity
from tests.protocols.bedrock.wire import stream_of, wire, with_answer, with_stream
from tests.protocols.identity import events_of, read, write
from tests.recordings import Recording, recordings, with_request


@pytest.mark.parametrize("recording", recordings("bedrock", with_request))
def test_request_comes_back_equal(recording: Recording) -> None:
    identity.check_request(PROTOCOL, recording)


@pytest.mark.parametrize("recording", recordings("bedrock", with_answer))
def test_response_comes_back_equal(recording: Recording) -> None:
    identity.check_response(PROTOCOL, recording)


@pytest.mark.parametrize("recording", recordings("bedrock", with_stream))
def test_stream_comes_back_equal_at_any_split(recording: Recording) -> None:
    data = stream_of(recording)
    assert wire(write(PROTOCOL, read(PROTOCOL, [data]))) == wire(data)
    identity.check_splits(PROTOCOL, data)


@pytest.mark.parametrize("recording", recordings("bedrock", lambda r: r.number in (62, 67, 122)))
def test_stream_is_read_byte_by_byte(recording: Recording) -> None:
    identity.check_byte_by_byte(PROTOCOL, stream_of(recording))


@pytest.mark.parametrize("recording", recordings("bedrock", with_stream))
def test_blocks_of_recorded_streams_are_balanced(recording: Recording) -> None:
    reader = PROTOCOL.stream_reader()
    events = events_of(reader.feed(stream_of(recording)))
    assert (reader.malformed, reader.close()) == (0, [])
    identity.check_balance(events)
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Ended)
    assert sum(isinstance(event, Stopped) for event in events) == 1


@pytest.mark.parametrize("recording", recordings("bedrock", with_request))
def test_nothing_that_the_ir_can_say_is_left_over_on_a_request(recording: Recording) -> None:
    request = PROTOCOL.read_request(recording.request.body)
    assert set(own_fields(request, "bedrock")) <= {
        *("additionalModelResponseFieldPaths", "guardrailConfig", "performanceConfig", "promptVariables"),
        *("requestMetadata", "serviceTier"),
    }
    for message in request.messages:
        assert own_fields(message, "bedrock") == {}
        for part in message.parts:
            if isinstance(part, Opaque):
                assert part.kind in {"video", "toolUse", "toolResult"}
            else:
                assert set(own_fields(part, "bedrock")) <= {"name", "qualifiers"}


@pytest.mark.parametrize("recording", recordings("bedrock", with_stream))
def test_tap_sees_what_the_reader_reads(recording: Recording) -> None:
    data = stream_of(recording)
    said = any(says_something(event) for event in events_of(read(PROTOCOL, [data])))
    identity.check_tap(PROTOCOL, data, content=said)


def says_something(event: Event) -> bool:
    if isinstance(event, BlockStart):
        return not isinstance(event.part, Text)
    if isinstance(event, TextDelta):
        return event.text != ""
    return not isinstance(event, Started | Stopped | UsageSeen | Ended | BlockStop | CitationDelta | SignatureDelta)
