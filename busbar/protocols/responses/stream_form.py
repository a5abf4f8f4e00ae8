"""What a chunk of a stream remembers beyond its events, so that its wire event can be made again exactly.

The reader takes what is an event out of the wire event's JSON; each `Slot` says which event's fact goes back where.
Many wire events of this dialect only repeat what deltas said before (`….done`, the snapshots of the response): they
hold nothing that is not in the IR already, and are kept as they came, for the way back only.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from busbar.protocols.ir import (
    ArgumentsDelta,
    BlockStart,
    Chunk,
    CitationDelta,
    Event,
    OpaqueEvent,
    RedactedThinking,
    RefusalDelta,
    SignatureDelta,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolUse,
    UsageSeen,
)
from busbar.protocols.native import Native
from busbar.protocols.protocol import Trace, WireItem
from busbar.protocols.responses.content_write import write_own_citation
from busbar.protocols.responses.usage import write_usage
from busbar.protocols.responses.words import DIALECT, split_name

Path: TypeAlias = tuple[str, ...]

Slot: TypeAlias = tuple[int, Path]
"""(the event's place in the chunk, where its fact stood)"""


class WireForm(Struct, frozen=True):
    """`document` is the wire event without what its events carry; None: it is the value of the one opaque event.
    With `inside` the chunk's leftovers stand in its `response`. `event` is the name that the frame gave it."""

    event: str
    document: dict[str, Any] | None = None
    slots: tuple[Slot, ...] = ()
    inside: bool = False


class Draft:
    """The chunk that is being read: a wire event, of which facts are taken."""

    __slots__ = ("_document", "_event", "_slots", "events", "inside", "left")

    def __init__(self, event: str, document: dict[str, Any]) -> None:
        self._event = event
        self._document = document
        self._slots: list[Slot] = []
        self.events: list[Event] = []
        self.left: dict[str, Any] = {}
        """Leftovers: of the wire event, or with `inside` of the response in it."""
        self.inside = False

    def add(self, event: Event) -> None:
        """An event that the wire event implies or repeats."""
        self.events.append(event)

    def take(self, event: Event, *paths: Path) -> None:
        """An event that the wire event states: its facts are taken out of it."""
        for path in paths:
            holder: Any = self._document
            for key in path[:-1]:
                holder = holder[key]
            del holder[path[-1]]
            self._slots.append((len(self.events), path))
        self.events.append(event)

    def chunk(self) -> Chunk:
        form = WireForm(self._event, self._document, tuple(self._slots), self.inside)
        return Chunk(events=self.events, native=Native(DIALECT, self.left, form))


def stream_trace(trace: Trace, chunk: Chunk) -> Trace:
    """Follows the numbers of events, and the items that begin and end."""
    form = None if chunk.native is None else chunk.native.form
    document = form.document if isinstance(form, WireForm) else None
    if document is None:
        return trace
    number = document.get("sequence_number")
    trace = replace(trace, number=number + 1 if type(number) is int else trace.number + 1)
    item = document.get("item")
    if not isinstance(item, dict):
        return trace
    seen = WireItem(str(item.get("type")), str(item.get("id")))
    if document.get("type") == "response.output_item.added":
        return replace(trace, items=(*trace.items, seen))
    items = [replace(known, done=known.done or known == seen) for known in trace.items]
    return replace(trace, items=tuple(items))


def restore(chunk: Chunk) -> tuple[str, dict[str, Any]]:
    """The name and the JSON of an own chunk's wire event. Nothing that the chunk holds is changed."""
    assert chunk.native is not None
    form: WireForm = chunk.native.form
    if form.document is None:
        opaque = chunk.events[0]
        assert isinstance(opaque, OpaqueEvent)
        return form.event, opaque.value
    document = dict(form.document)
    if form.inside:
        document["response"] = {**document["response"], **chunk.native.fields}
    else:
        document.update(chunk.native.fields)
    for at, path in form.slots:
        holder = document
        for key in path[:-1]:
            holder[key] = holder = dict(holder[key])
        holder[path[-1]] = _fact(chunk.events[at], path[-1], holder)
    return form.event, document


def _fact(event: Event, key: str, holder: dict[str, Any]) -> Any:
    match event:
        case TextDelta() | ThinkingDelta() | RefusalDelta():
            return event.text
        case ArgumentsDelta():
            return event.fragment
        case SignatureDelta():
            return event.signature
        case CitationDelta():
            return write_own_citation(event.citation)
        case UsageSeen():
            return write_usage(event.usage)
        case BlockStart(part=RedactedThinking(data=data)):
            return data
        case BlockStart(part=ToolUse(id=call_id, name=name)):
            if key == "call_id":
                return call_id
            return split_name(name)[1] if holder.get("namespace") else name
        case Started():
            return event.created if key == "created_at" else getattr(event, key)
        case _:
            raise AssertionError(f"{type(event).__name__} holds nothing that a wire event states")
