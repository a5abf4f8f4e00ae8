"""Reading streams: the block boundaries that the reader makes up, clones' ways of counting, how streams end."""

from __future__ import annotations

from typing import Any

import pytest

from busbar.protocols.errors import ErrorKind, ErrorReport
from busbar.protocols.ir import (
    ArgumentsDelta,
    BlockStart,
    BlockStop,
    Chunk,
    CitationDelta,
    Ended,
    Errored,
    Event,
    RefusalDelta,
    SignatureDelta,
    Started,
    Stopped,
    TextDelta,
    ThinkingDelta,
    ToolUse,
    UsageSeen,
)
from busbar.protocols.openai import PROTOCOL
from busbar.protocols.protocol import Hop
from busbar.protocols.receipt import Receipt
from tests.protocols.openai.wire import DONE, chunk, frame, frames_of


def call(index: int | None = None, arguments: str | None = "", **fields: Any) -> dict[str, Any]:
    function = {key: fields.pop(key) for key in ("name",) if key in fields}
    if arguments is not None:
        function["arguments"] = arguments
    return {"tool_calls": [{**({} if index is None else {"index": index}), **fields, "function": function}]}


def read(*frames: bytes) -> list[Chunk]:
    reader = PROTOCOL.stream_reader()
    wire = b"".join(frames)
    chunks = reader.feed(wire) + reader.close()
    writer = PROTOCOL.stream_writer(Hop(), Receipt())
    again = b"".join(writer.write(each) for each in chunks)
    assert frames_of(again) == frames_of(wire)[: len(frames_of(again))]
    return chunks


def told(chunks: list[Chunk]) -> list[str]:
    """The events, each as one readable word, so that whole streams can be compared."""
    return [_word(event) for each in chunks for event in each.events]


def _word(event: Event) -> str:
    match event:
        case BlockStart(part=ToolUse() as use):
            return f"+{event.choice}.{event.index} {use.id}:{use.name}"
        case BlockStart():
            return f"+{event.choice}.{event.index} {type(event.part).__name__.lower()}"
        case TextDelta() | ThinkingDelta() | RefusalDelta():
            return f"{event.choice}.{event.index} {event.text}"
        case ArgumentsDelta():
            return f"{event.choice}.{event.index} {event.fragment}"
        case SignatureDelta():
            return f"{event.choice}.{event.index} {event.signer}={event.signature}"
        case CitationDelta():
            return f"{event.choice}.{event.index} {event.citation.url}"
        case BlockStop():
            return f"-{event.choice}.{event.index}"
        case Stopped():
            return f"{event.choice} {event.stop.reason.value}"
        case UsageSeen():
            return f"{event.usage.input_tokens}>{event.usage.output_tokens}"
        case _:
            return type(event).__name__.lower()


def test_thinking_then_text() -> None:
    chunks = read(
        chunk({"role": "assistant", "content": ""}),
        chunk({"reasoning_content": "hm"}),
        chunk({"reasoning_content": "!", "content": ""}),
        chunk({"content": "so"}),
        chunk({"content": "."}, "stop"),
        frame(choices=[], usage={"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}),
        DONE,
    )
    assert told(chunks) == [
        *("started", "+0.0 thinking", "0.0 hm", "0.0 !", "-0.0", "+0.1 text", "0.1 so", "0.1 ."),
        *("-0.1", "0 end_turn", "3>2", "ended"),
    ]


def test_parallel_calls_may_interleave() -> None:
    chunks = read(
        chunk({"content": "ok"}),
        chunk(call(0, id="a", name="f", type="function")),
        chunk(call(1, id="b", name="g", type="function")),
        chunk(call(0, '{"x":')),
        chunk(call(1, "{}")),
        chunk(call(0, "1}")),
        chunk({}, "tool_calls"),
        DONE,
    )
    assert told(chunks) == [
        *("started", "+0.0 text", "0.0 ok", "-0.0", "+0.1 a:f", "+0.2 b:g", '0.1 {"x":', "0.2 {}", "0.1 1}"),
        *("-0.1", "-0.2", "0 tool_use", "ended"),
    ]


@pytest.mark.parametrize(
    "deltas",
    [
        [call(0, "{}", id="a", name="f"), call(0, "[]", id="b", name="g")],  # the index says nothing
        [call(None, "{}", id="a", name="f"), call(None, "[]", id="b", name="g")],  # no index
        [call(0, "{}", id="a", name="f"), call(1, "[", id="b", name="g"), call(1, "]", id="b")],  # the id is repeated
        [call(0, "", id="a", name="f"), call(None, "{}"), call(1, "[]", id="b", name="g")],  # index only in the first
        [call(0, None, id="a", name="f"), call(0, "{}"), call(1, None, id="b"), call(1, "[]", name="g")],
        [call(0, None, id="a"), call(0, None, name="f"), call(0, "{}"), call(1, "[]", id="b", name="g")],
    ],
)
def test_calls_are_told_apart_however_clones_count(deltas: list[dict[str, Any]]) -> None:
    chunks = read(*map(chunk, deltas), chunk({}, "tool_calls"), DONE)
    words = told(chunks)
    assert [word for word in words if word.startswith("+")] == ["+0.0 a:f", "+0.1 b:g"]
    assert "".join(word.removeprefix("0.0 ") for word in words if word.startswith("0.0")) == "{}"
    assert "".join(word.removeprefix("0.1 ") for word in words if word.startswith("0.1")) == "[]"


def test_a_name_in_pieces_is_one_name() -> None:
    chunks = read(chunk(call(0, None, id="a", name="get_")), chunk(call(0, None, name="time")), chunk(call(0, "{}")))
    assert told(chunks) == ["started", "+0.0 a:get_time", "0.0 {}"]


def test_a_call_without_arguments_begins_when_the_answer_stops() -> None:
    chunks = read(chunk(call(0, None, id="a", name="f")), chunk({}, "tool_calls"), DONE)
    assert told(chunks) == ["started", "+0.0 a:f", "-0.0", "0 tool_use", "ended"]


def test_a_finish_beside_each_call_ends_only_the_last() -> None:
    chunks = read(
        chunk(call(0, "{}", id="a", name="f"), "tool_calls"),
        chunk(call(0, "[]", id="b", name="g"), "tool_calls"),
        frame(choices=[], usage={"prompt_tokens": 1, "completion_tokens": 1}),
        DONE,
    )
    assert told(chunks) == [
        *("started", "+0.0 a:f", "0.0 {}", "+0.1 b:g", "0.1 []", "-0.0", "-0.1", "0 tool_use", "1>1", "ended"),
    ]


def test_the_old_function_call() -> None:
    chunks = read(
        chunk({"function_call": {"name": "f", "arguments": ""}}),
        chunk({"function_call": {"arguments": "{}"}}),
        chunk({}, "function_call"),
        DONE,
    )
    assert told(chunks) == ["started", "+0.0 :f", "0.0 {}", "-0.0", "0 tool_use", "ended"]


def test_openrouters_reasoning_is_told_once_and_keeps_its_signature() -> None:
    text = {"type": "reasoning.text", "text": "hm", "format": "anthropic-claude-v1"}
    signature = {"type": "reasoning.text", "signature": "SIG", "format": "anthropic-claude-v1"}
    secret = {"type": "reasoning.encrypted", "data": "DATA", "format": "openai-responses-v1"}
    chunks = read(
        chunk({"content": "", "reasoning": "hm", "reasoning_details": [text]}),
        chunk({"content": "", "reasoning_details": [signature]}),
        chunk({"content": "", "reasoning_details": [secret]}),
        chunk({"content": "x"}),
    )
    assert told(chunks) == [
        *("started", "+0.0 thinking", "0.0 hm", "0.0 anthropic=SIG", "-0.0", "+0.1 redactedthinking", "-0.1"),
        *("+0.2 text", "0.2 x"),
    ]


def test_mistrals_parts() -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    chunks = read(chunk({"content": [thinking]}), chunk({"content": [{"type": "text", "text": "x"}]}))
    assert told(chunks) == ["started", "+0.0 thinking", "0.0 hm", "-0.0", "+0.1 text", "0.1 x"]


def test_choices_are_told_apart() -> None:
    chunks = read(
        chunk({"content": "a"}),
        chunk({"content": "b"}, index=1),
        chunk({}, "stop"),
        chunk({"refusal": "no"}, "stop", index=1),
        DONE,
    )
    assert told(chunks) == [
        *("started", "+0.0 text", "0.0 a", "+1.0 text", "1.0 b", "-0.0", "0 end_turn"),
        *("-1.0", "+1.1 refusal", "1.1 no", "-1.1", "1 end_turn", "ended"),
    ]


def test_azures_preamble_starts_nothing() -> None:
    preamble = frame(id="", model="", created=0, choices=[], prompt_filter_results=[{"prompt_index": 0}])
    chunks = read(preamble, chunk({"content": "x"}, "stop"), DONE)
    assert chunks[0].events == []
    started = chunks[1].events[0]
    assert isinstance(started, Started)
    assert (started.id, started.model, started.created) == ("chatcmpl-1", "m", 1)


@pytest.mark.parametrize(
    ("frames", "whole"),
    [
        ([chunk({"content": "x"}, "stop")], True),
        ([chunk({"content": "x"}, "stop"), chunk({"content": "y"}, index=1)], False),
        ([chunk(call(0, "{}", id="a", name="f"), "tool_calls")], True),
        ([chunk({"content": "x"})], False),
        ([chunk({"content": "x"}, "stop").rstrip()], True),
        ([chunk({"content": "x"}, "stop")[:-10]], False),
        ([], False),
    ],
)
def test_an_answer_without_done_is_whole_when_all_its_choices_finished(frames: list[bytes], whole: bool) -> None:
    reader, tap = PROTOCOL.stream_reader(), PROTOCOL.stream_tap()
    wire = b"".join(frames)
    events = [event for each in reader.feed(wire) + reader.close() for event in each.events]
    tap.feed(wire)
    tap.close()
    assert any(isinstance(event, Ended) for event in events) is tap.ended is whole


@pytest.mark.parametrize(
    ("wire", "status", "message"),
    [
        (b'data: {"error":{"message":"no","code":503}}\n\n', 503, "no"),
        (b'data: {"error":"no"}\n\n', None, "no"),
        (b'event: error\ndata: {"message":"no","code":500}\n\n', 500, "no"),
        (frame(choices=[{"index": 0, "delta": {}, "error": {"message": "no", "code": 502}}]), 502, "no"),
        (frame(choices=[], error={"message": "no", "type": "invalid_request_error"}), 400, "no"),
    ],
)
def test_an_error_is_the_last_event(wire: bytes, status: int | None, message: str) -> None:
    before = chunk({"content": "x"})
    reader, tap = PROTOCOL.stream_reader(), PROTOCOL.stream_tap()
    events = [event for each in reader.feed(before + wire + DONE) + reader.close() for event in each.events]
    assert tap.feed(before + wire + DONE) == before
    assert isinstance(events[-1], Errored)
    assert (events[-1].signal.status, events[-1].signal.message) == (status, message)
    assert (tap.error, tap.ended) == (events[-1].signal, False)
    assert tap.break_off(ErrorReport(kind=ErrorKind.UPSTREAM, message="another")) == wire


def test_malformed_frames_are_skipped_and_counted() -> None:
    reader = PROTOCOL.stream_reader()
    chunks = reader.feed(b"data: {\n\ndata: 3\n\ndata: \xff\n\n" + chunk({"content": "x"}) + DONE)
    assert reader.malformed == 3
    assert told(chunks) == ["started", "+0.0 text", "0.0 x", "-0.0", "0 end_turn", "ended"]


def test_odd_types_stay_where_they_are() -> None:
    odd = frame(
        choices=[
            3,
            {"index": "x", "delta": {"content": 5, "tool_calls": [7, {"function": 1}], "annotations": ["x"]}},
            {"delta": [], "finish_reason": 9},
        ],
        usage=[],
    )
    assert told(read(odd)) == ["started"]


def test_the_tap_does_not_take_what_a_model_says_for_a_fact() -> None:
    tap = PROTOCOL.stream_tap()
    said = '{"usage":{"prompt_tokens":1},"error":{"message":"x"},"finish_reason":"stop"}'
    wire = chunk({"content": "x"}) + chunk({"content": said})
    assert tap.feed(wire) == wire
    tap.close()
    assert (tap.usage, tap.error, tap.ended, tap.content) == (None, None, False, True)
