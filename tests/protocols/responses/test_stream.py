"""What of a stream is read: block boundaries, what repeats, what only comes whole, what breaks."""

from __future__ import annotations

from typing import Any

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
    Ping,
    RedactedThinking,
    Refusal,
    RefusalDelta,
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
from busbar.protocols.responses import PROTOCOL
from tests.protocols.responses.test_request import bare
from tests.protocols.responses.wire import frame, read_stream

USAGE = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}


def created() -> bytes:
    return frame("response.created", response={"id": "resp_1", "model": "m", "created_at": 5, "output": []})


def completed(status: str = "completed", **facts: Any) -> bytes:
    response = {"id": "resp_1", "model": "m", "created_at": 5, "status": status, "output": [], "usage": USAGE}
    return frame(f"response.{status}", response={**response, **facts})


def added(place: int, **item: Any) -> bytes:
    return frame("response.output_item.added", output_index=place, item=item)


def done(place: int, **item: Any) -> bytes:
    return frame("response.output_item.done", output_index=place, item=item)


def delta(kind: str, place: int, text: str, **where: Any) -> bytes:
    return frame(f"response.{kind}.delta", output_index=place, delta=text, **where)


def facts(events: list[Event]) -> list[Event]:
    """The events between the beginning and the end, without what only this dialect says."""
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Ended)
    kept = [event for event in events if not isinstance(event, Started | Stopped | UsageSeen | Ended)]
    return [event if isinstance(event, OpaqueEvent) else bare(event) for event in kept]


def test_beginning_and_end() -> None:
    events = read_stream(created(), frame("response.in_progress", response={}), completed())
    assert [type(event) for event in events] == [Started, Stopped, UsageSeen, Ended]
    started, stopped, seen, _ = events
    assert isinstance(started, Started)
    assert (started.id, started.model, started.created) == ("resp_1", "m", 5)
    assert isinstance(stopped, Stopped)
    assert stopped.stop.reason is StopReason.END_TURN
    assert isinstance(seen, UsageSeen)
    assert (seen.usage.input_tokens, seen.usage.output_tokens) == (1, 2)


def test_parallel_calls_with_interleaved_deltas_keep_their_blocks() -> None:
    call = {"type": "function_call", "arguments": "", "name": "f"}
    events = read_stream(
        created(),
        added(0, **call, id="fc_a", call_id="call_a"),
        added(1, **call, id="fc_b", call_id="call_b", namespace="n"),
        delta("function_call_arguments", 0, '{"a"'),
        delta("function_call_arguments", 1, '{"b"'),
        delta("function_call_arguments", 0, ":1}"),
        delta("function_call_arguments", 1, ":2}"),
        frame("response.function_call_arguments.done", output_index=0, arguments='{"a":1}'),
        done(0, **call | {"arguments": '{"a":1}'}),
        done(1, **call | {"arguments": '{"b":2}'}),
        completed(),
    )
    assert facts(events) == [
        BlockStart(index=0, part=ToolUse(id="call_a", name="f", arguments="")),
        BlockStart(index=1, part=ToolUse(id="call_b", name="n.f", arguments="")),
        ArgumentsDelta(index=0, fragment='{"a"'),
        ArgumentsDelta(index=1, fragment='{"b"'),
        ArgumentsDelta(index=0, fragment=":1}"),
        ArgumentsDelta(index=1, fragment=":2}"),
        BlockStop(index=0),
        BlockStop(index=1),
    ]
    (stop,) = [event.stop for event in events if isinstance(event, Stopped)]
    assert stop.reason is StopReason.TOOL_USE


def test_summaries_of_one_thought_are_one_block_that_is_signed() -> None:
    events = read_stream(
        created(),
        added(0, type="reasoning", id="rs_1", summary=[]),
        delta("reasoning_summary_text", 0, "a", summary_index=0),
        delta("reasoning_summary_text", 0, "b", summary_index=1),
        done(0, type="reasoning", id="rs_1", encrypted_content="state"),
        completed(),
    )
    assert facts(events) == [
        BlockStart(index=0, part=Thinking(text="")),
        ThinkingDelta(index=0, text="a"),
        ThinkingDelta(index=0, text="\n\n"),
        ThinkingDelta(index=0, text="b"),
        SignatureDelta(index=0, signature="state", signer="responses"),
        BlockStop(index=0),
    ]


def test_a_thought_without_text_is_redacted_and_one_without_anything_is_none() -> None:
    events = read_stream(
        created(),
        added(0, type="reasoning", id="rs_1", summary=[]),
        done(0, type="reasoning", id="rs_1", summary=[], encrypted_content="state"),
        added(1, type="reasoning", id="rs_2", summary=[]),
        done(1, type="reasoning", id="rs_2", summary=[]),
        completed(),
    )
    assert facts(events) == [
        BlockStart(index=0, part=RedactedThinking(data="state", signer="responses")),
        BlockStop(index=0),
    ]


def part(place: int, nth: int, **content: Any) -> bytes:
    return frame("response.content_part.added", output_index=place, content_index=nth, part=content)


def test_texts_refusals_and_citations() -> None:
    cited = {"type": "url_citation", "url": "u", "title": "t", "start_index": 0, "end_index": 1}
    where = {"output_index": 0, "content_index": 0}
    events = read_stream(
        created(),
        added(0, type="message", id="msg_1", content=[]),
        part(0, 0, type="output_text", text=""),
        delta("output_text", 0, "a", content_index=0),
        frame("response.output_text.annotation.added", **where, annotation=cited),
        frame(
            "response.content_part.done", **where, part={"type": "output_text", "text": "a", "annotations": [cited]}
        ),
        part(0, 1, type="refusal", refusal=""),
        delta("refusal", 0, "no", content_index=1),
        done(0, type="message", id="msg_1", content=[{"type": "output_text", "text": "a"}]),
        completed(),
    )
    assert [type(event) for event in facts(events)] == [
        *(BlockStart, TextDelta, CitationDelta, BlockStop),
        *(BlockStart, RefusalDelta, BlockStop),
    ]
    assert bare(events[5]) == BlockStart(index=1, part=Refusal(text=""))


def test_what_no_delta_has_said_is_said_when_it_comes_whole() -> None:
    call = {"type": "function_call", "call_id": "call_a", "name": "f"}
    said = {"type": "message", "content": [{"type": "output_text", "text": "hello", "annotations": []}]}
    events = read_stream(
        created(),
        added(0, **call, arguments=""),
        done(0, **call, arguments="{}"),
        added(1, type="message", content=[]),
        part(1, 0, type="output_text", text=""),
        delta("output_text", 1, "hel", content_index=0),
        done(1, **said),
        completed(output=[{}, {}, said]),
    )
    assert facts(events) == [
        BlockStart(index=0, part=ToolUse(id="call_a", name="f", arguments="")),
        ArgumentsDelta(index=0, fragment="{}"),
        BlockStop(index=0),
        BlockStart(index=1, part=Text(text="")),
        TextDelta(index=1, text="hel"),
        TextDelta(index=1, text="lo"),
        BlockStop(index=1),
        BlockStart(index=2, part=Text(text="")),
        TextDelta(index=2, text="hello"),
        BlockStop(index=2),
    ]


def test_blocks_that_were_left_open_end_with_the_answer() -> None:
    events = read_stream(created(), delta("output_text", 0, "a", content_index=0), completed("incomplete"))
    assert facts(events) == [
        BlockStart(index=0, part=Text(text="")),
        TextDelta(index=0, text="a"),
        BlockStop(index=0),
    ]


def test_hosted_tools_are_opaque_and_keepalives_are_pings() -> None:
    events = read_stream(
        created(),
        added(0, type="web_search_call", id="ws_1"),
        frame("response.web_search_call.searching", output_index=0),
        frame("keepalive", sequence_number=3),
        completed(),
    )
    kinds = [event.kind if isinstance(event, OpaqueEvent) else type(event) for event in facts(events)]
    assert kinds == ["web_search_call", "response.web_search_call.searching", Ping]


def test_nothing_is_read_after_an_error() -> None:
    error = {"type": "server_error", "code": "server_error", "message": "m", "param": None}
    events = read_stream(created(), frame("error", error=error), frame("response.failed", response={}), completed())
    assert events[1:] == [Errored(signal=FailureSignal(code="server_error", type="server_error", message="m"))]


def test_what_a_failed_answer_cost_is_read_and_tapped() -> None:
    error = {"code": "server_error", "message": "m"}
    wire = created() + completed("failed", error=error)
    (started, seen, errored) = read_stream(wire)
    assert isinstance(started, Started)
    assert isinstance(seen, UsageSeen)
    assert (seen.usage.prompt_tokens, seen.usage.output_tokens) == (1, 2)
    assert errored == Errored(signal=FailureSignal(code="server_error", message="m"))
    tap = PROTOCOL.stream_tap()
    tap.feed(wire)
    tap.close()
    assert tap.usage == seen.usage
    assert (tap.ended, tap.error) == (False, errored.signal)


def test_a_stream_that_just_ends_has_no_end() -> None:
    events = read_stream(created(), delta("output_text", 0, "a", content_index=0))
    assert not any(isinstance(event, Ended | Stopped) for event in events)


def test_malformed_frames_are_skipped_and_counted() -> None:
    reader = PROTOCOL.stream_reader()
    broken = [
        b"data: {\n\n",
        b"data: []\n\n",
        frame("response.output_text.delta", output_index=0, content_index=0),
        frame("response.output_text.delta", output_index=[], content_index=0, delta="a"),
        frame("response.function_call_arguments.delta", output_index=9, delta="a"),
    ]
    chunks = reader.feed(created() + b"".join(broken) + completed())
    assert reader.malformed == len(broken)
    assert isinstance(chunks[-1].events[-1], Ended)


def test_log_probabilities_are_reported_as_leftovers() -> None:
    reader = PROTOCOL.stream_reader()
    (chunk,) = reader.feed(delta("output_text", 0, "a", content_index=0, logprobs=[{"token": "a"}]))
    assert chunk.native is not None
    assert chunk.native.fields == {"logprobs": [{"token": "a"}]}
