"""Reading and tapping streams: blocks that nobody announced, and an end that nobody declares."""

from __future__ import annotations

from typing import Any

import pytest

from busbar.protocols.errors import ErrorKind, ErrorReport
from busbar.protocols.failures import FailureSignal
from busbar.protocols.framing import FRAME_BYTES_MAX, FrameTooLarge
from busbar.protocols.gemini import PROTOCOL
from busbar.protocols.ir import (
    ArgumentsDelta,
    BlockStart,
    BlockStop,
    Ended,
    Errored,
    Event,
    SignatureDelta,
    Started,
    Stopped,
    StopReason,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolUse,
    UsageSeen,
)
from tests.protocols.gemini.wire import frame

ERROR = b'data: {"error":{"code":503,"message":"mid","status":"UNAVAILABLE"}}\r\n\r\n'
ERROR_SIGNAL = FailureSignal(status=503, code="503", type="UNAVAILABLE", message="mid")
REPORT = ErrorReport(kind=ErrorKind.UPSTREAM, message="broken")


def read(*pieces: bytes) -> list[Event]:
    reader = PROTOCOL.stream_reader()
    chunks = [chunk for piece in pieces for chunk in reader.feed(piece)] + reader.close()
    return [event for chunk in chunks for event in chunk.events]


def outline(events: list[Event]) -> list[Any]:
    """The events, shortened to what matters here."""
    short: list[Any] = []
    for event in events:
        match event:
            case BlockStart(index=index, part=part):
                short.append((index, type(part), getattr(part, "name", "")))
            case TextDelta(index=index, text=said) | ThinkingDelta(index=index, text=said):
                short.append((index, said))
            case ArgumentsDelta(index=index, fragment=said) | SignatureDelta(index=index, signature=said):
                short.append((index, said))
            case BlockStop(index=index):
                short.append((index, "stop"))
            case Stopped(stop=stop):
                short.append(stop.reason)
            case Started() | UsageSeen():
                pass
            case _:
                short.append(type(event))
    return short


def test_blocks_are_made_of_parts() -> None:
    events = read(
        frame({"text": "hm", "thought": True}, usageMetadata={"promptTokenCount": 3}),
        frame({"text": "a"}, {"text": "b"}),
        frame({"functionCall": {"name": "f", "args": {"x": 1}}, "thoughtSignature": "c2ln"}),
        frame({"functionCall": {"id": "c2", "name": "g", "args": {}}}),
        frame({"text": ""}, finish="STOP", usageMetadata={"promptTokenCount": 3, "candidatesTokenCount": 9}),
    )
    assert outline(events) == [
        (0, Thinking, ""),
        (0, "hm"),
        (0, "stop"),
        (1, Text, ""),
        (1, "a"),
        (1, "b"),
        (1, "stop"),
        (2, ToolUse, "f"),
        (2, '{"x":1}'),
        (2, "stop"),
        (3, ToolUse, "g"),
        (3, "{}"),
        (3, "stop"),
        StopReason.TOOL_USE,
        Ended,
    ]
    starts = [event.part for event in events if isinstance(event, BlockStart)]
    assert (starts[2].signature, starts[2].signer, starts[3].id) == ("c2ln", "gemini", "c2")  # type: ignore[union-attr]


def test_a_signature_behind_the_text_belongs_to_it() -> None:
    events = read(frame({"text": "a"}), frame({"text": "", "thoughtSignature": "c2ln"}, finish="STOP"))
    assert outline(events) == [
        (0, Text, ""),
        (0, "a"),
        (0, "c2ln"),
        (0, "stop"),
        StopReason.END_TURN,
        Ended,
    ]


def test_a_reason_to_stop_in_every_chunk_stops_nothing_before_the_end() -> None:
    events = read(frame({"text": "a"}, finish="STOP"), frame({"text": "b"}, finish="MAX_TOKENS"))
    assert outline(events) == [(0, Text, ""), (0, "a"), (0, "b"), (0, "stop"), StopReason.MAX_TOKENS, Ended]


def test_a_stream_that_never_said_why_it_stopped_has_not_ended() -> None:
    assert outline(read(frame({"text": "a"}))) == [(0, Text, ""), (0, "a")]
    both = read(frame({"text": "a"}, finish="STOP"), frame({"text": "b"}, index=1))
    assert Ended not in outline(both)


def test_a_blocked_prompt_ends_the_stream() -> None:
    events = read(b'data: {"promptFeedback":{"blockReason":"SAFETY"}}\n\n')
    assert outline(events) == [StopReason.CONTENT_FILTER, Ended]


@pytest.mark.parametrize(
    "wire",
    [
        ERROR,
        b'{\n "error": {"code": 503,\n "message": "mid", "status": "UNAVAILABLE"}\n}\n',
    ],
)
def test_an_error_inside_the_stream(wire: bytes) -> None:
    events = read(frame({"text": "a"}, finish="STOP"), wire)
    assert events[-1] == Errored(signal=ERROR_SIGNAL)


def test_an_array_is_read_like_events() -> None:
    pieces = [frame({"text": "a"}), frame({"text": "b"}, finish="STOP")]
    wire = b"[" + b"\r\n,".join(piece[6:-4] for piece in pieces) + b"]"
    assert read(*[wire[at : at + 1] for at in range(len(wire))]) == read(*pieces)


def test_malformed_frames_are_skipped_and_counted() -> None:
    reader = PROTOCOL.stream_reader()
    reader.feed(b"data: {oops\n\ndata: 7\n\n: comment\n\ndata: [DONE]\n\n")
    assert reader.malformed == 2


def test_a_frame_without_end_is_refused() -> None:
    reader = PROTOCOL.stream_reader()
    reader.feed(b"data: ")
    with pytest.raises(FrameTooLarge):
        reader.feed(b"x" * (FRAME_BYTES_MAX + 1))


def test_arguments_in_pieces_become_one_call() -> None:
    def piece(will_continue: bool, *args: dict[str, Any], **call: Any) -> bytes:
        more = {"willContinue": True} if will_continue else {}
        return frame({"functionCall": {**call, **({"partialArgs": list(args)} if args else {}), **more}})

    events = read(
        piece(True, name="f"),
        piece(True, {"jsonPath": "$.a[0].b", "stringValue": "x", "willContinue": True}),
        piece(True, {"jsonPath": "$.a[0].b", "stringValue": "yz"}),
        piece(True, {"jsonPath": "$['odd name']", "numberValue": 1.5}, {"jsonPath": "nonsense", "stringValue": "?"}),
        piece(False, {"jsonPath": "$.a[1]", "nullValue": "NULL_VALUE"}),
        piece(False, name="g"),
        frame({"text": ""}, finish="STOP"),
    )
    assert outline(events) == [
        (0, ToolUse, "f"),
        (0, '{"a":[{"b":"xyz"},null],"odd name":1.5}'),
        (0, "stop"),
        (1, ToolUse, "g"),
        (1, "{}"),
        (1, "stop"),
        StopReason.TOOL_USE,
        Ended,
    ]


def test_the_tap_says_that_a_stream_broke_in_the_framing_of_its_caller() -> None:
    tap = PROTOCOL.stream_tap("array")
    assert tap.feed(frame({"text": "a"})).startswith(b'[{"candidates"')
    assert tap.close() == b""
    assert not tap.ended
    broken = tap.break_off(REPORT)
    assert broken == b',\r\n{"error":{"code":502,"message":"broken","status":"INTERNAL"}}]'
    assert PROTOCOL.stream_tap("array").break_off(REPORT).startswith(b'[{"error"')
    unsaid = PROTOCOL.stream_tap("array")
    assert unsaid.feed(frame({"text": "a"})[:-2]) + unsaid.close() == b""
    assert unsaid.break_off(REPORT).startswith(b'[{"error"')
    assert PROTOCOL.stream_tap().break_off(REPORT).startswith(b'data: {"error"')


def test_the_tap_passes_the_providers_own_error_on() -> None:
    tap = PROTOCOL.stream_tap()
    assert tap.feed(ERROR + frame({"text": "a"})) == b""
    assert (tap.error, tap.close(), tap.ended, tap.break_off(REPORT)) == (ERROR_SIGNAL, b"", False, ERROR)
    array = PROTOCOL.stream_tap("array")
    assert array.feed(ERROR) + array.close() + array.break_off(REPORT) == b"[" + ERROR[6:-4] + b"]"


def test_the_tap_makes_events_of_an_array() -> None:
    tap = PROTOCOL.stream_tap()
    passed = tap.feed(b'[{"candidates": [\n{"finishReason": "STOP"}]}\n') + tap.feed(b"]") + tap.close()
    assert passed == b'data: {"candidates":[{"finishReason":"STOP"}]}\n\n'
    assert tap.ended
