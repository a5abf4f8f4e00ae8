"""Recorded traffic goes dialect → IR → same dialect and comes back equal; nothing is normalised but framing."""

from __future__ import annotations

import copy

import pytest

from busbar.protocols.bedrock import PROTOCOL
from busbar.protocols.ir import (
    BlockStart,
    BlockStop,
    CitationDelta,
    Ended,
    Errored,
    Opaque,
    SignatureDelta,
    Started,
    Stopped,
    Text,
    TextDelta,
    UsageSeen,
)
from busbar.protocols.native import own_fields
from busbar.protocols.protocol import Hop
from busbar.protocols.receipt import Receipt
from busbar.protocols.usage import Usage
from tests.protocols.bedrock.wire import randomly_split, read_chunks, stream_of, wire, with_answer, with_stream
from tests.recordings import Recording, recordings, with_request

SPLITS_PER_STREAM = 3


@pytest.mark.parametrize("recording", recordings("bedrock", with_request))
def test_request_comes_back_equal(recording: Recording) -> None:
    document = recording.request.body
    untouched = copy.deepcopy(document)
    receipt = Receipt()
    back = PROTOCOL.write_request(PROTOCOL.read_request(document), Hop(), receipt)
    assert back == untouched
    assert document == untouched
    assert len(receipt) == 0


@pytest.mark.parametrize("recording", recordings("bedrock", with_answer))
def test_response_comes_back_equal(recording: Recording) -> None:
    document = recording.response.body
    untouched = copy.deepcopy(document)
    receipt = Receipt()
    back = PROTOCOL.write_response(PROTOCOL.read_response(document), Hop(), receipt)
    assert back == untouched
    assert document == untouched
    assert len(receipt) == 0


@pytest.mark.parametrize("recording", recordings("bedrock", with_stream))
def test_stream_comes_back_equal_at_any_split(recording: Recording) -> None:
    data = stream_of(recording)
    whole = read_chunks([data])
    receipt = Receipt()
    writer = PROTOCOL.stream_writer(Hop(), receipt)
    assert wire(b"".join(writer.write(chunk) for chunk in whole)) == wire(data)
    assert len(receipt) == 0
    for seed in range(SPLITS_PER_STREAM):
        assert read_chunks(randomly_split(data, seed)) == whole


@pytest.mark.parametrize("recording", recordings("bedrock", lambda r: r.number in (62, 67, 122)))
def test_stream_is_read_byte_by_byte(recording: Recording) -> None:
    data = stream_of(recording)
    assert read_chunks([data[i : i + 1] for i in range(len(data))]) == read_chunks([data])


@pytest.mark.parametrize("recording", recordings("bedrock", with_stream))
def test_blocks_open_and_close_in_balance_and_the_end_comes_once(recording: Recording) -> None:
    reader = PROTOCOL.stream_reader()
    events = [event for chunk in reader.feed(stream_of(recording)) for event in chunk.events]
    assert (reader.malformed, reader.close()) == (0, [])
    assert isinstance(events[0], Started)
    starts = [event.index for event in events if isinstance(event, BlockStart)]
    assert starts == list(range(len(starts)))
    assert sorted(event.index for event in events if isinstance(event, BlockStop)) == starts
    assert [event for event in events if isinstance(event, Ended | Errored)] == [events[-1]]
    (stopped,) = [place for place, event in enumerate(events) if isinstance(event, Stopped)]
    assert not any(isinstance(event, BlockStart | BlockStop) for event in events[stopped:])


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
def test_tap_agrees_with_the_reader(recording: Recording) -> None:
    data = stream_of(recording)
    events = [event for chunk in read_chunks([data]) for event in chunk.events]
    tap = PROTOCOL.stream_tap()
    assert b"".join(tap.feed(piece) for piece in randomly_split(data, recording.number)) + tap.close() == data
    assert (tap.ended, tap.error) == (True, None)
    assert counts(tap.usage) == counts(next(e.usage for e in events if isinstance(e, UsageSeen)))
    assert tap.content is any(says_something(event) for event in events)


def says_something(event: object) -> bool:
    if isinstance(event, BlockStart):
        return not isinstance(event.part, Text)
    if isinstance(event, TextDelta):
        return event.text != ""
    return not isinstance(event, Started | Stopped | UsageSeen | Ended | BlockStop | CitationDelta | SignatureDelta)


def counts(usage: Usage | None) -> tuple[int | None, ...] | None:
    if usage is None:
        return None
    return (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens, usage.cache_write_tokens)


@pytest.mark.parametrize("recording", recordings("bedrock", with_answer))
def test_a_light_look_finds_the_usage_that_the_reader_finds(recording: Recording) -> None:
    seen = PROTOCOL.inspect_response(recording.response.wire)
    assert counts(seen.usage) == counts(PROTOCOL.read_response(recording.response.body).usage)
    assert seen.error is None
