"""Eventstream messages of this dialect → chunks of IR events: one chunk per message.

    messageStart         Started
    contentBlockStart    BlockStart, for tools and for what the IR has no place for
    contentBlockDelta    TextDelta, ThinkingDelta, SignatureDelta, ArgumentsDelta or CitationDelta; a BlockStart
                         before the first one of a text or of thinking, as these have no start of their own
    contentBlockStop     BlockStop
    messageStop          Stopped
    metadata             UsageSeen, Ended: the usage comes last, and is the end of the answer
    exception, error     Errored
    anything else        OpaqueEvent

A message whose payload is not well formed is skipped and counted; one whose checksum is wrong breaks the stream.
Nothing is read after the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from busbar.protocols.bedrock.blocks_read import SERVER_TOOL
from busbar.protocols.bedrock.citations import read_citation
from busbar.protocols.bedrock.errors import read_stream_error
from busbar.protocols.bedrock.stops import take_stop
from busbar.protocols.bedrock.stream_form import NOT_ON_WIRE, PADDING, EventForm, form_of
from busbar.protocols.bedrock.usage import read_usage
from busbar.protocols.bedrock.words import DIALECT, OWN_FORM, SIGNER
from busbar.protocols.error_body import decode_error
from busbar.protocols.framing.eventstream import EventStreamDecoder, EventStreamMessage
from busbar.protocols.ir import (
    ArgumentsDelta,
    BlockStart,
    Chunk,
    CitationDelta,
    Ended,
    Errored,
    Event,
    Opaque,
    OpaqueEvent,
    Part,
    RedactedThinking,
    SignatureDelta,
    Started,
    Stopped,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolUse,
    UsageSeen,
)
from busbar.protocols.native import Native, native
from busbar.protocols.open_block import OpenBlock
from busbar.protocols.protocol import InvalidRequest

_decode = msgspec.json.Decoder().decode


class BedrockStreamReader:
    """A `StreamReader`. `malformed` counts messages that were skipped."""

    __slots__ = ("_decoder", "_indexes", "_open", "_over", "_stopped", "malformed")

    def __init__(self) -> None:
        self._decoder = EventStreamDecoder()
        self._open: dict[int, OpenBlock] = {}
        self._indexes = 0
        self._stopped = False
        self._over = False
        self.malformed = 0

    def feed(self, data: bytes) -> list[Chunk]:
        """Raises `framing.CorruptFrame` and `framing.FrameTooLarge`."""
        chunks: list[Chunk] = []
        if self._over:
            return chunks
        for message in self._decoder.feed(data):
            if self._over:
                break
            try:
                chunks.append(self._read(message))
            except (msgspec.DecodeError, UnicodeError, RecursionError, InvalidRequest):
                self.malformed += 1
        return chunks

    def close(self) -> list[Chunk]:
        """An answer that has stopped is whole, even where the provider omitted its `metadata`."""
        if self._over or not self._stopped:
            return []
        self._over = True
        return [Chunk(events=[Ended()], native=NOT_ON_WIRE)]

    def _read(self, message: EventStreamMessage) -> Chunk:
        headers = message.headers
        if headers.get(":message-type") in ("exception", "error"):
            return self._errored(message)
        value = _decode(message.payload)
        if type(value) is not dict:
            raise InvalidRequest("", "expected an object")
        kind = str(headers.get(":event-type"))
        read = _EVENTS.get(kind)
        left = {key: kept for key, kept in value.items() if key != PADDING}
        events = None if read is None else read(self, left)
        if events is None:
            events, left = [OpaqueEvent(dialect=DIALECT, kind=kind, value=value)], {}
        return Chunk(events=events, native=Native(DIALECT, left, form_of(kind, headers, value)))

    def _errored(self, message: EventStreamMessage) -> Chunk:
        """The payload is kept: errors go back exactly as they came, however odd."""
        self._over = True
        signal = read_stream_error(message.headers, decode_error(message.payload))
        form = EventForm(str(message.headers[":message-type"]), None, message.headers)
        return Chunk(events=[Errored(signal=signal)], native=Native(DIALECT, {"payload": message.payload}, form))

    def _message_start(self, left: dict[str, Any]) -> list[Event]:
        if left.get("role") == "assistant":
            del left["role"]
        return [Started(id="", model="", native=Native(DIALECT, {}, OWN_FORM))]

    def _block_start(self, left: dict[str, Any]) -> list[Event]:
        place = self._place(left)
        if place in self._open:
            raise InvalidRequest("contentBlockIndex", "expected the index of a new block")
        part = _opened(left.pop("start", None))
        return [self._begin(place, part)]

    def _block_delta(self, left: dict[str, Any]) -> list[Event] | None:
        place, delta = self._place(left), left.get("delta")
        if type(delta) is not dict or len(delta) != 1:
            return None
        ((kind, said),) = delta.items()
        make = _DELTAS.get(kind)
        events = None if make is None else make(self, place, said)
        if events is not None:
            del left["delta"]
        return events

    def _block_stop(self, left: dict[str, Any]) -> list[Event]:
        """A block that never said anything was an empty text."""
        place = self._place(left)
        events: list[Event] = [] if place in self._open else [self._begin(place, Text(text=""))]
        block = self._open.pop(place)
        events += block.close()
        _mark(events[-1], block, place)
        return events

    def _message_stop(self, left: dict[str, Any]) -> list[Event] | None:
        stop = None if self._stopped else take_stop(left)
        if stop is None:
            return None
        self._stopped = True
        events: list[Event] = [event for block in self._open.values() for event in block.close()]
        self._open.clear()
        return [*events, Stopped(stop=stop)]

    def _metadata(self, left: dict[str, Any]) -> list[Event]:
        events: list[Event] = []
        usage = read_usage(left.get("usage"))
        if usage is not None:
            del left["usage"]
            events.append(UsageSeen(usage=usage))
        if self._stopped:
            self._over = True
            events.append(Ended())
        return events

    def _text(self, place: int, said: Any) -> list[Event] | None:
        if type(said) is not str or (found := self._block(place, Text)) is None:
            return None
        block, events = found
        events.append(_mark(TextDelta(index=block.index, text=said), block, place))
        return events

    def _arguments(self, place: int, said: Any) -> list[Event] | None:
        block = self._open.get(place)
        if block is None or block.kind is not ToolUse or type(said) is not dict or said.keys() != {"input"}:
            return None
        fragment = said["input"]
        if type(fragment) is not str:
            return None
        if fragment:
            block.needs_arguments = False
        return [_mark(ArgumentsDelta(index=block.index, fragment=fragment), block, place)]

    def _thinking(self, place: int, said: Any) -> list[Event] | None:
        if type(said) is not dict or len(said) != 1:
            return None
        ((kind, text),) = said.items()
        if type(text) is not str:
            return None
        if kind == "redactedContent":
            if place in self._open:
                return None
            return [self._begin(place, RedactedThinking(data=text, signer=SIGNER))]
        if kind not in ("text", "signature") or (found := self._block(place, Thinking)) is None:
            return None
        block, events = found
        if kind == "text":
            events.append(_mark(ThinkingDelta(index=block.index, text=text), block, place))
        else:
            events.append(_mark(SignatureDelta(index=block.index, signature=text, signer=SIGNER), block, place))
        return events

    def _citation(self, place: int, said: Any) -> list[Event] | None:
        if type(said) is not dict or (found := self._block(place, Text)) is None:
            return None
        block, events = found
        citation = read_citation(said, "delta.citation")
        events.append(_mark(CitationDelta(index=block.index, citation=citation), block, place))
        return events

    def _place(self, left: dict[str, Any]) -> int:
        """Takes the block's index on the wire."""
        place = left.get("contentBlockIndex")
        if type(place) is not int or self._stopped:
            raise InvalidRequest("contentBlockIndex", "expected the index of a block")
        del left["contentBlockIndex"]
        return place

    def _block(self, place: int, kind: type[Text] | type[Thinking]) -> tuple[OpenBlock, list[Event]] | None:
        """The open block of `kind` at `place`, and the events that open it (and close a text or thinking that stood
        there). None when something else is open there."""
        block = self._open.get(place)
        events: list[Event] = []
        if block is None or block.kind is not kind:
            if block is not None:
                if block.kind not in (Text, Thinking):
                    return None
                events += block.close()
            events.append(self._begin(place, kind(text="")))
            block = self._open[place]
        return block, events

    def _begin(self, place: int, part: Part) -> BlockStart:
        block = self._open[place] = OpenBlock(self._indexes, part)
        self._indexes += 1
        start = BlockStart(index=block.index, part=part)
        _mark(start, block, place)
        return start


def _opened(start: Any) -> Part:
    """A block's empty form, as `contentBlockStart` states it."""
    tool = start.get("toolUse") if isinstance(start, dict) and len(start) == 1 else None
    if isinstance(tool, dict) and tool.get("type") != SERVER_TOOL:
        left = dict(tool)
        call_id, name = left.pop("toolUseId", None), left.pop("name", None)
        if isinstance(call_id, str) and isinstance(name, str):
            return ToolUse(id=call_id, name=name, arguments="", native=native(DIALECT, left))
    kind = SERVER_TOOL if isinstance(tool, dict) else "+".join(start) if isinstance(start, dict) else "start"
    return Opaque(dialect=DIALECT, kind=kind, value=start)


def _mark(event: Any, block: OpenBlock, place: int) -> Any:
    """Remembers the wire's index where the IR's is another."""
    if place != block.index:
        event.native = Native(DIALECT, {}, place)
    return event


_DELTAS: Mapping[str, Callable[[BedrockStreamReader, int, Any], list[Event] | None]] = {
    "text": BedrockStreamReader._text,
    "toolUse": BedrockStreamReader._arguments,
    "reasoningContent": BedrockStreamReader._thinking,
    "citation": BedrockStreamReader._citation,
}

_EVENTS: Mapping[str, Callable[[BedrockStreamReader, dict[str, Any]], list[Event] | None]] = {
    "messageStart": BedrockStreamReader._message_start,
    "contentBlockStart": BedrockStreamReader._block_start,
    "contentBlockDelta": BedrockStreamReader._block_delta,
    "contentBlockStop": BedrockStreamReader._block_stop,
    "messageStop": BedrockStreamReader._message_stop,
    "metadata": BedrockStreamReader._metadata,
}
