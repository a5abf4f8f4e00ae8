"""Hypothesis strategies that the tests of all dialects share: hostile bytes, and answers as they stream.

An answer is drawn as `Said`: its parts, and why it stopped. `streamed` cuts it into the chunks of a stream in any
valid order: blocks overlap, deltas interleave, usage and pings come in between, several events share a chunk.
"""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st

from busbar.protocols.ir import (
    ArgumentsDelta,
    BlockStart,
    BlockStop,
    Chunk,
    Ended,
    Event,
    Part,
    Ping,
    Refusal,
    RefusalDelta,
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
from busbar.protocols.usage import Usage

FOREIGN = Native("elsewhere", {}, "own")
"""Of a dialect that is none of ours: every writer takes it for another's."""

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)

_WIRE_WORDS = st.sampled_from(
    (
        *("error", "message", "detail", "errors", "base_resp", "type", "code", "status", "delta", "content", "usage"),
        *("choices", "output", "candidates", "finish_reason", "index", "id", "event", "data", "text", "__type"),
    )
)
_wire_objects = st.recursive(
    json_values,
    lambda inner: st.dictionaries(_WIRE_WORDS, inner, max_size=4) | st.lists(inner, max_size=2),
    max_leaves=8,
)

hostile_bodies = st.one_of(
    st.binary(max_size=60),
    json_values.map(msgspec.json.encode),
    _wire_objects.map(msgspec.json.encode),
    st.sampled_from((b"", b"[" * 5000, b'{"error":' * 3000, b"<html><title>x</title>", b"\xff\xfe")),
)
"""Bytes, JSON, and JSON with the words of the dialects in odd places."""


def _framed(document: Any) -> bytes:
    kind = document.get("type") if isinstance(document, dict) else None
    name = b"event: %b\n" % kind.encode() if isinstance(kind, str) and kind.isprintable() else b""
    return b"%bdata: %b\n\n" % (name, msgspec.json.encode(document))


hostile_streams = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from(
            (b"\n\n", b"\r\n\r\n", b"data: [DONE]\n\n", b"[", b"{}", b",", b"]", b": x\n\n", b"data: {\n\n")
        ),
        _wire_objects.map(_framed),
    ),
    max_size=8,
).map(b"".join)


@st.composite
def pieces(draw: st.DrawFn, wire: bytes) -> list[bytes]:
    """`wire`, cut anywhere."""
    cuts = sorted(draw(st.lists(st.integers(0, len(wire)), max_size=6)))
    return [wire[start:end] for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True)]


class Said(msgspec.Struct, frozen=True):
    """What a drawn answer says."""

    parts: list[Part]
    stop: StopReason
    usage: Usage


_texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=8)
_arguments = st.dictionaries(st.sampled_from("abc"), st.integers(0, 9) | _texts, max_size=2).map(
    lambda value: msgspec.json.encode(value).decode()
)
_parts = st.one_of(
    st.builds(Text, text=_texts),
    st.builds(Thinking, text=_texts),
    st.builds(Refusal, text=_texts),
    st.builds(ToolUse, id=st.just(""), name=st.sampled_from(("look", "find")), arguments=_arguments),
)


@st.composite
def answers(draw: st.DrawFn) -> Said:
    parts = draw(st.lists(_parts, max_size=4))
    for at, part in enumerate(parts):
        if isinstance(part, ToolUse):
            part.id = f"call_{at}" if draw(st.booleans()) else ""
    return Said(
        parts=parts,
        stop=draw(st.sampled_from((StopReason.END_TURN, StopReason.MAX_TOKENS))),
        usage=Usage(input_tokens=draw(st.integers(0, 99)), output_tokens=draw(st.integers(0, 99))),
    )


def said_by(part: Part) -> str:
    return part.arguments if isinstance(part, ToolUse) else part.text  # type: ignore[union-attr]


def _empty(part: Part) -> Part:
    if isinstance(part, ToolUse):
        return ToolUse(id=part.id, name=part.name, arguments="")
    return type(part)(text="")  # type: ignore[call-arg,return-value]


def _delta(part: Part, index: int, text: str) -> Event:
    match part:
        case Text():
            return TextDelta(index=index, text=text)
        case Thinking():
            return ThinkingDelta(index=index, text=text)
        case Refusal():
            return RefusalDelta(index=index, text=text)
        case _:
            return ArgumentsDelta(index=index, fragment=text)


def _blocks(part: Part, index: int, cut: int) -> list[Event]:
    """One block's events, in their order."""
    text = said_by(part)
    at = cut % (len(text) + 1)
    deltas = [_delta(part, index, piece) for piece in (text[:at], text[at:]) if piece]
    return [BlockStart(index=index, part=_empty(part)), *deltas, BlockStop(index=index)]


@st.composite
def streamed(draw: st.DrawFn, said: Said) -> list[Chunk]:
    """The stream of `said`. Only tool calls overlap: dialects that stream them have them do so."""
    events: list[Event] = [Started(id="id-1", model="m", created=1, native=FOREIGN)]
    waiting: list[list[Event]] = []
    for index, part in enumerate(said.parts):
        block = _blocks(part, index, draw(st.integers(0, 8)))
        if isinstance(part, ToolUse):
            events.append(block[0])
            waiting.append(block[1:])
        else:
            events += [*draw(_interleaved(waiting)), *block]
            waiting = []
    events += draw(_interleaved(waiting))
    seen = UsageSeen(usage=said.usage)
    stopped = Stopped(stop=Stop(reason=said.stop))
    events += draw(st.sampled_from(([seen, stopped], [stopped, seen], [Ping(), stopped, Ping(), seen])))
    events.append(Ended())
    sizes = draw(st.lists(st.integers(1, 3), min_size=len(events), max_size=len(events)))
    chunks = []
    while events:
        size = sizes.pop()
        chunks.append(Chunk(events=events[:size], native=draw(st.sampled_from((None, FOREIGN)))))
        events = events[size:]
    return chunks


@st.composite
def _interleaved(draw: st.DrawFn, queues: list[list[Event]]) -> list[Event]:
    """The events of all queues, each queue in its order."""
    left = [list(queue) for queue in queues]
    events: list[Event] = []
    while any(left):
        nonempty = [queue for queue in left if queue]
        events.append(draw(st.sampled_from(range(len(nonempty))).map(nonempty.__getitem__)).pop(0))
    return events
