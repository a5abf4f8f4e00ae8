"""Other dialects' streams become ones that the official SDK reads."""

from __future__ import annotations

import pytest
from botocore.exceptions import EventStreamError
from hypothesis import given
from hypothesis import strategies as st

from busbar.protocols.bedrock import PROTOCOL
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
from busbar.protocols.native import Native
from busbar.protocols.receipt import Receipt
from busbar.protocols.usage import Usage
from tests.protocols.bedrock.wire import END, HOP, START, STARTED, STOP, delta, events, read, sdk_events, write

STOPPED = Stopped(stop=Stop(reason=StopReason.END_TURN))
NO_USAGE = {"usage": {"inputTokens": 0, "outputTokens": 0, "totalTokens": 0}, "metrics": {"latencyMs": 0}}
START_EVENT = ("messageStart", {"role": "assistant"})


def said(index: int, **what: object) -> tuple[str, dict[str, object]]:
    return ("contentBlockDelta", {"contentBlockIndex": index, "delta": what})


def stop(index: int) -> tuple[str, dict[str, object]]:
    return ("contentBlockStop", {"contentBlockIndex": index})


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
    expected = [
        START_EVENT,
        said(0, text="He"),
        said(0, text='l"lo'),
        stop(0),
        (
            "contentBlockStart",
            {"contentBlockIndex": 1, "start": {"toolUse": {"toolUseId": "tooluse_1", "name": "look"}}},
        ),
        said(1, toolUse={"input": '{"a":1}'}),
        stop(1),
        ("messageStop", {"stopReason": "tool_use"}),
        (
            "metadata",
            {
                "usage": {"inputTokens": 9, "outputTokens": 20, "totalTokens": 33, "cacheReadInputTokens": 4},
                "metrics": {"latencyMs": 0},
            },
        ),
    ]
    assert events(data) == expected
    assert sdk_events(data) == [{kind: value} for kind, value in expected]
    assert report == []


def test_parallel_calls_may_interleave_and_ids_are_minted() -> None:
    data, _ = write(
        [STARTED],
        [BlockStart(index=0, part=ToolUse(id="", name="one", arguments=""))],
        [BlockStart(index=1, part=ToolUse(id="", name="two", arguments='{"b"'))],
        [ArgumentsDelta(index=0, fragment='{"a":'), ArgumentsDelta(index=1, fragment=":2}")],
        [ArgumentsDelta(index=0, fragment="1}"), BlockStop(index=0), BlockStop(index=1)],
        [STOPPED, Ended()],
    )
    found = events(data)
    ids = [value["start"]["toolUse"]["toolUseId"] for kind, value in found if kind == "contentBlockStart"]
    assert len(set(ids)) == 2
    assert all(made.startswith("tooluse_") for made in ids)
    assert found[3:-2] == [
        said(1, toolUse={"input": '{"b"'}),
        said(0, toolUse={"input": '{"a":'}),
        said(1, toolUse={"input": ":2}"}),
        said(0, toolUse={"input": "1}"}),
        stop(0),
        stop(1),
    ]
    assert found[-2] == ("messageStop", {"stopReason": "tool_use"})


def test_a_block_that_says_nothing_leaves_no_trace() -> None:
    data, report = write(
        [STARTED, BlockStart(index=0, part=Text(text="")), TextDelta(index=0, text=""), BlockStop(index=0)],
        [BlockStart(index=1, part=Thinking(text="hm")), ThinkingDelta(index=1, text="m"), BlockStop(index=1)],
        [STOPPED, Ended()],
    )
    assert events(data)[1:-2] == [
        said(0, reasoningContent={"text": "hm"}),
        said(0, reasoningContent={"text": "m"}),
        said(0, reasoningContent={"signature": ""}),
        stop(0),
    ]
    assert report == []


def test_own_signatures_and_redacted_thinking_are_written_and_others_reported() -> None:
    data, report = write(
        [STARTED, BlockStart(index=0, part=Thinking(text="hm"))],
        [SignatureDelta(index=0, signature="mine", signer="anthropic")],
        [SignatureDelta(index=0, signature="yours", signer="gemini"), BlockStop(index=0)],
        [BlockStart(index=1, part=RedactedThinking(data="xx", signer="anthropic")), BlockStop(index=1)],
        [BlockStart(index=2, part=RedactedThinking(data="yy", signer="gemini")), BlockStop(index=2)],
        [STOPPED, Ended()],
    )
    assert events(data)[1:-2] == [
        said(0, reasoningContent={"text": "hm"}),
        said(0, reasoningContent={"signature": "mine"}),
        stop(0),
        said(1, reasoningContent={"redactedContent": "xx"}),
        stop(1),
    ]
    assert report == [("dropped", "choices[0].content.signature"), ("dropped", "choices[0].content")]


def test_citations_cross() -> None:
    citation = Citation(url="https://x", title="X", native=Native("anthropic", {"encrypted_index": "e"}, "web"))
    data, report = write(
        [STARTED, BlockStart(index=0, part=Text(text="So.")), CitationDelta(index=0, citation=citation)],
        [BlockStop(index=0), STOPPED, Ended()],
    )
    assert events(data)[2] == said(0, citation={"title": "X", "location": {"web": {"url": "https://x"}}})
    assert report == [("dropped", "choices[0].content.citations.encrypted_index")]


def test_a_refusal_is_a_text_and_its_reason() -> None:
    data, _ = write(
        [STARTED, BlockStart(index=0, part=Refusal(text="")), RefusalDelta(index=0, text="No."), BlockStop(index=0)],
        [STOPPED, Ended()],
    )
    assert events(data)[1:-1] == [said(0, text="No."), stop(0), ("messageStop", {"stopReason": "content_filtered"})]


def test_what_has_no_place_is_reported_once() -> None:
    data, report = write(
        [STARTED, BlockStart(index=0, part=Opaque(dialect="openai", kind="x", value={})), BlockStop(index=0)],
        [BlockStart(choice=1, index=0, part=Text(text="b")), TextDelta(choice=1, index=0, text="b")],
        [BlockStop(choice=1, index=0), Stopped(choice=1, stop=Stop(reason=StopReason.MAX_TOKENS))],
        [OpaqueEvent(dialect="openai", kind="y", value={}), OpaqueEvent(dialect="openai", kind="y", value={})],
        [STOPPED, Ended()],
    )
    assert events(data) == [START_EVENT, ("messageStop", {"stopReason": "end_turn"}), ("metadata", NO_USAGE)]
    assert report == [("dropped", "choices[0].content"), ("dropped", "choices[1]"), ("dropped", "y")]


def test_an_end_alone_is_a_whole_answer() -> None:
    data, _ = write([Ended()], [Ended()])
    assert events(data) == [START_EVENT, ("messageStop", {"stopReason": "end_turn"}), ("metadata", NO_USAGE)]


def test_leftovers_of_chunks_are_reported_once() -> None:
    receipt = Receipt()
    writer = PROTOCOL.stream_writer(HOP, receipt)
    for _ in range(3):
        writer.write(Chunk(events=[], native=Native("openai", {"service_tier": "flex", "obfuscation": ""})))
    assert receipt.dropped_paths == ("service_tier",)


def test_an_error_is_the_last_thing_written() -> None:
    writer = PROTOCOL.stream_writer(HOP, Receipt())
    begun = writer.write(Chunk(events=[STARTED, Errored(signal=FailureSignal(message="x"))]))
    broken = writer.error(ErrorReport(kind=ErrorKind.RATE_LIMITED, message="Slow."))
    with pytest.raises(EventStreamError, match="throttlingException"):
        sdk_events(begun + broken)
    assert writer.write(Chunk(events=[Ended()])) == b""
    assert writer.error(ErrorReport(kind=ErrorKind.UPSTREAM, message="x")) == b""


def test_the_sdk_reads_what_the_reader_reads() -> None:
    data = START + delta(0, text="a") + STOP + END
    assert [next(iter(event)) for event in sdk_events(data)] == [kind for kind, _ in events(data)]


BLOCKS: st.SearchStrategy[tuple[Part, list[str]]] = st.one_of(
    st.tuples(st.builds(Text, text=st.just("")), st.lists(st.text(max_size=4), max_size=3)),
    st.tuples(st.builds(Thinking, text=st.just("")), st.lists(st.text(max_size=4), max_size=3)),
    st.tuples(
        st.builds(ToolUse, id=st.sampled_from(["call_1", "", "x y"]), name=st.just("n"), arguments=st.just("")),
        st.lists(st.sampled_from(['{"a":', "1", "}", ""]), max_size=3),
    ),
)
DELTAS = {Text: TextDelta, Thinking: ThinkingDelta}


def grown(index: int, part: Part, piece: str) -> Event:
    if isinstance(part, ToolUse):
        return ArgumentsDelta(index=index, fragment=piece)
    return DELTAS[type(part)](index=index, text=piece)  # type: ignore[index,return-value]


@given(st.lists(BLOCKS, max_size=5), st.booleans(), st.sampled_from([*StopReason]))
def test_any_stream_is_balanced_and_says_the_same(
    blocks: list[tuple[Part, list[str]]], interleaved: bool, reason: StopReason
) -> None:
    starts: list[list[Event]] = [[BlockStart(index=n, part=part)] for n, (part, _) in enumerate(blocks)]
    stops: list[list[Event]] = [[BlockStop(index=n)] for n, _ in enumerate(blocks)]
    bodies = [[grown(n, part, piece) for piece in pieces] for n, (part, pieces) in enumerate(blocks)]
    if interleaved:
        turns = [[body[n]] for n in range(3) for body in bodies if n < len(body)]
        chunks = [*starts, *turns, *stops]
    else:
        chunks = [[*start, *body, *end] for start, body, end in zip(starts, bodies, stops, strict=True)]
    data, _ = write([STARTED], *chunks, [Stopped(stop=Stop(reason=reason))], [Ended()])
    back = read(data)
    opened = [event.index for event in back if isinstance(event, BlockStart)]
    assert sorted(event.index for event in back if isinstance(event, BlockStop)) == opened == list(range(len(opened)))
    assert [type(event) for event in back if isinstance(event, Started | Stopped | Ended)] == [
        Started,
        Stopped,
        Ended,
    ]
    assert sorted(contents(back)) == sorted(
        (type(part).__name__, "".join(pieces) or ("{}" if isinstance(part, ToolUse) else ""))
        for part, pieces in blocks
        if isinstance(part, ToolUse) or any(pieces)
    )
    assert len(sdk_events(data)) == len(events(data))


def contents(found: list[Event]) -> list[tuple[str, str]]:
    said: dict[int, list[str]] = {}
    for event in found:
        match event:
            case BlockStart():
                said[event.index] = [type(event.part).__name__, ""]
            case TextDelta() | ThinkingDelta():
                said[event.index][1] += event.text
            case ArgumentsDelta():
                said[event.index][1] += event.fragment
            case _:
                pass
    return [(kind, text) for kind, text in said.values()]
