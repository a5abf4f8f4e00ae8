"""Streams as they are read, and what the tap notices."""

from __future__ import annotations

import pytest

from busbar.protocols.anthropic import PROTOCOL
from busbar.protocols.errors import ErrorKind, ErrorReport
from busbar.protocols.failures import FailureSignal
from busbar.protocols.ir import (
    ArgumentsDelta,
    BlockStart,
    BlockStop,
    Ended,
    Errored,
    Opaque,
    OpaqueEvent,
    Ping,
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
from busbar.protocols.receipt import Receipt
from busbar.protocols.usage import Usage
from tests.protocols.anthropic.wire import (
    HOP,
    START,
    STOP,
    bare,
    block,
    block_stop,
    delta,
    frame,
    read,
    wire,
)


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


def test_the_tap_says_the_error_only_when_the_provider_did_not() -> None:
    tap = PROTOCOL.stream_tap()
    assert tap.feed(START) == START
    assert (tap.content, tap.ended, tap.error) == (False, False, None)
    report = ErrorReport(kind=ErrorKind.UPSTREAM, message="gone")
    assert wire(tap.break_off(report)) == [{"type": "error", "error": {"type": "api_error", "message": "gone"}}]
    error = frame({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
    assert tap.feed(error) == b""
    assert tap.error == FailureSignal(type="overloaded_error", message="Overloaded")
    assert (tap.break_off(report), tap.break_off(report)) == (error, b"")


@pytest.mark.parametrize(
    ("said", "content"),
    [
        (block("text", text=""), False),
        (block("thinking", thinking="", signature=""), True),
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
