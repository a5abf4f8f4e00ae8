"""Recorded traffic goes dialect → IR → same dialect and comes back equal; nothing is normalised but framing."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest

from busbar.protocols.cohere import PROTOCOL
from busbar.protocols.cohere.stream_tap import stream_tap
from busbar.protocols.ir import (
    ArgumentsDelta,
    BlockStart,
    BlockStop,
    CitationDelta,
    Ended,
    Errored,
    RefusalDelta,
    Started,
    Stopped,
    Text,
    TextDelta,
    ThinkingDelta,
    UsageSeen,
)
from busbar.protocols.native import Native
from busbar.protocols.protocol import Hop
from busbar.protocols.receipt import Receipt
from busbar.protocols.usage import Usage, merged
from tests.protocols.cohere.wire import events_of, read, split_at_random, wire_events, write
from tests.recordings import Recording, recordings, with_answer, with_request, with_stream

SPLITS_PER_STREAM = 3


@pytest.mark.parametrize("recording", recordings("cohere", with_request))
def test_request_comes_back_equal(recording: Recording) -> None:
    document = recording.request.body
    before = copy.deepcopy(document)
    receipt = Receipt()
    assert PROTOCOL.write_request(PROTOCOL.read_request(document), Hop(), receipt) == before
    assert document == before
    assert not receipt.entries


@pytest.mark.parametrize("recording", recordings("cohere", with_answer))
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


@pytest.mark.parametrize("recording", recordings("cohere", with_stream))
def test_stream_comes_back_equal_at_any_split(recording: Recording) -> None:
    wire = recording.response.wire
    at_once = read(wire)
    written, receipt = write(at_once)
    assert wire_events(written) == wire_events(wire)
    assert not receipt.entries
    for seed in range(SPLITS_PER_STREAM):
        assert read(*split_at_random(wire, seed)) == at_once


@pytest.mark.parametrize("recording", recordings("cohere", lambda it: with_stream(it) and it.number in (38, 55, 65)))
def test_stream_comes_back_equal_byte_by_byte(recording: Recording) -> None:
    wire = recording.response.wire
    assert read(*[wire[at : at + 1] for at in range(len(wire))]) == read(wire)


@pytest.mark.parametrize("recording", recordings("cohere", with_stream))
def test_blocks_of_recorded_streams_are_balanced(recording: Recording) -> None:
    events = events_of(read(recording.response.wire))
    begun, stopped = 0, False
    open_blocks: set[int] = set()
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
            case TextDelta() | ThinkingDelta() | ArgumentsDelta() | CitationDelta() | RefusalDelta():
                assert event.index in open_blocks
    assert not open_blocks or isinstance(events[-1], Errored)
    assert isinstance(events[-1], Ended | Errored)
    assert sum(isinstance(event, Ended | Errored) for event in events) == 1
    assert isinstance(events[0], Started)


@pytest.mark.parametrize("recording", recordings("cohere", with_stream))
def test_tap_sees_what_the_reader_reads(recording: Recording) -> None:
    wire = recording.response.wire
    events = events_of(read(wire))
    usage: Usage | None = None
    for event in events:
        if isinstance(event, UsageSeen):
            usage = merged(usage, event.usage)
    begun = [event.part for event in events if isinstance(event, BlockStart)]
    said = any(isinstance(event, TextDelta) for event in events) or any(not isinstance(part, Text) for part in begun)
    for seed in range(SPLITS_PER_STREAM):
        tap = stream_tap()
        passed = b"".join([tap.feed(piece) for piece in split_at_random(wire, seed)]) + tap.close()
        assert passed == wire
        assert tap.content == said
        assert tap.usage == usage
        assert tap.ended == isinstance(events[-1], Ended)
        assert tap.finished == any(isinstance(event, Stopped) for event in events)
        assert tap.error == (events[-1].signal if isinstance(events[-1], Errored) else None)


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


@pytest.mark.parametrize("recording", recordings("cohere", with_answer))
def test_what_an_answer_says_is_in_the_ir(recording: Recording) -> None:
    (choice,) = PROTOCOL.read_response(recording.response.body).choices
    message = recording.response.body["message"]
    texts = [part["text"] for part in message.get("content", []) if part["type"] == "text"]
    assert [part.text for part in choice.parts if isinstance(part, Text)] == texts
    cited = [(each["start"], each["text"]) for each in message.get("citations", [])]
    held = [each for part in choice.parts if isinstance(part, Text) for each in part.citations]
    assert [(each.start, each.cited_text) for each in held] == cited
