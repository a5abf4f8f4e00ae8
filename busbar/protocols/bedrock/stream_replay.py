"""Chunks that were read from this dialect → the very messages they were read from.

The chunk's form names the event and keeps its headers and padding; the IR events of the chunk hold its content;
leftovers are merged back. Events that the reader inferred (a text's start, a stop for a block left open) are not on
the wire, and each form takes only its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from busbar.protocols.bedrock.citations import write_citation
from busbar.protocols.bedrock.places import merge
from busbar.protocols.bedrock.stops import stated_stop
from busbar.protocols.bedrock.stream_form import PADDING, EventForm, event_frame
from busbar.protocols.bedrock.usage import write_usage
from busbar.protocols.bedrock.words import DIALECT
from busbar.protocols.framing.eventstream import encode_message
from busbar.protocols.ir import (
    ArgumentsDelta,
    BlockStart,
    Chunk,
    CitationDelta,
    Event,
    Opaque,
    OpaqueEvent,
    RedactedThinking,
    SignatureDelta,
    Stopped,
    TextDelta,
    ThinkingDelta,
    ToolUse,
    UsageSeen,
)
from busbar.protocols.native import own_fields, own_form

_encode = msgspec.json.Encoder().encode


def replay(chunk: Chunk) -> bytes:
    """The wire message of a chunk of this dialect's own; nothing for a chunk that was not on the wire."""
    kept = chunk.native
    assert kept is not None
    form = kept.form
    assert isinstance(form, EventForm)
    if not form.kind:
        return b""
    if form.kind in ("exception", "error"):
        assert form.headers is not None
        return encode_message(form.headers, kept.fields["payload"])
    last = chunk.events[-1] if chunk.events else None
    if isinstance(last, OpaqueEvent):
        value = last.value
    else:
        value = _FORMS[form.kind](chunk.events)
        merge(value, kept.fields)
        if form.padding is not None:
            value[PADDING] = form.padding
    payload = _encode(value)
    return event_frame(form.kind, payload) if form.headers is None else encode_message(form.headers, payload)


def delta_of(event: Event) -> dict[str, Any]:
    """What a delta says, as the one member of its union."""
    match event:
        case TextDelta():
            return {"text": event.text}
        case ArgumentsDelta():
            return {"toolUse": {"input": event.fragment}}
        case ThinkingDelta():
            return {"reasoningContent": {"text": event.text}}
        case SignatureDelta():
            return {"reasoningContent": {"signature": event.signature}}
        case BlockStart(part=RedactedThinking(data=data)):
            return {"reasoningContent": {"redactedContent": data}}
        case CitationDelta():
            return {"citation": write_citation(event.citation)}
        case _:
            raise AssertionError(f"no delta of this dialect: {type(event).__name__}")


def _message_start(events: list[Event]) -> dict[str, Any]:
    return {"role": "assistant"}


def _block_start(events: list[Event]) -> dict[str, Any]:
    (start,) = events
    assert isinstance(start, BlockStart)
    match start.part:
        case ToolUse() as tool:
            block = {"toolUse": {"toolUseId": tool.id, "name": tool.name, **own_fields(tool, DIALECT)}}
        case Opaque(value=value):
            block = value
        case part:
            raise AssertionError(f"no start of this dialect: {type(part).__name__}")
    return {"contentBlockIndex": _place(start), "start": block}


def _block_delta(events: list[Event]) -> dict[str, Any]:
    return {"contentBlockIndex": _place(events[-1]), "delta": delta_of(events[-1])}


def _block_stop(events: list[Event]) -> dict[str, Any]:
    return {"contentBlockIndex": _place(events[-1])}


def _message_stop(events: list[Event]) -> dict[str, Any]:
    stopped = events[-1]
    assert isinstance(stopped, Stopped)
    return stated_stop(stopped.stop)


def _metadata(events: list[Event]) -> dict[str, Any]:
    return next(({"usage": write_usage(event.usage)} for event in events if isinstance(event, UsageSeen)), {})


def _place(event: Any) -> int:
    """The block's index on the wire: the IR's, unless the provider counted differently."""
    form = own_form(event, DIALECT)
    place = form if isinstance(form, int) else event.index
    assert isinstance(place, int)
    return place


_FORMS: Mapping[str, Callable[[list[Event]], dict[str, Any]]] = {
    "messageStart": _message_start,
    "contentBlockStart": _block_start,
    "contentBlockDelta": _block_delta,
    "contentBlockStop": _block_stop,
    "messageStop": _message_stop,
    "metadata": _metadata,
}
