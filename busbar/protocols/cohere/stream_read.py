"""Server-sent events of this dialect → chunks of IR events: one chunk per event.

    message-start        Started
    content-start        BlockStart (text or thinking); what it holds already follows as a delta
    content-delta        TextDelta or ThinkingDelta
    content-end          BlockStop
    tool-plan-delta      ThinkingDelta; its block begins with the first, and ends when anything else begins
    tool-call-start      BlockStart of a tool call
    tool-call-delta      ArgumentsDelta
    tool-call-end        BlockStop
    citation-start       CitationDelta
    citation-end         nothing
    message-end          Stopped, UsageSeen, Ended; Errored where it says ERROR or TIMEOUT
    [DONE]               nothing: what follows the end
    debug, others        OpaqueEvent

Content and tool calls are counted apart on the wire. A frame that is not well formed is skipped and counted; after
the end nothing is read but `[DONE]`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from busbar.protocols.cohere.answer import TOOL_PLAN
from busbar.protocols.cohere.calls import read_call
from busbar.protocols.cohere.citations import read_citation
from busbar.protocols.cohere.errors import failed_answer
from busbar.protocols.cohere.stream_form import DONE, EventForm, StartForm, rest
from busbar.protocols.cohere.usage import read_usage
from busbar.protocols.cohere.words import DIALECT, FAILED, read_stop
from busbar.protocols.error_body import signal_of
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
    OpaqueEvent,
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
from busbar.protocols.leftovers import says_nothing
from busbar.protocols.native import Native

_decode = msgspec.json.Decoder().decode
_CONTENT = ("delta", "message", "content")
_CALLS = ("delta", "message", "tool_calls")


class _Malformed(LookupError):
    """An event that is not one of this dialect, or not in its place."""


class _Block:
    """An open block: its index in the IR, what its deltas keep of the wire's own index, and its kind."""

    __slots__ = ("index", "key", "place")

    def __init__(self, index: int, place: int, key: str) -> None:
        self.index = index
        self.place = None if place == index else Native(DIALECT, {}, place)
        self.key = key


class CohereStreamReader:
    """A `StreamReader`. `malformed` counts frames that were skipped."""

    __slots__ = ("_calls", "_content", "_decoder", "_indexes", "_over", "_plan", "_started", "malformed")

    def __init__(self) -> None:
        self._decoder = SseDecoder()
        self._content: dict[int, _Block] = {}
        self._calls: dict[int, _Block] = {}
        self._plan: _Block | None = None
        self._indexes = 0
        self._started = False
        self._over = False
        self.malformed = 0

    def feed(self, data: bytes) -> list[Chunk]:
        """Raises `FrameTooLarge`."""
        return self._read_all(self._decoder.feed(data))

    def close(self) -> list[Chunk]:
        """A last event that lacks only its blank line is still read. Nothing stands for a missing `message-end`."""
        return self._read_all(self._decoder.close())

    def _read_all(self, events: list[SseEvent]) -> list[Chunk]:
        chunks = []
        for event in events:
            if event.data == DONE:
                chunks.append(Chunk(events=[], native=_DONE if not event.event else _form("", event.event, "[DONE]")))
            elif not self._over:
                try:
                    chunks.append(self._read(event))
                except (msgspec.DecodeError, UnicodeError, RecursionError, LookupError, AttributeError, TypeError):
                    self.malformed += 1
        return chunks

    def _read(self, event: SseEvent) -> Chunk:
        value = _decode(event.data)
        if type(value) is not dict:
            raise _Malformed
        kind = value.get("type")
        if type(kind) is not str or kind == "error":
            return self._error(value, event.event)
        chunk = _READERS.get(kind, _unknown)(self, value)
        if event.event != kind:
            assert chunk.native is not None
            form = msgspec.structs.replace(chunk.native.form, name=event.event)
            chunk.native = Native(DIALECT, chunk.native.fields, form)
        return chunk

    def _error(self, value: dict[str, Any], name: str) -> Chunk:
        """No event of Cohere's, but what stands in its way may send one."""
        if name != "error" and not value.get("error") and not value.get("message"):
            raise _Malformed
        self._over = True
        return Chunk(events=[Errored(signal=signal_of(value))], native=_form("error", name, value))

    def _message_start(self, value: dict[str, Any]) -> Chunk:
        if self._started:
            raise _Malformed
        self._started = True
        left = dict(value)
        del left["type"]
        given = left.pop("id") if isinstance(left.get("id"), str) else None
        delta = left.get("delta")
        skeleton = left.pop("delta") if _is_empty(delta) else None
        form = StartForm(skeleton, given is not None)
        started = Started(id=given or "", model="", native=Native(DIALECT, left, form))
        return Chunk(events=[started], native=_PLAIN["message-start"])

    def _content_start(self, value: dict[str, Any]) -> Chunk:
        place, content = value["index"], _within(value, _CONTENT)
        if type(place) is not int or place in self._content:
            raise _Malformed
        kind = content.get("type")
        key = "thinking" if kind == "thinking" or (kind != "text" and "thinking" in content) else "text"
        said = content.get(key)
        if not isinstance(said, str | None):
            raise _Malformed
        events = self._end_plan()
        block = self._content[place] = self._open(place, key)
        part = Text(text="") if key == "text" else Thinking(text="")
        events.append(BlockStart(index=block.index, part=part, native=block.place))
        if said:
            events.append(_said(block, said))
        if kind != key or said is None:
            return Chunk(events=events, native=_form("content-start", "content-start", value))
        left = rest(rest(value, (*_CONTENT, "type")), (*_CONTENT, key))
        return _chunk("content-start", events, value, left)

    def _content_delta(self, value: dict[str, Any]) -> Chunk:
        content = value["delta"]["message"]["content"]
        block = self._content.get(value["index"])
        if block is None:
            raise _Malformed
        said = content.get(block.key)
        if type(said) is not str:
            return _unknown(self, value)
        event = _said(block, said)
        if len(value) == 3 and len(content) == 1 and len(value["delta"]) == 1 and len(value["delta"]["message"]) == 1:
            return Chunk(events=[event], native=_PLAIN_DELTA)
        return _chunk("content-delta", [event], value, rest(value, (*_CONTENT, block.key)))

    def _content_end(self, value: dict[str, Any]) -> Chunk:
        return self._end("content-end", self._content, value)

    def _tool_plan_delta(self, value: dict[str, Any]) -> Chunk:
        said = value["delta"]["message"]["tool_plan"]
        if type(said) is not str:
            raise _Malformed
        events: list[Event] = []
        if self._plan is None:
            self._plan = self._open(self._indexes, TOOL_PLAN)
            events.append(BlockStart(index=self._plan.index, part=Thinking(text="", native=_PLAN)))
        events.append(ThinkingDelta(index=self._plan.index, text=said))
        return _chunk("tool-plan-delta", events, value, rest(value, ("delta", "message", TOOL_PLAN)))

    def _tool_call_start(self, value: dict[str, Any]) -> Chunk:
        place, call = value["index"], _within(value, _CALLS)
        use = read_call(call)
        if type(place) is not int or place in self._calls or not isinstance(use, ToolUse):
            raise _Malformed
        events = self._end_plan()
        block = self._calls[place] = self._open(place, "arguments")
        begun = use.arguments
        use.arguments = ""
        events.append(BlockStart(index=block.index, part=use, native=block.place))
        if begun:
            events.append(ArgumentsDelta(index=block.index, fragment=begun, native=block.place))
        return _chunk("tool-call-start", events, value, rest(value, _CALLS))

    def _tool_call_delta(self, value: dict[str, Any]) -> Chunk:
        call = value["delta"]["message"]["tool_calls"]
        function = call["function"]
        block, fragment = self._calls.get(value["index"]), function["arguments"]
        if block is None or type(fragment) is not str:
            raise _Malformed
        event = ArgumentsDelta(index=block.index, fragment=fragment, native=block.place)
        if len(value) == 3 and len(call) == 1 and len(function) == 1 and len(value["delta"]["message"]) == 1:
            return Chunk(events=[event], native=_PLAIN_ARGUMENTS)
        left = rest(value, (*_CALLS, "function", "arguments"))
        return _chunk("tool-call-delta", [event], value, left)

    def _tool_call_end(self, value: dict[str, Any]) -> Chunk:
        return self._end("tool-call-end", self._calls, value)

    def _citation_start(self, value: dict[str, Any]) -> Chunk:
        """Of the content that it names, else of the text that is open. Of a plan, a thought, or a text that has
        ended there is nothing that the IR could hold it to."""
        place, citation = value["index"], _within(value, ("delta", "message", "citations"))
        if type(place) is not int:
            raise _Malformed
        at = citation.get("content_index")
        texts = [block for block in self._content.values() if block.key == "text"]
        block = self._content.get(at) if type(at) is int else next(reversed(texts), None)
        if block is None or block.key != "text":
            return _unknown(self, value)
        event = CitationDelta(index=block.index, citation=read_citation(citation), native=Native(DIALECT, {}, place))
        return _chunk("citation-start", [event], value, rest(value, ("delta", "message", "citations")))

    def _citation_end(self, value: dict[str, Any]) -> Chunk:
        return Chunk(events=[], native=_form("citation-end", "citation-end", value))

    def _message_end(self, value: dict[str, Any]) -> Chunk:
        delta = _within(value, ("delta",))
        word = delta.get("finish_reason")
        self._over = True
        usage = read_usage(delta.get("usage"))
        seen: list[Event] = [] if usage is None else [UsageSeen(usage=usage)]
        if isinstance(word, str) and word in FAILED:
            failed = Errored(signal=failed_answer(word, delta.get("error")))
            return Chunk(events=[*seen, failed], native=_form("message-end", "message-end", value))
        stop = read_stop(word) if isinstance(word, str) else Stop(reason=StopReason.OTHER)
        left = rest(value, ("delta", "finish_reason")) if isinstance(word, str) else value
        if usage is not None:
            left = rest(left, ("delta", "usage"))
        events = [*self._close_blocks(), Stopped(stop=stop), *seen, Ended()]
        return _chunk("message-end", events, value, left)

    def _end(self, kind: str, blocks: dict[int, _Block], value: dict[str, Any]) -> Chunk:
        block = blocks.pop(value["index"], None)
        if block is None:
            raise _Malformed
        stop = BlockStop(index=block.index, native=block.place)
        return _chunk(kind, [stop], value, value)

    def _open(self, place: int, key: str) -> _Block:
        block = _Block(self._indexes, place, key)
        self._indexes += 1
        return block

    def _end_plan(self) -> list[Event]:
        if self._plan is None:
            return []
        stop = BlockStop(index=self._plan.index)
        self._plan = None
        return [stop]

    def _close_blocks(self) -> list[Event]:
        """Stops for blocks that the provider left open, so that every start has one."""
        events = self._end_plan()
        for blocks in (self._content, self._calls):
            events += [BlockStop(index=block.index) for block in blocks.values()]
            blocks.clear()
        return events


def _unknown(_: CohereStreamReader, value: dict[str, Any]) -> Chunk:
    kind = value["type"]
    return Chunk(events=[OpaqueEvent(dialect=DIALECT, kind=kind, value=value)], native=_form(kind, kind, value))


def _said(block: _Block, text: str) -> TextDelta | ThinkingDelta:
    if block.key == "text":
        return TextDelta(index=block.index, text=text, native=block.place)
    return ThinkingDelta(index=block.index, text=text, native=block.place)


def _is_empty(delta: Any) -> bool:
    """A message that says nothing but whose it is."""
    message = delta.get("message") if isinstance(delta, dict) and len(delta) == 1 else None
    return isinstance(message, dict) and all(key == "role" or says_nothing(inner) for key, inner in message.items())


def _within(value: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    for key in path:
        inner = value.get(key)
        if type(inner) is not dict:
            raise _Malformed
        value = inner
    return value


def _chunk(kind: str, events: list[Event], value: dict[str, Any], left: dict[str, Any]) -> Chunk:
    """`left`: the document without what the events say; type and index are the events' too."""
    fields = {key: kept for key, kept in left.items() if key not in ("type", "index")}
    if "index" in value and kind in ("tool-plan-delta", "message-end"):
        fields["index"] = value["index"]
    return Chunk(events=events, native=Native(DIALECT, fields, _FORMS[kind]) if fields else _PLAIN[kind])


def _form(kind: str, name: str, whole: Any) -> Native:
    return Native(DIALECT, {}, EventForm(kind, name, whole))


_READERS: Mapping[str, Callable[[CohereStreamReader, dict[str, Any]], Chunk]] = {
    "message-start": CohereStreamReader._message_start,
    "content-start": CohereStreamReader._content_start,
    "content-delta": CohereStreamReader._content_delta,
    "content-end": CohereStreamReader._content_end,
    "tool-plan-delta": CohereStreamReader._tool_plan_delta,
    "tool-call-start": CohereStreamReader._tool_call_start,
    "tool-call-delta": CohereStreamReader._tool_call_delta,
    "tool-call-end": CohereStreamReader._tool_call_end,
    "citation-start": CohereStreamReader._citation_start,
    "citation-end": CohereStreamReader._citation_end,
    "message-end": CohereStreamReader._message_end,
}
_FORMS = {kind: EventForm(kind, kind) for kind in _READERS}
_PLAIN = {kind: Native(DIALECT, {}, form) for kind, form in _FORMS.items()}
_PLAIN_DELTA = _PLAIN["content-delta"]
_PLAIN_ARGUMENTS = _PLAIN["tool-call-delta"]
_PLAN = Native(DIALECT, {}, TOOL_PLAN)
_DONE = Native(DIALECT, {}, EventForm("", ""))
