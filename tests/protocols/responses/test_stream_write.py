"""Other dialects' events as this dialect's native sequence: balanced, numbered, with one end."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses import Response as SdkResponse
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from busbar.protocols.errors import ErrorKind, ErrorReport
from busbar.protocols.ir import (
    ArgumentsDelta,
    BlockStart,
    BlockStop,
    Chunk,
    Citation,
    CitationDelta,
    Ended,
    Event,
    OpaqueEvent,
    Part,
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
from busbar.protocols.receipt import Receipt
from busbar.protocols.responses import PROTOCOL
from busbar.protocols.usage import Usage
from tests.protocols.responses.wire import HOP, frames_of, read_stream, write_stream

SDK: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
STARTED = Started(id="msg_1", model="claude", usage=Usage(input_tokens=3))
STOPPED = Stopped(stop=Stop(reason=StopReason.END_TURN))


def text_block(index: int, *pieces: str) -> list[Event]:
    deltas: list[Event] = [TextDelta(index=index, text=piece) for piece in pieces]
    return [BlockStart(index=index, part=Text(text="")), *deltas, BlockStop(index=index)]


def kinds(wire: bytes) -> list[str]:
    return [frame["type"].removeprefix("response.") for frame in frames_of(wire)]


def valid(wire: bytes) -> list[Any]:
    """The frames, numbered from 0, each of the SDK's own type, the last one the only end."""
    frames = frames_of(wire)
    assert [frame["sequence_number"] for frame in frames] == list(range(len(frames)))
    for frame in frames:
        SDK.validate_python(frame)
    ends = [at for at, kind in enumerate(kinds(wire)) if kind in ("completed", "incomplete", "failed")]
    assert ends == [len(frames) - 1]
    SdkResponse.model_validate(frames[-1]["response"])
    return frames


def test_a_text_is_told_by_the_whole_native_sequence() -> None:
    usage = UsageSeen(usage=Usage(output_tokens=2))
    wire = write_stream(STARTED, *text_block(0, "he", "llo"), STOPPED, usage, Ended())
    frames = valid(wire)
    assert kinds(wire) == [
        *("created", "in_progress", "output_item.added", "content_part.added"),
        *("output_text.delta", "output_text.delta", "output_text.done", "content_part.done"),
        *("output_item.done", "completed"),
    ]
    assert frames[0]["response"]["id"] == "resp_1"
    assert [frame["delta"] for frame in frames if "delta" in frame] == ["he", "llo"]
    assert frames[6]["text"] == "hello"
    response = frames[-1]["response"]
    assert response["output"][0] == frames[8]["item"]
    assert response["output"][0]["content"][0]["text"] == "hello"
    assert (response["usage"]["input_tokens"], response["usage"]["output_tokens"]) == (3, 2)


def test_parallel_calls_interleave_and_keep_their_places() -> None:
    wire = write_stream(
        STARTED,
        BlockStart(index=0, part=ToolUse(id="toolu_a", name="f", arguments="")),
        BlockStart(index=1, part=ToolUse(id="toolu_b", name="agents.go", arguments="")),
        ArgumentsDelta(index=0, fragment='{"a"'),
        ArgumentsDelta(index=1, fragment='{"b":2}'),
        ArgumentsDelta(index=0, fragment=":1}"),
        BlockStop(index=0),
        BlockStop(index=1),
        BlockStart(index=2, part=ToolUse(id="", name="f", arguments="")),
        BlockStop(index=2),
        STOPPED,
        Ended(),
    )
    frames = valid(wire)
    deltas = [(frame["output_index"], frame["delta"]) for frame in frames if "delta" in frame]
    assert deltas == [(0, '{"a"'), (1, '{"b":2}'), (0, ":1}"), (2, "{}")]
    calls = frames[-1]["response"]["output"]
    assert [(it["call_id"], it["name"], it["arguments"]) for it in calls[:2]] == [
        ("call_a", "f", '{"a":1}'),
        ("call_b", "go", '{"b":2}'),
    ]
    assert calls[1]["namespace"] == "agents"
    assert calls[2]["call_id"].startswith("call_")


def test_a_message_that_is_still_open_ends_after_the_call_that_began_meanwhile() -> None:
    wire = write_stream(
        STARTED,
        BlockStart(index=0, part=Text(text="a")),
        BlockStart(index=1, part=ToolUse(id="c", name="f", arguments="{}")),
        BlockStop(index=1),
        TextDelta(index=0, text="b"),
        BlockStop(index=0),
        *text_block(2, "c"),
        STOPPED,
        Ended(),
    )
    output = valid(wire)[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["message", "function_call", "message"]
    assert [item["content"][0]["text"] for item in (output[0], output[2])] == ["ab", "c"]


def test_thoughts_and_their_state() -> None:
    receipt = Receipt()
    wire = write_stream(
        STARTED,
        BlockStart(index=0, part=Thinking(text="")),
        ThinkingDelta(index=0, text="hm"),
        SignatureDelta(index=0, signature="sig", signer="anthropic"),
        BlockStop(index=0),
        BlockStart(index=1, part=Thinking(text="")),
        SignatureDelta(index=1, signature="state", signer="responses"),
        BlockStop(index=1),
        BlockStart(index=2, part=RedactedThinking(data="theirs", signer="anthropic")),
        BlockStop(index=2),
        STOPPED,
        Ended(),
        receipt=receipt,
    )
    output = valid(wire)[-1]["response"]["output"]
    assert [(it["summary"], it["encrypted_content"]) for it in output] == [
        ([{"type": "summary_text", "text": "hm"}], ""),
        ([], "state"),
    ]
    assert receipt.dropped_paths == ("choices[0].content.signature", "choices[0].content")


def test_citations_are_told_before_their_text_is_done() -> None:
    receipt = Receipt()
    events = text_block(0, "abc")
    events[2:2] = [
        CitationDelta(index=0, citation=Citation(url="https://x")),
        CitationDelta(index=0, citation=Citation(cited_text="no url")),
    ]
    frames = valid(write_stream(STARTED, *events, STOPPED, Ended(), receipt=receipt))
    annotation = {"type": "url_citation", "url": "https://x", "title": "https://x", "start_index": 0, "end_index": 3}
    assert frames[5]["annotation"] == annotation
    assert frames[6]["type"] == "response.output_text.done"
    assert frames[-1]["response"]["output"][0]["content"][0]["annotations"] == [annotation]
    assert receipt.dropped_paths == ("choices[0].content.citations",)


def test_the_last_event_says_how_it_ended() -> None:
    def last(reason: StopReason) -> Any:
        return valid(write_stream(STARTED, Stopped(stop=Stop(reason=reason)), Ended()))[-1]

    cut = last(StopReason.MAX_TOKENS)
    assert cut["type"] == "response.incomplete"
    assert cut["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert last(StopReason.TOOL_USE)["type"] == "response.completed"
    failed = last(StopReason.ERROR)
    assert (failed["type"], failed["response"]["error"]["code"]) == ("response.failed", "server_error")


def test_what_has_no_place_is_reported_once() -> None:
    receipt = Receipt()
    write_stream(
        STARTED,
        *[OpaqueEvent(dialect="anthropic", kind="odd", value={}) for _ in range(3)],
        BlockStart(choice=1, index=0, part=Text(text="")),
        TextDelta(choice=1, index=0, text="a"),
        BlockStop(choice=1, index=0),
        STOPPED,
        Ended(),
        receipt=receipt,
    )
    assert receipt.dropped_paths == ("odd", "choices[1]")


def test_pings_keep_the_connection_alive() -> None:
    wire = write_stream(Ping())
    assert wire.startswith(b":")
    assert frames_of(wire) == []


def test_a_break_is_told_and_nothing_after_it() -> None:
    writer = PROTOCOL.stream_writer(HOP, Receipt())
    wire = b"".join(writer.write(Chunk(events=[event])) for event in (STARTED, *text_block(0, "a")))
    wire += writer.error(ErrorReport(kind=ErrorKind.OVERLOADED, message="busy"))
    last = frames_of(wire)[-1]
    assert (last["type"], last["response"]["status"]) == ("response.failed", "failed")
    assert last["response"]["error"] == {"code": "server_is_overloaded", "message": "busy"}
    assert last["sequence_number"] == len(frames_of(wire)) - 1
    assert last["response"]["id"] == "resp_1"
    assert writer.error(ErrorReport(kind=ErrorKind.OVERLOADED, message="busy")) == b""
    assert writer.write(Chunk(events=[Ended()])) == b""


def test_a_break_before_anything_was_said_is_told_too() -> None:
    (only,) = frames_of(
        PROTOCOL.stream_writer(HOP, Receipt()).error(ErrorReport(kind=ErrorKind.UPSTREAM, message="m"))
    )
    assert (only["type"], only["response"]["model"]) == ("response.failed", "there")
    SdkResponse.model_validate(only["response"])


WORDS = st.lists(st.text(min_size=1, max_size=5), max_size=3)
PARTS = st.sampled_from(["text", "refusal", "thinking", "call"])
EMPTY: dict[str, Part] = {
    "text": Text(text=""),
    "refusal": Refusal(text=""),
    "thinking": Thinking(text=""),
    "call": ToolUse(id="call_x", name="f", arguments=""),
}


def grow(kind: str, index: int, word: str) -> Event:
    match kind:
        case "text":
            return TextDelta(index=index, text=word)
        case "refusal":
            return RefusalDelta(index=index, text=word)
        case "thinking":
            return ThinkingDelta(index=index, text=word)
        case _:
            return ArgumentsDelta(index=index, fragment=word)


@st.composite
def streams(draw: st.DrawFn) -> list[Event]:
    """Blocks that open in order and may interleave, each with its deltas."""
    waiting = [(kind, draw(WORDS)) for kind in draw(st.lists(PARTS, max_size=5))]
    events: list[Event] = [STARTED]
    open_blocks: dict[int, tuple[str, list[str]]] = {}
    begun = 0
    while waiting or open_blocks:
        at = draw(st.sampled_from([*open_blocks, -1] if waiting else list(open_blocks)))
        if at == -1:
            kind, words = waiting.pop(0)
            open_blocks[begun] = (kind, words)
            events.append(BlockStart(index=begun, part=EMPTY[kind]))
            begun += 1
        elif open_blocks[at][1]:
            kind, words = open_blocks[at]
            events.append(grow(kind, at, words.pop(0)))
        else:
            del open_blocks[at]
            events.append(BlockStop(index=at))
    return [*events, STOPPED, UsageSeen(usage=Usage(output_tokens=1)), Ended()]


def contents(events: list[Event]) -> dict[str, list[str]]:
    """What was said, by kind, block by block; blocks that said nothing are none."""
    kind_of: dict[int, str] = {}
    said: dict[int, str] = {}
    open_blocks: set[int] = set()
    for event in events:
        match event:
            case BlockStart(index=at, part=part):
                assert at == len(kind_of)
                kind_of[at] = type(part).__name__
                open_blocks.add(at)
            case BlockStop(index=at):
                open_blocks.remove(at)
            case TextDelta(index=at, text=word) | ThinkingDelta(index=at, text=word):
                said[at] = said.get(at, "") + word
            case RefusalDelta(index=at, text=word) | ArgumentsDelta(index=at, fragment=word):
                said[at] = said.get(at, "") + word
            case _:
                pass
    assert not open_blocks
    by_kind: dict[str, list[str]] = {}
    for at, kind in sorted(kind_of.items()):
        word = said.get(at) or ("{}" if kind == "ToolUse" else "")
        if word:
            by_kind.setdefault(kind, []).append(word)
    return by_kind


@settings(max_examples=80, deadline=None)
@given(events=streams())
def test_any_stream_is_written_in_balance_and_says_the_same(events: list[Event]) -> None:
    wire = write_stream(*events)
    valid(wire)
    expected = contents(events)
    back = contents(read_stream(wire))
    assert {kind: sorted(words) for kind, words in back.items()} == {
        kind: sorted(words) for kind, words in expected.items()
    }
    repeated = {"Text": "text", "Refusal": "refusal", "Thinking": "text", "ToolUse": "arguments"}
    done = ("output_text.done", "refusal.done", "reasoning_summary_text.done", "function_call_arguments.done")
    whole = [frame for frame in frames_of(wire) if frame["type"].removeprefix("response.") in done]
    for kind, key in repeated.items():
        family = {"Text": "output_text", "Refusal": "refusal", "Thinking": "reasoning", "ToolUse": "function"}[kind]
        words = sorted(frame[key] for frame in whole if f".{family}" in frame["type"])
        assert [word for word in words if word] == sorted(expected.get(kind, []))
