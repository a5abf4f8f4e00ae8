"""Streams: every event is read; what is broken is told from what is odd."""

from __future__ import annotations

from typing import Any

import pytest

from busbar.protocols.bedrock import PROTOCOL
from busbar.protocols.framing import CorruptFrame
from busbar.protocols.framing.eventstream import encode_message
from busbar.protocols.ir import (
    ArgumentsDelta,
    BlockStart,
    BlockStop,
    Chunk,
    Citation,
    CitationDelta,
    Ended,
    Errored,
    Event,
    Opaque,
    OpaqueEvent,
    RedactedThinking,
    SignatureDelta,
    Started,
    Stop,
    Stopped,
    StopReason,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolUse,
    UsageSeen,
)
from busbar.protocols.native import Native
from busbar.protocols.protocol import Hop
from busbar.protocols.receipt import Receipt
from busbar.protocols.usage import Usage
from tests.protocols.bedrock.wire import (
    END,
    START,
    STOP,
    bare,
    block_stop,
    delta,
    exception,
    frame,
    read,
    read_chunks,
    wire,
)

BEGUN: list[Event] = [Started(id="", model="")]
DONE: list[Event] = [
    Stopped(stop=Stop(reason=StopReason.END_TURN)),
    UsageSeen(
        usage=Usage(input_tokens=3, output_tokens=2, native=Native("bedrock", {}, ("totalTokens",))),
    ),
    Ended(),
]


def tool_start(index: int, **tool: Any) -> bytes:
    return frame(
        "contentBlockStart", contentBlockIndex=index, start={"toolUse": {"toolUseId": "t", "name": "n", **tool}}
    )


def between(*messages: bytes) -> list[Event]:
    """The events of the messages between a usual beginning and end; the stream comes back as it came."""
    data = START + b"".join(messages) + STOP + END
    chunks = read_chunks([data])
    writer = PROTOCOL.stream_writer(Hop(), Receipt())
    assert wire(b"".join(writer.write(chunk) for chunk in chunks)) == wire(data)
    events = [event for chunk in chunks for event in chunk.events]
    assert bare(events[:1]) == BEGUN
    assert bare(events[-3:]) == bare(DONE)
    return events[1:-3]


def test_a_text_begins_with_its_first_delta() -> None:
    assert between(delta(0, text="He"), delta(0, text="llo"), block_stop(0)) == [
        BlockStart(index=0, part=Text(text="")),
        TextDelta(index=0, text="He"),
        TextDelta(index=0, text="llo"),
        BlockStop(index=0),
    ]


def test_thinking_its_signature_and_what_is_redacted_are_read() -> None:
    assert between(
        delta(0, reasoningContent={"text": "hm"}),
        delta(0, reasoningContent={"signature": "s"}),
        block_stop(0),
        delta(1, reasoningContent={"redactedContent": "xx"}),
        block_stop(1),
    ) == [
        BlockStart(index=0, part=Thinking(text="")),
        ThinkingDelta(index=0, text="hm"),
        SignatureDelta(index=0, signature="s", signer="anthropic"),
        BlockStop(index=0),
        BlockStart(index=1, part=RedactedThinking(data="xx", signer="anthropic")),
        BlockStop(index=1),
    ]


def test_parallel_calls_may_interleave() -> None:
    assert between(
        tool_start(0),
        tool_start(1, type="tool_use"),
        delta(1, toolUse={"input": "{"}),
        delta(0, toolUse={"input": '{"a":1}'}),
        delta(1, toolUse={"input": "}"}),
        block_stop(0),
        block_stop(1),
    ) == [
        BlockStart(index=0, part=ToolUse(id="t", name="n", arguments="")),
        BlockStart(
            index=1, part=ToolUse(id="t", name="n", arguments="", native=Native("bedrock", {"type": "tool_use"}))
        ),
        ArgumentsDelta(index=1, fragment="{"),
        ArgumentsDelta(index=0, fragment='{"a":1}'),
        ArgumentsDelta(index=1, fragment="}"),
        BlockStop(index=0),
        BlockStop(index=1),
    ]


def test_a_call_without_arguments_has_an_empty_object() -> None:
    assert between(tool_start(0), block_stop(0))[1:] == [ArgumentsDelta(index=0, fragment="{}"), BlockStop(index=0)]


def test_a_citation_belongs_to_the_text_of_its_block() -> None:
    citation = {"title": "T", "sourceContent": [{"text": "abc"}]}
    assert between(delta(0, citation=citation), delta(0, text="So."), block_stop(0)) == [
        BlockStart(index=0, part=Text(text="")),
        CitationDelta(index=0, citation=Citation(title="T", cited_text="abc", native=Native("bedrock", {}, (3,)))),
        TextDelta(index=0, text="So."),
        BlockStop(index=0),
    ]


def test_a_block_that_says_nothing_is_an_empty_text() -> None:
    assert between(block_stop(0)) == [BlockStart(index=0, part=Text(text="")), BlockStop(index=0)]


def test_indexes_that_skip_are_remembered() -> None:
    place = Native("bedrock", {}, 4)
    assert between(delta(4, text="a"), block_stop(4)) == [
        BlockStart(index=0, part=Text(text=""), native=place),
        TextDelta(index=0, text="a", native=place),
        BlockStop(index=0, native=place),
    ]


def test_a_block_that_changes_its_kind_is_two() -> None:
    events = between(delta(0, text="a"), delta(0, reasoningContent={"text": "hm"}), block_stop(0))
    assert bare(events) == [
        BlockStart(index=0, part=Text(text="")),
        TextDelta(index=0, text="a"),
        BlockStop(index=0),
        BlockStart(index=1, part=Thinking(text="")),
        ThinkingDelta(index=1, text="hm"),
        BlockStop(index=1),
    ]


def test_what_only_this_dialect_knows_is_opaque() -> None:
    start = {"toolUse": {"toolUseId": "t", "name": "n", "type": "server_tool_use"}}
    result = {"toolResult": {"toolUseId": "t", "type": "x"}}
    assert between(
        frame("contentBlockStart", contentBlockIndex=0, start=start),
        delta(0, toolUse={"input": "{}"}),
        block_stop(0),
        frame("contentBlockStart", contentBlockIndex=1, start=result),
        delta(1, toolResult=[{"text": "a"}]),
        block_stop(1),
        frame("heartbeat", a=1),
    ) == [
        BlockStart(index=0, part=Opaque(dialect="bedrock", kind="server_tool_use", value=start)),
        OpaqueEvent(
            dialect="bedrock",
            kind="contentBlockDelta",
            value={"contentBlockIndex": 0, "delta": {"toolUse": {"input": "{}"}}},
        ),
        BlockStop(index=0),
        BlockStart(index=1, part=Opaque(dialect="bedrock", kind="toolResult", value=result)),
        OpaqueEvent(
            dialect="bedrock",
            kind="contentBlockDelta",
            value={"contentBlockIndex": 1, "delta": {"toolResult": [{"text": "a"}]}},
        ),
        BlockStop(index=1),
        OpaqueEvent(dialect="bedrock", kind="heartbeat", value={"a": 1}),
    ]


def test_padding_and_unusual_headers_come_back() -> None:
    headers = {":event-type": "contentBlockDelta", ":message-type": "event", "x": 7, ":content-type": "a/b"}
    odd = encode_message(headers, b'{"p":"abc","delta":{"text":"a"},"contentBlockIndex":0,"new":1}')
    between(odd, delta(0, text="b") + frame("contentBlockStop", contentBlockIndex=0, p="abcd"))


def test_blocks_left_open_are_closed_before_the_stop() -> None:
    events = read(START + delta(0, text="a") + tool_start(1) + STOP + END)
    assert bare(events)[-7:-3] == [
        BlockStart(index=1, part=ToolUse(id="t", name="n", arguments="")),
        BlockStop(index=0),
        ArgumentsDelta(index=1, fragment="{}"),
        BlockStop(index=1),
    ]


@pytest.mark.parametrize(
    "odd",
    [
        frame("contentBlockDelta", delta={"text": "a"}),
        tool_start(0),
        encode_message({":event-type": "messageStart", ":message-type": "event"}, b"{"),
        encode_message({":event-type": "messageStart", ":message-type": "event"}, b"[]"),
    ],
)
def test_what_is_not_well_formed_is_skipped_and_counted(odd: bytes) -> None:
    reader = PROTOCOL.stream_reader()
    chunks = reader.feed(START + tool_start(0) + odd + block_stop(0) + STOP + END)
    assert reader.malformed == 1
    assert [type(event) for chunk in chunks for event in chunk.events][-1] is Ended


def test_nothing_is_read_after_the_end_or_an_error() -> None:
    assert isinstance(read(START + STOP + END + b"garbage" * 9)[-1], Ended)
    reader = PROTOCOL.stream_reader()
    reader.feed(START + exception("throttlingException", message="Slow."))
    assert (reader.feed(STOP), reader.close()) == ([], [])


def test_an_error_comes_back_as_it_came() -> None:
    data = exception("modelStreamErrorException", message="Oh.", originalStatusCode=500)
    (chunk,) = read_chunks([data])
    assert isinstance(chunk.events[0], Errored)
    assert PROTOCOL.stream_writer(Hop(), Receipt()).write(chunk) == data


def test_a_stopped_answer_without_metadata_is_whole_and_any_other_is_not() -> None:
    data = START + delta(0, text="a") + block_stop(0) + STOP
    events = read(data)
    assert [type(event) for event in events[-2:]] == [Stopped, Ended]
    writer = PROTOCOL.stream_writer(Hop(), Receipt())
    assert b"".join(writer.write(chunk) for chunk in read_chunks([data])) == data
    tap = PROTOCOL.stream_tap()
    assert (tap.feed(data), tap.ended, tap.close(), tap.ended) == (data, False, b"", True)
    assert read(START + delta(0, text="a"))[-1] == TextDelta(index=0, text="a")
    tap = PROTOCOL.stream_tap()
    tap.feed(START + delta(0, text="a") + STOP[:-1])
    assert (tap.close(), tap.ended) == (b"", False)


def test_a_corrupt_message_breaks_the_stream() -> None:
    reader = PROTOCOL.stream_reader()
    assert len(reader.feed(START + delta(0, text="a")[:-1] + b"\x00")) == 1
    with pytest.raises(CorruptFrame):
        reader.feed(STOP)


def test_chunks_without_a_wire_event_write_nothing() -> None:
    (*_, last) = read_chunks([START + STOP])
    assert last == Chunk(events=[Ended()], native=last.native)
    assert PROTOCOL.stream_writer(Hop(), Receipt()).write(last) == b""


@pytest.mark.parametrize(
    ("message", "content"),
    [
        (delta(0, text=""), False),
        (delta(0, text="a"), True),
        (delta(0, citation={"title": "T"}), False),
        (delta(0, reasoningContent={"text": "hm"}), True),
        (tool_start(0), True),
        (frame("heartbeat"), False),
    ],
)
def test_the_tap_tells_content_from_preamble(message: bytes, content: bool) -> None:
    tap = PROTOCOL.stream_tap()
    tap.feed(START + message)
    assert tap.content is content


def test_the_tap_notices_what_comes_after_content() -> None:
    tap = PROTOCOL.stream_tap()
    tap.feed(START + delta(0, text='{"x":"contentBlockDelta messageStop"}') + delta(0, text="b"))
    assert (tap.content, tap.finished, tap.ended) == (True, False, False)
    tap.feed(STOP)
    assert (tap.finished, tap.ended, tap.usage) == (True, False, None)
    tap.feed(END)
    assert tap.ended
    assert tap.usage == Usage(input_tokens=3, output_tokens=2, native=Native("bedrock", {}, ("totalTokens",)))
