"""Recorded streams go from each dialect to each other, in pieces of any size: what comes out is native there, in
balance, ends once, and says the same. One that broke in the recording breaks natively."""

from __future__ import annotations

import msgspec
import pytest
from botocore.exceptions import EventStreamError

from busbar.protocols.errors import ErrorKind, ErrorReport
from busbar.protocols.ir import StopReason
from busbar.protocols.receipt import Receipt
from busbar.protocols.registry import PROTOCOLS
from busbar.protocols.translate import StreamTranslator
from tests.protocols.across import (
    HOP,
    Said,
    answered,
    events_of,
    expected,
    others,
    said_by_events,
    streamed,
    streams_of,
    totals,
)
from tests.protocols.bedrock.wire import sdk_events
from tests.protocols.identity import check_balance, split_at_random
from tests.protocols.sdk_clients import ADD_UP
from tests.protocols.sdk_heard import Heard, endings, heard_in_answer, heard_in_events
from tests.protocols.sdk_models import Frame, frames_of, native_answer, native_events
from tests.recordings import Recording

BROKE = ErrorReport(kind=ErrorKind.UPSTREAM, message="broke off")

FAILS_AS_AN_ERROR = {"responses", "cohere"}
"""Dialects whose word for an answer that failed is that of a stream that broke."""

WHOLE_CALLS = {"gemini"}
"""Dialects that tell a call when it is whole, and none of one that broke off."""

SUMMARY = ("output_index", "summary_index")
OPENING: dict[str, dict[tuple[str, str], tuple[str, ...]]] = {
    "anthropic": {("content_block_start", "content_block_stop"): ("index",)},
    "responses": {
        ("response.output_item.added", "response.output_item.done"): ("output_index",),
        ("response.content_part.added", "response.content_part.done"): ("output_index", "content_index"),
        ("response.reasoning_summary_part.added", "response.reasoning_summary_part.done"): SUMMARY,
    },
    "bedrock": {("contentBlockStart", "contentBlockStop"): ("contentBlockIndex",)},
    "cohere": {
        ("content-start", "content-end"): ("index",),
        ("tool-call-start", "tool-call-end"): ("index",),
        ("citation-start", "citation-end"): ("index",),
    },
}
"""What opens and what closes in a dialect's streams, and the keys of its place."""


@pytest.mark.parametrize("recording", answered(streamed))
def test_a_stream_is_native_everywhere_and_says_the_same(recording: Recording) -> None:
    for seed, stream in enumerate(streams_of(recording), recording.number):
        said = said_by_events(events_of(recording.protocol, stream))
        for target in others(recording):
            pipe, wire = translated(split_at_random(stream, seed), recording.protocol, target)
            assert (pipe.ended, pipe.error, totals(pipe.usage)) == (said.ended, said.error, said.heard.tokens)
            check_told(target, wire, said)


@pytest.mark.parametrize("recording", answered(lambda it: it.number % 3 == 0 and streamed(it)))
def test_an_sdks_own_client_adds_it_up_to_the_same(recording: Recording) -> None:
    """Of a third of the streams: this is slow."""
    stream, *_ = streams_of(recording)
    said = said_by_events(events_of(recording.protocol, stream))
    for target in ADD_UP.keys() & set(others(recording)):
        told = expected(said, target, calls_whole=False)
        if said.ended and told.reason is not StopReason.ERROR:
            _, wire = translated([stream], recording.protocol, target)
            answer = ADD_UP[target](wire)
            assert answer is None or heard_in_answer(target, answer) == told.heard


@pytest.mark.parametrize(
    "recording", answered(lambda it: it.number % 5 == 0 and streamed(it) and it.protocol != "gemini")
)
def test_a_stream_for_gemini_may_be_an_array(recording: Recording) -> None:
    stream, *_ = streams_of(recording)
    _, array = translated(split_at_random(stream, 1), recording.protocol, "gemini", framing="array")
    _, wire = translated([stream], recording.protocol, "gemini")
    assert [("", value) for value in msgspec.json.decode(array)] == frames_of("gemini", wire)
    assert events_of("gemini", array) == events_of("gemini", wire)


def translated(pieces: list[bytes], source: str, target: str, framing: str = "") -> tuple[StreamTranslator, bytes]:
    """What the caller gets: with the native error at the end where the stream broke."""
    hop = msgspec.structs.replace(HOP, framing=framing)
    pipe = StreamTranslator(PROTOCOLS[source], PROTOCOLS[target], hop, Receipt())
    wire = b"".join([pipe.feed(piece) for piece in pieces]) + pipe.close()
    return pipe, wire if pipe.ended else wire + pipe.break_off(BROKE)


def check_told(target: str, wire: bytes, said: Said) -> None:
    """That `wire`, in the dialect `target`, tells what was `said`."""
    told = expected(said, target, calls_whole=target in WHOLE_CALLS)
    failed = target in FAILS_AS_AN_ERROR and told.reason is StopReason.ERROR
    frames = frames_of(target, wire)
    events = events_of(target, wire)
    heard = heard_in_events(target, native_events(target, wire, frames))
    again = said_by_events(events)
    check_balance(events)
    check_blocks(target, frames, whole=said.ended)
    if target == "responses":
        check_order(frames, heard)
    if said.ended and not failed:
        assert endings(target, frames) == ["whole"]
        assert heard == told.heard
        assert again == told
        return
    assert endings(target, frames) == ["broken"]
    assert again.error is not None
    assert again.heard == msgspec.structs.replace(heard, tokens=again.heard.tokens)
    assert (heard.text, heard.thinking) == (told.heard.text, told.heard.thinking)
    assert heard.calls == told.heard.calls or target in WHOLE_CALLS
    if failed:
        assert heard.tokens == told.heard.tokens
    if target == "bedrock":
        with pytest.raises(EventStreamError):
            sdk_events(wire)


def check_blocks(target: str, frames: list[Frame], *, whole: bool) -> None:
    """What opens is closed, once, and a place is opened once. Bedrock's texts and thoughts open with their first
    delta."""
    for (opening, closing), keys in OPENING.get(target, {}).items():
        opened: list[tuple[int, ...]] = []
        closed: list[tuple[int, ...]] = []
        for kind, value in frames:
            place = tuple(value[key] for key in keys) if kind in (opening, closing, "contentBlockDelta") else ()
            if kind == opening or (kind == "contentBlockDelta" and place not in opened):
                assert place not in opened
                opened.append(place)
            elif kind == closing:
                assert place in opened
                closed.append(place)
        assert len(set(closed)) == len(closed)
        assert not whole or sorted(opened) == sorted(closed)


def check_order(frames: list[Frame], heard: Heard) -> None:
    """Events of Responses: numbered without a gap, begun in two steps, and ended with what was told, item by item."""
    assert [value["sequence_number"] for _, value in frames] == list(range(len(frames)))
    kinds = [kind for kind, _ in frames]
    last = frames[-1][1]["response"]
    if len(kinds) > 1:
        assert kinds[:2] == ["response.created", "response.in_progress"]
    if kinds[-1] != "response.failed":
        done = {value["output_index"]: value["item"] for kind, value in frames if kind == "response.output_item.done"}
        assert last["output"] == [done[at] for at in sorted(done)]
        assert heard_in_answer("responses", native_answer("responses", last)) == heard
