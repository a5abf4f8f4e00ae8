"""Chunks that were read from this dialect → the very events they were read from.

The chunk's form names the event; the IR events of the chunk hold its content; leftovers are merged back. Events that
the reader inferred (a stop for a block left open) are not on the wire, and each form takes only its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from busbar.protocols.anthropic.blocks_write import write_block
from busbar.protocols.anthropic.citations import write_citation
from busbar.protocols.anthropic.usage import write_usage
from busbar.protocols.anthropic.words import DIALECT, stop_word
from busbar.protocols.framing.sse import encode_event
from busbar.protocols.ir import (
    ArgumentsDelta,
    BlockStart,
    BlockStop,
    Chunk,
    CitationDelta,
    Event,
    OpaqueEvent,
    Part,
    SignatureDelta,
    Started,
    Stopped,
    TextDelta,
    ThinkingDelta,
    UsageSeen,
)
from busbar.protocols.native import Node, own_fields, own_form

_encode = msgspec.json.Encoder().encode


def replay(chunk: Chunk) -> bytes:
    """The wire event of a chunk of this dialect's own."""
    kept = chunk.native
    assert kept is not None
    if kept.form == "opaque":
        opaque = chunk.events[0]
        assert isinstance(opaque, OpaqueEvent)
        return encode_event(_encode(opaque.value), opaque.kind)
    value = {"type": kept.form, **_FORMS[kept.form](chunk.events)}
    for key, left in kept.fields.items():
        known = value.get(key)
        value[key] = {**known, **left} if isinstance(known, dict) and isinstance(left, dict) else left
    return encode_event(_encode(value), kept.form)


def _message_start(events: list[Event]) -> dict[str, Any]:
    started = events[0]
    assert isinstance(started, Started)
    message: dict[str, Any] = {
        "id": started.id,
        "type": "message",
        "role": "assistant",
        "model": started.model,
        "content": [write_block(part) for part in _filled(events)],
    }
    if started.usage is not None:
        message["usage"] = write_usage(started.usage)
    message.update(_stop(events))
    message.update(own_fields(started, DIALECT))
    return {"message": message}


def _block_start(events: list[Event]) -> dict[str, Any]:
    (part,) = _filled(events)
    return {"index": _place(events[0]), "content_block": write_block(part)}


def _block_delta(events: list[Event]) -> dict[str, Any]:
    event = events[0]
    match event:
        case TextDelta():
            delta: dict[str, Any] = {"type": "text_delta", "text": event.text}
        case ArgumentsDelta():
            delta = {"type": "input_json_delta", "partial_json": event.fragment}
        case ThinkingDelta():
            delta = {"type": "thinking_delta", "thinking": event.text}
        case SignatureDelta():
            delta = {"type": "signature_delta", "signature": event.signature}
        case CitationDelta():
            delta = {"type": "citations_delta", "citation": write_citation(event.citation)}
        case _:
            raise AssertionError(f"no delta of this dialect: {type(event).__name__}")
    return {"index": _place(event), "delta": delta}


def _block_stop(events: list[Event]) -> dict[str, Any]:
    return {"index": _place(events[-1])}


def _message_delta(events: list[Event]) -> dict[str, Any]:
    value: dict[str, Any] = {"delta": _stop(events)}
    for event in events:
        if isinstance(event, UsageSeen):
            value["usage"] = write_usage(event.usage)
    return value


def _bare(events: list[Event]) -> dict[str, Any]:
    return {}


def _stop(events: list[Event]) -> dict[str, Any]:
    for event in events:
        if isinstance(event, Stopped):
            stated: dict[str, Any] = {"stop_reason": stop_word(event.stop)}
            if event.stop.sequence is not None:
                stated["stop_sequence"] = event.stop.sequence
            return stated
    return {}


def _place(event: Event) -> int:
    """The block's index on the wire: the IR's, unless the provider skipped some."""
    assert isinstance(event, Node)
    form = own_form(event, DIALECT)
    if isinstance(form, int):
        return form
    assert isinstance(
        event, BlockStart | BlockStop | TextDelta | ThinkingDelta | SignatureDelta | ArgumentsDelta | CitationDelta
    )
    return event.index


def _filled(events: list[Event]) -> list[Part]:
    """The blocks that start here, with what the same wire event said of them already."""
    parts: dict[int, Part] = {}
    for event in events:
        match event:
            case BlockStart():
                parts[event.index] = event.part
            case TextDelta() | ThinkingDelta():
                parts[event.index] = msgspec.structs.replace(parts[event.index], text=event.text)
            case SignatureDelta():
                parts[event.index] = msgspec.structs.replace(parts[event.index], signature=event.signature)
            case ArgumentsDelta():
                parts[event.index] = msgspec.structs.replace(parts[event.index], arguments=event.fragment)
            case _:
                pass
    return list(parts.values())


_FORMS: Mapping[str, Callable[[list[Event]], dict[str, Any]]] = {
    "message_start": _message_start,
    "content_block_start": _block_start,
    "content_block_delta": _block_delta,
    "content_block_stop": _block_stop,
    "message_delta": _message_delta,
    "message_stop": _bare,
    "ping": _bare,
    "error": _bare,
}
