"""Server-sent events of this dialect → chunks of IR events: one chunk per event.

    message_start          Started (and whole blocks, when the message is prefilled)
    content_block_start    BlockStart; what the block holds already follows as deltas
    content_block_delta    TextDelta, ThinkingDelta, SignatureDelta, ArgumentsDelta or CitationDelta
    content_block_stop     BlockStop
    message_delta          Stopped, UsageSeen
    message_stop           Ended
    ping, error            Ping, Errored
    anything else          OpaqueEvent

Chunks remember the event's name as their form, so that the writer can make the same event again. A block of a kind
that the IR does not know opens as an `Opaque`, and its deltas are `OpaqueEvent`s. A frame that is not well formed
is skipped and counted; nothing is read after the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from busbar.protocols.anthropic.blocks_read import read_answer_block
from busbar.protocols.anthropic.citations import read_citation
from busbar.protocols.anthropic.response import take_constants
from busbar.protocols.anthropic.sources import need_text
from busbar.protocols.anthropic.usage import read_usage
from busbar.protocols.anthropic.words import DIALECT, OWN_FORM, read_stop
from busbar.protocols.error_body import signal_of
from busbar.protocols.fields import as_object, take_text
from busbar.protocols.framing.sse import SseDecoder, SseEvent
from busbar.protocols.ir import (
    ArgumentsDelta,
    BlockStart,
    BlockStop,
    Chunk,
    CitationDelta,
    Ended,
    Errored,
    Event,
    Opaque,
    OpaqueEvent,
    Part,
    Ping,
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
from busbar.protocols.open_block import OpenBlock
from busbar.protocols.protocol import InvalidRequest

_decode = msgspec.json.Decoder().decode


class _PlainText(msgspec.Struct, tag_field="type", tag="text_delta", forbid_unknown_fields=True, gc=False):
    text: str


class _PlainThinking(msgspec.Struct, tag_field="type", tag="thinking_delta", forbid_unknown_fields=True, gc=False):
    thinking: str


class _PlainArguments(msgspec.Struct, tag_field="type", tag="input_json_delta", forbid_unknown_fields=True, gc=False):
    partial_json: str


class _PlainDelta(msgspec.Struct, tag_field="type", tag="content_block_delta", forbid_unknown_fields=True, gc=False):
    index: int
    delta: _PlainText | _PlainThinking | _PlainArguments


_DELTA_HEAD = b'{"type":"content_block_delta",'
_decode_delta = msgspec.json.Decoder(_PlainDelta).decode


class AnthropicStreamReader:
    """A `StreamReader`. `malformed` counts frames that were skipped."""

    __slots__ = ("_decoder", "_indexes", "_open", "_over", "_stopped", "malformed")

    def __init__(self) -> None:
        self._decoder = SseDecoder()
        self._open: dict[int, OpenBlock] = {}
        self._indexes = 0
        self._stopped = False
        self._over = False
        self.malformed = 0

    def feed(self, data: bytes) -> list[Chunk]:
        return [] if self._over else self._read(self._decoder.feed(data))

    def close(self) -> list[Chunk]:
        """A last event that lacks only its blank line is still read. Nothing stands for a missing `message_stop`."""
        return [] if self._over else self._read(self._decoder.close())

    def _read(self, events: list[SseEvent]) -> list[Chunk]:
        chunks = []
        for event in events:
            if self._over:
                break
            data = event.data
            chunk = self._plain_delta(data) if data.startswith(_DELTA_HEAD) else None
            if chunk is None:
                chunk = self._read_event(data)
            if chunk is not None:
                chunks.append(chunk)
        return chunks

    def _plain_delta(self, data: bytes) -> Chunk | None:
        """A delta that says a piece of text or of arguments and nothing else, as nearly all events do. None where a
        closer look is due."""
        try:
            seen = _decode_delta(data)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return None
        block = self._open.get(seen.index)
        if block is None or block.kind is Opaque or block.index != seen.index:
            return None
        delta = seen.delta
        event: Event
        if type(delta) is _PlainText:
            event = TextDelta(index=block.index, text=delta.text)
        elif type(delta) is _PlainThinking:
            event = ThinkingDelta(index=block.index, text=delta.thinking)
        else:
            assert type(delta) is _PlainArguments, "there are no others"
            if delta.partial_json:
                block.needs_arguments = False
            event = ArgumentsDelta(index=block.index, fragment=delta.partial_json)
        return Chunk(events=[event], native=_PLAIN_DELTA)

    def _read_event(self, data: bytes) -> Chunk | None:
        """None: it was malformed."""
        try:
            value = _decode(data)
            if type(value) is not dict:
                raise InvalidRequest("", "expected an object")
            kind = value.get("type")
            return _EVENTS.get(kind, AnthropicStreamReader._unknown)(self, value)
        except (msgspec.DecodeError, UnicodeError, RecursionError, InvalidRequest, TypeError):
            self.malformed += 1
            return None

    def _message_start(self, value: dict[str, Any]) -> Chunk:
        left = as_object(value.get("message"), "message")
        take_constants(left)
        usage = read_usage(left.get("usage"))
        if usage is not None:
            del left["usage"]
        content = left.get("content")
        if isinstance(content, list):
            del left["content"]
        stop = _take_stop(left)
        started = Started(
            id=take_text(left, "id") or "",
            model=take_text(left, "model") or "",
            usage=usage,
            native=Native(DIALECT, left, OWN_FORM),
        )
        events: list[Event] = [started]
        for block in content if isinstance(content, list) else ():
            index = self._indexes
            self._indexes += 1
            part, deltas = _opened(read_answer_block(block, "content"), index)
            if isinstance(part, ToolUse) and not deltas:
                deltas = [ArgumentsDelta(index=index, fragment="{}")]
            events += [BlockStart(index=index, part=part), *deltas, BlockStop(index=index)]
        if stop is not None:
            events.append(self._stop(stop))
        return _chunk("message_start", events, value, "message")

    def _block_start(self, value: dict[str, Any]) -> Chunk:
        place = value.get("index")
        if type(place) is not int or place in self._open or self._stopped:
            raise InvalidRequest("index", "expected the index of a new block")
        index = self._indexes
        part, deltas = _opened(read_answer_block(as_object(value.get("content_block"), "content_block"), ""), index)
        self._indexes += 1
        block = self._open[place] = OpenBlock(index, part)
        if deltas:
            block.needs_arguments = False
        start = BlockStart(index=index, part=part)
        if place != index:
            start.native = Native(DIALECT, {}, place)
        return _chunk("content_block_start", [start, *deltas], value, "index", "content_block")

    def _block_delta(self, value: dict[str, Any]) -> Chunk:
        place, delta = value.get("index"), value.get("delta")
        block = self._open.get(place) if type(place) is int else None
        if block is None or type(delta) is not dict:
            raise InvalidRequest("index", "expected the index of an open block")
        kind = delta.get("type")
        make = None if block.kind is Opaque else _DELTAS.get(kind)
        if make is None:
            return self._unknown(value)
        left = dict(delta)
        event = make(left, block)
        if place != block.index:
            event.native = Native(DIALECT, {}, place)
        if len(left) == 1 and len(value) == 3:
            return Chunk(events=[event], native=_PLAIN_DELTA)
        del left["type"]
        fields = {key: kept for key, kept in value.items() if key not in ("type", "index", "delta")}
        return Chunk(events=[event], native=Native(DIALECT, {**fields, "delta": left}, "content_block_delta"))

    def _block_stop(self, value: dict[str, Any]) -> Chunk:
        place = value.get("index")
        block = self._open.pop(place, None) if type(place) is int else None
        if block is None:
            raise InvalidRequest("index", "expected the index of an open block")
        events = block.close()
        if place != block.index:
            events[-1].native = Native(DIALECT, {}, place)
        return _chunk("content_block_stop", [*events], value, "index")

    def _message_delta(self, value: dict[str, Any]) -> Chunk:
        delta = value.get("delta")
        left = {} if delta is None else as_object(delta, "delta")
        events: list[Event] = []
        stop = None if self._stopped else _take_stop(left)
        if stop is not None:
            events += self._close_blocks()
            events.append(self._stop(stop))
        usage = read_usage(value.get("usage"))
        taken = ["delta"]
        if usage is not None:
            events.append(UsageSeen(usage=usage))
            taken.append("usage")
        chunk = _chunk("message_delta", events, value, *taken)
        if left:
            kept = chunk.native.fields if chunk.native is not None else {}
            chunk.native = Native(DIALECT, {**kept, "delta": left}, "message_delta")
        return chunk

    def _message_stop(self, value: dict[str, Any]) -> Chunk:
        events = self._close_blocks()
        if not self._stopped:
            events.append(self._stop(Stop(reason=StopReason.OTHER)))
        self._over = True
        return _chunk("message_stop", [*events, Ended()], value)

    def _ping(self, value: dict[str, Any]) -> Chunk:
        return _chunk("ping", [Ping()], value)

    def _error(self, value: dict[str, Any]) -> Chunk:
        """The whole event is kept: errors go back exactly as they came, however odd."""
        self._over = True
        return Chunk(events=[Errored(signal=signal_of(value))], native=Native(DIALECT, value, "error"))

    def _unknown(self, value: dict[str, Any]) -> Chunk:
        kind = value.get("type")
        if type(kind) is not str:
            raise InvalidRequest("type", "expected a string")
        return Chunk(events=[OpaqueEvent(dialect=DIALECT, kind=kind, value=value)], native=_OPAQUE)

    def _stop(self, stop: Stop) -> Stopped:
        self._stopped = True
        return Stopped(stop=stop)

    def _close_blocks(self) -> list[Event]:
        """Stops for blocks that the provider left open, so that every start has one."""
        events: list[Event] = [event for block in self._open.values() for event in block.close()]
        self._open.clear()
        return events


def _opened(part: Part, index: int) -> tuple[Part, list[Event]]:
    """A block's empty form, and what it held already as deltas."""
    match part:
        case Text(text=text) if text:
            return msgspec.structs.replace(part, text=""), [TextDelta(index=index, text=text)]
        case Thinking(text=text, signature=signature) if text or signature:
            deltas: list[Event] = [ThinkingDelta(index=index, text=text)] if text else []
            if signature:
                deltas.append(SignatureDelta(index=index, signature=signature, signer=DIALECT))
                signature = ""
            return msgspec.structs.replace(part, text="", signature=signature), deltas
        case ToolUse(arguments="{}"):
            return msgspec.structs.replace(part, arguments=""), []
        case ToolUse(arguments=arguments):
            empty = msgspec.structs.replace(part, arguments="")
            return empty, [ArgumentsDelta(index=index, fragment=arguments)]
        case _:
            return part, []


def _take_stop(left: dict[str, Any]) -> Stop | None:
    word = take_text(left, "stop_reason")
    return None if word is None else read_stop(word, take_text(left, "stop_sequence"))


def _chunk(form: str, events: list[Event], value: dict[str, Any], *taken: str) -> Chunk:
    if len(value) == len(taken) + 1:
        return Chunk(events=events, native=_PLAIN[form])
    fields = {key: kept for key, kept in value.items() if key != "type" and key not in taken}
    return Chunk(events=events, native=Native(DIALECT, fields, form))


def _text_delta(left: dict[str, Any], block: OpenBlock) -> Event:
    return TextDelta(index=block.index, text=need_text(left, "text", "delta"))


def _thinking_delta(left: dict[str, Any], block: OpenBlock) -> Event:
    return ThinkingDelta(index=block.index, text=need_text(left, "thinking", "delta"))


def _signature_delta(left: dict[str, Any], block: OpenBlock) -> Event:
    return SignatureDelta(index=block.index, signature=need_text(left, "signature", "delta"), signer=DIALECT)


def _arguments_delta(left: dict[str, Any], block: OpenBlock) -> Event:
    fragment = need_text(left, "partial_json", "delta")
    if fragment:
        block.needs_arguments = False
    return ArgumentsDelta(index=block.index, fragment=fragment)


def _citations_delta(left: dict[str, Any], block: OpenBlock) -> Event:
    return CitationDelta(index=block.index, citation=read_citation(left.pop("citation", None), "delta.citation"))


_DELTAS: Mapping[Any, Callable[[dict[str, Any], OpenBlock], Any]] = {
    "text_delta": _text_delta,
    "thinking_delta": _thinking_delta,
    "signature_delta": _signature_delta,
    "input_json_delta": _arguments_delta,
    "citations_delta": _citations_delta,
}

_EVENTS: Mapping[Any, Callable[[AnthropicStreamReader, dict[str, Any]], Chunk]] = {
    "message_start": AnthropicStreamReader._message_start,
    "content_block_start": AnthropicStreamReader._block_start,
    "content_block_delta": AnthropicStreamReader._block_delta,
    "content_block_stop": AnthropicStreamReader._block_stop,
    "message_delta": AnthropicStreamReader._message_delta,
    "message_stop": AnthropicStreamReader._message_stop,
    "ping": AnthropicStreamReader._ping,
    "error": AnthropicStreamReader._error,
}

_PLAIN = {form: Native(DIALECT, {}, form) for form in _EVENTS}
_PLAIN_DELTA = _PLAIN["content_block_delta"]
_OPAQUE = Native(DIALECT, {}, "opaque")
