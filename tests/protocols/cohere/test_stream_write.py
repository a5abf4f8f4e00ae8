"""Writing streams: the events that the writer makes of other dialects', as the official SDK reads them."""

from __future__ import annotations

from typing import Any

from cohere.v2.types import V2ChatStreamResponse
from pydantic import TypeAdapter

from busbar.protocols.cohere import PROTOCOL
from busbar.protocols.errors import ErrorKind, ErrorReport
from busbar.protocols.ir import (
    ArgumentsDelta,
    BlockStart,
    BlockStop,
    Chunk,
    Citation,
    CitationDelta,
    Ended,
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
from busbar.protocols.receipt import Receipt
from busbar.protocols.usage import Usage
from tests.protocols.cohere.wire import DONE, HOP, documents, foreign, message, sdk_stream, wire_events, write

STARTED = Started(id="msg_01A", model="claude", usage=Usage(input_tokens=10), native=Native("anthropic"))
EVENT: TypeAdapter[Any] = TypeAdapter(V2ChatStreamResponse)


def test_a_foreign_stream_becomes_native_events() -> None:
    wire, receipt = write(
        foreign(
            STARTED,
            Ping(),
            BlockStart(index=0, part=Thinking(text="")),
            ThinkingDelta(index=0, text="hm"),
            SignatureDelta(index=0, signer="anthropic", signature="S"),
            SignatureDelta(index=0, signer="anthropic", signature="T"),
            BlockStop(index=0),
            BlockStart(index=1, part=Text(text="")),
            TextDelta(index=1, text="so"),
            BlockStop(index=1),
            BlockStart(index=2, part=ToolUse(id="toolu_01", name="f", arguments="")),
            BlockStart(index=3, part=ToolUse(id="", name="g", arguments="")),
            ArgumentsDelta(index=2, fragment='{"a":'),
            ArgumentsDelta(index=2, fragment="1}"),
            BlockStop(index=2),
            BlockStop(index=3),
            Stopped(stop=Stop(reason=StopReason.TOOL_USE)),
            UsageSeen(usage=Usage(output_tokens=7)),
            Ended(),
        )
    )
    assert wire.endswith(DONE)
    assert b": keep-alive\n\n" in wire
    assert all(name == value["type"] for name, value in wire_events(wire)[:-1])
    *values, _ = documents(wire)
    for value in values:
        EVENT.validate_python(value)
    assert len(values[0].pop("id")) == 36
    assert values[8]["delta"]["message"]["tool_calls"].pop("id").startswith("g_")
    counts = {"input_tokens": 10, "output_tokens": 7}

    def fragment(index: int, text: str) -> dict[str, Any]:
        delta = message(tool_calls={"function": {"arguments": text}})
        return {"type": "tool-call-delta", "index": index, "delta": delta}

    def begun(index: int, name: str, **ids: str) -> dict[str, Any]:
        call = {**ids, "type": "function", "function": {"name": name, "arguments": ""}}
        return {"type": "tool-call-start", "index": index, "delta": message(tool_calls=call)}

    empty = message(role="assistant", content=[], tool_plan="", tool_calls=[], citations=[])
    assert values == [
        {"type": "message-start", "delta": empty},
        {"type": "content-start", "index": 0, "delta": message(content={"type": "thinking", "thinking": ""})},
        {"type": "content-delta", "index": 0, "delta": message(content={"thinking": "hm"})},
        {"type": "content-end", "index": 0},
        {"type": "content-start", "index": 1, "delta": message(content={"type": "text", "text": ""})},
        {"type": "content-delta", "index": 1, "delta": message(content={"text": "so"})},
        {"type": "content-end", "index": 1},
        begun(0, "f", id="toolu_01"),
        begun(1, "g"),
        fragment(0, '{"a":'),
        fragment(0, "1}"),
        {"type": "tool-call-end", "index": 0},
        fragment(1, "{}"),
        {"type": "tool-call-end", "index": 1},
        {
            "type": "message-end",
            "delta": {"finish_reason": "TOOL_CALL", "usage": {"billed_units": counts, "tokens": counts}},
        },
    ]
    assert receipt.dropped_paths == ("choices[0].content.signature",)


def test_citations_come_within_their_text() -> None:
    wire, _ = write(
        foreign(
            STARTED,
            BlockStart(index=0, part=Text(text="")),
            TextDelta(index=0, text="abcd"),
            CitationDelta(index=0, citation=Citation(cited_text="source", title="T")),
            CitationDelta(index=0, citation=Citation(url="https://host", start=1, end=3, of_answer=True)),
            TextDelta(index=0, text="ef"),
            BlockStop(index=0),
        )
    )
    kinds = [value["type"] for value in documents(wire)]
    pair = ["citation-start", "citation-end"]
    assert kinds == ["message-start", "content-start", "content-delta", *pair, "content-delta", *pair, "content-end"]
    cited = [value["delta"]["message"]["citations"] for value in documents(wire) if value["type"] == "citation-start"]
    assert [(each["start"], each["end"], each["sources"][0]["document"]) for each in cited] == [
        (1, 3, {"id": "https://host", "url": "https://host"}),
        (0, 6, {"id": "T", "title": "T", "snippet": "source"}),
    ]
    assert [value["index"] for value in documents(wire) if value["type"] == "citation-start"] == [0, 1]


def test_what_has_no_place_in_a_stream_is_reported_once() -> None:
    beside = Chunk(events=[Ping()], native=Native("anthropic", {"container": {"id": "c"}}))
    opaque = OpaqueEvent(dialect="anthropic", kind="content_block_delta", value={})
    redacted = BlockStart(index=0, part=RedactedThinking(data="x", signer="anthropic"))
    other = BlockStart(index=0, choice=1, part=Text(text=""))
    events = foreign(
        STARTED, redacted, BlockStop(index=0), opaque, opaque, other, TextDelta(index=0, choice=1, text="x")
    )
    wire, receipt = write([*events, beside, beside])
    assert receipt.dropped_paths == ("choices[0].content", "content_block_delta", "choices[1]", "container")
    assert len(documents(wire)) == 1


def test_a_refusal_is_text() -> None:
    part = BlockStart(index=0, part=Refusal(text=""))
    wire, receipt = write(foreign(STARTED, part, RefusalDelta(index=0, text="no"), BlockStop(index=0), Ended()))
    assert documents(wire)[2]["delta"] == message(content={"text": "no"})
    assert [(entry.change, entry.path) for entry in receipt.entries] == [("changed", "choices[0].content")]


def test_an_end_without_a_beginning_is_still_an_answer() -> None:
    *values, done = documents(write(foreign(Ended()))[0])
    assert [value["type"] for value in values] == ["message-start", "message-end"]
    assert done == "[DONE]"


def test_a_stream_that_is_broken_off_ends_with_an_error() -> None:
    writer = PROTOCOL.stream_writer(HOP, Receipt())
    wire = b"".join(writer.write(chunk) for chunk in foreign(STARTED, BlockStart(index=0, part=Text(text="a"))))
    wire += writer.error(ErrorReport(kind=ErrorKind.UPSTREAM, message="broke off"))
    last = sdk_stream(wire)[-1]
    assert (last.type, last.delta.finish_reason, last.delta.error) == ("message-end", "ERROR", "broke off")
    assert last.delta.usage.tokens.input_tokens == 10
    assert writer.error(ErrorReport(kind=ErrorKind.UPSTREAM, message="again")) == b""
    assert writer.write(Chunk(events=[Ended()])) == b""


def test_the_sdk_reads_a_foreign_stream() -> None:
    wire, _ = write(
        foreign(
            STARTED,
            BlockStart(index=0, part=Text(text="")),
            TextDelta(index=0, text="Hel"),
            TextDelta(index=0, text="lo"),
            BlockStop(index=0),
            BlockStart(index=1, part=ToolUse(id="call_1", name="f", arguments="{}")),
            BlockStop(index=1),
            Stopped(stop=Stop(reason=StopReason.END_TURN)),
            UsageSeen(usage=Usage(output_tokens=2)),
            Ended(),
        )
    )
    events = sdk_stream(wire)
    assert "".join(each.delta.message.content.text for each in events if each.type == "content-delta") == "Hello"
    (call,) = [each.delta.message.tool_calls for each in events if each.type == "tool-call-start"]
    assert (call.id, call.function.name, call.function.arguments) == ("call_1", "f", "{}")
    assert events[-1].delta.finish_reason == "TOOL_CALL"
    assert events[-1].delta.usage.tokens.output_tokens == 2
