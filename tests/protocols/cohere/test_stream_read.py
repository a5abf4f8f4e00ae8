"""Reading streams, and the tap that watches those that pass by."""

from __future__ import annotations

from typing import Any

import pytest

from busbar.protocols.cohere import PROTOCOL
from busbar.protocols.errors import ErrorKind, ErrorReport
from busbar.protocols.failures import FailureSignal
from busbar.protocols.ir import (
    ArgumentsDelta,
    BlockStart,
    BlockStop,
    CitationDelta,
    Ended,
    Errored,
    Event,
    OpaqueEvent,
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
from busbar.protocols.usage import Usage
from tests.protocols.cohere.wire import (
    DONE,
    START,
    bare,
    documents,
    end,
    events_of,
    frame,
    message,
    read,
    wire_events,
    write,
)


def content_start(index: int = 0, kind: str = "text", text: str = "") -> bytes:
    return frame("content-start", index=index, delta=message(content={"type": kind, kind: text}))


def content(text: str, index: int = 0, kind: str = "text") -> bytes:
    return frame("content-delta", index=index, delta=message(content={kind: text}))


def content_end(index: int = 0) -> bytes:
    return frame("content-end", index=index)


def call_start(index: int, name: str, arguments: str = "") -> bytes:
    call = {"id": f"{name}_1", "type": "function", "function": {"name": name, "arguments": arguments}}
    return frame("tool-call-start", index=index, delta=message(tool_calls=call))


def arguments(index: int, fragment: str) -> bytes:
    return frame("tool-call-delta", index=index, delta=message(tool_calls={"function": {"arguments": fragment}}))


def plan(text: str) -> bytes:
    return frame("tool-plan-delta", delta=message(tool_plan=text))


def said(*frames: bytes) -> list[Event]:
    """The events of a stream; it is also written back, and must be the same then."""
    wire = b"".join(frames)
    chunks = read(wire)
    assert wire_events(write(chunks)[0]) == wire_events(wire)
    return bare(events_of(chunks))


def stop(word: str) -> Stop:
    found = next(event for event in events_of(read(START, end(word))) if isinstance(event, Stopped))
    return found.stop


def test_thinking_then_text_then_usage() -> None:
    usage = {"tokens": {"input_tokens": 3, "output_tokens": 2}}
    events = said(
        START,
        content_start(0, "thinking"),
        content("hm", 0, "thinking"),
        content_end(0),
        content_start(1, text="so"),
        content(" be it", 1),
        content_end(1),
        end(usage=usage),
        DONE,
    )
    *others, seen, ended = events
    assert others == [
        Started(id="1", model=""),
        BlockStart(index=0, part=Thinking(text="")),
        ThinkingDelta(index=0, text="hm"),
        BlockStop(index=0),
        BlockStart(index=1, part=Text(text="")),
        TextDelta(index=1, text="so"),
        TextDelta(index=1, text=" be it"),
        BlockStop(index=1),
        Stopped(stop=stop("COMPLETE")),
    ]
    assert isinstance(seen, UsageSeen)
    assert (seen.usage.input_tokens, seen.usage.output_tokens) == (3, 2)
    assert ended == Ended()


def test_a_plan_and_parallel_calls_that_interleave() -> None:
    events = said(
        START,
        plan("I"),
        plan(" will"),
        call_start(0, "f"),
        call_start(1, "g", "{"),
        arguments(0, "{}"),
        arguments(1, "}"),
        frame("tool-call-end", index=1),
        frame("tool-call-end", index=0),
        end("TOOL_CALL"),
    )
    starts = [event for event in events if isinstance(event, BlockStart)]
    assert [(each.index, type(each.part)) for each in starts] == [(0, Thinking), (1, ToolUse), (2, ToolUse)]
    assert [event for event in events if not isinstance(event, BlockStart)] == [
        Started(id="1", model=""),
        ThinkingDelta(index=0, text="I"),
        ThinkingDelta(index=0, text=" will"),
        BlockStop(index=0),
        ArgumentsDelta(index=2, fragment="{"),
        ArgumentsDelta(index=1, fragment="{}"),
        ArgumentsDelta(index=2, fragment="}"),
        BlockStop(index=2),
        BlockStop(index=1),
        Stopped(stop=stop("TOOL_CALL")),
        Ended(),
    ]


def citation(index: int = 0, **more: Any) -> bytes:
    cited = {"start": 0, "end": 2, "text": "so", "sources": [], "type": "TEXT_CONTENT", **more}
    return frame("citation-start", index=index, delta=message(citations=cited))


def test_citations_of_what_is_open() -> None:
    events = said(
        START,
        content_start(0, "thinking"),
        content_start(1),
        content("so", 1),
        citation(0),
        frame("citation-end", index=0),
        citation(1, content_index=1),
        citation(2, content_index=0),
        content_end(1),
        citation(3, content_index=1),
        content_end(0),
        end(),
    )
    cited = [event for event in events if isinstance(event, CitationDelta)]
    assert [(event.index, event.citation.cited_text) for event in cited] == [(1, "so"), (1, "so")]
    assert [event.kind for event in events if isinstance(event, OpaqueEvent)] == ["citation-start"] * 2


@pytest.mark.parametrize(("word", "text"), [("ERROR", "no tool"), ("TIMEOUT", None)])
def test_an_end_that_failed_is_an_error(word: str, text: str | None) -> None:
    events = said(START, content_start(), content("so"), end(word, usage={}, error=text), DONE)
    message = text or "the generation failed"
    assert events[-1] == Errored(signal=FailureSignal(type=word, message=message))
    assert not any(isinstance(event, Stopped | Ended | BlockStop) for event in events)


@pytest.mark.parametrize(
    ("wire", "signal"),
    [
        (b'event: error\ndata: {"type":"error","message":"no"}\n\n', FailureSignal(message="no")),
        (b'data: {"error":{"message":"no","code":502}}\n\n', FailureSignal(code="502", message="no")),
        (b'data: {"message":"no","id":"1"}\n\n', FailureSignal(message="no")),
    ],
)
def test_other_errors_in_a_stream(wire: bytes, signal: FailureSignal) -> None:
    assert said(START, wire)[-1] == Errored(signal=signal)
    tap = PROTOCOL.stream_tap()
    assert tap.feed(START + wire) == START
    assert tap.error == signal


def test_blocks_left_open_are_closed_and_a_missing_reason_is_no_reason() -> None:
    events = said(START, content_start(), call_start(0, "f"), frame("message-end", delta={}))
    assert [event.index for event in events if isinstance(event, BlockStop)] == [0, 1]
    assert events[-2:] == [Stopped(stop=Stop(reason=StopReason.OTHER)), Ended()]


def test_nothing_is_read_after_the_end_and_no_end_is_made_up() -> None:
    assert events_of(read(START, end(), content_start()))[-1] == Ended()
    assert not any(isinstance(event, Ended) for event in events_of(read(START, content_start(), DONE)))
    assert isinstance(events_of(read(START, end().rstrip()))[-1], Ended)


@pytest.mark.parametrize(
    "broken",
    [
        b"data: {\n\n",
        b"data: [1]\n\n",
        b"data: {}\n\n",
        content("x", 7),
        content_end(7),
        arguments(7, "x"),
        START,
        frame("content-start", index="x", delta=message(content={})),
        frame("content-start", index=5),
        frame("content-delta", index=[], delta=message(content={})),
        frame("tool-call-start", index=0, delta=message(tool_calls=[])),
        frame("tool-call-delta", index=0, delta=None),
        frame("tool-plan-delta", delta={"message": {}}),
        frame("message-end", delta=None),
        frame("citation-start", index=0, delta=message(citations=[{}])),
    ],
)
def test_what_is_malformed_is_skipped_and_counted(broken: bytes) -> None:
    reader = PROTOCOL.stream_reader()
    chunks = reader.feed(START + broken + content_start() + content("so") + end())
    assert reader.malformed == 1
    assert [event.text for event in events_of(chunks) if isinstance(event, TextDelta)] == ["so"]


def test_what_is_unknown_goes_back_as_it_came() -> None:
    debug = frame("debug", prompt="P")
    odd = frame("content-start", index=0, delta=message(content={"text": "", "more": 1}), note=2)
    extra = frame("content-delta", index=0, delta=message(content={"text": "so", "x": 1}), logprobs={"text": "so"})
    nameless = b'data: {"type":"content-end","index":0}\n\n'
    events = said(START, debug, odd, extra, nameless, end(custom=1))
    assert OpaqueEvent(dialect="cohere", kind="debug", value={"type": "debug", "prompt": "P"}) in events


def test_a_tap_needs_no_more_than_it_must() -> None:
    tap = PROTOCOL.stream_tap()
    tap.feed(START + content_start())
    assert not tap.content
    tap.feed(content("so"))
    assert tap.content
    unread = b"event: content-delta\ndata: {so little JSON that it ends as JSON does}\n\n"
    assert tap.feed(unread) == unread
    tap.feed(content_end() + end(usage={"tokens": {"input_tokens": 3}}))
    assert tap.ended
    assert tap.usage is not None
    assert tap.usage.input_tokens == 3
    assert tap.break_off(ErrorReport(kind=ErrorKind.UPSTREAM, message="m")) != b""


def test_a_broken_tail_stays_with_the_tap() -> None:
    tap = PROTOCOL.stream_tap()
    assert tap.feed(START + content("so")[:20]) == START
    assert tap.close() == b""
    assert not tap.ended
    (_, last) = documents(START + tap.break_off(ErrorReport(kind=ErrorKind.UPSTREAM, message="broke off")))
    assert last["delta"]["finish_reason"] == "ERROR"


def test_usage_is_the_same_by_any_way() -> None:
    stated = {"tokens": {"input_tokens": 9, "output_tokens": 2}, "cached_tokens": 4}
    seen = next(event for event in said(START, end(usage=stated)) if isinstance(event, UsageSeen))
    seen.usage.native = None
    assert seen.usage == Usage(input_tokens=5, output_tokens=2, cache_read_tokens=4)
