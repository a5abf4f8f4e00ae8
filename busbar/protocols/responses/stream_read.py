"""Server-sent events of this dialect → chunks of IR events: one chunk per wire event.

response.created                     Started (also .queued, .in_progress, where a stream begins with these)
output_item.added                    BlockStart for a function call; other items begin with their parts
content_part.added                   BlockStart for text and refusals
output_text.delta, refusal.delta,    the deltas; a thought's block begins with its first one, and the summaries
  reasoning_*.delta, …arguments.delta  of one reasoning item are one block
output_text.annotation.added         CitationDelta
content_part.done, output_item.done  BlockStop
response.completed, .incomplete      Stopped, UsageSeen, Ended
response.failed, error               Errored
keepalive                            Ping
what repeats                         no events; but what no delta has said yet is said then
anything else                        OpaqueEvent: hosted tools, and items that only this dialect knows
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from busbar.protocols.framing.sse import SseDecoder, SseEvent
from busbar.protocols.ir import (
    ArgumentsDelta,
    Chunk,
    CitationDelta,
    Ended,
    Errored,
    OpaqueEvent,
    Ping,
    Refusal,
    RefusalDelta,
    Started,
    Stop,
    Stopped,
    StopReason,
    Text,
    TextDelta,
    UsageSeen,
)
from busbar.protocols.native import Native
from busbar.protocols.protocol import InvalidRequest
from busbar.protocols.responses.content_read import read_citation
from busbar.protocols.responses.errors import error_in_answer, signal_of_error
from busbar.protocols.responses.items_read import read_call
from busbar.protocols.responses.response import ECHOES
from busbar.protocols.responses.stops import read_stop
from busbar.protocols.responses.stream_form import Draft, WireForm
from busbar.protocols.responses.stream_items import Blocks, Item
from busbar.protocols.responses.usage import read_usage
from busbar.protocols.responses.words import DIALECT, OWN

_DECODER = msgspec.json.Decoder()
_STARTED_FACTS: tuple[tuple[str, type], ...] = (("id", str), ("model", str), ("created_at", int))
_OPENED_BY_PARTS: Mapping[Any, type[Text] | type[Refusal]] = {"output_text": Text, "refusal": Refusal}


class ResponsesStreamReader:
    """A `StreamReader`. `malformed` counts frames that were skipped."""

    __slots__ = ("_blocks", "_decoder", "_over", "_started", "malformed")

    def __init__(self) -> None:
        self._decoder = SseDecoder()
        self._blocks = Blocks()
        self._started = False
        self._over = False
        self.malformed = 0

    def feed(self, data: bytes) -> list[Chunk]:
        """Raises `BrokenFraming`."""
        return [] if self._over else self._read(self._decoder.feed(data))

    def close(self) -> list[Chunk]:
        """A last event that lacks only its blank line is still read. Nothing stands for a missing terminal event."""
        return [] if self._over else self._read(self._decoder.close())

    def _read(self, events: list[SseEvent]) -> list[Chunk]:
        chunks = []
        for event in events:
            if self._over:
                break
            try:
                document = _DECODER.decode(event.data)
                if type(document) is not dict:
                    raise InvalidRequest("", "expected an object")
                kind = document.get("type") or event.event
                read = _EVENTS.get(kind)
                chunks.append(_opaque(event.event, kind, document) if read is None else read(self, event, document))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, InvalidRequest, TypeError, KeyError):
                self.malformed += 1
        return chunks

    def _snapshot(self, frame: SseEvent, document: dict[str, Any]) -> Chunk:
        draft = Draft(frame.event, document)
        if not self._started:
            self._started = True
            response = document["response"]
            facts = {key: response[key] for key, kind in _STARTED_FACTS if type(response.get(key)) is kind}
            started = Started(
                id=facts.get("id", ""), model=facts.get("model", ""), created=facts.get("created_at"), native=OWN
            )
            draft.take(started, *[("response", key) for key in facts])
        return draft.chunk()

    def _item_added(self, frame: SseEvent, document: dict[str, Any]) -> Chunk:
        value = document["item"]
        item = self._blocks.add_item(document.get("output_index"), value.get("type"))
        if item.kind in ("message", "reasoning"):
            return Draft(frame.event, document).chunk()
        if item.kind != "function_call":
            return _opaque(frame.event, item.kind, document)
        draft = Draft(frame.event, document)
        use = read_call(dict(value), "item")
        arguments, use.arguments = use.arguments, ""
        block, start = self._blocks.start(use)
        item.block = block
        self._blocks.called_tool = True
        draft.take(start, *[("item", key) for key in ("call_id", "name") if value.get(key) is not None])
        if arguments:
            block.said = len(arguments)
            draft.take(ArgumentsDelta(index=block.index, fragment=arguments), ("item", "arguments"))
        return draft.chunk()

    def _part_added(self, frame: SseEvent, document: dict[str, Any]) -> Chunk:
        part = document["part"]
        make = _OPENED_BY_PARTS.get(part.get("type"))
        if make is None:
            known = part.get("type") in ("reasoning_text", "summary_text")
            return Draft(frame.event, document).chunk() if known else _opaque(frame.event, "content_part", document)
        draft = Draft(frame.event, document)
        block, start = self._blocks.start(make(text=""))
        self._item(document).parts[document.get("content_index")] = block
        draft.add(start)
        if text := part.get("text"):
            block.said = len(text)
            draft.take(TextDelta(index=block.index, text=text), ("part", "text"))
        return draft.chunk()

    def _text_delta(self, frame: SseEvent, document: dict[str, Any]) -> Chunk:
        draft = Draft(frame.event, document)
        block = self._blocks.part(self._item(document), document.get("content_index"), Text, draft)
        text = _text(document, "delta")
        block.said += len(text)
        if document.get("logprobs"):
            draft.left = {"logprobs": document.pop("logprobs")}
        draft.take(TextDelta(index=block.index, text=text), ("delta",))
        return draft.chunk()

    def _refusal_delta(self, frame: SseEvent, document: dict[str, Any]) -> Chunk:
        draft = Draft(frame.event, document)
        block = self._blocks.part(self._item(document), document.get("content_index"), Refusal, draft)
        text = _text(document, "delta")
        block.said += len(text)
        draft.take(RefusalDelta(index=block.index, text=text), ("delta",))
        return draft.chunk()

    def _thinking_delta(self, frame: SseEvent, document: dict[str, Any]) -> Chunk:
        draft = Draft(frame.event, document)
        place = (document.get("type"), document.get("summary_index", document.get("content_index")))
        draft.take(self._blocks.think(self._item(document), place, _text(document, "delta"), draft), ("delta",))
        return draft.chunk()

    def _arguments_delta(self, frame: SseEvent, document: dict[str, Any]) -> Chunk:
        block = self._item(document).block
        if block is None or block.closed:
            raise InvalidRequest("output_index", "expected the place of an open function call")
        draft = Draft(frame.event, document)
        fragment = _text(document, "delta")
        block.said += len(fragment)
        draft.take(ArgumentsDelta(index=block.index, fragment=fragment), ("delta",))
        return draft.chunk()

    def _annotation(self, frame: SseEvent, document: dict[str, Any]) -> Chunk:
        citation = read_citation(document.get("annotation"))
        if citation is None:
            return _opaque(frame.event, "annotation", document)
        draft = Draft(frame.event, document)
        block = self._blocks.part(self._item(document), document.get("content_index"), Text, draft)
        block.citations += 1
        draft.take(CitationDelta(index=block.index, citation=citation), ("annotation",))
        return draft.chunk()

    def _repeated(self, frame: SseEvent, document: dict[str, Any]) -> Chunk:
        return Draft(frame.event, document).chunk()

    def _part_done(self, frame: SseEvent, document: dict[str, Any]) -> Chunk:
        draft = Draft(frame.event, document)
        block = self._item(document).parts.get(document.get("content_index"))
        if block is not None:
            self._blocks.finish_part(block, document["part"], draft)
        return draft.chunk()

    def _item_done(self, frame: SseEvent, document: dict[str, Any]) -> Chunk:
        value = document["item"]
        kind = value.get("type")
        if kind not in ("message", "reasoning", "function_call"):
            self._item(document)
            return _opaque(frame.event, kind, document)
        draft = Draft(frame.event, document)
        self._blocks.finish_item(document.get("output_index"), value, draft, ("item",))
        return draft.chunk()

    def _finished(self, frame: SseEvent, document: dict[str, Any]) -> Chunk:
        draft = Draft(frame.event, document)
        response = document["response"]
        if not self._started:
            self._started = True
            draft.add(Started(id=str(response.get("id", "")), model=str(response.get("model", "")), native=OWN))
        for place, item in enumerate(response.get("output") or ()):
            if isinstance(item, dict) and not self._blocks.knows(place):
                self._blocks.finish_item(place, item, draft, None)
        self._blocks.close_all(draft)
        stop = read_stop(dict(response), called_tool=self._blocks.called_tool)
        draft.add(Stopped(stop=stop or Stop(reason=StopReason.OTHER)))
        if isinstance(response.get("usage"), dict):
            draft.take(UsageSeen(usage=read_usage(response["usage"])), ("response", "usage"))
        draft.inside = True
        draft.left = {key: response.pop(key) for key in list(response) if key not in _KEPT}
        draft.add(Ended())
        self._over = True
        return draft.chunk()

    def _failed(self, frame: SseEvent, document: dict[str, Any]) -> Chunk:
        """The whole event is kept: errors go back exactly as they came."""
        self._over = True
        response = document.get("response")
        if isinstance(response, dict):
            signal = error_in_answer({**response, "status": "failed"})
        else:
            signal = signal_of_error(document.get("error") or document)
        draft = Draft(frame.event, document)
        if isinstance(response, dict) and isinstance(response.get("usage"), dict):
            draft.add(UsageSeen(usage=read_usage(response["usage"])))
        if signal is not None:
            draft.add(Errored(signal=signal))
        return draft.chunk()

    def _ping(self, frame: SseEvent, document: dict[str, Any]) -> Chunk:
        draft = Draft(frame.event, document)
        draft.add(Ping())
        return draft.chunk()

    def _item(self, document: dict[str, Any]) -> Item:
        return self._blocks.item(document.get("output_index"))


_KEPT = ECHOES | {"id", "model", "created_at", "status", "incomplete_details", "output", "usage"}
"""Of the last snapshot: what is in the IR already, and what is not missed."""


def _text(document: dict[str, Any], key: str) -> str:
    text = document[key]
    if type(text) is not str:
        raise InvalidRequest(key, "expected a string")
    return text


def _opaque(event: str, kind: Any, document: dict[str, Any]) -> Chunk:
    opaque = OpaqueEvent(dialect=DIALECT, kind=str(kind), value=document)
    return Chunk(events=[opaque], native=Native(DIALECT, {}, WireForm(event)))


_EVENTS: Mapping[Any, Callable[[ResponsesStreamReader, SseEvent, dict[str, Any]], Chunk]] = {
    "response.created": ResponsesStreamReader._snapshot,
    "response.queued": ResponsesStreamReader._snapshot,
    "response.in_progress": ResponsesStreamReader._snapshot,
    "response.output_item.added": ResponsesStreamReader._item_added,
    "response.output_item.done": ResponsesStreamReader._item_done,
    "response.content_part.added": ResponsesStreamReader._part_added,
    "response.content_part.done": ResponsesStreamReader._part_done,
    "response.output_text.delta": ResponsesStreamReader._text_delta,
    "response.output_text.annotation.added": ResponsesStreamReader._annotation,
    "response.output_text.done": ResponsesStreamReader._repeated,
    "response.refusal.delta": ResponsesStreamReader._refusal_delta,
    "response.refusal.done": ResponsesStreamReader._repeated,
    "response.reasoning_summary_part.added": ResponsesStreamReader._repeated,
    "response.reasoning_summary_part.done": ResponsesStreamReader._repeated,
    "response.reasoning_summary_text.delta": ResponsesStreamReader._thinking_delta,
    "response.reasoning_summary_text.done": ResponsesStreamReader._repeated,
    "response.reasoning_part.added": ResponsesStreamReader._repeated,
    "response.reasoning_part.done": ResponsesStreamReader._repeated,
    "response.reasoning_text.delta": ResponsesStreamReader._thinking_delta,
    "response.reasoning_text.done": ResponsesStreamReader._repeated,
    "response.function_call_arguments.delta": ResponsesStreamReader._arguments_delta,
    "response.function_call_arguments.done": ResponsesStreamReader._repeated,
    "response.completed": ResponsesStreamReader._finished,
    "response.incomplete": ResponsesStreamReader._finished,
    "response.failed": ResponsesStreamReader._failed,
    "response.cancelled": ResponsesStreamReader._failed,
    "error": ResponsesStreamReader._failed,
    "keepalive": ResponsesStreamReader._ping,
}
