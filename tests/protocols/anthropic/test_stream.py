"""Streams: the reader's events, and that the writer makes streams that the SDK accumulates."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import httpx2
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from busbar.protocols.anthropic import PROTOCOL
from busbar.protocols.errors import ErrorKind, ErrorReport
from busbar.protocols.failures import FailureSignal
from busbar.protocols.framing.sse import SseDecoder
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

HOP = Hop(model="claude", nonce="n1")
STARTED = Started(id="chatcmpl-7", model="gpt", native=Native("openai", {}, "own"))


def frame(value: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (value["type"].encode(), msgspec.json.encode(value))


START = frame({"type": "message_start", "message": {"id": "msg_1", "model": "m", "content": []}})
STOP = frame({"type": "message_stop"})


def read(data: bytes) -> list[Event]:
    reader = PROTOCOL.stream_reader()
    chunks = reader.feed(data) + reader.close()
    return [event for chunk in chunks for event in chunk.events]


def bare(events: list[Event]) -> list[Event]:
    """The events without what only their dialect says."""
    return [msgspec.structs.replace(event, native=None) if hasattr(event, "native") else event for event in events]


def block(kind: str, index: int = 0, **fields: Any) -> bytes:
    return frame({"type": "content_block_start", "index": index, "content_block": {"type": kind, **fields}})


def delta(kind: str, index: int = 0, **fields: Any) -> bytes:
    return frame({"type": "content_block_delta", "index": index, "delta": {"type": kind, **fields}})


def block_stop(index: int = 0) -> bytes:
    return frame({"type": "content_block_stop", "index": index})


def write(*chunks: list[Event]) -> tuple[bytes, list[tuple[str, str]]]:
    receipt = Receipt()
    writer = PROTOCOL.stream_writer(HOP, receipt)
    data = b"".join(writer.write(Chunk(events=events, native=None)) for events in chunks)
    return data, [(entry.change, entry.path) for entry in receipt.entries]


def wire(data: bytes) -> list[dict[str, Any]]:
    events = SseDecoder().feed(data)
    values = [json.loads(event.data) for event in events]
    assert [event.event for event in events] == [value["type"] for value in values]
    return values


def accumulated(data: bytes) -> anthropic.types.Message:
    """What the official SDK makes of a stream."""
    answer = httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=data)
    transport = httpx2.MockTransport(lambda request: answer)
    client = anthropic.Anthropic(api_key="k", base_url="http://x", http_client=httpx2.Client(transport=transport))
    with client.messages.stream(model="m", max_tokens=1, messages=[{"role": "user", "content": "x"}]) as stream:
        return stream.get_final_message()


# Reading


def test_a_stream_is_read() -> None:
    data = b"".join(
        [
            frame({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant",
                   "model": "m", "content": [], "stop_reason": None, "stop_sequence": None,
                   "usage": {"input_tokens": 9, "output_tokens": 1}}}),
            block("thinking", thinking="", signature=""),
            frame({"type": "ping"}),
            delta("thinking_delta", thinking="hm"),
            delta("signature_delta", signature="s"),
            block_stop(),
            block("tool_use", 1, id="toolu_1", name="look", input={}),
            delta("input_json_delta", 1, partial_json='{"a"'),
            delta("input_json_delta", 1, partial_json=":1}"),
            block_stop(1),
            frame({"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": None},
                   "usage": {"output_tokens": 20}}),
            STOP,
        ]
    )  # fmt: skip
    assert bare(read(data)) == [
        Started(id="msg_1", model="m", usage=Usage(input_tokens=9, output_tokens=1, native=Native("anthropic", {}))),
        BlockStart(index=0, part=Thinking(text="", signature="", signer="anthropic")),
        Ping(),
        ThinkingDelta(index=0, text="hm"),
        SignatureDelta(index=0, signature="s", signer="anthropic"),
        BlockStop(index=0),
        BlockStart(index=1, part=ToolUse(id="toolu_1", name="look", arguments="")),
        ArgumentsDelta(index=1, fragment='{"a"'),
        ArgumentsDelta(index=1, fragment=":1}"),
        BlockStop(index=1),
        Stopped(stop=Stop(reason=StopReason.TOOL_USE)),
        UsageSeen(usage=Usage(output_tokens=20, native=Native("anthropic", {}))),
        Ended(),
    ]


def test_what_a_block_holds_at_its_start_follows_as_deltas() -> None:
    call = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"a": 1}}
    starts = block("text", text="a") + block_stop() + frame(
        {"type": "content_block_start", "index": 1, "content_block": call}
    )  # fmt: skip
    assert bare(read(START + starts + block_stop(1)))[1:] == [
        BlockStart(index=0, part=Text(text="")),
        TextDelta(index=0, text="a"),
        BlockStop(index=0),
        BlockStart(index=1, part=ToolUse(id="toolu_1", name="look", arguments="")),
        ArgumentsDelta(index=1, fragment='{"a":1}'),
        BlockStop(index=1),
    ]


def test_a_prefilled_message_start_is_a_whole_answer() -> None:
    call = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}
    message = {"id": "msg_1", "model": "m", "content": [call], "stop_reason": "tool_use"}
    assert bare(read(frame({"type": "message_start", "message": message}) + STOP)) == [
        Started(id="msg_1", model="m"),
        BlockStart(index=0, part=ToolUse(id="toolu_1", name="look", arguments="")),
        ArgumentsDelta(index=0, fragment="{}"),
        BlockStop(index=0),
        Stopped(stop=Stop(reason=StopReason.TOOL_USE)),
        Ended(),
    ]


def test_a_call_without_arguments_ends_as_an_empty_object() -> None:
    data = START + block("tool_use", id="toolu_1", name="look", input={}) + delta("input_json_delta", partial_json="")
    assert bare(read(data + block_stop()))[2:] == [
        ArgumentsDelta(index=0, fragment=""),
        ArgumentsDelta(index=0, fragment="{}"),
        BlockStop(index=0),
    ]


def test_a_hosted_block_is_opaque_and_so_are_its_deltas() -> None:
    data = (
        START + block("server_tool_use", id="s", name="web", input={}) + delta("input_json_delta", partial_json="{}")
    )
    hosted = {"type": "server_tool_use", "id": "s", "name": "web", "input": {}}
    passed = {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "{}"}}
    assert read(data + block_stop())[1:] == [
        BlockStart(index=0, part=Opaque(dialect="anthropic", kind="server_tool_use", value=hosted)),
        OpaqueEvent(dialect="anthropic", kind="content_block_delta", value=passed),
        BlockStop(index=0),
    ]


def test_indexes_count_without_gaps_and_the_wires_own_come_back() -> None:
    data = START + block("text", 3, text="") + delta("text_delta", 3, text="a") + block_stop(3)
    assert bare(read(data))[1:] == [
        BlockStart(index=0, part=Text(text="")),
        TextDelta(index=0, text="a"),
        BlockStop(index=0),
    ]
    reader = PROTOCOL.stream_reader()
    writer = PROTOCOL.stream_writer(HOP, Receipt())
    assert wire(b"".join(writer.write(chunk) for chunk in reader.feed(data)))[1:] == wire(data)[1:]


def test_blocks_left_open_are_closed_before_the_stop() -> None:
    stop = frame({"type": "message_delta", "delta": {"stop_reason": "max_tokens"}})
    assert bare(read(START + block("text", text="") + stop + STOP))[2:] == [
        BlockStop(index=0),
        Stopped(stop=Stop(reason=StopReason.MAX_TOKENS)),
        Ended(),
    ]


def test_a_stream_without_a_stop_reason_still_stops_once() -> None:
    assert bare(read(START + STOP + STOP + START))[1:] == [Stopped(stop=Stop(reason=StopReason.OTHER)), Ended()]


def test_odd_frames_are_skipped_and_counted() -> None:
    reader = PROTOCOL.stream_reader()
    odd = [
        b"data: {broken\n\n",
        b"data: [1]\n\n",
        b'data: "\xff"\n\n',
        b"data: {}\n\n",
        frame({"type": "message_start"}),
        frame({"type": "content_block_start", "index": "0", "content_block": {}}),
        delta("text_delta", 5, text="a"),
        block_stop(5),
    ]
    assert reader.feed(b"".join(odd)) == []
    assert reader.malformed == len(odd)


def test_a_cut_stream_gives_no_end() -> None:
    assert bare(read(START + block("text", text="") + b'event: content_block_delta\ndata: {"type":"cont'))[1:] == [
        BlockStart(index=0, part=Text(text=""))
    ]
    assert read(START + STOP.rstrip())[-1] == Ended()


def test_nothing_is_read_after_an_error() -> None:
    error = frame({"type": "error", "error": {"type": "api_error", "message": "gone"}})
    assert read(START + error + STOP)[1:] == [Errored(signal=FailureSignal(type="api_error", message="gone"))]


# Writing


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
        ("dropped", "content"),
        ("dropped", "content"),
        ("dropped", "odd"),
        ("dropped", "citations"),
        ("dropped", "choices[1]"),
        ("dropped", "signature"),
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


def test_the_tap_says_the_error_only_when_the_provider_did_not() -> None:
    tap = PROTOCOL.stream_tap()
    assert tap.feed(START) == START
    assert (tap.content, tap.ended, tap.error) == (False, False, None)
    report = ErrorReport(kind=ErrorKind.UPSTREAM, message="gone")
    assert wire(tap.break_off(report)) == [{"type": "error", "error": {"type": "api_error", "message": "gone"}}]
    error = frame({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
    assert tap.feed(error) == error
    assert tap.error == FailureSignal(type="overloaded_error", message="Overloaded")
    assert tap.break_off(report) == b""


@pytest.mark.parametrize(
    ("said", "content"),
    [
        (block("text", text=""), False),
        (block("thinking", thinking="", signature=""), False),
        (block("text", text="a"), True),
        (block("tool_use", id="t", name="n", input={}), True),
        (delta("text_delta", text=""), False),
        (delta("text_delta", text="a"), True),
        (delta("thinking_delta", thinking="a"), True),
        (delta("input_json_delta", partial_json=""), True),
        (delta("text_delta", text="a").replace(b"event: content_block_delta\n", b""), True),
        (frame({"type": "ping"}), False),
        (b"data: {broken\n\n", False),
    ],
)
def test_the_tap_notices_the_first_content(said: bytes, content: bool) -> None:
    tap = PROTOCOL.stream_tap()
    tap.feed(START + said)
    assert tap.content is content


# Any valid stream


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
