"""What every dialect must do, whichever it is: survive hostile bytes, and write what it can read."""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import busbar.protocols
from busbar.protocols.errors import ErrorKind, ErrorReport
from busbar.protocols.failures import ErrorRules, FailureClass, classify
from busbar.protocols.framing import BrokenFraming
from busbar.protocols.ir import (
    ArgumentsDelta,
    BlockStart,
    BlockStop,
    CitationDelta,
    Ended,
    Errored,
    Event,
    Refusal,
    RefusalDelta,
    Started,
    Stopped,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolUse,
    UsageSeen,
)
from busbar.protocols.protocol import Hop, Inspection, InvalidRequest, Protocol
from busbar.protocols.receipt import Receipt
from busbar.protocols.registry import PROTOCOLS
from busbar.protocols.usage import Usage, merged
from tests.protocols.strategies import (
    Said,
    answers,
    hostile_bodies,
    hostile_streams,
    json_values,
    pieces,
    said_by,
    streamed,
)

HOP = Hop(model="there", now=1_700_000_000, nonce="n")


def _dialects() -> dict[str, Protocol]:
    """Every package of `busbar.protocols` that ties a dialect together, registered or not."""
    packages = [module.name for module in pkgutil.iter_modules(busbar.protocols.__path__) if module.ispkg]
    modules = [importlib.import_module(f"busbar.protocols.{name}") for name in packages]
    return {module.PROTOCOL.name: module.PROTOCOL for module in modules if hasattr(module, "PROTOCOL")}


DIALECTS = _dialects()
assert DIALECTS.keys() >= PROTOCOLS.keys()

every_dialect = pytest.mark.parametrize("protocol", DIALECTS.values(), ids=DIALECTS)
quick = settings(max_examples=40, deadline=None)


# --- hostile bytes -------------------------------------------------------------------------------------------------


@every_dialect
@quick
@given(body=hostile_bodies, status=st.sampled_from((400, 401, 413, 429, 500, 503)), wait=st.text(max_size=8))
def test_any_error_body_is_read(protocol: Protocol, body: bytes, status: int, wait: str) -> None:
    signal = protocol.read_error(status, {"retry-after": wait}, body, 1_700_000_000.0)
    assert signal.status == status
    assert isinstance(classify(signal, protocol.knowledge, ErrorRules()), FailureClass)


@every_dialect
@quick
@given(body=hostile_bodies)
def test_any_answer_is_inspected(protocol: Protocol, body: bytes) -> None:
    assert isinstance(protocol.inspect_response(body), Inspection)


@every_dialect
@quick
@given(value=st.dictionaries(st.sampled_from(("messages", "message", "model", "content", "tools")), json_values))
def test_any_document_is_read_or_refused(protocol: Protocol, value: dict[str, Any]) -> None:
    for reads in (protocol.read_request, protocol.read_response):
        before = msgspec.json.encode(value)
        with contextlib.suppress(InvalidRequest):
            reads(value)
        assert msgspec.json.encode(value) == before


@every_dialect
@quick
@given(wire=hostile_streams, data=st.data())
def test_any_stream_is_survived(protocol: Protocol, wire: bytes, data: st.DataObject) -> None:
    """By the reader and by the tap, and they agree on whether it ended. A tap passes bytes untouched: all up to an
    error, but for frames that nobody could read (and a dialect with several framings may have to frame anew)."""
    cut = data.draw(pieces(wire))
    reader, tap = protocol.stream_reader(), protocol.stream_tap()
    passed, events = b"", []
    try:
        for piece in cut:
            events += [event for chunk in reader.feed(piece) for event in chunk.events]
        events += [event for chunk in reader.close() for event in chunk.events]
        for piece in cut:
            passed += tap.feed(piece)
        passed += tap.close()
    except BrokenFraming:
        return
    assert wire.startswith(passed) or tap.malformed or protocol.framing_content_types
    assert tap.ended is any(isinstance(event, Ended) for event in events)
    assert sum(isinstance(event, Ended | Errored) for event in events) <= 1


@every_dialect
@pytest.mark.parametrize(
    "wire",
    [
        b'data: {"type":[null]}\n\n',
        b'data: {"type":true}\n\n',
        b'event: error\ndata: {"error":[7]}\n\n',
        b'data: {"choices":[null],"usage":[]}\n\n',
        b"[\x00\n\x00]",
        b"[{]}",
    ],
)
def test_what_once_broke_a_reader_or_a_tap_is_survived(protocol: Protocol, wire: bytes) -> None:
    reader, tap = protocol.stream_reader(), protocol.stream_tap()
    for pipe in (reader, tap):
        with contextlib.suppress(BrokenFraming):
            pipe.feed(wire)
            pipe.close()
    assert not tap.ended


# --- errors, written -----------------------------------------------------------------------------------------------

PLAUSIBLE = {
    ErrorKind.BAD_REQUEST: {400},
    ErrorKind.UNAUTHENTICATED: {400, 401, 403},
    ErrorKind.FORBIDDEN: {403},
    ErrorKind.NOT_FOUND: {404},
    ErrorKind.TOO_LARGE: {400, 413},
    ErrorKind.CONTEXT_LENGTH: {400},
    ErrorKind.BUDGET: {400, 402},
    ErrorKind.RATE_LIMITED: {429},
    ErrorKind.UPSTREAM: {500, 502},
    ErrorKind.EXHAUSTED: {503, 529},
    ErrorKind.OVERLOADED: {503, 529},
    ErrorKind.TIMEOUT: {408, 504},
}


@every_dialect
@pytest.mark.parametrize("kind", ErrorKind)
def test_every_error_is_native_json(protocol: Protocol, kind: ErrorKind) -> None:
    report = ErrorReport(kind=kind, message="no luck", retry_after_secs=0.2, should_retry=False)
    answer = protocol.write_error(report, HOP)
    assert answer.status in PLAUSIBLE[kind]
    assert isinstance(msgspec.json.decode(answer.body), dict)
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["x-should-retry"] == "false"
    assert answer.headers[protocol.request_id_header]
    headers = {key.lower(): value for key, value in answer.headers.items()}
    assert "no luck" in protocol.read_error(answer.status, headers, answer.body, 0.0).message


@every_dialect
def test_a_context_error_is_known_again(protocol: Protocol) -> None:
    answer = protocol.write_error(ErrorReport(kind=ErrorKind.CONTEXT_LENGTH, message="prompt is too long"), HOP)
    headers = {key.lower(): value for key, value in answer.headers.items()}
    signal = protocol.read_error(answer.status, headers, answer.body, 0.0)
    assert classify(signal, protocol.knowledge, ErrorRules()) is FailureClass.CONTEXT_LENGTH


@every_dialect
@quick
@given(said=answers(), kind=st.sampled_from(ErrorKind), data=st.data())
def test_a_stream_that_breaks_says_so(protocol: Protocol, said: Said, kind: ErrorKind, data: st.DataObject) -> None:
    """At any point: what was written before and the error are whole frames, and the error is the last of them."""
    chunks = data.draw(streamed(said))[:-1]
    writer = protocol.stream_writer(HOP, Receipt())
    wire = b"".join(writer.write(chunk) for chunk in chunks[: data.draw(st.integers(1, len(chunks) or 1))])
    wire += writer.error(ErrorReport(kind=kind, message="broke off"))
    reader, tap = protocol.stream_reader(), protocol.stream_tap()
    events = [event for chunk in reader.feed(wire) for event in chunk.events]
    assert reader.malformed == 0
    assert isinstance(events[-1], Errored)
    assert "broke off" in events[-1].signal.message
    passed = tap.feed(wire)
    assert tap.error is not None
    assert not tap.ended
    assert passed + tap.break_off(ErrorReport(kind=kind, message="another")) == wire


# --- streams, written and read back --------------------------------------------------------------------------------


@every_dialect
@quick
@given(said=answers(), data=st.data())
def test_what_is_written_is_read_back(protocol: Protocol, said: Said, data: st.DataObject) -> None:
    writer = protocol.stream_writer(HOP, Receipt())
    wire = b"".join([writer.write(chunk) for chunk in data.draw(streamed(said))])
    reader, tap = protocol.stream_reader(), protocol.stream_tap()
    chunks = []
    for piece in data.draw(pieces(wire)):
        chunks += reader.feed(piece)
        tap.feed(piece)
    chunks += reader.close()
    tap.close()
    events = [event for chunk in chunks for event in chunk.events]
    assert reader.malformed == 0
    balanced(events)
    assert content_of(events) == expected(said)
    usage = usage_of(events)
    assert (usage.prompt_tokens, usage.output_tokens) == (said.usage.prompt_tokens, said.usage.output_tokens)
    assert tap.ended
    assert tap.error is None
    assert tap.usage is not None
    assert (tap.usage.prompt_tokens, tap.usage.output_tokens) == (usage.prompt_tokens, usage.output_tokens)
    rewriter = protocol.stream_writer(HOP, Receipt())
    again = protocol.stream_reader()
    back = again.feed(b"".join([rewriter.write(chunk) for chunk in chunks])) + again.close()
    assert content_of([event for chunk in back for event in chunk.events]) == expected(said)


def balanced(events: list[Event]) -> None:
    """Indexes without gaps, deltas into open blocks, every block closed before the stop, one terminal event."""
    open_blocks: set[int] = set()
    begun = 0
    stopped = False
    for event in events:
        match event:
            case BlockStart():
                assert event.index == begun
                assert not stopped
                open_blocks.add(event.index)
                begun += 1
            case BlockStop():
                open_blocks.remove(event.index)
            case TextDelta() | ThinkingDelta() | ArgumentsDelta() | RefusalDelta() | CitationDelta():
                assert event.index in open_blocks
            case Stopped():
                assert not stopped
                assert not open_blocks
                stopped = True
            case _:
                pass
    assert stopped
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Ended)
    assert sum(isinstance(event, Ended | Errored) for event in events) == 1


Content = tuple[str, str, list[tuple[str, Any]]]


def expected(said: Said) -> Content:
    return (
        "".join(said_by(part) for part in said.parts if isinstance(part, Text | Refusal)),
        "".join(said_by(part) for part in said.parts if isinstance(part, Thinking)),
        calls_of([(part.name, part.arguments) for part in said.parts if isinstance(part, ToolUse)]),
    )


def content_of(events: list[Event]) -> Content:
    text = thinking = ""
    calls: dict[int, list[str]] = {}
    for event in events:
        match event:
            case BlockStart(part=ToolUse() as use):
                calls[event.index] = [use.name, use.arguments]
            case ArgumentsDelta():
                calls[event.index][1] += event.fragment
            case BlockStart(part=Text() | Refusal() as part):
                text += part.text
            case BlockStart(part=Thinking() as part):
                thinking += part.text
            case TextDelta() | RefusalDelta():
                text += event.text
            case ThinkingDelta():
                thinking += event.text
            case _:
                pass
    return text, thinking, calls_of([(name, arguments) for name, arguments in calls.values()])


def calls_of(calls: list[tuple[str, str]]) -> list[tuple[str, Any]]:
    """In any order: a dialect that streams whole calls tells them as they end."""
    return sorted([(name, msgspec.json.decode(arguments or "{}")) for name, arguments in calls], key=repr)


def usage_of(events: list[Event]) -> Usage:
    usage: Usage | None = None
    for event in events:
        if isinstance(event, Started | UsageSeen):
            usage = merged(usage, event.usage)
    assert usage is not None
    return usage
