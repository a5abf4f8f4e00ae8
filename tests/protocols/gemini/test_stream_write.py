"""Writing another dialect's stream: chunks that the SDK reads, and that our own reader reads back."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from google.genai import types
from hypothesis import given, settings
from hypothesis import strategies as st

from busbar.protocols.errors import ErrorKind, ErrorReport
from busbar.protocols.framing import FRAME_BYTES_MAX, FrameTooLarge
from busbar.protocols.gemini import PROTOCOL
from busbar.protocols.gemini.words import NO_SIGNATURE
from busbar.protocols.ir import (
    ArgumentsDelta,
    BlockStart,
    BlockStop,
    Chunk,
    Citation,
    CitationDelta,
    Ended,
    Event,
    Opaque,
    OpaqueEvent,
    Ping,
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
from busbar.protocols.protocol import Hop
from busbar.protocols.receipt import Receipt
from busbar.protocols.usage import Usage
from tests.protocols.gemini.wire import documents

START = Started(id="msg_1", model="claude")
TEXT = Text(text="")
STOP = Stopped(stop=Stop(reason=StopReason.END_TURN))


def write(*events: Event, framing: str = "") -> tuple[bytes, Receipt]:
    receipt = Receipt()
    writer = PROTOCOL.stream_writer(Hop(nonce="n", framing=framing), receipt)
    return b"".join(writer.write(Chunk(events=[event])) for event in events), receipt


def told(*events: Event) -> list[Any]:
    wire, _ = write(*events)
    written = documents(wire)
    for document in written:
        types.GenerateContentResponse.model_validate(document)
    return written


def chunk(*parts: dict[str, Any], **rest: Any) -> dict[str, Any]:
    candidate = {"content": {"parts": list(parts), "role": "model"}, "index": 0, **rest.pop("candidate", {})}
    return {"candidates": [candidate], "modelVersion": "claude", "responseId": "1", **rest}


def test_text_thinking_and_usage() -> None:
    assert told(
        START,
        BlockStart(index=0, part=Thinking(text="")),
        ThinkingDelta(index=0, text="hm"),
        BlockStop(index=0),
        Ping(),
        BlockStart(index=1, part=TEXT),
        TextDelta(index=1, text="hi"),
        BlockStop(index=1),
        STOP,
        UsageSeen(usage=Usage(input_tokens=3, output_tokens=5, reasoning_tokens=2)),
        Ended(),
    ) == [
        chunk({"text": "hm", "thought": True}),
        chunk({"text": "hi"}),
        chunk(
            {"text": ""},
            candidate={"finishReason": "STOP"},
            usageMetadata={
                "promptTokenCount": 3,
                "candidatesTokenCount": 3,
                "thoughtsTokenCount": 2,
                "totalTokenCount": 8,
            },
        ),
    ]


def test_parallel_calls_are_written_whole_when_their_blocks_end() -> None:
    assert told(
        START,
        BlockStart(index=0, part=ToolUse(id="toolu_1", name="f", arguments="")),
        BlockStart(index=1, part=ToolUse(id="toolu_2", name="g", arguments="")),
        ArgumentsDelta(index=0, fragment='{"x"'),
        ArgumentsDelta(index=1, fragment='{"y":2}'),
        ArgumentsDelta(index=0, fragment=":1}"),
        BlockStop(index=1),
        BlockStop(index=0),
        Stopped(stop=Stop(reason=StopReason.TOOL_USE)),
        Ended(),
    ) == [
        chunk({"functionCall": {"id": "call_2", "name": "g", "args": {"y": 2}}, "thoughtSignature": NO_SIGNATURE}),
        chunk({"functionCall": {"id": "call_1", "name": "f", "args": {"x": 1}}}),
        chunk({"text": ""}, candidate={"finishReason": "STOP"}),
    ]


def test_a_stream_that_says_nothing_still_ends() -> None:
    assert told(START, Ended()) == [chunk({"text": ""}, candidate={"finishReason": "STOP"})]


def test_citations_stand_in_the_last_chunk() -> None:
    citation = Citation(url="https://a.example", title="A", cited_text="hi")
    last = told(
        START,
        BlockStart(index=0, part=TEXT),
        TextDelta(index=0, text="é "),
        BlockStop(index=0),
        BlockStart(index=1, part=TEXT),
        CitationDelta(index=1, citation=citation),
        CitationDelta(index=1, citation=citation),
        TextDelta(index=1, text="hi"),
        BlockStop(index=1),
        STOP,
        Ended(),
    )[-1]
    support = {"segment": {"startIndex": 3, "endIndex": 5, "text": "hi"}, "groundingChunkIndices": [0]}
    assert last["candidates"][0]["groundingMetadata"] == {
        "groundingChunks": [{"web": {"uri": "https://a.example", "title": "A"}}],
        "groundingSupports": [support, support],
    }


def test_signatures_go_to_their_own_dialect_only() -> None:
    wire, receipt = write(
        START,
        BlockStart(index=0, part=Thinking(text="")),
        SignatureDelta(index=0, signer="anthropic", signature="theirs"),
        SignatureDelta(index=0, signer="gemini", signature="b3Vycw=="),
        BlockStop(index=0),
        BlockStart(index=1, part=ToolUse(id="", name="f", arguments="{}", signature="c2ln", signer="gemini")),
        BlockStop(index=1),
        Ended(),
    )
    assert b"theirs" not in wire
    parts = [document["candidates"][0]["content"]["parts"][0] for document in documents(wire)]
    assert parts[0] == {"text": "", "thought": True, "thoughtSignature": "b3Vycw=="}
    assert parts[1]["thoughtSignature"] == "c2ln"
    assert receipt.dropped_paths == ("choices[0].content.signature",)


def test_what_has_no_place_is_reported_once() -> None:
    opaque = Opaque(dialect="anthropic", kind="server_tool_use", value={})
    _, receipt = write(
        START,
        BlockStart(index=0, part=opaque),
        BlockStop(index=0),
        BlockStart(index=1, part=opaque),
        BlockStop(index=1),
        OpaqueEvent(dialect="anthropic", kind="odd", value={}),
    )
    assert receipt.dropped_paths == ("choices[0].content", "odd")


def test_an_array_is_one_json_document() -> None:
    events = (START, BlockStart(index=0, part=TEXT), TextDelta(index=0, text="hi"), BlockStop(index=0), STOP, Ended())
    wire, _ = write(*events, framing="array")
    assert wire.startswith(b"[{")
    assert b"}\x2c\r\n{" in wire
    assert msgspec.json.decode(wire) == documents(write(*events)[0])


def test_a_broken_array_ends_with_the_error() -> None:
    writer = PROTOCOL.stream_writer(Hop(framing="array"), Receipt())
    report = ErrorReport(kind=ErrorKind.TIMEOUT, message="late")
    wire = writer.write(Chunk(events=[START, TextDelta(index=0, text="a")])) + writer.error(report)
    error = {"error": {"code": 504, "message": "late", "status": "DEADLINE_EXCEEDED"}}
    assert msgspec.json.decode(wire)[1:] == [error]
    assert documents(PROTOCOL.stream_writer(Hop(), Receipt()).error(report)) == [error]


def test_arguments_without_end_are_refused() -> None:
    writer = PROTOCOL.stream_writer(Hop(), Receipt())
    writer.write(Chunk(events=[BlockStart(index=0, part=ToolUse(id="c", name="f", arguments=""))]))
    piece = Chunk(events=[ArgumentsDelta(index=0, fragment="x" * FRAME_BYTES_MAX)])
    assert writer.write(piece) == b""
    with pytest.raises(FrameTooLarge):
        writer.write(piece)


def test_a_refusal_is_text() -> None:
    written = told(START, RefusalDelta(index=0, text="no"), Stopped(stop=Stop(reason=StopReason.REFUSAL)), Ended())
    assert [document["candidates"][0]["content"]["parts"] for document in written] == [
        [{"text": "no"}],
        [{"text": ""}],
    ]
    assert written[-1]["candidates"][0]["finishReason"] == "SAFETY"


BLOCKS = st.lists(
    st.tuples(st.sampled_from(["text", "thinking", "call"]), st.lists(st.text(max_size=5), max_size=3)), max_size=6
)


@settings(max_examples=150, deadline=None)
@given(st.lists(BLOCKS, min_size=1, max_size=2), st.booleans(), st.randoms(use_true_random=False))
def test_what_is_written_is_read_back(choices: list[Any], as_array: bool, chance: Any) -> None:
    events: list[Event] = [START]
    expected: dict[int, list[Any]] = {}
    for choice, blocks in enumerate(choices):
        expected[choice] = []
        for index, (kind, texts) in enumerate(blocks):
            events += _block(choice, index, kind, texts)
            _expect(expected[choice], kind, "".join(texts))
        events.append(Stopped(choice=choice, stop=Stop(reason=StopReason.MAX_TOKENS)))
    events += [UsageSeen(usage=Usage(input_tokens=1, output_tokens=2)), Ended()]
    wire, _ = write(*events, framing="array" if as_array else "")
    cut = chance.randrange(len(wire) + 1)
    reader = PROTOCOL.stream_reader()
    chunks = reader.feed(wire[:cut]) + reader.feed(wire[cut:]) + reader.close()
    assert reader.malformed == 0
    assert _content([event for each in chunks for event in each.events]) == expected


def _block(choice: int, index: int, kind: str, texts: list[str]) -> list[Event]:
    at = {"choice": choice, "index": index}
    match kind:
        case "call":
            arguments = msgspec.json.encode({"said": "".join(texts)}).decode()
            deltas: list[Event] = [ArgumentsDelta(**at, fragment=piece) for piece in (arguments[:4], arguments[4:])]
            return [BlockStart(**at, part=ToolUse(id="c", name="f", arguments="")), *deltas, BlockStop(**at)]
        case "text":
            return [BlockStart(**at, part=TEXT), *[TextDelta(**at, text=text) for text in texts], BlockStop(**at)]
        case _:
            deltas = [ThinkingDelta(**at, text=text) for text in texts]
            return [BlockStart(**at, part=Thinking(text="")), *deltas, BlockStop(**at)]


def _expect(content: list[Any], kind: str, text: str) -> None:
    """Neighbours of one kind are one block to a reader that is not told of borders; what says nothing is none."""
    if kind == "call":
        content.append(["call", {"said": text}])
    elif text and content and content[-1][0] == kind:
        content[-1][1] += text
    elif text:
        content.append([kind, text])


def _content(events: list[Event]) -> dict[int, list[Any]]:
    content: dict[int, list[Any]] = {}
    blocks: dict[tuple[int, int], Any] = {}
    for event in events:
        match event:
            case BlockStart(part=part):
                kind = {Text: "text", Thinking: "thinking", ToolUse: "call"}[type(part)]  # type: ignore[index]
                blocks[event.choice, event.index] = [kind, ""]
                content.setdefault(event.choice, []).append(blocks[event.choice, event.index])
            case TextDelta(text=said) | ThinkingDelta(text=said) | ArgumentsDelta(fragment=said):
                blocks[event.choice, event.index][1] += said
            case BlockStop():
                block = blocks.pop((event.choice, event.index))
                if block[0] == "call":
                    block[1] = msgspec.json.decode(block[1])
            case Stopped(stop=stop):
                assert stop.reason is StopReason.MAX_TOKENS
                content.setdefault(event.choice, [])
            case _:
                pass
    assert not blocks
    assert isinstance(events[-1], Ended)
    return content
