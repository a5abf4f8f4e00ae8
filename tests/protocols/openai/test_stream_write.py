"""Writing streams: the chunks that the writer makes of other dialects' events, as the official SDK reads them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import httpx2
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionChunk

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
from busbar.protocols.native import Native
from busbar.protocols.openai import PROTOCOL
from busbar.protocols.protocol import Hop
from busbar.protocols.receipt import Receipt
from busbar.protocols.usage import Usage
from tests.protocols.openai.wire import frames_of


def foreign(*events: Event) -> list[Chunk]:
    return [Chunk(events=[event], native=Native("anthropic")) for event in events]


STARTED = Started(id="msg_01A", model="claude", usage=Usage(input_tokens=10), native=Native("anthropic"))


def write(chunks: list[Chunk], **hop: Any) -> tuple[bytes, Receipt]:
    receipt = Receipt()
    writer = PROTOCOL.stream_writer(Hop(**{"now": 1700, "nonce": "n", **hop}), receipt)
    return b"".join(writer.write(each) for each in chunks), receipt


def envelope(**more: Any) -> dict[str, Any]:
    constant = {"id": "chatcmpl-01A", "object": "chat.completion.chunk", "created": 1700, "model": "claude"}
    return {**constant, "usage": None, **more}


def entry(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return envelope(choices=[{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}])


def test_a_foreign_stream_becomes_native_chunks() -> None:
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
    *documents, done = frames_of(wire)
    assert done == b"[DONE]"
    assert b": keep-alive\n\n" in wire
    minted = documents[4]["choices"][0]["delta"]["tool_calls"][0].pop("id")
    assert minted.startswith("call_")
    first = {"index": 0, "id": "call_01", "type": "function", "function": {"name": "f", "arguments": ""}}
    second = {"index": 1, "type": "function", "function": {"name": "g", "arguments": ""}}
    assert documents == [
        entry({"role": "assistant", "content": "", "refusal": None}),
        entry({"reasoning_content": "hm"}),
        entry({"content": "so"}),
        entry({"tool_calls": [first]}),
        entry({"tool_calls": [second]}),
        entry({"tool_calls": [{"index": 0, "function": {"arguments": '{"a":'}}]}),
        entry({"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]}),
        entry({"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]}),
        entry({}, "tool_calls"),
        envelope(choices=[], usage={"prompt_tokens": 10, "completion_tokens": 7, "total_tokens": 17}),
    ]
    for document in documents:
        ChatCompletionChunk.model_validate(document)
    assert receipt.dropped_paths == ("choices[0].content.signature",)


def test_usage_is_sent_only_to_who_asked() -> None:
    events = foreign(STARTED, Stopped(stop=Stop(reason=StopReason.END_TURN)), Ended())
    assert b"usage" not in write(events, stream_usage=False)[0]
    assert b'"prompt_tokens":10' in write(events)[0]


def test_citations_of_all_texts_come_in_one_delta_that_the_sdk_can_add_up() -> None:
    wire, receipt = write(
        foreign(
            STARTED,
            BlockStart(index=0, part=Text(text="")),
            CitationDelta(index=0, citation=Citation(url="https://first", title="F")),
            TextDelta(index=0, text="abc"),
            BlockStop(index=0),
            BlockStart(index=1, part=Text(text="")),
            CitationDelta(index=1, citation=Citation(url="https://host", title="T")),
            CitationDelta(index=1, citation=Citation(cited_text="mine")),
            TextDelta(index=1, text="defg"),
            BlockStop(index=1),
            Stopped(stop=Stop(reason=StopReason.END_TURN)),
        )
    )
    told = [frame["choices"][0]["delta"] for frame in frames_of(wire)]
    assert [delta for delta in told if "annotations" in delta] == [told[-2]]
    assert told[-2] == {
        "annotations": [
            {
                "type": "url_citation",
                "url_citation": {"url": "https://first", "title": "F", "start_index": 0, "end_index": 3},
            },
            {
                "type": "url_citation",
                "url_citation": {"url": "https://host", "title": "T", "start_index": 3, "end_index": 7},
            },
        ]
    }
    assert receipt.dropped_paths == ("choices[0].content.citations",)


def test_what_has_no_place_in_a_stream_is_reported_once() -> None:
    beside = Chunk(events=[Ping()], native=Native("anthropic", {"container": {"id": "c"}}))
    opaque = OpaqueEvent(dialect="anthropic", kind="content_block_delta", value={})
    redacted = BlockStart(index=0, part=RedactedThinking(data="x", signer="anthropic"))
    _, receipt = write([*foreign(STARTED, redacted, opaque, opaque), beside, beside])
    assert receipt.dropped_paths == ("choices[0].content", "content_block_delta", "container")


def test_a_stream_that_is_broken_off_has_no_done() -> None:
    writer = PROTOCOL.stream_writer(Hop(), Receipt())
    wire = writer.error(ErrorReport(kind=ErrorKind.UPSTREAM, message="broke off"))
    assert frames_of(wire) == [
        {"error": {"message": "broke off", "type": "server_error", "param": None, "code": None}}
    ]


def sdk_stream(wire: bytes) -> list[ChatCompletionChunk]:
    """What OpenAI's own SDK makes of `wire`."""
    answer = lambda request: httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=wire)  # noqa: E731
    client = openai.OpenAI(
        api_key="k", base_url="http://host/v1", http_client=httpx2.Client(transport=httpx2.MockTransport(answer))
    )
    return list(client.chat.completions.create(model="m", messages=[], stream=True))


def test_the_sdk_reads_a_foreign_stream() -> None:
    wire, _ = write(
        foreign(
            STARTED,
            BlockStart(index=0, part=Text(text="")),
            TextDelta(index=0, text="Hel"),
            TextDelta(index=0, text="lo"),
            BlockStop(index=0),
            Stopped(stop=Stop(reason=StopReason.END_TURN)),
            UsageSeen(usage=Usage(output_tokens=2)),
            Ended(),
        )
    )
    chunks = sdk_stream(wire)
    assert "".join(each.choices[0].delta.content or "" for each in chunks if each.choices) == "Hello"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 12


def test_the_sdk_raises_what_broke_a_stream_off() -> None:
    wire = write(foreign(STARTED))[0]
    wire += PROTOCOL.stream_writer(Hop(), Receipt()).error(ErrorReport(kind=ErrorKind.UPSTREAM, message="broke off"))
    with pytest.raises(openai.APIError, match="broke off"):
        sdk_stream(wire)


# --- property: what is written is read back


TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
PARTS = st.one_of(
    st.builds(Text, text=TEXTS),
    st.builds(Thinking, text=TEXTS),
    st.builds(Refusal, text=TEXTS),
    st.builds(ToolUse, id=st.from_regex(r"call_[a-z0-9]{4,8}", fullmatch=True), name=st.just("f"), arguments=TEXTS),
)


def _events(parts: list[Part], cuts: list[int]) -> Iterator[Event]:
    yield STARTED
    for index, part in enumerate(parts):
        match part:
            case ToolUse():
                yield BlockStart(index=index, part=ToolUse(id=part.id, name=part.name, arguments=""))
                yield from (ArgumentsDelta(index=index, fragment=piece) for piece in _cut(part.arguments, cuts))
            case Text(text=text):
                yield BlockStart(index=index, part=Text(text=""))
                yield from (TextDelta(index=index, text=piece) for piece in _cut(text, cuts))
            case Thinking(text=text):
                yield BlockStart(index=index, part=Thinking(text=""))
                yield from (ThinkingDelta(index=index, text=piece) for piece in _cut(text, cuts))
            case Refusal(text=text):
                yield BlockStart(index=index, part=Refusal(text=""))
                yield from (RefusalDelta(index=index, text=piece) for piece in _cut(text, cuts))
        yield BlockStop(index=index)
    yield Stopped(stop=Stop(reason=StopReason.MAX_TOKENS))
    yield Ended()


def _cut(text: str, cuts: list[int]) -> list[str]:
    edges = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    return [text[start:end] for start, end in pairwise(edges)]


def _said(events: list[Event]) -> list[tuple[str, str]]:
    """What was said: runs of one kind joined, every call by itself."""
    runs: list[tuple[str, str]] = []
    calls: dict[int, str] = {}
    for event in events:
        match event:
            case BlockStart(part=ToolUse() as use):
                calls[event.index] = use.id
            case ArgumentsDelta():
                kind = calls[event.index]
                runs = _joined(runs, kind, event.fragment)
            case TextDelta() | ThinkingDelta() | RefusalDelta():
                runs = _joined(runs, type(event).__name__, event.text)
    return runs


def _joined(runs: list[tuple[str, str]], kind: str, text: str) -> list[tuple[str, str]]:
    return [*runs[:-1], (kind, runs[-1][1] + text)] if runs and runs[-1][0] == kind else [*runs, (kind, text)]


@settings(max_examples=80, deadline=None)
@given(st.lists(PARTS, max_size=5), st.lists(st.integers(0, 8), max_size=2))
def test_what_is_written_is_read_back(parts: list[Part], cuts: list[int]) -> None:
    for at, part in enumerate(parts):
        if isinstance(part, ToolUse):
            part.id = f"call_{at}"
    events = list(_events(parts, cuts))
    wire, _ = write(foreign(*events))
    reader = PROTOCOL.stream_reader()
    chunks = reader.feed(wire) + reader.close()
    back = [event for each in chunks for event in each.events]
    assert reader.malformed == 0
    assert _said(back) == _said(events)
    starts = [event.index for event in back if isinstance(event, BlockStart)]
    assert starts == list(range(len(starts)))
    assert sorted(event.index for event in back if isinstance(event, BlockStop)) == starts
    assert [event.stop.reason for event in back if isinstance(event, Stopped)] == [StopReason.MAX_TOKENS]
    assert isinstance(back[-1], Ended)
    rewriter = PROTOCOL.stream_writer(Hop(), Receipt())
    assert frames_of(b"".join([rewriter.write(each) for each in chunks])) == frames_of(wire)
