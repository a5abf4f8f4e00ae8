"""Other dialects' streams become ones that the official SDK accumulates."""

from __future__ import annotations

import anthropic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from busbar.protocols.anthropic import PROTOCOL
from busbar.protocols.errors import ErrorKind, ErrorReport
from busbar.protocols.failures import FailureSignal
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
    Ping,
    RedactedThinking,
    Refusal,
    RefusalDelta,
    SignatureDelta,
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
from busbar.protocols.receipt import Receipt
from busbar.protocols.usage import Usage
from tests.protocols.anthropic.wire import (
    HOP,
    STARTED,
    accumulated,
    wire,
    write,
)


def test_a_foreign_stream_is_native() -> None:
    data, report = write(
        [STARTED, BlockStart(index=0, part=Text(text="")), TextDelta(index=0, text="He")],
        [TextDelta(index=0, text='l"lo')],
        [BlockStop(index=0), BlockStart(index=1, part=ToolUse(id="call_1", name="look", arguments=""))],
        [ArgumentsDelta(index=1, fragment='{"a":1}')],
        [Ping()],
        [BlockStop(index=1), Stopped(stop=Stop(reason=StopReason.TOOL_USE))],
        [UsageSeen(usage=Usage(input_tokens=9, output_tokens=20, cache_read_tokens=4, reasoning_tokens=2))],
        [Ended()],
    )
    nothing = {"input_tokens": 0, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 0}
    assert wire(data) == [
        {
            "type": "message_start",
            "message": {
                "id": "msg_7",
                "type": "message",
                "role": "assistant",
                "model": "gpt",
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
                "usage": nothing,
            },
        },
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "He"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": 'l"lo'}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "content_block_start",
            "index": 1,
            "content_block": {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}},
        },
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '{"a":1}'}},
        {"type": "ping"},
        {"type": "content_block_stop", "index": 1},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use", "stop_sequence": None},
            "usage": {
                "input_tokens": 9,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 4,
                "output_tokens": 20,
                "output_tokens_details": {"thinking_tokens": 2},
            },
        },
        {"type": "message_stop"},
    ]
    assert report == []


def test_the_sdk_accumulates_a_foreign_stream_with_interleaved_calls() -> None:
    data, _ = write(
        [STARTED],
        [BlockStart(index=0, part=Thinking(text="")), ThinkingDelta(index=0, text="hm"), BlockStop(index=0)],
        [BlockStart(index=1, part=ToolUse(id="call_1", name="one", arguments=""))],
        [BlockStart(index=2, part=ToolUse(id="call_2", name="two", arguments='{"b"'))],
        [ArgumentsDelta(index=1, fragment='{"a":'), ArgumentsDelta(index=2, fragment=":2}")],
        [ArgumentsDelta(index=1, fragment="1}"), BlockStop(index=1), BlockStop(index=2)],
        [Stopped(stop=Stop(reason=StopReason.END_TURN))],
        [UsageSeen(usage=Usage(input_tokens=9, output_tokens=20))],
        [Ended()],
    )
    message = accumulated(data)
    assert [part.model_dump(exclude_none=True) for part in message.content] == [
        {"type": "thinking", "thinking": "hm", "signature": ""},
        {"type": "tool_use", "id": "toolu_1", "name": "one", "input": {"a": 1}},
        {"type": "tool_use", "id": "toolu_2", "name": "two", "input": {"b": 2}},
    ]
    assert message.id == "msg_7"
    assert message.stop_reason == "tool_use"
    assert (message.usage.input_tokens, message.usage.output_tokens) == (9, 20)


def test_what_a_stream_cannot_hold_is_left_out_and_reported_once() -> None:
    data, report = write(
        [STARTED, BlockStart(index=0, part=RedactedThinking(data="d", signer="gemini")), BlockStop(index=0)],
        [BlockStart(index=1, part=Opaque(dialect="openai", kind="custom", value={}))],
        [OpaqueEvent(dialect="openai", kind="odd", value={}), OpaqueEvent(dialect="openai", kind="odd", value={})],
        [BlockStop(index=1), BlockStart(index=2, part=Text(text="")), TextDelta(index=2, text="a")],
        [CitationDelta(index=2, citation=Citation(url="https://x"))] * 3,
        [BlockStart(index=0, choice=1, part=Text(text="")), TextDelta(index=0, choice=1, text="other")],
        [BlockStop(index=0, choice=1), Stopped(choice=1, stop=Stop(reason=StopReason.MAX_TOKENS))],
        [BlockStart(index=3, part=Thinking(text="")), SignatureDelta(index=3, signature="s", signer="gemini")],
        [BlockStop(index=2), BlockStop(index=3), Stopped(stop=Stop(reason=StopReason.END_TURN)), Ended()],
    )
    message = accumulated(data)
    assert [part.type for part in message.content] == ["text", "thinking"]
    assert message.stop_reason == "end_turn"
    assert report == [
        ("dropped", "choices[0].content"),
        ("dropped", "choices[0].content"),
        ("dropped", "odd"),
        ("dropped", "choices[0].content.citations"),
        ("dropped", "choices[1]"),
        ("dropped", "choices[0].content.signature"),
    ]


def test_leftovers_of_chunks_are_reported_once_per_path() -> None:
    receipt = Receipt()
    writer = PROTOCOL.stream_writer(HOP, receipt)
    for _ in range(3):
        writer.write(Chunk(events=[Ping()], native=Native("openai", {"service_tier": "x", "obfuscation": None})))
    assert [entry.path for entry in receipt.entries] == ["service_tier"]


def test_a_refusal_is_text_and_the_reason() -> None:
    data, _ = write(
        [STARTED, BlockStart(index=0, part=Refusal(text="")), RefusalDelta(index=0, text="No."), BlockStop(index=0)],
        [Stopped(stop=Stop(reason=StopReason.END_TURN)), Ended()],
    )
    message = accumulated(data)
    assert message.stop_reason == "refusal"
    assert [part.model_dump(exclude_none=True) for part in message.content] == [{"type": "text", "text": "No."}]


def test_the_least_stream_is_whole() -> None:
    data, _ = write([Ended()])
    assert [value["type"] for value in wire(data)] == ["message_start", "message_delta", "message_stop"]
    message = accumulated(data)
    assert message.stop_reason == "end_turn"
    assert message.model == "claude"
    assert message.id.startswith("msg_")


def test_an_error_ends_the_stream_and_the_sdk_raises_it() -> None:
    writer = PROTOCOL.stream_writer(HOP, Receipt())
    begun = writer.write(Chunk(events=[STARTED]))
    assert writer.write(Chunk(events=[Errored(signal=FailureSignal(message="secret"))])) == b""
    broken = writer.error(ErrorReport(kind=ErrorKind.OVERLOADED, message="Try later."))
    assert writer.write(Chunk(events=[Ended()])) == b""
    assert writer.error(ErrorReport(kind=ErrorKind.OVERLOADED, message="Try later.")) == b""
    with pytest.raises(anthropic.APIStatusError) as raised:
        accumulated(begun + broken)
    assert raised.value.body == {"type": "error", "error": {"type": "overloaded_error", "message": "Try later."}}


PARTS = [
    Text(text=""),
    Text(text="x"),
    Thinking(text=""),
    Refusal(text=""),
    ToolUse(id="call_1", name="n", arguments=""),
]
SAID = st.sampled_from(["a", '"', "ä\n", ""])


@st.composite
def streams(draw: st.DrawFn) -> list[Event]:
    """Blocks of every kind, their deltas interleaved, each started in its order and stopped once."""
    blocks = draw(st.lists(st.tuples(st.sampled_from(PARTS), st.lists(SAID, max_size=3)), max_size=4))
    queues: list[list[Event]] = [
        [*(_delta_for(part, index, said) for said in deltas), BlockStop(index=index)]
        for index, (part, deltas) in enumerate(blocks)
    ]
    events: list[Event] = [STARTED]
    turns = draw(st.lists(st.integers(0, 3), max_size=12))
    for index, (part, _) in enumerate(blocks):
        events.append(BlockStart(index=index, part=part))
        for turn in turns[index::4]:
            queue = queues[min(turn, index)]
            events += queue[:1]
            del queue[:1]
    events += [event for queue in queues for event in queue]
    return [
        *events,
        Stopped(stop=Stop(reason=StopReason.MAX_TOKENS)),
        UsageSeen(usage=Usage(output_tokens=3)),
        Ended(),
    ]


def _delta_for(part: object, index: int, said: str) -> Event:
    match part:
        case Text():
            return TextDelta(index=index, text=said)
        case Thinking():
            return ThinkingDelta(index=index, text=said)
        case Refusal():
            return RefusalDelta(index=index, text=said)
        case _:
            return ArgumentsDelta(index=index, fragment=said)


def said_by(events: list[Event]) -> list[tuple[str, str]]:
    """Each block's kind and everything it said."""
    kinds = {Text: "text", Refusal: "text", Thinking: "thinking", ToolUse: "tool"}
    blocks: dict[int, tuple[str, str]] = {}
    for event in events:
        match event:
            case BlockStart():
                blocks[event.index] = (kinds[type(event.part)], getattr(event.part, "text", ""))
            case TextDelta() | ThinkingDelta() | RefusalDelta():
                blocks[event.index] = (blocks[event.index][0], blocks[event.index][1] + event.text)
            case ArgumentsDelta():
                blocks[event.index] = (blocks[event.index][0], blocks[event.index][1] + event.fragment)
            case _:
                pass
    return [(kind, "" if (kind, said) == ("tool", "{}") else said) for kind, said in blocks.values()]


@given(streams())
def test_any_foreign_stream_is_written_in_balance_and_says_the_same(events: list[Event]) -> None:
    data, _ = write(*[[event] for event in events])
    reader = PROTOCOL.stream_reader()
    back = [event for chunk in reader.feed(data) for event in chunk.events]
    assert reader.malformed == 0
    assert said_by(back) == said_by(events)
    starts = [event.index for event in back if isinstance(event, BlockStart)]
    stops = [event.index for event in back if isinstance(event, BlockStop)]
    assert starts == list(range(len(starts))) == sorted(stops)
    assert [type(event) for event in back].count(Ended) == 1
    assert back[-1] == Ended(native=None)
