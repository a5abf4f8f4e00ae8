"""Streams that go on with others, case by case."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from busbar.protocols.ir import (
    ArgumentsDelta,
    BlockStart,
    BlockStop,
    Chunk,
    Ended,
    Event,
    Part,
    SignatureDelta,
    Started,
    Stop,
    Stopped,
    StopReason,
    Text,
    Thinking,
    ThinkingDelta,
    ToolUse,
)
from busbar.protocols.receipt import Receipt
from busbar.protocols.registry import PROTOCOLS
from busbar.protocols.resume import Diverged
from tests.protocols.resume.streams import HOP, Broken, heard, wire

OPENAI, ANTHROPIC = PROTOCOLS["openai"], PROTOCOLS["anthropic"]


def test_an_error_event_is_not_delivered_and_neither_is_what_stood_beside_it() -> None:
    beside = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"lost"}}],"error":{"message":"busy"}}\n\n'
    for caller in (OPENAI, ANTHROPIC):
        broken = Broken(OPENAI, caller, [*wire(OPENAI, [Text(text="Hello")], size=5)[:2], beside])
        assert broken.pipe.error is not None
        assert (broken.delivered.text, b"lost" in broken.out) == ("Hello", False)


def test_another_answer_is_given_up_before_anything_of_it_is_written() -> None:
    broken = Broken(OPENAI, ANTHROPIC, wire(OPENAI, [Text(text="Hello world")])[:3])
    before = broken.out
    with pytest.raises(Diverged):
        broken.go_on(ANTHROPIC, wire(ANTHROPIC, [Text(text="Hello there")]))
    assert broken.out == before


@pytest.mark.parametrize("parts", [[Text(text="Hel")], [ToolUse(id="call_1", name="look", arguments="{}")]])
def test_an_answer_that_is_shorter_than_what_the_caller_has_is_another_one(parts: list[Part]) -> None:
    broken = Broken(OPENAI, ANTHROPIC, wire(OPENAI, [Text(text="Hello world")])[:4])
    with pytest.raises(Diverged):
        broken.go_on(OPENAI, wire(OPENAI, parts))


def test_parallel_calls_that_overlap_wait_for_each_other() -> None:
    """A new call begins while one that the caller has is still being compared: nothing is written until it was."""
    first = ToolUse(id="call_1", name="look", arguments='{"a":1}')
    second = ToolUse(id="call_2", name="find", arguments='{"b":2}')
    broken = Broken(ANTHROPIC, ANTHROPIC, wire(ANTHROPIC, [first, second])[:5])
    assert [each.said for each in broken.delivered.blocks] == ['{"a":1}']
    assert not broken.delivered.blocks[0].open
    writer = OPENAI.stream_writer(HOP, Receipt())
    again = broken.resume(OPENAI)
    starts = [BlockStart(index=at, part=replace(each, arguments="")) for at, each in enumerate((first, second))]
    begun = Chunk(events=[Started(id="i", model="m"), *starts, ArgumentsDelta(index=1, fragment='{"b":2}')])
    assert again.feed(writer.write(begun)) == b""
    ends: list[Event] = [ArgumentsDelta(index=0, fragment='{"a":1}'), BlockStop(index=0), BlockStop(index=1)]
    stopped = Stopped(stop=Stop(reason=StopReason.TOOL_USE))
    broken.out += again.feed(writer.write(Chunk(events=[*ends, stopped, Ended()])))
    uses = [event.part for event in heard(ANTHROPIC, broken.out) if isinstance(event, BlockStart)]
    assert [use.name for use in uses if isinstance(use, ToolUse)] == ["look", "find"]


def test_thinking_alone_goes_on_with_its_signature() -> None:
    broken = Broken(ANTHROPIC, ANTHROPIC, wire(ANTHROPIC, [Thinking(text="let me see"), Text(text="so")])[:3])
    signed = [
        Started(id="i", model="m"),
        BlockStart(index=0, part=Thinking(text="")),
        ThinkingDelta(index=0, text="let me see"),
        SignatureDelta(index=0, signature="sig", signer="anthropic"),
        BlockStop(index=0),
        Stopped(stop=Stop(reason=StopReason.END_TURN)),
        Ended(),
    ]
    writer = ANTHROPIC.stream_writer(HOP, Receipt())
    broken.go_on(ANTHROPIC, [writer.write(Chunk(events=[event])) for event in signed])
    events = heard(ANTHROPIC, broken.out)
    assert "".join(event.text for event in events if isinstance(event, ThinkingDelta)) == "let me see"
    assert [event.signature for event in events if isinstance(event, SignatureDelta)] == ["sig"]


def test_responses_items_keep_their_places_and_ids() -> None:
    """A reasoning item that says nothing is no block in the IR, and counts on the wire all the same."""
    responses = PROTOCOLS["responses"]
    silent = (
        b'event: response.output_item.%b\ndata: {"type":"response.output_item.%b","output_index":0,'
        b'"item":{"id":"rs_1","type":"reasoning","summary":[]},"sequence_number":%d}\n\n'
    )
    created, *rest = wire(responses, [Text(text="Hello world")])
    opening = [created, silent % (b"added", b"added", 2), silent % (b"done", b"done", 3)]
    moved = [
        piece.replace(b'"output_index":0', b'"output_index":1').replace(b'"id":"msg_', b'"id":"msg_own')
        for piece in rest[:3]
    ]
    broken = Broken(responses, responses, [*opening, *moved])
    assert [(item.kind, item.done) for item in broken.delivered.trace.items] == [
        ("reasoning", True),
        ("message", False),
    ]
    before = len(broken.out)
    broken.go_on(OPENAI, wire(OPENAI, [Text(text="Hello world")]))
    added = broken.out[before:]
    assert b'"output_index":0' not in added
    assert added.count(b'{"id":"rs_1","type":"reasoning","summary":[]}') == 1
    assert b'"id":"msg_own' in added
